"""The arithmetic of audits, against published figures, brute force and linear programming."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as distributions
from scipy.optimize import linprog

from labkit.audit import bounds, fdp
from labkit.audit.roc_point import Point
from labkit.dp.mechanisms.additive import gaussian_delta


@pytest.mark.parametrize(
    ("right", "guesses", "epsilon"),
    [(20, 20, 1.82), (100, 100, 3.49), (500, 500, 5.11), (180, 200, 1.80), (700, 1000, 0.73)],
)
def test_one_run_certifies_what_the_paper_arithmetic_gives(right: int, guesses: int, epsilon: float) -> None:
    assert bounds.one_run_epsilon(right, guesses) == pytest.approx(epsilon, abs=0.005)
    assert bounds.one_run_epsilon(right, guesses, delta=1e-5) <= bounds.one_run_epsilon(right, guesses)


@pytest.mark.parametrize(("n", "epsilon"), [(1000, 1.90), (5000, 2.94), (10_000, 3.22), (25_000, 3.47)])
def test_a_roc_point_certifies_more_with_more_runs(n: int, epsilon: float) -> None:
    assert bounds.many_run_epsilon(n // 20, n, n // 1000, n) == pytest.approx(epsilon, abs=0.005)


def test_a_perfect_attack_is_capped_by_the_number_of_runs() -> None:
    assert bounds.many_run_epsilon(1000, 1000, 0, 1000) == pytest.approx(5.60, abs=0.005)
    assert bounds.many_run_epsilon(5000, 5000, 0, 5000) == pytest.approx(7.21, abs=0.005)
    assert bounds.many_run_epsilon(0, 1000, 0, 1000) == 0
    assert bounds.many_run_epsilon(500, 1000, 500, 1000) == 0


def test_delta_lets_luck_through_as_the_theorem_says() -> None:
    """Brute force over i of theorem 5.2's correction term."""
    right, guesses, canaries, epsilon, delta = 17, 20, 50, 0.5, 1e-3
    rate = 1 / (1 + math.exp(-epsilon))
    pmf = [math.comb(guesses, k) * rate**k * (1 - rate) ** (guesses - k) for k in range(guesses + 1)]
    slips = max(sum(pmf[right - i : right]) / i for i in range(1, right + 1))
    expected = sum(pmf[right:]) + 2 * canaries * delta * slips
    found = bounds.one_run_p_value(right, guesses, epsilon, delta=delta, canaries=canaries)
    assert found == pytest.approx(expected, rel=1e-9)


def test_randomised_response_of_epsilon_2_is_exceeded_in_at_most_5_percent() -> None:
    """The hardest case for pure DP: the bound is tight, so its error must be 5% or just below, and not far below."""
    rate = 1 / (1 + math.exp(-2))
    chance = sum(
        distributions.binom.pmf(k, 200, rate)
        for k in range(201)
        if bounds.one_run_epsilon(k, 200) > 2 + 1e-4  # exact, over all outcomes: no chance of a false failure
    )
    assert 0.02 < chance <= 0.05


def test_how_many_guesses_it_takes() -> None:
    needed = bounds.guesses_needed(3.0)
    assert bounds.certifiable(needed) >= 3 > bounds.certifiable(needed - 1)
    assert (
        bounds.guesses_needed(3.0, accuracy=0.95) is None
    )  # log(.95 / .05) = 2.94, for any number of guesses
    assert bounds.guesses_needed(2.0, accuracy=0.95) is not None


@pytest.mark.parametrize(
    ("epsilon", "accuracy"), [(0, 0.9), (0.3, 0.7), (0.5, 0.7), (2, 0.9), (2, 0.95), (2.5, 1)]
)
def test_the_fewest_guesses_are_those_of_a_count_from_one(epsilon: float, accuracy: float) -> None:
    """Power rises as a saw: 800 guesses of accuracy 0.9 certify 2, 801 to 809 do not."""
    counted = next(n for n in range(1, 1000) if bounds.certifiable(n, accuracy) >= epsilon)
    assert bounds.guesses_needed(epsilon, accuracy) == counted
    assert [bounds.certifiable(n, 0.9) >= 2 for n in (799, 800, 801, 809)] == [False, True, False, False]


def test_guesses_beyond_any_audit_are_no_number() -> None:
    assert bounds.guesses_needed(20.0) is None


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="got 21 right of 20 guesses"):
        bounds.one_run_epsilon(21, 20)
    with pytest.raises(ValueError, match="expected epsilon >= 0"):
        bounds.one_run_p_value(1, 2, -1.0)
    with pytest.raises(ValueError, match="confidence"):
        bounds.one_run_epsilon(20, 20, confidence=95)


