"""What travels in a round, and the server's side of it: bytes in, bytes out, over any transport.

`secure_round` runs the five stages of secure aggregation over an `Exchange`, which carries one stage to the hospitals
and back; their side is `labkit.federated.member`. `Opening` is the one message that the protocol's own do not cover:
which round this is, and the weights that it starts from.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from labkit.federated.agreement import round_digest, terms_digest
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import Federation, State
from labkit.federated.secagg import SecAggError, Server, fresh_round_id
from labkit.federated.secagg.messages import Message, UnmaskShares
from labkit.federated.wire_checks import Checks, check_parts

MAGIC = b"LFO1"
_HEAD = struct.Struct(">4sqI")  # what this is, the round's number, the length of its id; then id and weights
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Opening:
    """What opens a round: its number (from 1), an id that no round had before, and the weights [d] to start from."""

    number: int
    round_id: bytes
    weights: np.ndarray

    @property
    def state(self) -> State:
        """The server's state, as far as a hospital needs it."""
        nothing = np.zeros_like(self.weights)
        return State(self.weights, nothing, nothing, round=self.number - 1)

    def to_bytes(self) -> bytes:
        """Return the opening as bytes."""
        head = _HEAD.pack(MAGIC, self.number, len(self.round_id))
        return head + self.round_id + np.asarray(self.weights, dtype="<f8").tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Opening:
        """Return the opening that `to_bytes` wrote.

        Raises
        ------
        SecAggError
            If the bytes are something else.
        """
        if not isinstance(raw, bytes) or len(raw) < _HEAD.size or raw[: len(MAGIC)] != MAGIC:
            raise SecAggError("these bytes open no round: they begin with something else")
        _, number, length = _HEAD.unpack_from(raw)
        at = _HEAD.size + length
        if at > len(raw) or (len(raw) - at) % 8:
            raise SecAggError(f"these bytes open no round: {len(raw)} of them, with an id of {length} bytes")
        return cls(number, raw[_HEAD.size : at], np.frombuffer(raw, "<f8", offset=at).astype(np.float64))


# Carries each hospital's messages of one stage to it; returns the answers of those that gave one.
Exchange = Callable[[str, Mapping[str, Sequence[bytes]]], Mapping[str, Sequence[bytes]]]


@dataclass(frozen=True, eq=False)
class Opened:
    """A sum that the server may use.

    Attributes
    ----------
    total : ndarray of shape [d], int64
    survivors : tuple of str
        Whose contributions are in it.
    dropped : dict of str to str
        The stage at which each other hospital was missed, or one in the sum later.
    bytes_up : int
        From all hospitals to the server.
    """

    total: np.ndarray
    survivors: tuple[str, ...]
    dropped: dict[str, str] = field(default_factory=dict)
    bytes_up: int = 0


def secure_round(
    exchange: Exchange,
    federation: Federation,
    roster: Mapping[str, bytes],
    state: State,
    present: Sequence[str],
    say: Callable[[str], None] = lambda line: None,
) -> Opened:
    """Run one round with the hospitals in ``present``; return the sum of those that lasted.

    An answer that is no message, a wrong one, or one in another's name is that hospital's dropout at this stage.

    Parameters
    ----------
    say : callable
        Takes a line for each such hospital: its name, the stage, and what is wrong.

    Raises
    ------
    SecAggError
        If fewer than the threshold are left: the state is unchanged, and the round can be tried again.
    """
    digest = round_digest(terms_digest(federation, roster), state)
    opening = Opening(state.round + 1, fresh_round_id(), state.weights)
    server = Server(roster, federation.noise.threshold, encoding_of(federation), opening.round_id, digest)
    dropped, bytes_up = {}, 0

    def ask(
        stage: str, sent: Mapping[str, Sequence[bytes]], read: Callable[[str, list[bytes]], T]
    ) -> dict[str, T]:
        nonlocal bytes_up
        answers, good = exchange(stage, sent), {}
        for name in sent:
            try:
                if name in answers:
                    good[name] = read(name, check_parts(answers[name]))
                    bytes_up += sum(map(len, answers[name]))
            except SecAggError as error:
                say(f"{name} is missed from stage {stage} on, as its answer is refused: {error}")
        dropped.update({name: stage for name in sent if name not in good})
        return good

    check = Checks(server.terms, federation.dimension)
    advertised = ask("advertise", _to_all(present, [opening]), check.advertisement)
    shown = server.advertisements(list(advertised.values()))
    boxes = server.shares(ask("share", _to_all(advertised, shown), check.shares))
    mail = {name: [box.to_bytes() for box in found] for name, found in boxes.items()}
    for message in ask("masked", mail, check.masked).values():
        server.add(message)
    announced = server.survivors()
    check.announce(shown, boxes, announced.survivors)
    signed = ask("consistency", _to_all(announced.survivors, [announced]), check.signature)
    signatures = server.signatures(list(signed.values()))
    shares = ask("unmask", _to_all(signed, signatures), check.unmasking(announced))
    total, liar = _open(server, shares)
    if liar is not None:
        say(f"{liar} is missed at stage unmask: the shares that it gave away are wrong")
        dropped[liar] = "unmask"
    return Opened(total, announced.survivors, dropped, bytes_up)


def _open(server: Server, shares: Mapping[str, UnmaskShares]) -> tuple[np.ndarray, str | None]:
    """Return the sum, and who had to be left out because its shares are wrong, if anybody and one alone."""
    try:
        return server.unmask(list(shares.values())), None
    except SecAggError:
        for name in shares if len(shares) > server.terms.threshold else ():
            with suppress(SecAggError):
                return server.unmask([one for sender, one in shares.items() if sender != name]), name
        raise


def _to_all(names: Iterable[str], messages: Sequence[Opening | Message]) -> dict[str, list[bytes]]:
    """Return the same messages for each of ``names``."""
    raw = [message.to_bytes() for message in messages]
    return {name: list(raw) for name in names}
