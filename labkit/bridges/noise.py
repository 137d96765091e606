"""Counts and means released by OpenDP and by Google's C++ library (PyDP), held against the laws that labkit states.

Both libraries draw from the operating system's randomness and take no seed, so each line states how often it fails by
chance. The same query with all of them side by side is in lab 01.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labkit import profiles
from labkit.bridges.agreement import Agreement, Line, absolute, relative, versions
from labkit.bridges.laws import two_samples, whole_numbers
from labkit.dp import DiscreteLaplace, Laplace

UNSEEDED = (
    "Draws from the operating system's randomness: no seed; false-failure probabilities are in each line."
)


def opendp_counts(n: int, epsilon: float, repeats: int) -> tuple[np.ndarray, float]:
    """Return ``repeats`` noisy counts of ``n`` records by OpenDP's Laplace mechanism, and the ε that it certifies.

    Parameters
    ----------
    n : int
        Records, add/remove neighbours.

    Returns
    -------
    int array of shape (repeats,), float
    """
    count, opendp = _opendp_count()
    private = count >> opendp.m.then_laplace(1 / epsilon)
    return np.array([private([0] * n) for _ in range(repeats)]), float(private.map(d_in=1))


def opendp_gaussian_counts(n: int, sigma: float, repeats: int) -> tuple[np.ndarray, float, float]:
    """Return noisy counts by OpenDP's Gaussian mechanism, the ρ of zCDP it certifies, and its δ at ε = 1."""
    count, opendp = _opendp_count()
    private = count >> opendp.m.then_gaussian(sigma)
    curve = opendp.c.make_zCDP_to_approxDP(private).map(d_in=1)
    drawn = np.array([private([0] * n) for _ in range(repeats)])
    return drawn, float(private.map(d_in=1)), float(curve.delta(1.0))


def _opendp_count():
    """Return OpenDP's count of a list of whole numbers, and OpenDP."""
    import opendp.prelude as opendp

    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T=int))
    return (domain, opendp.symmetric_distance()) >> opendp.t.then_count(), opendp


def opendp() -> Agreement:
    """Compare OpenDP's discrete Laplace and discrete Gaussian counts with ours: law, and what is certified."""
    from labkit.dp.mechanisms.discrete import discrete_gaussian_delta

    n, epsilon, sigma = 50, 1.0, 3.0
    repeats = profiles.current().pick(smoke=2000, laptop=20_000, full=100_000)
    laplace, gaussian = DiscreteLaplace(epsilon), _gaussian_of(sigma)
    counts, certified = opendp_counts(n, epsilon, repeats)
    noisy, rho, delta = opendp_gaussian_counts(n, sigma, repeats)
    return Agreement(
        tool="OpenDP",
        lines=(
            whole_numbers(
                "count, discrete Laplace noise, ε = 1", lambda k: laplace.log_pmf(k, 0), counts - n
            ),
            relative("ε certified for that count", epsilon, certified, 1e-9),
            whole_numbers("count, discrete Gaussian noise, σ = 3", gaussian, noisy - n),
            relative("ρ of zCDP certified for that count", 1 / (2 * sigma**2), rho, 1e-9),
            Line(
                "δ at ε = 1: ours from the law itself, theirs by way of zCDP",
                discrete_gaussian_delta(1.0, sigma),
                delta,
                delta - discrete_gaussian_delta(1.0, sigma),
                measure="shown, not judged: zCDP knows less of the law, so its δ is larger",
            ),
        ),
        versions=versions(["opendp"]),
        command="labkit bridge opendp",
        source=f"{n} equal records: a count's noise does not depend on them",
        profile=profiles.current().name,
        notes=(UNSEEDED,),
    )


def _gaussian_of(sigma: float):
    """Return the log probabilities of discrete Gaussian noise with this parameter, up to a constant."""

    def log_pmf(k: np.ndarray) -> np.ndarray:
        return -(np.asarray(k, dtype=float) ** 2) / (2 * sigma**2)

    return log_pmf


