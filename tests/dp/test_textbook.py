from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from labkit.dp.training import textbook


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_poisson_batches_vary_in_size_and_can_be_empty() -> None:
    sizes = torch.tensor([len(textbook.poisson_batch(400, 0.01, generator(s))) for s in range(500)]).double()
    # 500 binomial(400, .01) sizes: mean 4 and variance 3.96; bounds of 5 standard errors, fixed seeds (would fail with p < 1e-5).
    assert abs(sizes.mean() - 4) < 5 * (3.96 / 500) ** 0.5
    assert abs(sizes.var() - 3.96) < 5 * 3.96 * (2.3 / 500) ** 0.5
    assert sizes.min() == 0  # empty with probability 1.8% each


def test_clipping_bounds_every_row_and_leaves_short_rows_alone() -> None:
    grads = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    clipped = textbook.clip_per_sample(grads, 1.0)
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_softmax_gradients_are_autograds() -> None:
    x, y = torch.randn(6, 4, generator=generator(), dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.randn(4, 3, generator=generator(1), dtype=torch.float64, requires_grad=True)
    rows = textbook.softmax_gradients(weights.detach(), x, y)
    for i in range(6):
        (expected,) = torch.autograd.grad(F.cross_entropy(x[i : i + 1] @ weights, y[i : i + 1]), weights)
        torch.testing.assert_close(rows[i], expected.flatten())


def test_noise_is_scaled_by_the_expected_batch_even_when_the_batch_is_empty() -> None:
    mean = textbook.noisy_mean(
        torch.zeros(0, 40_000),
        max_grad_norm=2.0,
        noise_multiplier=1.5,
        expected_batch_size=10.0,
        generator=generator(),
    )
    # Standard error of a standard deviation from 40,000 draws is 0.35%; 2% is 5.6 of them: chance failure below 1e-7.
    assert mean.std() == pytest.approx(1.5 * 2.0 / 10.0, rel=0.02)


def test_dp_sgd_learns_two_clouds_and_repeats() -> None:
    y = torch.arange(400) % 2
    x = torch.randn(400, 5, generator=generator()) + 3.0 * y[:, None] - 1.5
    settings = {"sample_rate": 0.1, "steps": 60, "learning_rate": 0.5, "max_grad_norm": 1.0, "classes": 2}
    weights = textbook.dp_sgd(x, y, noise_multiplier=1.0, **settings)
    assert ((x @ weights).argmax(1) == y).double().mean() > 0.95
    assert torch.equal(weights, textbook.dp_sgd(x, y, noise_multiplier=1.0, **settings))
