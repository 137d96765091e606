"""Noise drawn in floating point gives the answer away: the attack, measured against the promise it breaks.

The real line has a point everywhere; doubles do not. A textbook sampler reaches only some doubles, and which ones
depends on the true answer (Mironov, 2012, "On significance of the least significant bits for differential
privacy"). Even with perfect noise, the sum of answer and noise has low bits that depend on the answer (Haney et al.,
2022, arXiv 2207.13793). The fix is `labkit.dp.mechanisms.discrete.Grid`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labkit.dp.limits import check_epsilon

if TYPE_CHECKING:
    from labkit.stats import Interval

UNIFORM_STEP = 2.0**-53  # NumPy's and Python's uniform doubles are whole multiples of this
_WINDOW = np.arange(-8, 9)  # rounding in exp, log and the sums moves the candidate by a few steps at most

LogLikelihood = Callable[[np.ndarray, float], np.ndarray]


def naive_laplace(values: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return ``values`` (any shape) plus Laplace noise as textbooks draw it: sign * -scale * ln(uniform).

    Right on paper, broken in doubles: `laplace_log_likelihood` is the attack.
    """
    values = np.asarray(values, dtype=float)
    uniform = 1.0 - rng.random(values.shape)  # in (0, 1]: the logarithm of 0 would be infinite
    sign = rng.integers(0, 2, values.shape) * 2 - 1
    return values + sign * (-scale * np.log(uniform))


