"""A whole round in one process: every hospital, the server, and hospitals that vanish where they are told to."""

from __future__ import annotations

import secrets
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from labkit.federated.secagg.client import Client
from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import Identity
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    Message,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.server import Server
from labkit.federated.secagg.terms import STAGES
from labkit.results import Result

# Processor time, so that other programs do not count; Windows counts it in steps of 16 ms, so there the wall clock.
CLOCK = time.perf_counter if sys.platform == "win32" else time.process_time
T = TypeVar("T")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, eq=False, repr=False)
class SecureSum(Result):
    """The sum of the survivors' vectors, and what it took.

    Attributes
    ----------
    total : ndarray of shape (d,), float64
        In the unit of the data.
    integers : ndarray of shape (d,), int64
        The same sum on the grid, exact.
    survivors : tuple of str
        Whose vectors are in the sum (a hospital that vanished after sending its masked vector is in it).
    dropped : dict of str to str
        The stage at which each other hospital vanished, or one in the sum did later.
    client_seconds : dict of str to float
        Each hospital's processor time over all stages, writing and reading messages included.
    server_seconds : float
        The server's.
    bytes_up, bytes_down : dict of str to int
        Bytes from and to all hospitals together, by kind of message.
    peak_bytes : int or None
        Most memory that was held at once by all parties together beyond the start, if it was traced.
    """

    total: np.ndarray
    integers: np.ndarray
    survivors: tuple[str, ...]
    dropped: dict[str, str]
    client_seconds: dict[str, float]
    server_seconds: float
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]
    peak_bytes: int | None = None

    def __repr__(self) -> str:
        return f"SecureSum({self.summary()})"

    def numbers(self) -> dict[str, Any]:
        """Return times, bytes and who is in the sum."""
        return {
            "values": len(self.total),
            "survivors": list(self.survivors),
            "dropped": dict(self.dropped),
            "slowest client (s)": max(self.client_seconds.values()),
            "server (s)": self.server_seconds,
            "bytes up": sum(self.bytes_up.values()),
            "bytes down": sum(self.bytes_down.values()),
            "peak memory (bytes)": "not traced" if self.peak_bytes is None else self.peak_bytes,
        }


def secure_sum(
    vectors: Mapping[str, np.ndarray],
    *,
    threshold: int,
    encoding: Encoding,
    round_id: bytes,
    model_digest: bytes,
    drop: Mapping[str, str] | None = None,
    identities: Mapping[str, Identity] | None = None,
    trace_memory: bool = False,
) -> SecureSum:
    """Add up the hospitals' vectors so that the server sees nothing but the sum (Bonawitz et al. 2017).

    Parameters
    ----------
    vectors : mapping of str to ndarray of shape (d,), float
        Each hospital's contribution, within ``encoding.bound``.
    threshold : int
        How many hospitals must be left at every stage: more than half, and at least three.
    round_id : bytes
        Fresh for every round.
    model_digest : bytes
        Digest of the global model that the contributions start from.
    drop : mapping of str to str, optional
        Stage at which a hospital vanishes: "advertise", "share", "masked", "consistency" or "unmask".
    identities : mapping of str to Identity, optional
        Long-lived keys (default: new ones, for this round alone).
    trace_memory : bool
        Whether to measure peak memory, which slows the round down.

    Raises
    ------
    SecAggError
        If fewer than ``threshold`` are left at a stage, a value does not fit the grid, or the terms protect nobody.

    Examples
    --------
    >>> vectors = {name: np.full(2, value) for name, value in [("a", 0.5), ("b", 1.0), ("c", -0.25), ("d", 1.0)]}
    >>> grid = Encoding(scale=1024, bits=32, parties=4, bound=1.0)
    >>> result = secure_sum(vectors, threshold=3, encoding=grid, round_id=b"1", model_digest=b"m", drop={"d": "masked"})
    >>> result.total, result.survivors
    (array([1.25, 1.25]), ('a', 'b', 'c'))
    """
    for name, vector in vectors.items():
        if np.asarray(vector).dtype.kind != "f":
            raise SecAggError(
                f"the vector of {name} is {np.asarray(vector).dtype}; expected float: secure_sum_integers takes integers"
            )
    return _run(vectors, threshold, encoding, round_id, model_digest, drop, identities, trace_memory)


def secure_sum_integers(
    vectors: Mapping[str, np.ndarray],
    *,
    threshold: int,
    encoding: Encoding,
    round_id: bytes,
    model_digest: bytes,
    drop: Mapping[str, str] | None = None,
    identities: Mapping[str, Identity] | None = None,
    trace_memory: bool = False,
) -> SecureSum:
    """Add up vectors that are on the grid already (int64 [d]), as after adding discrete noise; see `secure_sum`.

    Raises
    ------
    SecAggError
        Also if an integer is beyond ``encoding.limit``: give the bound room for the noise.
    """
    for vector in vectors.values():
        encoding.check_integers(vector)
    return _run(vectors, threshold, encoding, round_id, model_digest, drop, identities, trace_memory)


