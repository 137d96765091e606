"""Ways to make one sum of what hospitals sent, and what the server must see for each.

An aggregate is a callable ``aggregate(federation, sent)`` from int64 vectors [d] by hospital to the int64 vector [d] that
`labkit.federated.rounds.step` takes for their sum. Its ``mixed(n)`` says how many hospitals' contributions are added up
before the server sees anything: the anonymity set. With secure aggregation among all n it is n; a rule that compares
hospitals with each other needs them one by one.

A bound on what a hospital sends under secure aggregation must be proved by the hospital without showing the vector:
RoFL (Burkhalter et al. 2021, arXiv 2107.03311) and EIFFeL (Roy Chowdhury et al. 2022, arXiv 2112.12727) do so. Neither is
built here: `NormBound` checks in the clear, and stands for what such a proof would enforce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labkit.federated.rounds import Federation, FederationError, begin, contribute, grid_of, step
from labkit.federated.secagg import Encoding, fresh_round_id, least_threshold, secure_sum_integers
from labkit.federated.secagg.terms import SMALLEST

Sent = Mapping[str, np.ndarray]


class Aggregate(Protocol):
    """How the server makes one sum."""

    @property
    def title(self) -> str:
        """Its name in tables."""
        ...

    def mixed(self, hospitals: int) -> int:
        """Return how many contributions are added up before the server sees anything."""
        ...

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        """Return what stands for the sum: int64 [d]."""
        ...


@dataclass(frozen=True)
class Sum:
    """Add everything up: all that plain secure aggregation does."""

    title = "sum of all"

    def mixed(self, hospitals: int) -> int:
        return hospitals

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        return sum(sent.values())


@dataclass(frozen=True)
class NormBound:
    """Add up what keeps to an L2 bound on the mean contribution; shorten the rest to it.

    Computed in the clear here. Under secure aggregation it holds only with a proof from each hospital (RoFL, EIFFeL);
    asked of clients without one, it binds the honest.
    """

    bound: float

    title = "L2 bound, with proofs"

    def mixed(self, hospitals: int) -> int:
        return hospitals

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        means, weights = per_hospital(federation, sent)
        length = np.linalg.norm(means, axis=1, keepdims=True)
        kept = means * np.minimum(1.0, self.bound / np.maximum(length, 1e-300))
        return grid_of(federation).round(weights @ kept)


@dataclass(frozen=True)
class RangeBound:
    """Add up what keeps every value within ``bound``; cut the rest to it: the range of an encoding, were it enforced.

    In d dimensions it allows sqrt(d) times as long a vector as an L2 bound of the same size. Under secure aggregation it
    too holds only with a proof (of range, for each value): see `labkit.federated.threats.wrapping`.
    """

    bound: float

    title = "range bound, with proofs"

    def mixed(self, hospitals: int) -> int:
        return hospitals

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        means, weights = per_hospital(federation, sent)
        return grid_of(federation).round(weights @ np.clip(means, -self.bound, self.bound))


@dataclass(frozen=True)
class Groups:
    """Add up small groups, drawn anew in every round, and take the coordinatewise median of the groups' means.

    Works under secure aggregation, a run of the protocol for each group; the server sees sums of ``size`` hospitals in
    place of one sum of all (in the manner of SAFELearning, arXiv 2102.02402).
    """

    size: int
    secure: bool = False

    def __post_init__(self) -> None:
        if self.size < SMALLEST:
            raise FederationError(
                f"groups of {self.size}; secure aggregation needs at least {SMALLEST}: of a sum of two, each of the two "
                "knows the other's part. Use Median() for contributions in the clear"
            )

    @property
    def title(self) -> str:
        return f"median of groups of {self.size}"

    def mixed(self, hospitals: int) -> int:
        return self.size

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        names = list(sent)
        if len(names) < 3 * self.size:
            raise FederationError(
                f"{len(names)} hospitals make {len(names) // self.size} groups of {self.size}; a median needs at least 3"
            )
        order = np.random.default_rng(None if seed is None else [seed, round, 3]).permutation(len(names))
        means = []
        for group in np.array_split(order, len(names) // self.size):
            members = tuple(names[int(i)] for i in group)
            total = self._total(federation, {name: sent[name] for name in members})
            means.append(grid_of(federation).value(total) / federation.divisor(members))
        return _as_sum(federation, sent, np.median(means, axis=0))

    def _total(self, federation: Federation, sent: Sent) -> np.ndarray:
        """Return the sum of one group, by the protocol or in the clear: the same whole numbers."""
        if not self.secure:
            return sum(sent.values())
        scale = 1 / grid_of(federation).step
        found = secure_sum_integers(
            sent,
            threshold=least_threshold(len(sent)),
            encoding=Encoding(scale=scale, bits=64, parties=len(sent), bound=2.0**52 / scale),
            round_id=fresh_round_id(),
            model_digest=b"the model of this round",
        )
        return found.integers


@dataclass(frozen=True)
class Median:
    """Take the coordinatewise median over hospitals (Yin et al. 2018, arXiv 1803.01498); each counts once."""

    title = "median"

    def mixed(self, hospitals: int) -> int:
        return 1

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        return _as_sum(federation, sent, np.median(per_hospital(federation, sent)[0], axis=0))


@dataclass(frozen=True)
class TrimmedMean:
    """Drop the ``trim`` least and greatest values of each coordinate, average the rest (Yin et al. 2018)."""

    trim: int

    title = "trimmed mean"

    def mixed(self, hospitals: int) -> int:
        return 1

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        if self.trim < 1 or 2 * self.trim >= len(sent):
            raise FederationError(
                f"trim is {self.trim} of {len(sent)} hospitals; expected at least 1 and less than half"
            )
        means = np.sort(per_hospital(federation, sent)[0], axis=0)
        return _as_sum(federation, sent, means[self.trim : len(means) - self.trim].mean(0))


@dataclass(frozen=True)
class Krum:
    """Take the one contribution closest to its neighbours (Blanchard et al. 2017, NeurIPS, with ``attackers`` = f)."""

    attackers: int

    title = "Krum"

    def mixed(self, hospitals: int) -> int:
        return 1

    def __call__(self, federation: Federation, sent: Sent, round: int, seed: int | None) -> np.ndarray:
        near = len(sent) - self.attackers - 2
        if self.attackers < 1 or near < 1 or len(sent) < 2 * self.attackers + 3:
            raise FederationError(
                f"Krum against {self.attackers} attackers needs at least {2 * max(1, self.attackers) + 3} hospitals; "
                f"there are {len(sent)}"
            )
        means = per_hospital(federation, sent)[0]
        square = ((means[:, None] - means[None]) ** 2).sum(2)
        score = np.sort(square, axis=1)[:, 1 : near + 1].sum(1)  # the first is its own distance, 0
        return _as_sum(federation, sent, means[int(score.argmin())])


def per_hospital(federation: Federation, sent: Sent) -> tuple[np.ndarray, np.ndarray]:
    """Return each hospital's mean contribution [n, d], float64, and the weights [n] with which they make up the sum."""
    weights = np.array([federation.divisor((name,)) for name in sent])
    values = np.stack([grid_of(federation).value(vector) for vector in sent.values()])
    return values / weights[:, None], weights


def pilot_bound(federation: Federation, *, seed: int, order: float = 2) -> float:
    """Return the greatest norm of a mean contribution in an honest pilot run: a bound to fix in advance.

    Parameters
    ----------
    seed : int
        None of those that the study then uses.
    order : float
        2 for the Euclidean norm, infinity for the greatest value.
    """
    state, names, longest = begin(federation), federation.hospitals.names, 0.0
    for _ in range(federation.training.rounds):
        sent = {name: contribute(federation, name, state, seed=seed) for name in names}
        norms = np.linalg.norm(per_hospital(federation, sent)[0], ord=order, axis=1)
        longest = max(longest, float(norms.max()))
        state = step(federation, state, sum(sent.values()), names, seed=seed)
    return longest


def _as_sum(federation: Federation, sent: Sent, mean: np.ndarray) -> np.ndarray:
    """Return the int64 sum [d] whose mean over all who sent is ``mean``."""
    return grid_of(federation).round(mean * federation.divisor(tuple(sent)))
