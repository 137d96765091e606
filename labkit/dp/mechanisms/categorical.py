"""Mechanisms for answers out of a list: randomised response, and the exponential mechanism."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labkit.dp.limits import check_epsilon
from labkit.dp.mechanisms.additive import check_sensitivity, finite

if TYPE_CHECKING:
    from labkit.stats import Interval


@dataclass(frozen=True)
class RandomisedResponse:
    """Each person answers truthfully or with one of the other answers: epsilon-DP without a trusted curator.

    Warner (1965) for two answers; Kairouz, Bonawitz & Ramage (2016, arXiv 1602.07387, section 2) for k.

    Parameters
    ----------
    epsilon : float
        Privacy loss of one answer.
    categories : int
        Number of possible answers k, numbered from 0.
    """

    epsilon: float
    categories: int = 2

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        if self.categories != int(self.categories) or self.categories < 2:
            raise ValueError(f"categories is {self.categories}; expected a whole number of at least 2")

    @property
    def delta(self) -> float:
        """Zero: the promise holds for every output."""
        return 0.0

    @property
    def keep_probability(self) -> float:
        """Probability of the true answer, e^epsilon / (e^epsilon + k - 1); each other answer has e^epsilon times less."""
        return 1 / (1 + (self.categories - 1) * math.exp(-self.epsilon))

    @property
    def lie_probability(self) -> float:
        """Probability of each one of the k - 1 other answers."""
        return math.exp(-self.epsilon) * self.keep_probability

    def _check(self, answers: Sequence[int] | np.ndarray) -> np.ndarray:
        array = np.asarray(answers)
        # NaN fails the first comparison, so it is caught as well.
        if (
            array.size == 0
            or not ((array >= 0) & (array < self.categories) & (array == np.floor(array))).all()
        ):
            raise ValueError(f"expected at least one answer, each a whole number in 0..{self.categories - 1}")
        return array.astype(np.int64)

    def release(
        self, answers: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return one randomised answer per true answer, same shape.

        Raises
        ------
        ValueError
            If an answer is not a whole number in ``0..categories - 1``.
        """
        rng = np.random.default_rng() if rng is None else rng
        truth = self._check(answers)
        other = (truth + rng.integers(1, self.categories, truth.shape)) % self.categories
        return np.where(rng.random(truth.shape) < self.keep_probability, truth, other)

    def estimate(
        self, responses: Sequence[int] | np.ndarray, *, confidence: float = 0.95
    ) -> tuple[Interval, ...]:
        """Return the unbiased share of each true answer, with intervals, from randomised ``responses``.

        Each response names j with probability ``lie + share_j * (keep - lie)``; solve for the share. The interval
        is the exact binomial one of the responses, mapped the same way, so it may reach below 0 or above 1: cutting
        it would bias the estimate.

        Raises
        ------
        ValueError
            If there are no responses, or one is not in ``0..categories - 1``.
        """
        from labkit.stats import Interval, clopper_pearson

        array = self._check(responses).ravel()
        lie, gap = self.lie_probability, self.keep_probability - self.lie_probability
        seen = [
            clopper_pearson(int(hits), array.size, confidence)
            for hits in np.bincount(array, minlength=self.categories)
        ]
        method = f"randomised response over {array.size} answers, Clopper-Pearson"
        return tuple(
            Interval((s.estimate - lie) / gap, (s.low - lie) / gap, (s.high - lie) / gap, confidence, method)
            for s in seen
        )


@dataclass(frozen=True)
class Exponential:
    """The exponential mechanism: choose one option, better ones more often (McSherry & Talwar, 2007).

    Parameters
    ----------
    epsilon : float
        Privacy loss of one choice.
    sensitivity : float
        The furthest one record can move the utility of any option.
    """

    epsilon: float
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_sensitivity(self.sensitivity)

    @property
    def delta(self) -> float:
        """Zero: the promise holds for every output."""
        return 0.0

    def _logits(self, utilities: Sequence[float] | np.ndarray) -> np.ndarray:
        array = finite(utilities)
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"utilities have shape {array.shape}; expected one number per option")
        # Subtracting first keeps large utilities from overflowing and from losing digits.
        return self.epsilon * (array - array.max()) / (2 * self.sensitivity)

    def probabilities(self, utilities: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the probability of each option, proportional to exp(epsilon * utility / (2 * sensitivity)).

        Raises
        ------
        ValueError
            If ``utilities`` is not a non-empty list of finite numbers.
        """
        weights = np.exp(self._logits(utilities))
        return weights / weights.sum()

    def release(self, utilities: Sequence[float] | np.ndarray, rng: np.random.Generator | None = None) -> int:
        """Return the index of one option, drawn by the Gumbel trick: argmax of logit plus Gumbel noise.

        Raises
        ------
        ValueError
            If ``utilities`` is not a non-empty list of finite numbers.
        """
        rng = np.random.default_rng() if rng is None else rng
        logits = self._logits(utilities)
        return int(np.argmax(logits + rng.gumbel(size=logits.shape)))