def _run(
    vectors: Mapping[str, np.ndarray],
    threshold: int,
    encoding: Encoding,
    round_id: bytes,
    model_digest: bytes,
    drop: Mapping[str, str] | None,
    identities: Mapping[str, Identity] | None,
    trace_memory: bool,
) -> SecureSum:
    """Check what was asked for, then run the round, with memory traced or not."""
    drop = dict(drop or {})
    for name, stage in drop.items():
        if name not in vectors or stage not in STAGES:
            raise SecAggError(
                f"drop has {name!r}: {stage!r}; expected a hospital of {sorted(vectors)} and a stage of {STAGES}"
            )
    if len({np.shape(vector) for vector in vectors.values()}) > 1:
        raise SecAggError("vectors differ in shape; expected one length for all hospitals")
    identities = dict(identities or {name: Identity.generate() for name in vectors})
    if missing := set(vectors) - set(identities):
        raise SecAggError(f"identities lack {sorted(missing)}; expected one for each hospital")
    round_ = _Round(vectors, threshold, encoding, round_id, model_digest, drop, identities)
    if not trace_memory:
        return round_.run(None)
    tracemalloc.start()
    try:
        return round_.run(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()


class _Round:
    """Clients and server of one round, with a clock on each and a count of bytes."""

    def __init__(
        self,
        vectors: Mapping[str, np.ndarray],
        threshold: int,
        encoding: Encoding,
        round_id: bytes,
        model_digest: bytes,
        drop: dict[str, str],
        identities: Mapping[str, Identity],
    ) -> None:
        roster = {name: identities[name].public for name in vectors}
        terms = (roster, threshold, encoding, round_id, model_digest)
        self.vectors, self.drop, self.encoding = vectors, drop, encoding
        self.seconds: dict[str, float] = defaultdict(float)
        self.up: dict[str, int] = defaultdict(int)
        self.down: dict[str, int] = defaultdict(int)
        self.server = Server(*terms)
        # Terms are checked by the server first, so that identities enter no round that cannot be run.
        self.clients = {
            name: self.timed(name, lambda name=name: Client(name, identities[name], *terms))
            for name in vectors
        }

    def timed(self, who: str, work: Callable[[], T]) -> T:
        """Do a party's work on its clock; the server's name is empty."""
        start = CLOCK()
        done = work()
        self.seconds[who] += CLOCK() - start
        return done

    def present(self, stage: str) -> list[str]:
        """Return who still takes part in a stage."""
        gone = {name for name, last in self.drop.items() if STAGES.index(last) <= STAGES.index(stage)}
        return [name for name in self.vectors if name not in gone]

    def upload(self, name: str, kind: type[M], work: Callable[[], Iterable[M]]) -> list[M]:
        """Do a hospital's work, send what it makes as bytes, and return what the server reads."""
        raw = self.timed(name, lambda: [message.to_bytes() for message in work()])
        self.up[kind.__name__] += sum(map(len, raw))
        return self.timed("", lambda: [kind.from_bytes(one) for one in raw])

    def write(self, messages: Iterable[Message]) -> list[bytes]:
        """Return the server's messages as bytes, written on its clock."""
        return self.timed("", lambda: [message.to_bytes() for message in messages])

    def download(self, name: str, kind: type[M], raw: list[bytes]) -> list[M]:
        """Send bytes to a hospital and return what it reads."""
        self.down[kind.__name__] += sum(map(len, raw))
        return self.timed(name, lambda: [kind.from_bytes(one) for one in raw])

    def run(self, before: int | None) -> SecureSum:
        """Run the five stages, every message as bytes; ``before`` is the traced memory at the start."""
        server = self.server
        self.set_up()
        announced = self.timed("", server.survivors)
        integers = self.open(announced)
        total = self.timed("", lambda: self.encoding.decode(integers))
        peak = None if before is None else tracemalloc.get_traced_memory()[1] - before
        server_seconds = self.seconds.pop("")
        return SecureSum(
            total,
            integers,
            announced.survivors,
            self.drop,
            dict(self.seconds),
            server_seconds,
            dict(self.up),
            dict(self.down),
            peak,
        )

    def set_up(self) -> None:
        """Advertise keys, share secrets, and add up the masked inputs."""
        clients, server = self.clients, self.server
        keys: list[Advertisement] = []
        for name in self.present("advertise"):
            keys += self.upload(name, Advertisement, lambda name=name: [clients[name].advertise()])
        shown = self.write(self.timed("", lambda: server.advertisements(keys)))
        boxes = {}
        for name in self.present("share"):
            found = self.download(name, Advertisement, shown)
            boxes[name] = self.upload(
                name, EncryptedShares, lambda name=name, found=found: clients[name].share(found)
            )
        mail = self.timed("", lambda: server.shares(boxes))
        for name in self.present("masked"):
            inbox = self.download(name, EncryptedShares, self.write(mail[name]))
            vector = self.vectors[name]
            (masked,) = self.upload(
                name,
                MaskedInput,
                lambda name=name, vector=vector, inbox=inbox: [clients[name].masked(vector, inbox)],
            )
            self.timed("", lambda masked=masked: server.add(masked))

    def open(self, announced: SurvivorList) -> np.ndarray:
        """Sign the survivors, collect shares, and return the sum of the integers."""
        clients, server = self.clients, self.server
        raw, signed = self.write([announced]), []
        for name in self.present("consistency"):
            (read,) = self.download(name, SurvivorList, raw)
            signed += self.upload(
                name, SignedSurvivors, lambda name=name, read=read: [clients[name].consistency(read)]
            )
        raw, opened = self.write(self.timed("", lambda: server.signatures(signed))), []
        for name in self.present("unmask"):
            found = self.download(name, SignedSurvivors, raw)
            opened += self.upload(
                name, UnmaskShares, lambda name=name, found=found: [clients[name].unmask(found)]
            )
        return self.timed("", lambda: server.unmask(opened))


def fresh_round_id() -> bytes:
    """Return 16 random bytes: an id that no round had before (two rounds share one with probability below 2^-64)."""
    return secrets.token_bytes(16)
