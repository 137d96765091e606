"""What travels in a round, and the server's side of it: bytes in, bytes out, over any transport.

`secure_round` runs the five stages of secure aggregation over an `Exchange`, which carries one stage to the hospitals
and back; their side is `labkit.federated.member`. `Opening` is the one message that the protocol's own do not cover:
which round this is, and the weights that it starts from.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from labkit.federated.agreement import round_digest, terms_digest
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import Federation, State
from labkit.federated.secagg import SecAggError, Server, fresh_round_id
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    Message,
    SignedSurvivors,
    UnmaskShares,
)

M = TypeVar("M", bound=Message)


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
        file = io.BytesIO()
        round_id = np.frombuffer(self.round_id, np.uint8)
        np.savez(file, number=self.number, round_id=round_id, weights=self.weights)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Opening:
        """Return the opening that `to_bytes` wrote.

        Raises
        ------
        SecAggError
            If the bytes are something else.
        """
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as parts:
                weights = np.asarray(parts["weights"], dtype=np.float64)
                return cls(int(parts["number"]), parts["round_id"].tobytes(), weights)
        except (
            ValueError,
            KeyError,
            TypeError,
            OSError,
            EOFError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise SecAggError(f"these bytes open no round ({error})") from error


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
) -> Opened:
    """Run one round with the hospitals in ``present``; return the sum of those that lasted.

    Raises
    ------
    SecAggError
        If fewer than the threshold are left, or a message is wrong: the state is unchanged, and the round can be tried
        again.
    """
    digest = round_digest(terms_digest(federation, roster), state)
    opening = Opening(state.round + 1, fresh_round_id(), state.weights)
    server = Server(roster, federation.noise.threshold, encoding_of(federation), opening.round_id, digest)
    dropped, bytes_up = {}, 0

    def ask(stage: str, sent: Mapping[str, Sequence[bytes]]) -> Mapping[str, Sequence[bytes]]:
        nonlocal bytes_up
        answers = exchange(stage, sent)
        dropped.update({name: stage for name in sent if name not in answers})
        bytes_up += sum(len(raw) for parts in answers.values() for raw in parts)
        return answers

    answers = ask("advertise", _to_all(present, [opening]))
    shown = server.advertisements(_single(Advertisement, answers))
    answers = ask("share", _to_all(answers, shown))
    boxes = server.shares({name: read_all(EncryptedShares, parts) for name, parts in answers.items()})
    answers = ask("masked", {name: [box.to_bytes() for box in mail] for name, mail in boxes.items()})
    for message in _single(MaskedInput, answers):
        server.add(message)
    announced = server.survivors()
    answers = ask("consistency", _to_all(announced.survivors, [announced]))
    signed = server.signatures(_single(SignedSurvivors, answers))
    answers = ask("unmask", _to_all(answers, signed))
    total = server.unmask(_single(UnmaskShares, answers))
    return Opened(total, announced.survivors, dropped, bytes_up)


def _to_all(names: Iterable[str], messages: Sequence[Opening | Message]) -> dict[str, list[bytes]]:
    """Return the same messages for each of ``names``."""
    raw = [message.to_bytes() for message in messages]
    return {name: list(raw) for name in names}


def read_all(kind: type[M], received: Sequence[bytes]) -> list[M]:
    """Return the messages that ``received`` holds, all of one kind."""
    return [kind.from_bytes(raw) for raw in received]


def _single(kind: type[M], answers: Mapping[str, Sequence[bytes]]) -> list[M]:
    """Return one message of each hospital, each in its sender's own name."""
    found = []
    for name, parts in answers.items():
        messages = read_all(kind, parts)
        if [message.sender for message in messages] != [name]:
            raise SecAggError(
                f"{name} sent {[m.sender for m in messages]} for {kind.__name__}; expected one message in its own name"
            )
        found += messages
    return found
