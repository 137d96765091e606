"""What hospitals agree on before the first round, and a federation as one of them sees it.

A federation in one process holds everybody's records. A real one must not: the server and each hospital hold the
agreement (public) and their own part. `Seat` is a `Federation` with that much in it, so that the pure functions of
`labkit.federated.rounds` run on either.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkit.federated.noise import Noise
from labkit.federated.rounds import Federation, FederationError, State, Training
from labkit.federated.secagg import SecAggError, least_threshold

if TYPE_CHECKING:
    from torch import nn

    from labkit.data import Dataset
    from labkit.dp.accounting.statement import PrivacyStatement
    from labkit.federated.hospitals import Hospital


@dataclass(frozen=True)
class Agreement:
    """The terms, on paper as in the file: every hospital holds a copy, and compares its digest with the others'.

    Attributes
    ----------
    roster : dict of str to str
        Each hospital's name and public signing key (Ed25519, in hex), exchanged outside of the protocol.
    sizes : dict of str to int
        Records that each hospital declares: what the sum is divided by. Constants of the plan, public, and best round
        numbers: where records are private, nothing tells whether a hospital holds exactly as many.
    training, noise : Training, Noise
    model : str
        ``"module:function"`` that makes the model with its initial weights.
    arguments : dict
        Keyword arguments of that function.
    dimension : int
        Trainable parameters of the model.
    spare : int
        Vectors that each hospital may send beyond one a round, for rounds that are tried again. A round given up after
        a vector left has cost as much privacy as one that was finished: `statement` covers rounds and spare ones.

    Raises
    ------
    FederationError
        If roster, sizes and noise do not speak of the same hospitals, a size or ``spare`` is out of range, or the
        threshold is too low for a server that ``noise.colluders`` hospitals help.
    """

    roster: dict[str, str]
    sizes: dict[str, int]
    training: Training
    noise: Noise
    model: str
    arguments: dict[str, Any]
    dimension: int
    spare: int = 0

    def __post_init__(self) -> None:
        if list(self.roster) != list(self.sizes) or self.noise.hospitals != len(self.roster):
            raise FederationError(
                f"the roster names {list(self.roster)}, sizes {list(self.sizes)}, and the noise is meant for "
                f"{self.noise.hospitals} hospitals; expected the same hospitals in the same order everywhere"
            )
        if self.spare < 0 or min(self.sizes.values()) < 1:
            raise FederationError(
                f"spare is {self.spare}, sizes are {self.sizes}; expected 0 or more spare vectors, and 1 record or more"
            )
        try:
            least = least_threshold(len(self.roster), self.noise.colluders)
        except SecAggError as error:
            raise FederationError(f"{error}: raise hospitals, or lower colluders") from error
        if self.noise.threshold < least:
            raise FederationError(
                f"threshold is {self.noise.threshold} of {len(self.roster)} hospitals, {self.noise.colluders} colluding; "
                f"expected at least {least}: with fewer, colluders and a server open two sums of one round"
            )

    def statement(self, delta: float = 1e-5) -> PrivacyStatement | None:
        """Return what is promised against the server (who adds ``central`` noise: against all others), or None.

        It covers every vector that a hospital lets go under this agreement, opened or not: `vectors` of them, in sums of
        as few hospitals as the threshold, ``noise.colluders`` of which help.
        """
        return self.noise.statement(
            self.training.rounds + self.spare,
            observer="everyone who gets the model" if self.noise.placement == "central" else "the server",
            colluders=self.noise.colluders,
            delta=delta,
        )

    def to_json(self) -> str:
        """Return the agreement as people read and compare it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Agreement:
        """Return the agreement that `to_json` wrote.

        Raises
        ------
        FederationError
            If a part is missing, unknown, or out of range.
        """
        try:
            parts = json.loads(text)
            training, noise = Training(**parts.pop("training")), Noise(**parts.pop("noise"))
            return cls(**parts, training=training, noise=noise)
        except FederationError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FederationError(f"this is no agreement ({error!r}): ask for the file anew") from error

    def make_model(self) -> nn.Module:
        """Return the model with its initial weights."""
        module, _, function = self.model.partition(":")
        return getattr(importlib.import_module(module), function)(**self.arguments)

    def seat(self, records: Callable[[], Hospital] | None = None) -> Seat:
        """Return the federation as one hospital sees it, or the server without ``records``.

        Parameters
        ----------
        records : callable, optional
            Loads the hospital; called only when a contribution is computed.
        """
        return Seat(
            _Table(self.sizes, self.dimension, records),
            self.make_model,
            self.training,
            self.noise,
            spare=self.spare,
        )


@dataclass(frozen=True)
class _Table:
    """Who sits at the table: names and declared sizes of all, records of one at most."""

    declared: Mapping[str, int]
    dimension: int
    records: Callable[[], Hospital] | None = None
    released: tuple[tuple[float, int], ...] = ()  # an agreement carries no private statistics

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.declared)

    @cached_property
    def own(self) -> Hospital | None:
        return None if self.records is None else self.records()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Hospital]:
        return iter(() if self.own is None else (self.own,))


@dataclass(frozen=True, eq=False)
class Seat(Federation):
    """A federation as one party sees it: all that is public, and the records of one hospital at most.

    Attributes
    ----------
    spare : int
        See `Agreement`.
    """

    spare: int = 0

    def __post_init__(self) -> None:
        """Check nothing yet: most messages need neither the model nor torch; `check` comes before records are used."""

    def check(self) -> None:
        """Refuse terms that could not be kept, or records that do not fit them.

        Raises
        ------
        FederationError
            As `Federation` does, or if nothing is private and this hospital has another number of records than it
            declared. With noise, a refusal would show what the noise hides: that one record is there or is not.
        """
        own = self.hospitals.own
        if own is not None:
            if self.noise.placement == "none" and self.sizes.get(own.name) != len(own.dataset.train_y):
                raise FederationError(
                    f"{own.name} holds {len(own.dataset.train_y)} records and declared {self.sizes.get(own.name)}: the sum is "
                    "divided by what was declared; agree on the number anew"
                )
            super().__post_init__()

    @property
    def dimension(self) -> int:
        """Number of trainable parameters, as agreed."""
        return self.hospitals.dimension

    @property
    def sizes(self) -> dict[str, int]:
        """Records that each hospital declared."""
        return dict(self.hospitals.declared)

    def dataset(self, name: str) -> Dataset:
        """Return the records of this hospital; nobody else's are here."""
        own = self.hospitals.own
        if own is None or own.name != name:
            raise FederationError(f"the records of {name} are not here: each hospital keeps its own")
        return own.dataset


def vectors(federation: Federation) -> int:
    """Return how many vectors a hospital lets go at most: one a round, and the spare ones that a `Seat` agreed on."""
    return federation.training.rounds + (federation.spare if isinstance(federation, Seat) else 0)


def terms_digest(federation: Federation, roster: Mapping[str, bytes]) -> bytes:
    """Return SHA-256 of all that parties must hold the same: who takes part, how training goes, how much noise is added."""
    terms = {
        "roster": {name: public.hex() for name, public in roster.items()},
        "sizes": federation.sizes,
        "training": asdict(federation.training),
        "noise": asdict(federation.noise),
        "dimension": federation.dimension,
        "vectors": vectors(federation),
    }
    return hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).digest()


def round_digest(terms: bytes, state: State) -> bytes:
    """Return SHA-256 of the terms, the round's number and its weights: what secure aggregation compares among hospitals."""
    return hashlib.sha256(terms + state.round.to_bytes(8, "big") + state.digest).digest()
