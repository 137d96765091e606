"""Both sides of a round over any transport: bytes in, bytes out, and nothing but a hospital's folder in between.

`Member` is a hospital's side. It may run in a fresh process for every message (Flower starts one for each), so what it
must remember lies in its folder, readable by its owner only:

- ``identity``: its signing key and the rounds that it took part in, written before the first answer of a round leaves;
- ``round``: its secrets of the current round, taken away before they are used and written again after. A stage that
  fails or is cut off leaves nothing behind to go on from, so no message can be answered twice;
- ``spent``: how many rounds it helped to open. More than agreed are refused, as each costs privacy;
- ``model.npy``: the final model, when it came.

`secure_round` is the server's side, over an `Exchange` that carries one stage to the hospitals and back.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from labkit.cache import atomic_path
from labkit.federated.agreement import Seat, round_digest, terms_digest
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import Federation, FederationError, State, contribute
from labkit.federated.secagg import Client, Identity, SecAggError, Server, fresh_round_id, pause, resume
from labkit.federated.secagg.messages import (
    Advertisement,
    EncryptedShares,
    MaskedInput,
    Message,
    SignedSurvivors,
    SurvivorList,
    UnmaskShares,
)
from labkit.federated.secagg.terms import STAGES

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
class Member:
    """One hospital, for any number of messages.

    Attributes
    ----------
    name : str
    federation : Federation
        Its `Seat`, or in a simulation the whole.
    roster : mapping of str to bytes
        Public signing keys of all.
    folder : Path
    seed : int, optional
        Of noise and batches, for study.
    """

    name: str
    federation: Federation
    roster: Mapping[str, bytes]
    folder: Path
    seed: int | None = None

    @property
    def terms(self) -> bytes:
        """Digest of what was agreed."""
        return terms_digest(self.federation, self.roster)

    def answer(self, stage: str, received: Sequence[bytes]) -> list[bytes]:
        """Return this hospital's messages for ``stage``.

        Raises
        ------
        SecAggError, FederationError
            If the hospital stops; it then takes no further part in this round.
        """
        if stage not in STAGES:
            raise SecAggError(
                f"{self.name} was asked for stage {stage!r}; expected one of {', '.join(STAGES)}"
            )
        if stage == "advertise":
            return self._advertise(*received)
        opening, client = self._take()
        if stage == "share":
            sent = client.share(_read(Advertisement, received))
        elif stage == "masked":
            sent = [client.masked(self._contribution(opening), _read(EncryptedShares, received))]
        elif stage == "consistency":
            sent = [client.consistency(*_read(SurvivorList, received))]
        else:
            self._spend()
            return [client.unmask(_read(SignedSurvivors, received)).to_bytes()]
        self._keep(opening, client)
        return [message.to_bytes() for message in sent]

    def _advertise(self, raw: bytes) -> list[bytes]:
        """Enter a round: fresh keys, and a note that this round was entered."""
        opening = Opening.from_bytes(raw)
        self._check(opening)
        (self.folder / "round").unlink(missing_ok=True)
        identity = Identity.from_bytes((self.folder / "identity").read_bytes())
        threshold, encoding = self.federation.noise.threshold, encoding_of(self.federation)
        digest = round_digest(self.terms, opening.state)
        client = Client(self.name, identity, self.roster, threshold, encoding, opening.round_id, digest)
        write_secret(self.folder / "identity", identity.to_bytes())
        advertised = client.advertise().to_bytes()
        self._keep(opening, client)
        return [advertised]

    def _check(self, opening: Opening) -> None:
        """Refuse a round that was not agreed on."""
        agreed = self.federation.training.rounds
        if not 1 <= opening.number <= agreed:
            raise FederationError(
                f"{self.name} was asked for round {opening.number}; {agreed} were agreed on"
            )
        if (spent := self.spent) >= agreed:
            raise FederationError(
                f"{self.name} helped to open {spent} rounds, as many as were agreed on: one more would cost privacy that "
                "nobody accounted for"
            )
        if opening.weights.shape != (self.federation.dimension,) or not np.isfinite(opening.weights).all():
            raise FederationError(
                f"the server sent weights of shape {opening.weights.shape}; expected ({self.federation.dimension},) "
                "finite numbers"
            )

    def _contribution(self, opening: Opening) -> np.ndarray:
        """Return what this hospital adds to the sum, int64 [d]."""
        if isinstance(self.federation, Seat):
            self.federation.check()
        return contribute(self.federation, self.name, opening.state, seed=self.seed)

    def finish(self, raw: bytes) -> list[bytes]:
        """Keep the final model, and forget what was left of the last round."""
        weights = np.frombuffer(raw, dtype="<f8")
        if weights.shape != (self.federation.dimension,) or not np.isfinite(weights).all():
            raise FederationError(
                f"the final model has shape {weights.shape}; expected ({self.federation.dimension},)"
            )
        (self.folder / "round").unlink(missing_ok=True)
        with atomic_path(self.folder / "model.npy") as temporary, temporary.open("wb") as file:
            np.save(file, weights)
        return [b"kept"]

    @property
    def spent(self) -> int:
        """Rounds of this agreement that this hospital helped to open."""
        path = self.folder / "spent"
        return path.read_text().split().count(self.terms.hex()) if path.exists() else 0

    def _spend(self) -> None:
        """Note, before the answer leaves, that a sum may be opened."""
        with (self.folder / "spent").open("a") as file:
            file.write(f"{self.terms.hex()}\n")
            file.flush()
            os.fsync(file.fileno())

    def _take(self) -> tuple[Opening, Client]:
        """Take the round's secrets out of the folder."""
        path = self.folder / "round"
        try:
            raw = path.read_bytes()
        except FileNotFoundError as error:
            raise SecAggError(
                f"{self.name} is in no round: it never began, was cut off, or stopped; start a new one"
            ) from error
        path.unlink()
        size = int.from_bytes(raw[:8], "big")
        opening = Opening.from_bytes(raw[8 : 8 + size])
        identity = Identity.from_bytes((self.folder / "identity").read_bytes())
        threshold, encoding = self.federation.noise.threshold, encoding_of(self.federation)
        return opening, resume(raw[8 + size :], identity, self.roster, threshold, encoding)

    def _keep(self, opening: Opening, client: Client) -> None:
        """Put the round's secrets back until the next stage."""
        kept = opening.to_bytes()
        write_secret(self.folder / "round", len(kept).to_bytes(8, "big") + kept + pause(client))


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
    boxes = server.shares({name: _read(EncryptedShares, parts) for name, parts in answers.items()})
    answers = ask("masked", {name: [box.to_bytes() for box in mail] for name, mail in boxes.items()})
    for message in _single(MaskedInput, answers):
        server.add(message)
    announced = server.survivors()
    answers = ask("consistency", _to_all(announced.survivors, [announced]))
    signed = server.signatures(_single(SignedSurvivors, answers))
    answers = ask("unmask", _to_all(answers, signed))
    total = server.unmask(_single(UnmaskShares, answers))
    return Opened(total, announced.survivors, dropped, bytes_up)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    with atomic_path(path) as temporary:  # made by mkstemp: nobody else can read it from the start
        temporary.write_bytes(content)


def _to_all(names: Iterable[str], messages: Sequence[Opening | Message]) -> dict[str, list[bytes]]:
    """Return the same messages for each of ``names``."""
    raw = [message.to_bytes() for message in messages]
    return {name: list(raw) for name in names}


def _read(kind: type[M], received: Sequence[bytes]) -> list[M]:
    return [kind.from_bytes(raw) for raw in received]


def _single(kind: type[M], answers: Mapping[str, Sequence[bytes]]) -> list[M]:
    """Return one message of each hospital, each in its sender's own name."""
    found = []
    for name, parts in answers.items():
        messages = _read(kind, parts)
        if [message.sender for message in messages] != [name]:
            raise SecAggError(
                f"{name} sent {[m.sender for m in messages]} for {kind.__name__}; expected one message in its own name"
            )
        found += messages
    return found
