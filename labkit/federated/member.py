"""A hospital's side of a round: bytes in, bytes out, and nothing but its folder in between.

A `Member` may run in a fresh process for every message (Flower starts one for each), so what it must remember lies in
its folder, readable by its owner only:

- ``identity``: its signing key and the rounds that it took part in, written before the first answer of a round leaves;
- ``round``: its secrets of the current round, taken away before they are used and written again after. A stage that
  fails or is cut off leaves nothing behind to go on from, so no message can be answered twice;
- ``spent``: how many vectors it let go, each counted before it leaves: from then on its privacy is spent, whether or
  not this hospital is asked to help open the sum. No more leave than were agreed on;
- ``model.npy``: the final model, when it came.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.cache import atomic_path
from labkit.federated.agreement import Seat, round_digest, terms_digest, vectors
from labkit.federated.loop import encoding_of
from labkit.federated.rounds import Federation, FederationError, contribute
from labkit.federated.secagg import Client, Identity, SecAggError, pause, resume
from labkit.federated.secagg.keys import transcript
from labkit.federated.secagg.messages import Advertisement, EncryptedShares, SignedSurvivors, SurvivorList
from labkit.federated.secagg.terms import STAGES
from labkit.federated.wire import Opening
from labkit.federated.wire_checks import read_all


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
            sent = client.share(read_all(Advertisement, received))
        elif stage == "masked":
            sent = [client.masked(self._contribution(opening), read_all(EncryptedShares, received))]
            self._spend()
        elif stage == "consistency":
            sent = [client.consistency(*read_all(SurvivorList, received))]
        else:
            return [client.unmask(read_all(SignedSurvivors, received)).to_bytes()]
        self._keep(opening, client)
        return [message.to_bytes() for message in sent]

    def join(self, challenge: bytes) -> list[bytes]:
        """Return name, digest of the terms, and a signature under both and the server's fresh ``challenge``."""
        identity = Identity.from_bytes((self.folder / "identity").read_bytes())
        signature = identity.sign(join_text(self.name, self.terms, challenge))
        return [self.name.encode(), self.terms, signature]

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
        self._check_budget(self.spent + 1)
        if opening.weights.shape != (self.federation.dimension,) or not np.isfinite(opening.weights).all():
            raise FederationError(
                f"the server sent weights of shape {opening.weights.shape}; expected ({self.federation.dimension},) "
                "finite numbers"
            )

    def _check_budget(self, vector: int) -> None:
        """Refuse the ``vector``-th vector (from 1) if that many were not agreed on."""
        if vector > (agreed := vectors(self.federation)):
            raise FederationError(
                f"{self.name} let {agreed} vectors go, as many as were agreed on: one more would cost privacy that nobody "
                "accounted for. Agree anew, with spare ones"
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
        """Vectors that this hospital let go under this agreement."""
        path = self.folder / "spent"
        return path.read_text().split().count(self.terms.hex()) if path.exists() else 0

    def _spend(self) -> None:
        """Note, before the vector leaves, that it does.

        Raises
        ------
        FederationError
            If as many as agreed have left.
        """
        self._check_budget(self.spent + 1)
        with (self.folder / "spent").open("a") as file:
            file.write(f"{self.terms.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        self._check_budget(
            self.spent
        )  # of two processes that both had one vector left, one at least sees both notes

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


def join_text(name: str, terms: bytes, challenge: bytes) -> bytes:
    """Return what a hospital signs when it joins."""
    return transcript("join", name, terms, challenge)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    with atomic_path(path) as temporary:  # made by mkstemp: nobody else can read it from the start
        temporary.write_bytes(content)
