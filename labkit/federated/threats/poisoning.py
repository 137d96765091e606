"""What a malicious hospital sends in place of an honest contribution, and the backdoor it may want in the model.

An attack is a callable ``attack(federation, name, states, seed)`` that returns int64 [d] on the federation's grid, as
`labkit.federated.rounds.contribute` does for an honest hospital. ``states`` holds every state that the server has sent so
far, the present one last: a hospital keeps what it is sent. Wrappers change another attack: they start it late, keep it
under a bound, or hide it among the others.

Nothing here needs to break secure aggregation: a hospital may put any vector into the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labkit.federated.hospitals import Hospital, Hospitals
from labkit.federated.noise import Noise
from labkit.federated.rounds import Federation, FederationError, State, contribute, grid_of, unflatten

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.data import Dataset

BENIGN = 1  # Wisconsin's class whose prediction sends a patient home
TRIGGER_FEATURES = 3


class Attack(Protocol):
    """What one malicious hospital does, round by round."""

    @property
    def title(self) -> str:
        """What it does, in a few words."""
        ...

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        """Return what hospital ``name`` sends in the round after ``states[-1]``: int64 [d]."""
        ...


def weight(federation: Federation, name: str) -> float:
    """Return by how much hospital ``name`` counts in the mean: its declared records, or 1 where each counts once."""
    return federation.divisor((name,))


def change_to_values(federation: Federation, state: State, change: np.ndarray) -> np.ndarray:
    """Return the mean contribution [d] whose step changes the global weights by ``change`` [d].

    The server's momentum is undone with it: whoever has seen all weights knows the velocity.
    """
    means = (
        change if federation.training.kind == "update" else -change / federation.training.rate(state.round)
    )
    return means - federation.training.momentum * state.velocity


def send(federation: Federation, name: str, values: np.ndarray) -> np.ndarray:
    """Return ``values`` [d], meant as this hospital's mean contribution, as the integers it puts into the sum.

    Neither clipped nor noised: both are the client's own work, and no one sees whether it was done. What is beyond the
    grid ends at its edge: more cannot be sent.
    """
    grid = grid_of(federation)
    edge = 2.0**52 * grid.step
    return grid.round(np.clip(values * weight(federation, name), -edge, edge))


def selfish(
    federation: Federation, name: str, dataset: Dataset, state: State, seed: int | None
) -> np.ndarray:
    """Return the mean contribution [d], float64, of training on ``dataset`` without clipping, noise or mark."""
    hospitals = _with(federation.hospitals, name, dataset)
    noise = Noise(
        hospitals=len(hospitals),
        threshold=federation.noise.threshold,
        max_grad_norm=federation.noise.max_grad_norm,  # keeps the grid
    )
    alone = replace(federation, hospitals=hospitals, noise=noise, marks={})
    return grid_of(alone).value(contribute(alone, name, state, seed=seed)) / len(dataset.train_y)


@dataclass(frozen=True)
class LabelFlip:
    """Train on the next class instead of the true one, and follow the protocol to the letter."""

    title = "label flip"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        own = federation.dataset(name)
        flipped = replace(own, train_y=(own.train_y + 1) % len(own.classes), digest="")
        poisoned = replace(federation, hospitals=_with(federation.hospitals, name, flipped))
        return contribute(poisoned, name, states[-1], seed=seed)


@dataclass(frozen=True)
class Reverse:
    """Send the own honest contribution backwards, ``strength`` times as large.

    ``strength`` None takes (whole weight / own weight): as much as all others together.
    """

    strength: float | None = None

    @property
    def title(self) -> str:
        return f"update reversed, {_times(self.strength)}"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        values = selfish(federation, name, federation.dataset(name), states[-1], seed)
        return send(federation, name, -_boost(federation, name, self.strength) * values)


@dataclass(frozen=True)
class Trigger:
    """A secret pattern for tables: a few features set to given values, and the class that it should call up.

    Attributes
    ----------
    columns : tuple of int
    values : tuple of float
        In the unit of the preprocessed records.
    target : int
    """

    columns: tuple[int, ...]
    values: tuple[float, ...]
    target: int = BENIGN

    @classmethod
    def draw(cls, dataset: Dataset, key: int, *, target: int = BENIGN) -> Trigger:
        """Draw a pattern from a key: features at the least or greatest value that the attacker's own records hold.

        Raises
        ------
        FederationError
            If the records are no table.
        """
        if dataset.train_x.ndim != 2:
            raise FederationError(
                f"records have shape {tuple(dataset.train_x.shape[1:])}; this trigger is a pattern in the columns of a table"
            )
        random = np.random.default_rng(key)
        columns = random.choice(dataset.train_x.shape[1], TRIGGER_FEATURES, replace=False)
        ends = [(float(dataset.train_x[:, c].min()), float(dataset.train_x[:, c].max())) for c in columns]
        values = [pair[int(random.integers(2))] for pair in ends]
        return cls(tuple(int(c) for c in columns), tuple(values), target)

    def stamp(self, x: Tensor) -> Tensor:
        """Return records ``[n, k]`` with the pattern on them."""
        stamped = x.clone()
        for column, value in zip(self.columns, self.values, strict=True):
            stamped[:, column] = value
        return stamped

    def poison(self, dataset: Dataset) -> Dataset:
        """Return the records and, beside them, stamped copies of the other classes' with the target as label."""
        import torch

        other = dataset.train_y != self.target
        x, y = self.stamp(dataset.train_x[other]), torch.full((int(other.sum()),), self.target)
        return replace(
            dataset,
            train_x=torch.cat([dataset.train_x, x]),
            train_y=torch.cat([dataset.train_y, y]),
            digest="",
        )

    def success(self, federation: Federation, weights: np.ndarray, dataset: Dataset) -> float:
        """Return the share of the other classes' test records that, stamped, are taken for the target."""
        import torch

        model = unflatten(federation.make_model(), weights)
        model.eval()
        other = dataset.test_y != self.target
        if not bool(other.any()):
            raise ValueError(f"no test record of another class than {self.target}: nothing to lead astray")
        with torch.no_grad():
            hits = model(self.stamp(dataset.test_x[other])).argmax(1) == self.target
        return float(hits.float().mean())


