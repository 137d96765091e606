"""What runs at each host: the apps that a Flower app bundle names. Who a node is comes from its own configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit.cache import atomic_path
from labkit.federated.agreement import Agreement, terms_digest
from labkit.federated.app import hospital_app
from labkit.federated.app_server import Plan, server_app
from labkit.federated.deployment.folders import read_agreement, read_records
from labkit.federated.hospitals import Hospital
from labkit.federated.member import Member
from labkit.federated.result import Round
from labkit.federated.rounds import FederationError, State

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
    seat, roster = agreement.seat(), _roster(agreement)
    terms = terms_digest(seat, roster).hex()
    return Plan(
        seat,
        roster,
        lambda state, rounds: keep(folder, terms, state, rounds),
        kept(folder, terms),
        patience=float(context.run_config["patience"]),
        timeout=float(context.run_config["timeout"]),
        say=lambda line: print(line, flush=True),
    )


def _roster(agreement: Agreement) -> Mapping[str, bytes]:
    return {name: bytes.fromhex(public) for name, public in agreement.roster.items()}


def keep(folder: Path, terms: str, state: State, rounds: list[Round]) -> None:
    """Leave the state and how each round went in the server's folder, to go on from, and the model so far."""
    words = json.dumps({"terms": terms, "rounds": [asdict(one) for one in rounds]})
    parts = {"weights": state.weights, "velocity": state.velocity, "total": state.total}
    counts = {"counted": state.counted, "round": state.round}
    with atomic_path(folder / "state.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, words=np.array(words), **parts, **counts)
    with atomic_path(folder / "model.npy") as temporary, temporary.open("wb") as file:
        np.save(file, state.model)


def kept(folder: Path, terms: str) -> tuple[State, list[Round]] | None:
    """Return what `keep` left under the same terms, or None where nothing was left.

    Raises
    ------
    FederationError
        If what was left is of another agreement.
    """
    if not (folder / "state.npz").exists():
        return None
    with np.load(folder / "state.npz", allow_pickle=False) as found:
        words = json.loads(str(found["words"]))
        if words["terms"] != terms:
            raise FederationError(
                f"{folder / 'state.npz'} is of another agreement: move it away to begin anew"
            )
        vectors = [found[part] for part in ("weights", "velocity", "total")]
        state = State(*vectors, counted=int(found["counted"]), round=int(found["round"]))
    return state, [Round(**{**one, "survivors": tuple(one["survivors"])}) for one in words["rounds"]]


hospital = hospital_app(member_of)
server = server_app(plan_of)
