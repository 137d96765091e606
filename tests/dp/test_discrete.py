"""Discrete noise: the promise checked from the probabilities, the samplers against those probabilities."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from labkit import dp
from labkit.dp.mechanisms import discrete

FALSE_FAILURE = 1e-6  # of each chi-square test, were its seed drawn afresh
SAMPLES = 12_000


def goodness(samples, log_probability):
    """Chi-square p-value of integer samples; cells with fewer than 10 expected are pooled into the two tails."""
    values = np.arange(min(samples) - 50, max(samples) + 51)
    probability = np.exp([log_probability(k) for k in values])
    keep = values[probability * len(samples) >= 10]
    low, high = keep.min(), keep.max()
    pooled = np.clip(samples, low, high)
    seen = np.bincount(pooled - low, minlength=high - low + 1)
    expected = np.array([probability[values == k].sum() for k in range(low, high + 1)])
    expected[0] += probability[values < low].sum()
    expected[-1] += probability[values > high].sum()
    return stats.chisquare(seen, expected / expected.sum() * len(samples)).pvalue


@pytest.mark.parametrize("gamma", [Fraction(0), Fraction(1, 3), Fraction(1), Fraction(7, 2)])
def test_bernoulli_exp_has_the_exact_probability(gamma):
    rng = random.Random(0)
    hits = sum(discrete.bernoulli_exp(gamma, rng) for _ in range(SAMPLES))
    assert stats.binomtest(hits, SAMPLES, math.exp(-gamma)).pvalue > FALSE_FAILURE


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1), Fraction(7, 2), Fraction(20)])
def test_discrete_laplace_sampler_follows_its_law(scale):
    rng = random.Random(1)
    samples = np.array([discrete.sample_discrete_laplace(scale, rng) for _ in range(SAMPLES)])
    ratio = math.exp(-1 / scale)
    log_probability = lambda k: math.log((1 - ratio) / (1 + ratio)) - abs(k) / float(scale)  # noqa: E731
    assert goodness(samples, log_probability) > FALSE_FAILURE


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(1), Fraction(37, 5), Fraction(400)])
def test_discrete_gaussian_sampler_follows_its_law(variance):
    rng = random.Random(2)
    samples = np.array([discrete.sample_discrete_gaussian(variance, rng) for _ in range(SAMPLES)])
    total = sum(math.exp(-(k**2) / (2 * float(variance))) for k in range(-400, 401))
    log_probability = lambda k: -(k**2) / (2 * float(variance)) - math.log(total)  # noqa: E731
    assert goodness(samples, log_probability) > FALSE_FAILURE


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("sensitivity", [1, 3])
def test_discrete_laplace_ratio_is_bounded_and_tight(epsilon, sensitivity):
    mechanism, outputs = dp.DiscreteLaplace(epsilon, sensitivity), np.arange(-400, 401)
    for moved in range(-sensitivity, sensitivity + 1):
        ratio = mechanism.log_pmf(outputs, 0) - mechanism.log_pmf(outputs, moved)
        assert np.abs(ratio).max() <= epsilon * (1 + 1e-12)
    assert np.abs(ratio).max() == pytest.approx(epsilon)
    assert np.exp(mechanism.log_pmf(np.arange(-5000, 5001), 0)).sum() == pytest.approx(1.0)


def hockey_stick(mechanism, epsilon, moved):
    """Sum of max(0, p - e^epsilon q) over the integers, from the probabilities alone."""
    reach = math.ceil(20 * mechanism.sigma) + moved
    outputs = np.arange(-reach, reach + 1)
    p, q = np.exp(mechanism.log_pmf(outputs, 0)), np.exp(mechanism.log_pmf(outputs, moved))
    assert p.sum() == pytest.approx(1.0)
    return np.maximum(p - math.exp(epsilon) * q, 0).sum()


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-6])
@pytest.mark.parametrize("sensitivity", [1, 5])
def test_discrete_gaussian_keeps_its_promise_and_is_tight(epsilon, delta, sensitivity):
    mechanism = dp.DiscreteGaussian(epsilon, delta, sensitivity)
    for moved in range(1, sensitivity + 1):
        assert hockey_stick(mechanism, epsilon, moved) <= delta * (1 + 1e-6)
    assert hockey_stick(mechanism, epsilon, sensitivity) == pytest.approx(delta, rel=1e-5)


def test_discrete_gaussian_needs_no_more_noise_than_the_continuous_one():
    # Canonne et al. (2020), section 1: the two are nearly the same for sigma well above 1.
    assert dp.DiscreteGaussian(0.5, 1e-5).sigma == pytest.approx(dp.Gaussian(0.5, 1e-5).sigma, rel=1e-3)


def test_discrete_gaussian_delta_equals_theorem_7():
    # P[Y > eps s^2 / D - D / 2] - e^eps P[Y > eps s^2 / D + D / 2], summed directly.
    sigma, epsilon, sensitivity = 2.3, 0.8, 2
    k = np.arange(-200, 201)
    p = np.exp(-(k**2) / (2 * sigma**2))
    p /= p.sum()
    above = lambda edge: p[k > edge].sum()  # noqa: E731
    middle, half = epsilon * sigma**2 / sensitivity, sensitivity / 2
    expected = above(middle - half) - math.exp(epsilon) * above(middle + half)
    assert discrete.discrete_gaussian_delta(epsilon, sigma, sensitivity) == pytest.approx(expected)


@pytest.mark.parametrize("sensitivity", [1.0, 0.1, 24 / 569, 3000.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5])
def test_grid_rounds_neighbours_no_further_apart_than_its_noise_covers(sensitivity, delta):
    grid, rng = dp.Grid(1.0, sensitivity, delta), random.Random(3)
    assert sensitivity / 2048 < grid.step <= Fraction(sensitivity) / 1024
    assert math.frexp(grid.step)[0] == 0.5  # a power of two: every multiple is a double
    assert grid.noise.sensitivity * grid.step <= Fraction(sensitivity) * Fraction(1025, 1024)
    for _ in range(300):
        value = Fraction(rng.uniform(-50, 50))
        moved = abs(grid.index(value) - grid.index(value + Fraction(sensitivity)))
        assert moved <= grid.noise.sensitivity
    ties = [grid.index(grid.step * (k + Fraction(1, 2))) for k in range(10)]
    assert np.diff(ties).tolist() == [1] * 9  # round-half-even would give steps of 0 and 2


def test_grid_releases_lie_on_the_grid_and_have_the_right_spread():
    grid, rng = dp.Grid(0.5, 2.0), random.Random(4)
    noise = np.array([grid.release(math.pi, rng) for _ in range(4000)]) - math.pi
    assert all((Fraction(grid.release(math.pi, rng)) / grid.step).denominator == 1 for _ in range(100))
    # The mean of |noise| is the scale, 4, with a standard error of 4 / sqrt(4000); 5 of those fail below 1e-6.
    assert np.abs(noise).mean() == pytest.approx(4.0, abs=5 * 4 / math.sqrt(4000))


def test_operating_system_randomness_is_the_default_and_seeds_repeat():
    draws = {dp.DiscreteLaplace(0.001).release(5) for _ in range(5)}
    assert len(draws) > 1  # all five equal with probability below 1e-12
    again = [dp.DiscreteGaussian(1.0, 1e-5).release(5, random.Random(9)) for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dp.DiscreteLaplace(0), ValueError, "epsilon=0"),
        (lambda: dp.DiscreteLaplace(1.0, 0.5), ValueError, "use Grid"),
        (lambda: dp.DiscreteLaplace(1.0).release(0.5), ValueError, "use Grid"),
        (lambda: dp.DiscreteLaplace(1.0).release(float("nan")), ValueError, "whole number"),
        (lambda: dp.DiscreteLaplace(1.0).release(1, np.random.default_rng(0)), TypeError, r"random.Random"),
        (lambda: dp.DiscreteGaussian(1.0, 2.0), ValueError, "delta=2.0"),
        (lambda: dp.Grid(1.0, 0.0), ValueError, "sensitivity is 0.0"),
        (lambda: dp.Grid(1.0, 1.0, -1e-5), ValueError, "delta=-1e-05"),
        (lambda: dp.Grid(1.0, 1.0).release(float("inf")), ValueError, "finite"),
        (lambda: discrete.sample_discrete_laplace(Fraction(0)), ValueError, "scale is 0"),
        (lambda: discrete.sample_discrete_gaussian(Fraction(-1)), ValueError, "variance is -1"),
    ],
)
def test_bad_input_teaches(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("epsilon", "sigma", "sensitivity"),
    [(0.01, 4e5, 1024), (0.001, 1.5e6, 1024), (3.0, 1.2e5, 30_000), (0.0, 2e5, 1024), (1.0, 2e4, 1024)],
)
def test_many_grid_steps_sum_to_what_their_tails_say(epsilon, sigma, sensitivity, monkeypatch):
    """The integral that replaces a sum of millions agrees with that sum, and is not below it but for rounding."""
    monkeypatch.setattr(discrete, "MANY_STEPS", math.inf)
    summed = discrete.discrete_gaussian_delta(epsilon, sigma, sensitivity)
    monkeypatch.setattr(discrete, "MANY_STEPS", 0.0)
    from_tails = discrete.discrete_gaussian_delta(epsilon, sigma, sensitivity)
    assert from_tails == pytest.approx(summed, rel=1e-9)


def test_delta_beyond_14_sigma_is_not_nothing():
    """Cut off there, delta = 1e-300 was given 14 sigma of noise where 37 are needed."""
    sigma = dp.DiscreteGaussian(1.0, 1e-300).sigma
    assert sigma == pytest.approx(dp.gaussian_sigma(1.0, 1e-300), rel=1e-3)


def test_grids_of_any_fineness_are_quick_and_agree_with_the_continuous_noise():
    """``Grid(1e-3, 1.0, 1e-6)`` took 110 seconds and 1.6 GB."""
    for epsilon, delta in ((1e-3, 1e-6), (1e-9, 1e-9)):
        grid = dp.Grid(epsilon, 1.0, delta)
        assert grid.noise.sigma * float(grid.step) == pytest.approx(
            dp.gaussian_sigma(epsilon, delta), rel=1e-5
        )


def test_numpy_numbers_are_numbers():
    one = np.float32(1.0)
    assert dp.Grid(one, one).noise.scale == dp.Grid(1.0, 1.0).noise.scale
    assert isinstance(dp.Grid(one, one).release(np.float32(0.5)), float)
    assert isinstance(dp.DiscreteLaplace(one, np.int64(2)).release(np.int64(3)), int)
