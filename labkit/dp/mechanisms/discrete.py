"""Noise without floating point: exact discrete Laplace and discrete Gaussian, and releases on a grid.

Sampling uses integers and fractions only (Canonne, Kamath & Steinke, 2020, arXiv 2004.00010, section 5), so the
distribution is the one that the proof speaks of, to the last bit.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from labkit.dp.limits import check_delta, check_epsilon
from labkit.dp.mechanisms.additive import check_sensitivity

MANY_STEPS = 1e5  # of noise: beyond it sums over the integers give way to integrals, which are as exact there


def _source(rng: random.Random | None) -> random.Random:
    """Return a source of whole random numbers: the operating system's when none is given."""
    if rng is None:
        return random.SystemRandom()
    if not isinstance(rng, random.Random):
        raise TypeError(
            f"rng is a {type(rng).__name__}; expected random.Random(seed) for a repeatable run, or None for the"
            " operating system's randomness (a NumPy generator has no unbounded whole numbers)"
        )
    return rng


def bernoulli_exp(gamma: Fraction, rng: random.Random) -> bool:
    """Return True with probability exactly exp(-gamma), for ``gamma >= 0`` (Canonne et al., algorithm 1)."""
    while gamma > 1:
        if not bernoulli_exp(Fraction(1), rng):
            return False
        gamma -= 1
    # The first k at which a coin of probability gamma / k fails is odd with probability exp(-gamma).
    k = 1
    while rng.randrange(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1


def sample_discrete_laplace(scale: Fraction, rng: random.Random | None = None) -> int:
    """Return an integer k with probability proportional to exp(-|k| / scale) (Canonne et al., algorithm 2).

    Raises
    ------
    ValueError
        If ``scale`` is not positive.
    TypeError
        If ``rng`` is not a ``random.Random``.
    """
    rng, scale = _source(rng), Fraction(scale)
    if scale <= 0:
        raise ValueError(f"scale is {scale}; expected a positive fraction, sensitivity / epsilon")
    while True:
        remainder = rng.randrange(scale.numerator)
        if not bernoulli_exp(Fraction(remainder, scale.numerator), rng):
            continue
        quotient = 0
        while bernoulli_exp(Fraction(1), rng):
            quotient += 1
        size = (remainder + scale.numerator * quotient) // scale.denominator
        negative = rng.randrange(2) == 1
        if size or not negative:  # counting -0 as well as 0 would make 0 twice as likely as it should be
            return -size if negative else size


def sample_discrete_gaussian(variance: Fraction, rng: random.Random | None = None) -> int:
    """Return an integer k with probability proportional to exp(-k^2 / (2 variance)) (Canonne et al., algorithm 3).

    Raises
    ------
    ValueError
        If ``variance`` is not positive.
    TypeError
        If ``rng`` is not a ``random.Random``.
    """
    rng, variance = _source(rng), Fraction(variance)
    if variance <= 0:
        raise ValueError(f"variance is {variance}; expected a positive fraction, the square of sigma")
    scale = math.isqrt(variance.numerator // variance.denominator) + 1
    while True:
        k = sample_discrete_laplace(Fraction(scale), rng)
        if bernoulli_exp((abs(k) - variance / scale) ** 2 / (2 * variance), rng):
            return k


def discrete_gaussian_delta(epsilon: float, sigma: float, sensitivity: int = 1) -> float:
    """Return the smallest delta for which discrete Gaussian noise is (epsilon, delta)-DP.

    The hockey-stick sum over the integers (Canonne et al., theorem 7), for answers that are whole numbers.

    Parameters
    ----------
    epsilon : float
        At least 0.
    sigma : float
        The parameter of the distribution, in steps of one; its standard deviation is slightly smaller.
    sensitivity : int
        How far one record moves the answer, a whole number.
    """
    if sigma > MANY_STEPS:
        return _delta_from_tails(epsilon, sigma, sensitivity)
    # Where p(k) > e^epsilon p(k - sensitivity), with the shifted answer on the right: the left tail.
    edge = math.floor(sensitivity / 2 - epsilon * sigma**2 / sensitivity)
    reach = (
        math.ceil(14 * sigma) + 1
    )  # of what lies left of a point, the share 14 sigma further is below 1e-42
    k = np.arange(min(edge, 0) - reach, min(edge, reach) + 1, dtype=float)
    log_ratio = sensitivity * (sensitivity - 2 * k) / (2 * sigma**2)
    excess = np.exp(-(k**2) / (2 * sigma**2)) * -np.expm1(np.minimum(epsilon - log_ratio, 0.0))
    return float(excess.sum() / _normaliser(sigma))


def _delta_from_tails(epsilon: float, sigma: float, sensitivity: int) -> float:
    """Return `discrete_gaussian_delta` as a difference of two tails, for noise of so many steps that a sum takes minutes.

    A tail of the discrete Gaussian, over its normal counterpart, is 1 up to what `_log_tail` adds; what both leave out is
    below a billionth of the result, and is added to it.
    """
    edge = math.floor(sensitivity / 2 - epsilon * sigma**2 / sensitivity)
    first, second = _log_tail(-edge, sigma), epsilon + _log_tail(sensitivity - edge, sigma)
    return max(0.0, -math.exp(first) * math.expm1(min(second - first, 0.0))) + 1e-9 * math.exp(first) / sigma


def _log_tail(start: int, sigma: float) -> float:
    """Return ln P[k >= start] of the discrete Gaussian by the Euler-Maclaurin formula, to its second correction.

    sum f(k) = integral of f + f(start) / 2 - f'(start) / 12 + ..., of which the next term is below (start / sigma²)³ / 720
    of f(start).
    """
    from scipy.special import log_ndtr

    u = start / sigma
    log_density = -(u**2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))
    log_integral = float(log_ndtr(-u))
    return log_integral + math.log1p(math.exp(log_density - log_integral) * (0.5 + u / (12 * sigma)))


def _normaliser(sigma: float) -> float:
    """Return the sum of exp(-k^2 / (2 sigma^2)) over all integers k."""
    # Poisson summation: beyond sigma = 3 the corrections are below 1e-76.
    if sigma > 3:
        return sigma * math.sqrt(2 * math.pi)
    return 1 + 2 * sum(math.exp(-(k**2) / (2 * sigma**2)) for k in range(1, 120))


@dataclass(frozen=True)
class DiscreteLaplace:
    """Laplace noise for whole numbers: epsilon-DP, exactly (Ghosh, Roughgarden & Sundararajan, 2009, arXiv 0811.2841).

    Parameters
    ----------
    epsilon : float
        Privacy loss of one release. A float is a fraction; that very fraction is used.
    sensitivity : int
        How far one record moves the answer: 1 for a count.
    """

    epsilon: float
    sensitivity: int = 1

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        _check_whole(self.sensitivity)

    @property
    def delta(self) -> float:
        """Zero: the promise holds for every output."""
        return 0.0

    @property
    def scale(self) -> Fraction:
        """Scale of the noise: sensitivity / epsilon."""
        return Fraction(int(self.sensitivity)) / Fraction(float(self.epsilon))

    def log_pmf(self, output: int | np.ndarray, value: int) -> np.ndarray:
        """Return the natural log of the probability of releasing ``output`` when the true answer is ``value``."""
        rate = float(1 / self.scale)
        return math.log(math.tanh(rate / 2)) - rate * np.abs(np.asarray(output) - value)

    def release(self, value: int, rng: random.Random | None = None) -> int:
        """Return ``value`` plus noise; ``rng=None`` draws from the operating system.

        Raises
        ------
        ValueError
            If the value is not a whole number.
        """
        return _whole(value) + sample_discrete_laplace(self.scale, rng)


@dataclass(frozen=True)
class DiscreteGaussian:
    """Gaussian noise for whole numbers: (epsilon, delta)-DP (Canonne, Kamath & Steinke, 2020, arXiv 2004.00010).

    Parameters
    ----------
    epsilon, delta : float
        The promise of one release.
    sensitivity : int
        How far one record moves the answer: 1 for a count.
    """

    epsilon: float
    delta: float
    sensitivity: int = 1

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_delta(self.delta)
        _check_whole(self.sensitivity)

    @cached_property
    def sigma(self) -> float:
        """Parameter of the noise, found by bisection on `discrete_gaussian_delta`."""
        low = high = float(self.sensitivity)
        while discrete_gaussian_delta(self.epsilon, high, self.sensitivity) > self.delta:
            high *= 2
        while discrete_gaussian_delta(self.epsilon, low, self.sensitivity) <= self.delta:
            low /= 2
        while high / low > 1 + 1e-9:
            middle = math.sqrt(low * high)
            enough = discrete_gaussian_delta(self.epsilon, middle, self.sensitivity) <= self.delta
            low, high = (low, middle) if enough else (middle, high)
        return high

    def log_pmf(self, output: int | np.ndarray, value: int) -> np.ndarray:
        """Return the natural log of the probability of releasing ``output`` when the true answer is ``value``."""
        return -((np.asarray(output) - value) ** 2) / (2 * self.sigma**2) - math.log(_normaliser(self.sigma))

    def release(self, value: int, rng: random.Random | None = None) -> int:
        """Return ``value`` plus noise; ``rng=None`` draws from the operating system.

        Raises
        ------
        ValueError
            If the value is not a whole number.
        """
        return _whole(value) + sample_discrete_gaussian(Fraction(self.sigma) ** 2, rng)


@dataclass(frozen=True)
class Grid:
    """Safe release of a real number: round it to a public grid, then add discrete noise to the grid index.

    What leaves is a whole number of grid steps, whatever the true answer, so its low bits carry nothing: the fix for
    Mironov (2012) and for the precision attacks of Haney et al. (2022, arXiv 2207.13793).

    Parameters
    ----------
    epsilon : float
        Privacy loss of one release.
    sensitivity : float
        How far one record moves the answer, in its unit.
    delta : float, optional
        0 (default) adds discrete Laplace noise, more than 0 discrete Gaussian noise.
    """

    epsilon: float
    sensitivity: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_sensitivity(self.sensitivity)
        if self.delta:
            check_delta(self.delta)
        # A NumPy scalar is no fraction to Python; the double of the same value is.
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "sensitivity", float(self.sensitivity))

    @property
    def step(self) -> Fraction:
        """Grid step, in the unit of the answer: the largest power of two up to a 1024th of the sensitivity."""
        return Fraction(2) ** (math.frexp(self.sensitivity)[1] - 11)

    @cached_property
    def noise(self) -> DiscreteLaplace | DiscreteGaussian:
        """The mechanism on grid indices; rounding moves the index by at most the sensitivity in steps, rounded up."""
        steps = math.ceil(Fraction(self.sensitivity) / self.step)
        return (
            DiscreteGaussian(self.epsilon, self.delta, steps)
            if self.delta
            else DiscreteLaplace(self.epsilon, steps)
        )

    def index(self, value: float) -> int:
        """Return the whole number of grid steps nearest to ``value``, computed exactly.

        Raises
        ------
        ValueError
            If the value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"the value to release is {value}; expected a finite number")
        # Half always rounds up: Python's round() goes to even, which can move two neighbours further apart.
        return math.floor(Fraction(float(value)) / self.step + Fraction(1, 2))

    def release(self, value: float, rng: random.Random | None = None) -> float:
        """Return a noisy multiple of `step`; ``rng=None`` draws from the operating system.

        Raises
        ------
        ValueError
            If the value is not finite.
        """
        return float(self.noise.release(self.index(value), rng) * self.step)


def _check_whole(sensitivity: int) -> None:
    check_sensitivity(sensitivity)
    if sensitivity != int(sensitivity):
        raise ValueError(
            f"sensitivity is {sensitivity}; expected a whole number: for a real-valued answer use Grid"
        )


def _whole(value: int) -> int:
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"the value to release is {value}; expected a whole number: for a real one use Grid")
    return int(value)