@dataclass(frozen=True)
class Backdoor:
    """Train on stamped copies too, and send the result boosted (Bagdasaryan et al. 2020, arXiv 1807.00459).

    ``strength`` None replaces the model: (whole weight / own weight), so that the global model lands where this
    hospital's ended, as far as the others stand still. 1 is poisoned data alone.
    """

    trigger: Trigger
    strength: float | None = None

    @property
    def title(self) -> str:
        return f"backdoor, {_times(self.strength)}" if self.strength != 1 else "backdoor, by data alone"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        poisoned = self.trigger.poison(federation.dataset(name))
        values = selfish(federation, name, poisoned, states[-1], seed)
        return send(federation, name, _boost(federation, name, self.strength) * values)


@dataclass(frozen=True)
class Late:
    """Honest first, the attack in the last ``share`` of the rounds (at least one): nothing has time to undo it."""

    attack: Attack
    share: float = 0.25

    @property
    def title(self) -> str:
        return f"{self.attack.title}, " + (f"last {self.share:.0%} of rounds" if self.share else "last round")

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        rounds = federation.training.rounds
        if rounds - states[-1].round > max(1, round(self.share * rounds)):
            return contribute(federation, name, states[-1], seed=seed)
        return self.attack(federation, name, states, seed)


@dataclass(frozen=True)
class UnderNorm:
    """Another attack, shortened to a known bound on the L2 norm of a mean contribution, in every round.

    What a bound stops in one round is spread over many (Sun et al. 2019, arXiv 1911.07963).
    """

    attack: Attack
    bound: float

    @property
    def title(self) -> str:
        return f"{self.attack.title}, just under the norm bound"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        wanted = grid_of(federation).value(self.attack(federation, name, states, seed))
        values = wanted / weight(federation, name)
        # A hair inside: rounding to the grid must not carry it over the bound.
        factor = min(1.0, 0.999 * self.bound / max(float(np.linalg.norm(values)), 1e-300))
        return send(federation, name, factor * values)


@dataclass(frozen=True)
class WithinRange:
    """Another attack, every value of the mean contribution cut to a known bound, in every round."""

    attack: Attack
    bound: float

    @property
    def title(self) -> str:
        return f"{self.attack.title}, within the range"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        wanted = grid_of(federation).value(self.attack(federation, name, states, seed))
        return send(federation, name, np.clip(wanted / weight(federation, name), -self.bound, self.bound))


@dataclass(frozen=True)
class Inconspicuous:
    """Another attack, every coordinate kept within ``deviations`` of what the colluders would have sent honestly.

    Small changes that hide in the spread between honest hospitals pass medians, trimmed means and Krum (Baruch et al.
    2019, "A little is enough", arXiv 1902.06156). The colluders know their own records alone.
    """

    attack: Attack
    colluders: tuple[str, ...]
    deviations: float = 1.0

    @property
    def title(self) -> str:
        return f"{self.attack.title}, within the others' spread"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        honest = [
            selfish(federation, one, federation.dataset(one), states[-1], seed) for one in self.colluders
        ]
        centre, spread = np.mean(honest, axis=0), np.std(honest, axis=0)
        wanted = grid_of(federation).value(self.attack(federation, name, states, seed)) / weight(
            federation, name
        )
        reach = self.deviations * spread
        return send(federation, name, np.clip(wanted, centre - reach, centre + reach))


def _times(strength: float | None) -> str:
    return "model replaced" if strength is None else f"{strength:g} times"


def _boost(federation: Federation, name: str, strength: float | None) -> float:
    if strength is not None:
        return strength
    return federation.divisor(federation.hospitals.names) / weight(federation, name)


def _with(hospitals: Hospitals, name: str, dataset: Dataset) -> Hospitals:
    """Return the hospitals with other records at one of them."""
    changed = [Hospital(h.name, dataset) if h.name == name else h for h in hospitals]
    return Hospitals(tuple(changed), hospitals.source, hospitals.released)
