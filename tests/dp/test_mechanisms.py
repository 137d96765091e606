"""The promises themselves: densities where they are exact, a statistical test where they are sampled."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import integrate, stats

from labkit import dp

EPSILONS = (0.01, 0.5, 1.0, 3.0, 10.0)
GRID = np.linspace(-60, 60, 4001)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("sensitivity", [0.2, 1.0, 7.0])
def test_laplace_log_ratio_is_bounded_and_tight(epsilon, sensitivity):
    mechanism = dp.Laplace(epsilon, sensitivity)
    for moved in (sensitivity, -sensitivity, sensitivity / 3):
        ratio = mechanism.log_density(GRID, 0.0) - mechanism.log_density(GRID, moved)
        assert np.abs(ratio).max() <= epsilon * (1 + 1e-12)
    ratio = mechanism.log_density(GRID, 0.0) - mechanism.log_density(GRID, sensitivity)
    assert np.abs(ratio).max() == pytest.approx(epsilon)


def test_laplace_density_is_that_of_its_samples():
    # Kolmogorov-Smirnov at level 1e-6: a correct sampler fails for one seed in a million.
    mechanism = dp.Laplace(0.5, 2.0)
    samples = mechanism.release(np.full(20_000, 3.0), np.random.default_rng(0))
    assert stats.kstest(samples, stats.laplace(3.0, 4.0).cdf).pvalue > 1e-6
    assert mechanism.log_density(1.0, 3.0) == pytest.approx(stats.laplace(3.0, 4.0).logpdf(1.0))
    assert mechanism.delta == 0


def hockey_stick(epsilon, sigma, sensitivity):
    """Integrate max(0, p - e^epsilon q) over the real line, from the densities alone."""
    p, q = stats.norm(0, sigma), stats.norm(sensitivity, sigma)
    edge = sensitivity / 2 - epsilon * sigma**2 / sensitivity  # p > e^epsilon q to the left of here
    centre = min(edge, 0.0)
    points = [edge - 40 * sigma, centre - 5 * sigma, centre - sigma, edge]
    excess = lambda y: max(p.pdf(y) - math.exp(epsilon) * q.pdf(y), 0.0)  # noqa: E731
    return sum(
        integrate.quad(excess, a, b, epsabs=0, epsrel=1e-11, limit=200)[0]
        for a, b in itertools.pairwise(points)
        if a < b
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 5.0])
@pytest.mark.parametrize(("sigma", "sensitivity"), [(1.0, 1.0), (0.7, 1.0), (4.0, 1.0), (3.0, 6.0)])
def test_gaussian_delta_is_the_hockey_stick_integral(epsilon, sigma, sensitivity):
    expected = hockey_stick(epsilon, sigma, sensitivity)
    assert dp.gaussian_delta(epsilon, sigma, sensitivity) == pytest.approx(expected, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-10])
def test_gaussian_calibration_keeps_the_promise_and_is_tight(epsilon, delta):
    mechanism = dp.Gaussian(epsilon, delta, sensitivity=3.0)
    assert dp.gaussian_delta(epsilon, mechanism.sigma, 3.0) <= delta
    assert dp.gaussian_delta(epsilon, mechanism.sigma * 0.999, 3.0) > delta
    assert mechanism.noise_multiplier == pytest.approx(mechanism.sigma / 3)
    if epsilon < 1:  # the textbook formula is valid there, and never better
        assert mechanism.sigma < 3.0 * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def test_textbook_gaussian_formula_breaks_its_promise_at_large_epsilon():
    sigma = math.sqrt(2 * math.log(1.25 / 1e-5)) / 10
    assert dp.gaussian_delta(10.0, sigma) > 1e-5


def test_gaussian_delta_agrees_with_dp_accounting():
    from dp_accounting.pld import privacy_loss_mechanism

    loss = privacy_loss_mechanism.GaussianPrivacyLoss(1.3)
    for epsilon in (0.0, 0.5, 2.0):
        assert dp.gaussian_delta(epsilon, 1.3) == pytest.approx(loss.get_delta_for_epsilon(epsilon), rel=1e-9)


def test_gaussian_delta_survives_extremes():
    assert dp.gaussian_delta(800.0, 1.0) == 0.0
    assert dp.gaussian_delta(800.0, 0.01) == pytest.approx(1.0)
    curve = dp.gaussian_delta(np.linspace(0, 40, 200), 1.0)
    assert (np.diff(curve) <= 0).all()
    assert np.isfinite(curve).all()


def test_gaussian_samples_have_the_calibrated_density():
    # Kolmogorov-Smirnov at level 1e-6.
    mechanism = dp.Gaussian(1.0, 1e-5, sensitivity=2.0)
    samples = mechanism.release(np.full(20_000, -1.0), np.random.default_rng(1))
    assert stats.kstest(samples, stats.norm(-1.0, mechanism.sigma).cdf).pvalue > 1e-6
    assert mechanism.log_density(0.3, -1.0) == pytest.approx(stats.norm(-1.0, mechanism.sigma).logpdf(0.3))


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("categories", [2, 3, 10])
def test_randomised_response_ratio_is_exact(epsilon, categories):
    mechanism = dp.RandomisedResponse(epsilon, categories)
    keep, lie = mechanism.keep_probability, mechanism.lie_probability
    assert keep + (categories - 1) * lie == pytest.approx(1.0)
    assert math.log(keep / lie) == pytest.approx(epsilon)


def test_randomised_response_samples_follow_the_stated_probabilities():
    # Chi-square at level 1e-6 for each true answer.
    mechanism = dp.RandomisedResponse(1.0, 4)
    rng = np.random.default_rng(2)
    for truth in range(4):
        seen = np.bincount(mechanism.release(np.full(20_000, truth), rng), minlength=4)
        share = np.full(4, mechanism.lie_probability)
        share[truth] = mechanism.keep_probability
        assert stats.chisquare(seen, 20_000 * share).pvalue > 1e-6


def test_randomised_response_estimate_is_unbiased_and_covers():
    mechanism = dp.RandomisedResponse(1.0, 3)
    truth = np.repeat([0, 1, 2], [600, 300, 100])
    rng = np.random.default_rng(3)
    runs = [mechanism.estimate(mechanism.release(truth, rng)) for _ in range(400)]
    estimates = np.array([[share.estimate for share in run] for run in runs])
    assert estimates.sum(axis=1) == pytest.approx(np.ones(400))
    # Five standard errors on three means: a correct estimator fails with probability below 2e-6.
    error = estimates.std(axis=0) / math.sqrt(400)
    assert (np.abs(estimates.mean(axis=0) - [0.6, 0.3, 0.1]) < 5 * error).all()
    covered = np.mean([run[0].low <= 0.6 <= run[0].high for run in runs])
    assert (
        covered > 0.90
    )  # at 95% true coverage, 20 misses in 400 are expected and 40 have probability below 1e-4


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_exponential_ratio_is_bounded_for_every_option(epsilon):
    mechanism = dp.Exponential(epsilon, sensitivity=2.0)
    rng = np.random.default_rng(4)
    for _ in range(200):
        utilities = rng.normal(0, 5, 6)
        neighbour = utilities + rng.choice([-2.0, 2.0, 0.0], 6)
        ratio = np.log(mechanism.probabilities(utilities)) - np.log(mechanism.probabilities(neighbour))
        assert np.abs(ratio).max() <= epsilon * (1 + 1e-9)


def test_exponential_samples_match_their_probabilities_even_for_huge_utilities():
    # Chi-square at level 1e-6.
    mechanism = dp.Exponential(1.0)
    utilities = np.array([0.0, 1.0, 2.5]) + 1e6
    rng = np.random.default_rng(5)
    seen = np.bincount([mechanism.release(utilities, rng) for _ in range(10_000)], minlength=3)
    weights = np.exp([0.0, 0.5, 1.25])
    assert stats.chisquare(seen, 10_000 * weights / weights.sum()).pvalue > 1e-6


def brute_force(statistic, low, high, neighbouring, sizes=(1, 2, 3)):
    """Largest change of a statistic over all small data sets with values on a grid that contains the bounds."""
    levels, worst = [low, (low + high) / 2, high, 0.0 if low <= 0 <= high else low], 0.0
    for n in sizes:
        for rows in itertools.product(levels, repeat=n):
            others = [rows[1:]] if neighbouring == "add/remove" else [(new, *rows[1:]) for new in levels]
            moves = [abs(np.subtract(statistic(rows), statistic(other))).sum() for other in others]
            worst = max(worst, *moves)
    return worst


@pytest.mark.parametrize("neighbouring", ["add/remove", "replace-one"])
@pytest.mark.parametrize(("low", "high"), [(0, 40), (-3, 1), (5, 6), (-2, -1)])
def test_sum_sensitivity_is_the_worst_case(low, high, neighbouring):
    assert dp.sum_sensitivity(low, high, neighbouring) == brute_force(sum, low, high, neighbouring)


def test_mean_count_and_histogram_sensitivities_are_the_worst_case():
    assert dp.mean_sensitivity(-3, 1, 3) == pytest.approx(
        brute_force(np.mean, -3, 1, "replace-one", sizes=(3,))
    )
    assert dp.count_sensitivity() == 1
    count = lambda rows: np.bincount(np.array(rows, dtype=int), minlength=3)  # noqa: E731
    for neighbouring in ("add/remove", "replace-one"):
        assert dp.histogram_sensitivity(neighbouring) == brute_force(count, 0, 2, neighbouring)
    assert dp.histogram_sensitivity("replace-one", norm=2) == pytest.approx(math.sqrt(2))


def test_clipping_bounds_values_and_norms_and_leaves_the_rest():
    assert dp.clip_values([-5, 0.5, 99], 0, 1).tolist() == [0, 0.5, 1]
    rows = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert dp.clip_vectors(rows, 1.0) == pytest.approx(np.array([[0.6, 0.8], [0.3, 0.4], [0, 0]]))
    assert np.abs(dp.clip_vectors(rows, 1.0, norm=1)).sum(axis=1) == pytest.approx([1.0, 0.7, 0.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dp.Laplace(0.0), r"epsilon=0.0: expected a finite number > 0"),
        (lambda: dp.Laplace(float("nan")), "epsilon=nan"),
        (lambda: dp.Laplace(1.0, sensitivity=-1), "sensitivity is -1"),
        (lambda: dp.Laplace(1.0).release(float("nan")), "clip and fill"),
        (lambda: dp.Gaussian(1.0, 0.0), "Gaussian noise cannot give δ = 0"),
        (lambda: dp.Gaussian(1.0, 1.0), "delta=1.0"),
        (lambda: dp.Gaussian(float("inf"), 1e-5), "epsilon=inf"),
        (lambda: dp.gaussian_delta(-1.0, 1.0), "expected 0 or more"),
        (lambda: dp.gaussian_delta(1.0, 0.0), "not a variance"),
        (lambda: dp.RandomisedResponse(1.0, 1), "at least 2"),
        (lambda: dp.RandomisedResponse(1.0).release([0, 2]), r"0\.\.1"),
        (lambda: dp.RandomisedResponse(1.0).release([0.5]), r"0\.\.1"),
        (lambda: dp.RandomisedResponse(1.0).estimate([]), "at least one"),
        (lambda: dp.Exponential(1.0).release([[1.0]]), "one number per option"),
        (lambda: dp.sum_sensitivity(1, 1), "without looking at the data"),
        (lambda: dp.sum_sensitivity(0, 1, "swap"), "expected 'add/remove' or 'replace-one'"),
        (lambda: dp.mean_sensitivity(0, 1, 0), "n=0"),
        (lambda: dp.histogram_sensitivity(norm=3), "norm is 3"),
        (lambda: dp.clip_values([1, float("nan")], 0, 1), "1 of 2 values are NaN"),
        (lambda: dp.clip_vectors(np.ones(3), 1.0), r"shape \(n, d\)"),
        (lambda: dp.clip_vectors(np.ones((1, 3)), 0.0), "max_norm is 0.0"),
        (lambda: dp.advanced_composition(1.0, 0, 1e-5), "releases=0"),
        (lambda: dp.composed_delta(1.0, 3, float("nan")), "total_epsilon is nan"),
    ],
)
def test_bad_input_teaches(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def enumerate_composition(epsilon, releases, total):
    """Hockey-stick divergence of k-fold randomised response, over all 2^k outcomes one by one."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    delta = 0.0
    for outcome in itertools.product((True, False), repeat=releases):
        p = math.prod(keep if o else 1 - keep for o in outcome)
        q = math.prod(1 - keep if o else keep for o in outcome)
        delta += max(0.0, p - math.exp(total) * q)
    return delta


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("releases", [1, 2, 7])
def test_composed_delta_equals_enumeration(epsilon, releases):
    for total in (0.0, 0.3, epsilon, releases * epsilon * 0.7, releases * epsilon):
        expected = enumerate_composition(epsilon, releases, total)
        assert dp.composed_delta(epsilon, releases, total) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("releases", [1, 10, 1000])
def test_optimal_composition_is_below_every_other_bound(epsilon, releases):
    best = dp.optimal_composition(epsilon, releases, 1e-6)
    assert dp.composed_delta(epsilon, releases, best) <= 1e-6
    assert best <= dp.basic_composition(epsilon, releases)
    assert best <= dp.advanced_composition(epsilon, releases, 1e-6)


def test_importing_labkit_dp_stays_light():
    code = (
        "import sys, labkit.dp; print(sorted({'torch', 'scipy', 'opacus', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", dp.__all__)
def test_every_exported_name_exists(name):
    assert getattr(dp, name) is not None


def test_unknown_names_list_the_known_ones():
    with pytest.raises(AttributeError, match="Laplace"):
        _ = dp.Laplase
    assert "Gaussian" in dir(dp)
