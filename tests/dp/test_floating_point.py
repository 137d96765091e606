"""The attack works where it should, never errs when it is certain, and finds nothing in the fixed sampler."""

import math
import random
from functools import partial

import numpy as np
import pytest

from labkit import dp
from labkit.dp.mechanisms import floating_point as fp


def laplace_game(epsilon, release, **options):
    score = partial(fp.laplace_log_likelihood, scale=1 / epsilon)
    return fp.distinguish(release, score, epsilon=epsilon, **options)


def naive(epsilon):
    return lambda answers, rng: fp.naive_laplace(answers, 1 / epsilon, rng)


def fixed(epsilon, delta=0.0):
    grid, source = dp.Grid(epsilon, 1.0, delta), random.Random(0)
    return lambda answers, rng: np.array([grid.release(float(answer), source) for answer in answers])


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 14.127, 212.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 300.0])
def test_what_was_released_is_always_reachable(value, scale):
    released = fp.naive_laplace(np.full(20_000, value), scale, np.random.default_rng(0))
    assert fp.laplace_reachable(released, value, scale).all()
    assert fp.any_noise_reachable(released, value).all()


def test_unreachable_means_unreachable_by_brute_force():
    # Run the sampler forwards on 4,001 uniforms around the only one that could have given each release.
    scale = 1.0
    released = fp.naive_laplace(np.full(300, 1.0), scale, np.random.default_rng(1))
    said = fp.laplace_reachable(released, 0.0, scale)
    centre = np.rint(np.exp(-np.abs(released) / scale) * 2**53)
    uniforms = np.clip(centre[:, None] + np.arange(-2000, 2001), 1, 2**53) / 2**53
    outputs = np.sign(released)[:, None] * (-scale * np.log(uniforms))
    assert (said == (outputs == released[:, None]).any(axis=1)).all()
    assert 0.3 < said.mean() < 0.8  # both kinds occur


def test_naive_sampler_has_the_right_distribution_all_the_same():
    # Kolmogorov-Smirnov at level 1e-6: the flaw is in the low bits, no histogram shows it.
    from scipy import stats

    noise = fp.naive_laplace(np.zeros(20_000), 2.0, np.random.default_rng(2))
    assert stats.kstest(noise, stats.laplace(0, 2.0).cdf).pvalue > 1e-6


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0])
def test_naive_laplace_is_beaten_above_the_ceiling(epsilon):
    # At 1 - 1e-6 confidence, so a sampler that kept its promise would pass for broken once in a million runs.
    result = laplace_game(epsilon, naive(epsilon), confidence=1 - 1e-6)
    assert result.success.low > result.ceiling
    assert result.epsilon_at_least > 4 > epsilon
    assert result.violates
    assert result.certain_and_wrong == 0
    assert result.certain.low > 0.5
    assert "breaks the promise" in str(result)


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_grid_release_survives_the_same_attack(epsilon):
    # Fails once in a million runs if the grid keeps its promise.
    result = laplace_game(epsilon, fixed(epsilon), confidence=1 - 1e-6, trials=1500)
    assert result.success.low <= result.ceiling
    assert not result.violates
    assert "within the promise" in str(result)


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_gaussian_noise_is_caught_by_the_precision_attack(epsilon):
    sigma = dp.Gaussian(epsilon, 1e-5).sigma
    score = partial(fp.gaussian_log_likelihood, sigma=sigma)
    settings = {"epsilon": epsilon, "delta": 1e-5, "confidence": 1 - 1e-6}
    release = lambda answers, rng: fp.naive_gaussian(answers, sigma, rng)  # noqa: E731
    broken = fp.distinguish(release, score, trials=20_000, **settings)
    assert broken.violates
    assert broken.certain_and_wrong == 0
    safe = fp.distinguish(fixed(epsilon, 1e-5), score, trials=1000, **settings)
    assert not safe.violates
    assert safe.success.low <= safe.ceiling


def test_the_fix_can_release_the_same_doubles_for_both_answers():
    grid, source = dp.Grid(0.1, 1.0), random.Random(1)
    for answer in (0.0, 1.0, 0.3):
        steps = [grid.release(answer, source) / float(grid.step) for _ in range(200)]
        assert steps == [round(step) for step in steps]


def test_optimal_guess_against_exact_laplace_meets_the_ceiling():
    # One bit of randomised response is the worst case: guessing what was said is right e^eps / (1 + e^eps) often.
    for epsilon in (0.1, 1.0, 3.0):
        assert fp.success_ceiling(epsilon) == pytest.approx(dp.RandomisedResponse(epsilon).keep_probability)
    assert fp.success_ceiling(1.0, 1.0) == pytest.approx(1.0)
    assert fp.success_ceiling(800.0) == 1.0


def test_bound_on_epsilon_is_arithmetic_one_can_redo():
    from labkit.stats import clopper_pearson

    # A leaky release: certain of the second answer half of the time, never wrong.
    release = lambda answers, rng: np.where(rng.random(answers.shape) < 0.5, answers, 0.5)  # noqa: E731
    score = lambda y, a: np.where((y == a) | (y == 0.5), 0.0, -np.inf)  # noqa: E731
    result = fp.distinguish(release, score, epsilon=1.0, trials=500)
    hits = round(result.certain.estimate * 1000)
    bound = math.log(clopper_pearson(hits // 2, 500, 0.975).low / clopper_pearson(0, 500, 0.975).high)
    assert result.epsilon_at_least == pytest.approx(bound, abs=0.1)
    assert result.success.estimate > 0.7
    with pytest.raises(ValueError, match="epsilon=0"):
        fp.distinguish(release, score, epsilon=0)
