"""Mechanisms for numbers: Laplace, and Gaussian with exact calibration. For answers out of a list, see `labkit.dp.mechanisms.categorical`.

They draw floating-point noise, which is right for learning and for simulation. A release to the public needs
`labkit.dp.mechanisms.discrete`: `labkit.dp.mechanisms.floating_point` shows what goes wrong otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from labkit.dp.limits import check_delta, check_epsilon


def check_sensitivity(sensitivity: float) -> None:
    """Raise ``ValueError`` unless ``sensitivity`` is a positive finite number."""
    if not (math.isfinite(sensitivity) and sensitivity > 0):
        raise ValueError(
            f"sensitivity is {sensitivity}; expected a positive number: the furthest one record can move the"
            " answer (clip the records to make it finite)"
        )


def finite(value: Any) -> np.ndarray:
    """Return ``value`` as an array, or raise ``ValueError`` when it holds NaN or infinity."""
    array = np.asarray(value, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(
            f"the value to release is {value}; expected finite numbers: NaN and infinity stay visible through any"
            " noise, so clip and fill missing records first"
        )
    return array


def _plain(array: np.ndarray) -> Any:
    """Return a float for a scalar, the array otherwise."""
    return float(array) if np.ndim(array) == 0 else array


@dataclass(frozen=True)
class Laplace:
    """The Laplace mechanism: epsilon-DP (Dwork, McSherry, Nissim & Smith, 2006; Dwork & Roth, 2014, theorem 3.6).

    Parameters
    ----------
    epsilon : float
        Privacy loss of one release.
    sensitivity : float
        L1 sensitivity of the answer, in its unit.
    """

    epsilon: float
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_sensitivity(self.sensitivity)
        if not math.isfinite(self.scale):
            raise ValueError(
                f"the noise for epsilon={self.epsilon:g} is too large for a double: raise epsilon"
            )

    @property
    def delta(self) -> float:
        """Zero: the promise holds for every output."""
        return 0.0

    @property
    def scale(self) -> float:
        """Scale of the noise, its mean absolute value: sensitivity / epsilon. Its standard deviation is sqrt(2) times that."""
        return self.sensitivity / self.epsilon

    def release(self, value: float | np.ndarray, rng: np.random.Generator | None = None) -> Any:
        """Return ``value`` (a number or an array of any shape) with independent noise on each entry.

        Raises
        ------
        ValueError
            If the value is not finite.
        """
        rng = np.random.default_rng() if rng is None else rng
        array = finite(value)
        return _plain(array + rng.laplace(0.0, self.scale, array.shape))

    def log_density(self, output: float | np.ndarray, value: float) -> Any:
        """Return the natural log of the density of releasing ``output`` when the true answer is ``value``."""
        return _plain(
            -np.abs(np.asarray(output, dtype=float) - value) / self.scale - math.log(2 * self.scale)
        )


def gaussian_delta(epsilon: float | np.ndarray, sigma: float, sensitivity: float = 1.0) -> Any:
    """Return the smallest delta for which Gaussian noise is (epsilon, delta)-DP.

    Exact: the hockey-stick divergence of two normals ``sensitivity`` apart (Balle & Wang, 2018, arXiv 1805.06530,
    theorem 8).

    Parameters
    ----------
    epsilon : float or array
        At least 0; at 0 the result is the total variation distance.
    sigma : float
        Standard deviation of the noise, in the unit of the answer.
    sensitivity : float
        L2 sensitivity, in the same unit.

    Raises
    ------
    ValueError
        If an argument is NaN, epsilon is negative, or sigma or the sensitivity is not positive.
    """
    from scipy.special import log_ndtr

    epsilon = np.asarray(epsilon, dtype=float)
    if not (epsilon >= 0).all():
        raise ValueError(f"epsilon is {epsilon}; expected 0 or more")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma is {sigma}; expected a positive standard deviation (not a variance)")
    check_sensitivity(sensitivity)
    shift = sensitivity / sigma
    # exp(epsilon) * ndtr(...) would overflow for large epsilon: stay in logs until the end.
    upper = np.exp(log_ndtr(shift / 2 - epsilon / shift))
    lower = np.exp(epsilon + log_ndtr(-shift / 2 - epsilon / shift))
    return _plain(np.maximum(upper - lower, 0.0))


def gaussian_sigma(epsilon: float, delta: float, sensitivity: float = 1.0) -> float:
    """Return the least standard deviation for (epsilon, delta)-DP, by bisection on `gaussian_delta`.

    The textbook formula ``sensitivity * sqrt(2 ln(1.25 / delta)) / epsilon`` adds more noise than needed and holds
    only for epsilon below 1 (Balle & Wang, 2018, section 2).

    Raises
    ------
    ValueError
        If epsilon or the sensitivity is not positive, or delta is outside (0, 1).
    """
    check_epsilon("epsilon", epsilon)
    check_delta(delta)
    check_sensitivity(sensitivity)
    low = high = 1.0
    while gaussian_delta(epsilon, high) > delta:
        high *= 2
    while gaussian_delta(epsilon, low) <= delta:
        low /= 2
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if gaussian_delta(epsilon, middle) > delta else (low, middle)
    return high * sensitivity  # the end that keeps the promise


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian mechanism with exact calibration (Balle & Wang, 2018, arXiv 1805.06530, algorithm 1).

    Parameters
    ----------
    epsilon, delta : float
        The promise of one release.
    sensitivity : float
        L2 sensitivity of the answer, in its unit.
    """

    epsilon: float
    delta: float
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_delta(self.delta)
        check_sensitivity(self.sensitivity)

    @cached_property
    def sigma(self) -> float:
        """Standard deviation of the noise, in the unit of the answer."""
        return gaussian_sigma(self.epsilon, self.delta, self.sensitivity)

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation over sensitivity, the sigma of DP-SGD."""
        return self.sigma / self.sensitivity

    def release(self, value: float | np.ndarray, rng: np.random.Generator | None = None) -> Any:
        """Return ``value`` (a number or an array of any shape) with independent noise on each entry.

        Raises
        ------
        ValueError
            If the value is not finite.
        """
        rng = np.random.default_rng() if rng is None else rng
        array = finite(value)
        return _plain(array + rng.normal(0.0, self.sigma, array.shape))

    def log_density(self, output: float | np.ndarray, value: float) -> Any:
        """Return the natural log of the density of releasing ``output`` when the true answer is ``value``."""
        standard = (np.asarray(output, dtype=float) - value) / self.sigma
        return _plain(-(standard**2) / 2 - math.log(self.sigma * math.sqrt(2 * math.pi)))