def naive_gaussian(values: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return ``values`` (any shape) plus NumPy's Gaussian noise; `gaussian_log_likelihood` is the attack."""
    values = np.asarray(values, dtype=float)
    return values + sigma * rng.standard_normal(values.shape)


def laplace_reachable(released: np.ndarray, value: float, scale: float) -> np.ndarray:
    """Return, per released double, whether `naive_laplace` can produce it from ``value``.

    Undo the noise to find the uniform that would have been drawn, then run the sampler forwards on that multiple of
    2^-53 and its neighbours (Mironov, 2012, section 5).

    Parameters
    ----------
    released : array of shape (n,)
        What was published.
    value : float
        The candidate for the true answer.
    scale : float
        The public noise scale.

    Returns
    -------
    array of bool, shape (n,)
    """
    released = np.asarray(released, dtype=float)
    noise = released - value
    index = np.rint(np.exp(-np.abs(noise) / scale) / UNIFORM_STEP)
    candidates = np.clip(index[..., None] + _WINDOW, 1, 1 / UNIFORM_STEP) * UNIFORM_STEP
    replayed = value + np.copysign(1.0, noise)[..., None] * (-scale * np.log(candidates))
    return (replayed == released[..., None]).any(axis=-1)


def laplace_log_likelihood(released: np.ndarray, value: float, scale: float) -> np.ndarray:
    """Return the log-likelihood of ``value`` given each released double; -inf where it cannot be the answer.

    Density times the width of the cell that this double stands for: the gap to the next reachable one.
    """
    distance = np.abs(released - value)
    gap = scale * UNIFORM_STEP * np.exp(distance / scale)
    cell = np.maximum(np.spacing(np.abs(released)), gap)
    possible = laplace_reachable(released, value, scale)
    return np.where(possible, -distance / scale + np.log(cell), -np.inf)


def any_noise_reachable(released: np.ndarray, value: float) -> np.ndarray:
    """Return whether each released double is the rounded sum of ``value`` and any double at all.

    Where the sum is smaller than the answer, the noise is large and its doubles are coarse: low bits of the release
    then come from the answer alone (Haney et al., 2022, arXiv 2207.13793, section 3).
    """
    released = np.asarray(released, dtype=float)
    noise = released - value
    nearby = (noise, np.nextafter(noise, np.inf), np.nextafter(noise, -np.inf))
    return np.any([value + candidate == released for candidate in nearby], axis=0)


def gaussian_log_likelihood(released: np.ndarray, value: float, sigma: float) -> np.ndarray:
    """Return the log-likelihood of ``value`` given each released double; -inf where it cannot be the answer."""
    distance = np.abs(released - value)
    cell = np.maximum(np.spacing(np.abs(released)), np.spacing(distance))
    possible = any_noise_reachable(released, value)
    return np.where(possible, -((distance / sigma) ** 2) / 2 + np.log(cell), -np.inf)


def success_ceiling(epsilon: float, delta: float = 0.0) -> float:
    """Return the largest probability of telling two neighbours apart by one release, each as likely beforehand.

    ``(e^epsilon + delta) / (1 + e^epsilon)``, the best point under the trade-off of Kairouz, Oh & Viswanath (2015,
    arXiv 1311.0776, theorem 2.1).
    """
    check_epsilon("epsilon", epsilon)
    return (1 + delta * math.exp(-epsilon)) / (1 + math.exp(-epsilon))


@dataclass(frozen=True)
class Distinguished:
    """How often an attacker told two neighbouring answers apart, beside the most that the promise allows.

    Attributes
    ----------
    success : Interval
        Share of right guesses, exact binomial interval.
    ceiling : float
        Largest share that (epsilon, delta)-DP allows.
    certain : Interval
        Share of releases that one of the two answers cannot produce at all.
    certain_and_wrong : int
        How many of those guesses were wrong; 0 for a sound attack.
    epsilon_at_least : float
        Lower bound on the true epsilon, at the same confidence, from the guesses that were certain.
    """

    epsilon: float
    delta: float
    success: Interval
    ceiling: float
    certain: Interval
    certain_and_wrong: int
    epsilon_at_least: float

    @property
    def violates(self) -> bool:
        """Whether the certified epsilon exceeds the promised one."""
        return self.epsilon_at_least > self.epsilon

    def __str__(self) -> str:
        verdict = "breaks the promise" if self.violates else "within the promise"
        return (
            f"right {self.success.percent(1)} of the time, ceiling {self.ceiling:.1%} at ε = {self.epsilon:g}:"
            f" {verdict}; sure of {self.certain.percent(1)}, wrong in {self.certain_and_wrong} of those;"
            f" ε is at least {self.epsilon_at_least:.2f}"
        )


def distinguish(
    release: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    log_likelihood: LogLikelihood,
    *,
    epsilon: float,
    delta: float = 0.0,
    answers: tuple[float, float] = (0.0, 1.0),
    trials: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Distinguished:
    """Play the distinguishing game: ``trials`` releases of each neighbouring answer, one guess for each release.

    Parameters
    ----------
    release : callable
        ``(answers, rng) -> releases``, arrays of shape (n,).
    log_likelihood : callable
        ``(releases, answer) -> array``; the likelier answer is guessed, the nearer one when they tie.
    epsilon, delta : float
        The promise to hold against what comes out.
    answers : pair of float
        The two neighbouring answers.

    Raises
    ------
    ValueError
        If epsilon is not positive or ``trials`` is less than 1.
    """
    from labkit.stats import clopper_pearson

    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], trials)
    released = np.asarray(release(np.asarray(answers, dtype=float)[truth], rng))
    scores = np.stack([log_likelihood(released, answer) for answer in answers])
    nearer = np.abs(released - answers[1]) < np.abs(released - answers[0])
    guess = np.where(scores[0] == scores[1], nearer, scores[1] > scores[0])
    certain = np.isneginf(scores).sum(axis=0) == 1
    wrong = guess != truth
    return Distinguished(
        epsilon=epsilon,
        delta=delta,
        success=clopper_pearson(int((~wrong).sum()), truth.size, confidence),
        ceiling=success_ceiling(epsilon, delta),
        certain=clopper_pearson(int(certain.sum()), truth.size, confidence),
        certain_and_wrong=int((certain & wrong).sum()),
        epsilon_at_least=_epsilon_at_least(guess, truth, certain, delta, confidence),
    )


def _epsilon_at_least(
    guess: np.ndarray, truth: np.ndarray, certain: np.ndarray, delta: float, confidence: float
) -> float:
    """Return the lower bound on epsilon from two events: certain of the first answer, certain of the second.

    (epsilon, delta)-DP demands P[event | one] <= e^epsilon P[event | other] + delta for each.
    """
    from labkit.stats import clopper_pearson

    each = 1 - (1 - confidence) / 2  # four one-sided bounds share the error: two two-sided intervals
    bounds = [0.0]
    for side in (0, 1):
        event = certain & (guess == side)
        true_positive = clopper_pearson(int(event[truth == side].sum()), int((truth == side).sum()), each)
        false_positive = clopper_pearson(int(event[truth != side].sum()), int((truth != side).sum()), each)
        if true_positive.low > delta:
            bounds.append(math.log((true_positive.low - delta) / false_positive.high))
    return max(bounds)
