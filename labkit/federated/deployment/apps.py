"""What runs at each host: the apps that a Flower app bundle names. Who a node is comes from its own configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit.federated.agreement import Agreement
from labkit.federated.app import hospital_app
from labkit.federated.app_server import Plan, server_app
from labkit.federated.deployment.folders import read_agreement, read_records
from labkit.federated.hospitals import Hospital
from labkit.federated.result import Round
from labkit.federated.rounds import State
from labkit.federated.wire import Member

if TYPE_CHECKING:
    from flwr.app import Context


def member_of(context: Context) -> Member:
    """Return the hospital that this node is: its name and folder stand in the node's configuration, not the server's."""
    name, folder = str(context.node_config["hospital"]), Path(str(context.node_config["folder"]))
    agreement = read_agreement(folder)
    seat = agreement.seat(lambda: Hospital(name, read_records(folder / "records.npz")))
    return Member(name, seat, _roster(agreement), folder)


def plan_of(context: Context) -> Plan:
    """Return the server's plan: its folder and its patience stand in the run's configuration."""
    folder = Path(str(context.run_config["folder"]))
    agreement = read_agreement(folder)
    return Plan(
        agreement.seat(),
        _roster(agreement),
        lambda state, rounds: _write(folder, state, rounds),
        patience=float(context.run_config["patience"]),
        timeout=float(context.run_config["timeout"]),
        say=lambda line: print(line, flush=True),
    )


def _roster(agreement: Agreement) -> Mapping[str, bytes]:
    return {name: bytes.fromhex(public) for name, public in agreement.roster.items()}


def _write(folder: Path, state: State, rounds: list[Round]) -> None:
    """Leave the model, and how each round went, in the server's folder."""
    np.save(folder / "model.npy", state.model)
    (folder / "rounds.json").write_text(
        json.dumps([asdict(one) for one in rounds], indent=1), encoding="utf-8"
    )


hospital = hospital_app(member_of)
server = server_app(plan_of)
