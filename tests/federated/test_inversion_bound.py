"""What the guarantee says about reconstruction, and that the best attack stays under it."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from labkit.dp.accounting.statement import SampledGaussian, privacy_statement
from labkit.federated.inversion.bound import exact_prior, identify, reconstruction_bound
from labkit.stats import clopper_pearson


@pytest.fixture(scope="module")
def statement():
    return privacy_statement(SampledGaussian(2.684, 20, 1.0, "full"))


@pytest.mark.parametrize("prior", [1 / 455, 0.1])
def test_bound_is_the_gaussian_trade_off(statement, prior):
    shift = 20**0.5 / 2.684
    exact = norm.cdf(norm.ppf(prior) + shift)
    # Never below the truth; above it by the grid of epsilons and the accountant's.
    assert exact * (1 - 1e-6) <= reconstruction_bound(statement, prior) <= exact * 1.02


def test_bound_is_never_below_the_guess_and_refuses_nonsense(statement):
    assert reconstruction_bound(statement, 0.0) == 1e-5
    with pytest.raises(ValueError, match="prior"):
        reconstruction_bound(statement, 1.5)


def test_informed_attacker_beats_guessing_and_stays_under_the_bound(statement):
    # Orthogonal signals of length 1 (the clipping norm): the best case for the attacker.
    signals, trials = torch.eye(200, dtype=torch.float64), 4000
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(200, (trials,), generator=generator)
    std = 2.684 / 20**0.5
    hits = int((identify(signals, targets, noise_std=std, generator=generator) == targets).sum())
    bound = reconstruction_bound(statement, 1 / 200)
    found = clopper_pearson(hits, trials, confidence=0.9999)
    assert found.low > 5 / 200
    assert found.estimate < bound
    assert found.high < 1.2 * bound


def test_without_noise_the_informed_attacker_is_always_right():
    signals = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(50)
    assert torch.equal(
        identify(signals, targets, noise_std=0.0, generator=torch.Generator().manual_seed(0)), targets
    )


def test_prior_for_exact_return_bounds_the_gaussian_box():
    assert exact_prior(torch.eye(1), 0.1) == pytest.approx(norm.cdf(0.1) - norm.cdf(-0.1), rel=0.01)
    assert exact_prior(torch.eye(30), 100.0) == 1.0
