"""The same rounds on Flower: a ClientApp, a ServerApp, and a simulation that runs both on this machine.

Flower carries the messages of secure aggregation, one exchange a stage (its message API: ``Message``, ``RecordDict``,
``ConfigRecord``). What they say is the business of `labkit.federated.wire` and `labkit.federated.member`, what is computed that of
`labkit.federated.rounds`. A simulation and a deployment (`labkit.federated.deployment`) differ in one function each:
who a node is (`hospital_app`) and what the server was told (`labkit.federated.app_server.server_app`).

A simulation takes a `Federation` as it is, with its marks and its features. An agreement, and so a deployment, names
neither: hospitals on their own machines leave no marks, and train on the records that their folders hold, mapped beforehand.

Examples
--------
>>> from functools import partial
>>> from labkit import federated, models
>>> clinics = federated.load_hospitals("breast_cancer", by="size", seed=0)
>>> terms = federated.Training(rounds=2, learning_rate=1.0)
>>> federation = federated.Federation(clinics, partial(models.logistic_regression, 30, 2), terms)
>>> flower = simulate(federation, seed=0, backend="memory")
>>> bool((flower.weights == federated.federate(federation, seed=0).weights).all())
True
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.federated import quiet
from labkit.federated.loop import Drops, check_terms, conclude
from labkit.federated.member import Member, write_secret
from labkit.federated.result import FederatedResult, Round
from labkit.federated.rounds import Federation, State
from labkit.federated.secagg import Identity
from labkit.federated.secagg.terms import STAGES

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp

BACKENDS = ("ray", "memory")
Answer = Callable[[Member, list[bytes]], list[bytes]]


def hospital_app(member_of: Callable[[Context], Member]) -> ClientApp:
    """Return the ClientApp of a hospital.

    Parameters
    ----------
    member_of : callable
        Says which hospital this node is, from Flower's context.
    """
    quiet.ready("flwr")
    from flwr.clientapp import ClientApp

    app = ClientApp()
    app.query("join")(_handler(member_of, lambda member, parts: member.join(*parts)))
    app.query("finish")(_handler(member_of, lambda member, parts: member.finish(*parts)))
    for stage in STAGES:
        app.query(stage)(_handler(member_of, lambda member, parts, stage=stage: member.answer(stage, parts)))
    return app


def _handler(member_of: Callable[[Context], Member], answer: Answer) -> Callable[[Message, Context], Message]:
    """Return a function that answers one kind of Flower's messages."""

    def handle(message: Message, context: Context) -> Message:
        from flwr.app import ConfigRecord, Message, RecordDict

        try:
            content = {"parts": answer(member_of(context), list(message.content["messages"]["parts"]))}
        # Flower sends the text of an error to the server, and one such as "the largest value is ..." tells of records.
        except Exception as error:
            print(f"this hospital stops: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            content = {"refusal": type(error).__name__}
        return Message(RecordDict({"messages": ConfigRecord(content)}), reply_to=message)

    return handle


def simulate(
    federation: Federation,
    *,
    seed: int | None = None,
    drop: Drops | None = None,
    backend: str = "ray",
) -> FederatedResult:
    """Train on Flower, on this machine, with secure aggregation; the same model as `labkit.federated.federate` gives.

    Parameters
    ----------
    federation : Federation
    seed : int, optional
        Fixes noise and batches, for study, as in `federate`: with the same seed both give the same model.
    drop : mapping of int to mapping, optional
        By round (from 1): whose messages get lost, and from which stage on.
    backend : {"ray", "memory"}
        ``"ray"``: Flower's simulation, with each hospital's work in a process of Ray's; a quarter of a minute to start.
        ``"memory"``: Flower's messages, written and read again, handed over in this process; starts at once.

    Returns
    -------
    FederatedResult

    Raises
    ------
    FederationError
        Before the first round, for terms that cannot be kept.
    ModuleNotFoundError
        If Flower (or Ray, for its backend) is not installed.
    labkit.federated.secagg.SecAggError
        If too few hospitals finish a round, several times in a row. A simulation has no spare vectors: a hospital whose
        vector left in a round that was given up misses the last one.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(map(repr, BACKENDS))}")
    quiet.ready(*{"ray": ("flwr", "ray"), "memory": ("flwr",)}[backend])
    from labkit.federated.app_server import Plan, server_app

    drops = check_terms(federation, drop or {}, secure=True)
    left: list[tuple[State, list[Round]]] = []
    with tempfile.TemporaryDirectory(prefix="labkit-federation-") as root:
        roster = _enrol(federation, Path(root))
        plan = Plan(
            federation,
            roster,
            lambda state, rounds: left.append((state, rounds)),
            seed=seed,
            timeout=600.0,
            say=lambda line: None,
            lost=lambda number, stage, name: _lost(drops, number, stage, name),
        )
        hospitals = hospital_app(_seats(federation, roster, root, seed))
        run = {"ray": _run_on_ray, "memory": _run_in_memory}[backend]
        run(server_app(lambda context: plan), hospitals, len(federation.hospitals))
    state, rounds = left[-1]
    return conclude(federation, state, rounds, seed=seed, secure=True)


def _enrol(federation: Federation, root: Path) -> dict[str, bytes]:
    """Make a folder and an identity for each hospital; return the roster."""
    roster = {}
    for number, name in enumerate(federation.hospitals.names):
        identity = Identity.generate()
        write_secret(root / str(number) / "identity", identity.to_bytes())
        roster[name] = identity.public
    return roster


def _seats(
    federation: Federation, roster: Mapping[str, bytes], root: str, seed: int | None
) -> Callable[[Context], Member]:
    """Return the function that says which hospital a simulated node is: by its partition."""

    def member_of(context: Context) -> Member:
        number = int(context.node_config["partition-id"])
        name = federation.hospitals.names[number]
        return Member(name, federation, roster, Path(root) / str(number), seed)

    return member_of


def _lost(drops: Drops, number: int, stage: str, name: str) -> bool:
    """Return whether a hospital has vanished by this stage of a round."""
    last = drops.get(number, {}).get(name)
    return last is not None and stage in STAGES and STAGES.index(last) <= STAGES.index(stage)


def _run_in_memory(server, hospitals: ClientApp, count: int) -> None:
    from labkit.federated.app_memory import MemoryGrid

    grid = MemoryGrid(hospitals, count)
    server(grid, grid.context)


def _run_on_ray(server, hospitals: ClientApp, count: int) -> None:
    from flwr.simulation import run_simulation

    cpus = min(count, os.cpu_count() or 1)
    with _ray(cpus):
        run_simulation(
            server, hospitals, count, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        )


@contextmanager
def _ray(cpus: int) -> Iterator[None]:
    """Run Ray on this machine alone, and Flower without a word, for as long as the block lasts."""
    import ray

    flower = logging.getLogger("flwr")
    level = flower.level
    flower.setLevel(
        logging.ERROR
    )  # its notices on every message, and that another call will replace this one
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of a change to come
    mine = not ray.is_initialized()
    try:
        if mine:
            with _no_cloud():
                ray.init(
                    num_cpus=cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    object_store_memory=128
                    * 2**20,  # room for weights; the default takes a third of the memory
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                )
        yield
    finally:
        flower.setLevel(level)
        if mine:
            ray.shutdown()


@contextmanager
def _no_cloud() -> Iterator[None]:
    """Keep Ray from asking the network which cloud it runs in: its reports do, even when they are switched off.

    Ray asks unless ``~/ray_bootstrap_config.yaml`` names a provider (``get_cluster_config_to_report``).
    """
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n", encoding="utf-8")
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("HOME") if home is None else os.environ.update(HOME=home)