def gaussian_lines(mu: float) -> tuple[np.ndarray, np.ndarray]:
    epsilons = np.linspace(0, 8, 50)
    return epsilons, np.asarray(gaussian_delta(epsilons, 1 / mu))


def largest_tail(mu: float, right: int, guesses: int, canaries: int) -> float:
    """Return max P[A >= right] over all laws of A that fit the curve, as a linear program: slow and plainly valid."""
    epsilons, deltas = gaussian_lines(mu)
    slopes = np.concatenate([np.exp(-epsilons), np.exp(epsilons), [0]])
    heights = np.concatenate([-np.exp(-epsilons) * deltas, 1 - deltas - np.exp(epsilons), [0]])
    a = np.arange(guesses + 1)
    rows, limits = [], []
    for k in range(1, guesses + 1):
        x, y = a * (a >= k) / canaries, (guesses - a) * (a >= k - 1) / canaries
        for slope, height in zip(slopes, heights, strict=True):
            rows.append(slope * x - y)
            limits.append(-height)
    found = linprog(
        -(a >= right).astype(float), A_ub=rows, b_ub=limits, A_eq=[np.ones(guesses + 1)], b_eq=[1]
    )
    return -found.fun


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("counts", [(9, 10, 10), (10, 10, 10), (7, 8, 20), (18, 20, 20), (20, 20, 100)])
def test_the_recursion_finds_the_optimum_of_the_linear_program(
    mu: float, counts: tuple[int, int, int]
) -> None:
    exact = largest_tail(mu, *counts)
    found = fdp.p_value(fdp.lines_curve(*gaussian_lines(mu), ""), *counts)
    assert exact - 1e-6 <= found <= 1.011 * exact + 1e-6  # never below, and rounded up by at most 1%


def test_a_curve_of_lines_is_their_maximum_everywhere() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        epsilons, deltas = rng.random(20) * 8, rng.random(20) * rng.random()
        epsilons[0] = 0.0  # two parallel lines
        curve = fdp.lines_curve(epsilons, deltas, "")
        for x in (0.0, *rng.random(20), 1.0):
            down, up = np.exp(-epsilons) * (x - deltas), 1 - deltas - np.exp(epsilons) * (1 - x)
            assert curve.floor(x) == pytest.approx(max(0.0, *down, *up), abs=1e-12)


def test_the_gaussian_curve_agrees_with_its_lines() -> None:
    curve, lines = fdp.gaussian_curve(1.0), fdp.lines_curve(*gaussian_lines(1.0), "")
    for x in (0.01, 0.1, 0.5, 0.9):
        assert lines.floor(x) <= curve.floor(x) + 1e-12
        assert lines.floor(x) == pytest.approx(curve.floor(x), abs=0.003)


def test_a_single_pure_pair_gives_back_the_epsilon_form() -> None:
    """For pure ε-DP the f-DP test can be no stronger than the binomial, and is nearly as strong."""
    for right, guesses in ((20, 20), (180, 200)):
        binomial = bounds.one_run_p_value(right, guesses, 1.0)
        assert binomial <= fdp.p_value(fdp.lines_curve(1.0, 0.0, ""), right, guesses) <= 2.5 * binomial


def test_a_full_curve_certifies_more_than_one_pair() -> None:
    assert fdp.one_run_epsilon(180, 200, delta=1e-5) > bounds.one_run_epsilon(180, 200, delta=1e-5) + 1
    mu = fdp.gaussian_mu(180, 200)
    assert gaussian_delta(fdp.gaussian_epsilon(mu, 1e-5), 1 / mu) == pytest.approx(1e-5, rel=0.01)
    assert fdp.gaussian_mu(100, 200) == 0


def test_a_gaussian_release_is_certified_from_below_and_closely() -> None:
    """1,000 bits, each behind N(0, 1) noise: μ = 1, and the best guess of each is its sign.

    A correct bound exceeds the truth with probability at most 5% a run; the seed is fixed.
    """
    rng = np.random.default_rng(0)
    bits = rng.random(1000) < 0.5
    seen = bits + rng.normal(size=1000)
    order = np.argsort(seen)
    right = int(bits[order[-100:]].sum() + (~bits[order[:100]]).sum())
    assert 0.6 < fdp.gaussian_mu(right, 200, 1000) <= 1.0


def test_a_point_of_a_roc_refutes_what_lies_below_its_bound() -> None:
    point = Point("loss", 300, 1000, 10, 1000)
    bound = point.epsilon(0.0, 0.95)
    assert point.p_value((bound - 0.01, 0.0)) <= 0.05 < point.p_value((bound + 0.01, 0.0))
    assert point.gaussian_epsilon(1e-5, 0.95) > bound
    assert Point("loss", 10, 1000, 10, 1000).p_value((0.0, 0.0)) > 0.05
