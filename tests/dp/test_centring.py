"""The private mean: what one record can do to it, its noise, and its price."""

from __future__ import annotations

import pytest
import torch

from labkit import dp
from labkit.dp.utility.centring import mean_event, private_mean


def rows(n: int = 50, d: int = 400) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_without_noise_it_is_the_mean_of_shortened_rows() -> None:
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    mean = private_mean(x, bound=1.0, noise_multiplier=0.0)
    torch.testing.assert_close(mean, torch.tensor([0.45, 0.6]))


def test_one_record_moves_the_sum_by_at_most_the_bound() -> None:
    x = rows()
    far = torch.cat([x, 1e6 * torch.ones(1, x.shape[1])])
    sums = [len(part) * private_mean(part, bound=2.0, noise_multiplier=0.0) for part in (x, far)]
    assert float((sums[1] - sums[0]).norm()) <= 2.0 + 1e-3


def test_its_noise_is_what_the_multiplier_says() -> None:
    """400 coordinates: the sample deviation lies within 20% of the true one but for less than 1e-7 of seeds; one is fixed."""
    x = rows()
    quiet, noisy = (private_mean(x, bound=2.0, noise_multiplier=m, seed=1) for m in (0.0, 5.0))
    assert float((noisy - quiet).std()) * len(x) == pytest.approx(10.0, rel=0.2)
    assert not torch.equal(private_mean(x, bound=2.0, noise_multiplier=5.0, seed=2), noisy)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0])
def test_it_takes_a_small_part_of_the_budget(epsilon: float) -> None:
    spent = dp.privacy_statement([mean_event(epsilon, 1e-5)], delta=1e-5).epsilon
    assert spent < epsilon / 3
