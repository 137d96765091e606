"""One Poisson-sampled Gaussian step on arrays: equal to the library's, point by point, and to the definition."""

import numpy as np
import pytest
from scipy import stats

from labkit.dp.accounting.privacy_loss import divergence, sampled_gaussian

CASES = [(1.1, 0.004, 15_000), (3.0, 0.1, 150), (0.5, 0.5, 20), (20.0, 0.9, 10)]


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES)
def test_equals_dp_accounting(noise, rate, steps):
    from dp_accounting.pld import privacy_loss_distribution as library

    theirs = library.from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=1e-3)
    ours = sampled_gaussian(noise, rate, 1e-3)
    epsilons = np.linspace(-2, 6, 17)
    np.testing.assert_allclose(
        ours.get_delta_for_epsilon(epsilons), theirs.get_delta_for_epsilon(epsilons), atol=1e-12
    )
    for delta in (1e-2, 1e-5, 1e-8):
        got, expected = (one.self_compose(steps).get_epsilon_for_delta(delta) for one in (ours, theirs))
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize(("noise", "rate"), [(0.7, 0.3), (2.0, 0.01)])
def test_is_the_positive_part_of_the_difference_of_densities(noise, rate, removed):
    x = np.linspace(-12 * noise, 1 + 12 * noise, 400_001)
    without = stats.norm.pdf(x, 0, noise)
    mixture = (1 - rate) * without + rate * stats.norm.pdf(x, 1, noise)
    upper, lower = (mixture, without) if removed else (without, mixture)
    # The last two lie where one direction can gain nothing, or everything: beyond log(1 - q) and its mirror image.
    epsilons = np.array([-0.2, 0.0, 0.003, 0.1, 1.0, np.log(1 - rate) - 0.1, -np.log(1 - rate) + 0.1])
    exact = [np.trapezoid((upper - np.exp(e) * lower).clip(0), x) for e in epsilons]
    np.testing.assert_allclose(divergence(epsilons, noise, rate, removed=removed), exact, atol=1e-8)


def test_a_step_never_promises_more_than_it_keeps():
    # The grid is rounded pessimistically: its δ is at no ε below the exact one.
    epsilons = np.linspace(0.01, 3, 60)
    exact = np.maximum(*(divergence(epsilons, 0.8, 0.05, removed=removed) for removed in (True, False)))
    assert (sampled_gaussian(0.8, 0.05, 1e-2).get_delta_for_epsilon(epsilons) >= exact - 1e-15).all()
