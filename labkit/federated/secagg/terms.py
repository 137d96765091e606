"""The terms of one round: what every party must hold the same before a single value moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from labkit.federated.secagg.encoding import Encoding
from labkit.federated.secagg.errors import SecAggError
from labkit.federated.secagg.keys import check_public, digest
from labkit.federated.secagg.messages import (
    NAME_BYTES,
    Advertisement,
    EncryptedShares,
    SignedSurvivors,
    UnmaskShares,
)

SMALLEST = 3  # of a sum of two, each of the two knows the other's part
STAGES = ("advertise", "share", "masked", "consistency", "unmask")


def least_threshold(hospitals: int, colluding: int = 0) -> int:
    """Return the smallest threshold that is safe when up to ``colluding`` hospitals help a malicious server.

    Two different lists of survivors must never both find ``threshold`` signatures: with n hospitals, 2 t - n of them
    signed both, and those must not all be colluding, so 2 t - n > colluding (Bonawitz et al. 2017, section 6.2).

    Raises
    ------
    SecAggError
        If no threshold is safe: fewer than three hospitals, or too many colluding.

    Examples
    --------
    >>> least_threshold(5), least_threshold(5, colluding=2), least_threshold(20)
    (3, 4, 11)
    """
    threshold = max(SMALLEST, (hospitals + colluding) // 2 + 1)
    if not 0 <= colluding <= hospitals - 2 or threshold > hospitals:
        raise SecAggError(
            f"no threshold protects {hospitals} hospitals of which {colluding} collude: at least {SMALLEST} hospitals, "
            "and two honest ones, are needed"
        )
    return threshold


@dataclass(frozen=True)
class Terms:
    """Roster, threshold, encoding, round and model of one round; refuses terms under which a sum protects nobody.

    Attributes
    ----------
    roster : mapping of str to bytes
        Every hospital that may take part, and its Ed25519 public key: known in advance, outside the protocol.
    threshold : int
        How many must be left at each stage; more than half of the roster, and at least three.
    """

    roster: Mapping[str, bytes]
    threshold: int
    encoding: Encoding
    round_id: bytes
    model_digest: bytes
    names: tuple[str, ...] = field(init=False)
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        roster = dict(sorted(self.roster.items()))
        least = max(SMALLEST, len(roster) // 2 + 1)
        if len(roster) < SMALLEST:
            raise SecAggError(
                f"a group of {len(roster)} is too small; expected at least {SMALLEST}: of a sum of two, each knows the "
                "other's part"
            )
        if not least <= self.threshold <= len(roster):
            raise SecAggError(
                f"threshold is {self.threshold} for {len(roster)} hospitals; expected {least} to {len(roster)}: more "
                f"than half, so that no two groups can sign different survivors, and at least {SMALLEST}"
            )
        if len(set(roster.values())) < len(roster):
            raise SecAggError("two hospitals of the roster have one public key: each needs its own")
        if self.encoding.parties < len(roster):
            raise SecAggError(
                f"the encoding has room for {self.encoding.parties} parties; expected at least {len(roster)}"
            )
        for name, what in ((self.round_id, "round_id"), (self.model_digest, "model_digest")):
            if not isinstance(name, bytes) or not 1 <= len(name) <= 64:
                raise SecAggError(f"{what} is {name!r}; expected 1 to 64 bytes")
        for name, public in roster.items():
            if not 1 <= len(name.encode()) <= NAME_BYTES:
                raise SecAggError(f"name {name!r} has {len(name.encode())} bytes; expected 1 to {NAME_BYTES}")
            check_public(public)
        object.__setattr__(self, "roster", roster)
        object.__setattr__(self, "names", tuple(roster))
        object.__setattr__(self, "digest", self._digest())

    def _digest(self) -> bytes:
        grid = self.encoding
        members = [part for pair in self.roster.items() for part in pair]
        return digest(
            "terms",
            str(self.threshold),
            f"{float(grid.scale).hex()} {grid.bits} {grid.parties} {float(grid.bound).hex()}",
            *members,
        )

    def number(self, name: str) -> int:
        """Return a hospital's number for Shamir's scheme, from 1 on."""
        return self.names.index(name) + 1

    def check_group(self, names: Iterable[str], stage: str) -> None:
        """Raise if a group is not of this roster, or smaller than the threshold."""
        group = set(names)
        if not group <= set(self.names):
            raise SecAggError(
                f"{sorted(group - set(self.names))} are not on the roster of {list(self.names)}"
            )
        if len(group) < self.threshold:
            raise SecAggError(
                f"{len(group)} of {len(self.names)} hospitals are left at stage {stage!r}: {sorted(group)}; expected at least the threshold, "
                f"{self.threshold}: the round is given up, start a new one"
            )

    def check_round(self, round_id: bytes, sender: str) -> None:
        """Raise if a message is of another round."""
        if round_id != self.round_id:
            raise SecAggError(
                f"a message of {sender} is of round {round_id.hex()}; expected {self.round_id.hex()}: replayed"
            )

    def view(self, advertisements: Sequence[Advertisement]) -> bytes:
        """Return one digest of all keys that a party was shown; parties shown different keys cannot go on together."""
        parts = [
            part
            for one in sorted(advertisements, key=lambda a: a.sender)
            for part in (one.signed(), one.signature)
        ]
        return digest("view", self.round_id, self.digest, *parts)

    def signed_survivors(self, view: bytes, sharers: Iterable[str], survivors: Iterable[str]) -> bytes:
        """Return what a hospital signs in the consistency round: what it was shown, whose shares it holds, who is left."""
        groups = (digest("names", *sorted(group)) for group in (sharers, survivors))
        return digest("survivors", self.round_id, view, *groups)


Sent = TypeVar("Sent", Advertisement, EncryptedShares, SignedSurvivors, UnmaskShares)


def by_sender(messages: Iterable[Sent]) -> dict[str, Sent]:
    """Return messages by their sender; raises if one sender has two."""
    found: dict[str, Sent] = {}
    for message in messages:
        if message.sender in found:
            raise SecAggError(f"{message.sender} has two {type(message).__name__} messages; expected one")
        found[message.sender] = message
    return found
