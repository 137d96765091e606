"""Lab 02's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from proofs import prove_mistake, prove_right
from torch.nn import functional as F  # noqa: N812


def sum_first(grads: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    return grads * min(1.0, max_grad_norm / float(grads.norm()))


def mean_with(noise: Callable, divisor: Callable) -> Callable:
    """Build a noisy mean out of a noise scale and a divisor, both functions of (C, sigma, expected, realised)."""

    def attempt(clipped, *, max_grad_norm, noise_multiplier, expected_batch_size, generator):
        args = (max_grad_norm, noise_multiplier, expected_batch_size, len(clipped))
        z = torch.randn(clipped.shape[1], generator=generator)
        return clipped.sum(0) / divisor(*args) + noise(*args) * z

    return attempt


def train_with(*, sign: int = 1, clip: bool = True, noise: bool = True, divide: bool = True) -> Callable:
    """A from-scratch DP-SGD by autograd, one record at a time, with switches for the usual mistakes."""

    def attempt(
        x, y, *, sample_rate, steps, learning_rate, max_grad_norm, noise_multiplier, classes=10, seed=0
    ):
        generator = torch.Generator().manual_seed(seed)
        weights = torch.zeros(x.shape[1], classes, dtype=x.dtype)
        for _ in range(steps):
            total = torch.zeros_like(weights)
            for i in (torch.rand(len(x), generator=generator) < sample_rate).nonzero().flatten():
                w = weights.clone().requires_grad_()
                (grad,) = torch.autograd.grad(F.cross_entropy((x[i] @ w)[None], y[i : i + 1]), w)
                total += grad * (min(1.0, max_grad_norm / float(grad.norm().clamp(min=1e-12))) if clip else 1)
            z = (
                torch.randn(weights.shape, generator=generator, dtype=x.dtype)
                * noise_multiplier
                * max_grad_norm
            )
            weights -= sign * learning_rate * (total + noise * z) / (sample_rate * len(x) if divide else 1)
        return weights

    return attempt


def accountant(*, steps: Callable, sampled: bool = True) -> Callable:
    def attempt(n, expected_batch_size, epochs, noise_multiplier, delta):
        event = dp_event.GaussianDpEvent(noise_multiplier)
        if sampled:
            event = dp_event.PoissonSampledDpEvent(expected_batch_size / n, event)
        return PLDAccountant().compose(event, round(steps(n, expected_batch_size, epochs))).get_epsilon(delta)

    return attempt


RIGHT = {
    "02.poisson_batch": lambda n, q, g: torch.bernoulli(torch.full((n,), q), generator=g).nonzero().flatten(),
    "02.clip_per_sample": lambda g, c: g / (g.norm(dim=1, keepdim=True) / c).clamp(min=1),
    "02.noisy_mean": mean_with(lambda c, s, e, b: s * c / e, lambda c, s, e, b: e),
    "02.dp_sgd": train_with(),
    "02.epsilon": accountant(steps=lambda n, b, e: e * n / b),
    "02.sample_rate": lambda n, b: 1 / (-(-n // b)),
}

MISTAKES = [
    ("02.poisson_batch", lambda n, q, g: torch.randperm(n, generator=g)[: int(q * n)], "fixed size"),
    ("02.poisson_batch", lambda n, q, g: torch.randint(n, (int(q * n),), generator=g), "own coin once"),
    ("02.poisson_batch", lambda n, q, g: torch.rand(n, generator=g) < q, "record numbers"),
    (
        "02.poisson_batch",
        lambda n, q, g: (torch.rand(n, generator=g) > q).nonzero().flatten(),
        "joins with probability",
    ),
    ("02.clip_per_sample", sum_first, "one factor for the whole batch"),
    ("02.clip_per_sample", lambda g, c: g.clamp(-c, c), "each coordinate was clipped on its own"),
    ("02.clip_per_sample", lambda g, c: g * c / g.norm(dim=1, keepdim=True).clamp(min=1e-12), "stretched"),
    ("02.clip_per_sample", lambda g, c: g * c / g.norm(dim=1, keepdim=True), "norm 0 was divided"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: s * c, lambda c, s, e, b: e), "after the division"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: s / e, lambda c, s, e, b: e), "scale with max_grad_norm"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: 0, lambda c, s, e, b: e), "no noise"),
    (
        "02.noisy_mean",
        mean_with(lambda c, s, e, b: s * c / max(b, 1), lambda c, s, e, b: max(b, 1)),
        "30 records that came",
    ),
    (
        "02.noisy_mean",
        mean_with(lambda c, s, e, b: s * c / e, lambda c, s, e, b: max(b, 1)),
        "public constant",
    ),
    (
        "02.noisy_mean",
        mean_with(lambda c, s, e, b: s * c / e * (b > 0), lambda c, s, e, b: e),
        "empty batch is a step",
    ),
    ("02.dp_sgd", train_with(sign=-1), "wrong sign"),
    ("02.dp_sgd", train_with(divide=False), "divide the sum by the expected batch size"),
    ("02.dp_sgd", train_with(clip=False), "clipped before the sum"),
    ("02.dp_sgd", train_with(noise=False), "no noise reached the weights"),
    ("02.epsilon", accountant(steps=lambda n, b, e: 1), "compose the event over all the steps"),
    ("02.epsilon", accountant(steps=lambda n, b, e: e), "epochs were counted as steps"),
    ("02.epsilon", accountant(steps=lambda n, b, e: e * n / b, sampled=False), "no credit for sampling"),
    ("02.sample_rate", lambda n, b: b / n, "len rounds the number of batches up"),
    ("02.sample_rate", lambda n, b: 1 / max(1, n // b), "the last short one included"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