def pydp_mean(values: Sequence[float], low: float, high: float, epsilon: float, repeats: int) -> np.ndarray:
    """Return ``repeats`` releases of Google's bounded mean, (repeats,): add/remove neighbours, n is private.

    Parameters
    ----------
    values : sequence of float
        Brought into [low, high] by the library.
    """
    from pydp.algorithms.laplacian import BoundedMean

    settings = {"epsilon": epsilon, "lower_bound": low, "upper_bound": high, "dtype": "float"}
    rows = [float(value) for value in values]
    return np.array([BoundedMean(**settings).quick_result(rows) for _ in range(repeats)])


def same_mean(
    values: Sequence[float], low: float, high: float, epsilon: float, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the same release put together from labkit's Laplace mechanism, (repeats,).

    Half of ε goes to the number of records, half to their sum about the middle of the range, which one record moves by
    half of it; the quotient is brought back into the range (Google, "Computing bounded mean", differential-privacy
    documentation).
    """
    middle, inside = (low + high) / 2, np.clip(np.asarray(values, dtype=float), low, high)
    count, total = Laplace(epsilon / 2), Laplace(epsilon / 2, (high - low) / 2)
    sums = total.release(np.full(repeats, (inside - middle).sum()), rng)
    counts = np.maximum(1.0, np.round(count.release(np.full(repeats, float(len(inside))), rng)))
    return np.clip(middle + sums / counts, low, high)


def pydp(seed: int = 0) -> Agreement:
    """Compare Google's count with rounded Laplace noise, and its bounded mean with one made of our mechanisms.

    Parameters
    ----------
    seed : int
        Of our side; Google's takes none.
    """
    from pydp.algorithms.laplacian import Count
    from sklearn.datasets import load_breast_cancer

    repeats = profiles.current().pick(smoke=2000, laptop=20_000, full=100_000)
    epsilon, radius = 1.0, load_breast_cancer().data[:, 0]
    low, high = 5.0, 30.0
    rows, noise = radius.tolist(), Laplace(epsilon)
    counts = np.array([Count(epsilon=epsilon, dtype="float").quick_result(rows) for _ in range(repeats)])
    theirs = pydp_mean(rows, low, high, epsilon, repeats)
    ours = same_mean(rows, low, high, epsilon, repeats, np.random.default_rng(seed))
    few_theirs = pydp_mean(rows[:12], low, high, epsilon, repeats)
    few_ours = same_mean(rows[:12], low, high, epsilon, repeats, np.random.default_rng(seed + 1))

    def rounded(k: np.ndarray) -> np.ndarray:
        from scipy.stats import laplace

        upper, lower = (
            laplace.cdf(-np.abs(k) + 0.5, scale=noise.scale),
            laplace.cdf(-np.abs(k) - 0.5, scale=noise.scale),
        )
        return np.log(upper - lower)

    bound = 6 * float(np.hypot(ours.std(), theirs.std())) / repeats**0.5
    return Agreement(
        tool="PyDP",
        lines=(
            whole_numbers("count, Laplace noise rounded, ε = 1", rounded, counts - len(rows)),
            two_samples("bounded mean of 569 radii, ε = 1", ours, theirs),
            two_samples("bounded mean of 12 radii, ε = 1", few_ours, few_theirs),
            absolute(
                "mean of those releases, 569 radii (mm)",
                ours.mean(),
                theirs.mean(),
                bound,
                "six standard errors",
            ),
        ),
        versions=versions(["python-dp"]),
        command="labkit bridge pydp",
        source="Wisconsin Diagnostic Breast Cancer, mean radius, bounds 5 to 30",
        profile=profiles.current().name,
        seeds=(seed, seed + 1),
        notes=(UNSEEDED, "The seeds are those of labkit's side."),
    )
