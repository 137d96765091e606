"""Lab 02's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import PRVAccountant
from proofs import prove_mistake, prove_right
from torch.nn import functional as F  # noqa: N812

from labkit import dp
from labkit.course import check


def sum_first(grads: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    return grads * min(1.0, max_grad_norm / float(grads.norm()))


def own_seed_batch(n, q, generator):
    """One batch for all steps: the generator given is ignored for a fixed one."""
    return (torch.rand(n, generator=torch.Generator().manual_seed(7)) < q).nonzero().flatten()


def batch_of_size(draw: Callable, block: bool = False) -> Callable:
    """Draw the size first, then the records: at random, or as one block of the table."""

    def attempt(n, q, generator):
        size = min(n, int(draw(n, q, generator)))
        start = int(torch.randint(n, (1,), generator=generator))
        return (start + torch.arange(size)) % n if block else torch.randperm(n, generator=generator)[:size]

    return attempt


def binomial_size(n, q, generator):
    return (torch.rand(n, generator=generator) < q).sum()


def never_empty(n, q, generator):
    batch = torch.zeros(0, dtype=torch.int64)
    while not len(batch):
        batch = (torch.rand(n, generator=generator) < q).nonzero().flatten()
    return batch


def coins_one_by_one(n, q, generator):
    joined = [i for i in range(n) if torch.rand((), generator=generator) < q]
    return torch.tensor(joined, dtype=torch.int64)


def floats_when_empty(n, q, generator):
    return torch.tensor((torch.rand(n, generator=generator) < q).nonzero().flatten().tolist())


def noise_of(draw: Callable) -> Callable:
    """Build a noisy mean out of a function of (coordinates, generator) that draws noise of deviation 1."""

    def attempt(clipped, *, max_grad_norm, noise_multiplier, expected_batch_size, generator):
        noise = noise_multiplier * max_grad_norm * draw(clipped.shape[1], generator)
        return (clipped.sum(0) + noise) / expected_batch_size

    return attempt


def laplace_noise(d, generator):
    u = torch.rand(d, generator=generator) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs()) / 2**0.5


def mean_with(noise: Callable, divisor: Callable) -> Callable:
    """Build a noisy mean out of a noise scale and a divisor, both functions of (C, sigma, expected, realised)."""

    def attempt(clipped, *, max_grad_norm, noise_multiplier, expected_batch_size, generator):
        args = (max_grad_norm, noise_multiplier, expected_batch_size, len(clipped))
        z = torch.randn(clipped.shape[1], generator=generator)
        return clipped.sum(0) / divisor(*args) + noise(*args) * z

    return attempt


def coins(n, q, generator, step):
    return (torch.rand(n, generator=generator) < q).nonzero().flatten()


def train_with(
    *,
    sign: int = 1,
    clip: bool = True,
    noise: bool = True,
    draw: Callable = coins,
    divisor: Callable = lambda q, n, b: q * n,
    once: bool = False,
    late: bool = False,
    seeded: Callable = lambda seed: seed,
) -> Callable:
    """A from-scratch DP-SGD by autograd, one record at a time, with switches for the usual mistakes."""

    def attempt(
        x, y, *, sample_rate, steps, learning_rate, max_grad_norm, noise_multiplier, classes=10, seed=0
    ):
        generator = torch.Generator().manual_seed(seeded(seed))
        weights, held_back = torch.zeros(2, x.shape[1], classes, dtype=x.dtype)
        batch = draw(len(x), sample_rate, generator, 0)
        for t in range(steps):
            batch = batch if once else draw(len(x), sample_rate, generator, t)
            total = torch.zeros_like(weights)
            for i in batch:
                w = weights.clone().requires_grad_()
                (grad,) = torch.autograd.grad(F.cross_entropy((x[i] @ w)[None], y[i : i + 1]), w)
                total += grad * (min(1.0, max_grad_norm / float(grad.norm().clamp(min=1e-12))) if clip else 1)
            z = torch.randn(weights.shape, generator=generator, dtype=x.dtype)
            z *= noise * noise_multiplier * max_grad_norm
            scale = sign * learning_rate / divisor(sample_rate, len(x), len(batch))
            weights, held_back = weights - scale * (total + (0 if late else z)), held_back - scale * z
        return weights + (held_back if late else 0)

    return attempt


def privacy_loss(neighbours=NeighboringRelation.ADD_OR_REMOVE_ONE):
    return PLDAccountant(neighbours)


def gdp(n, expected_batch_size, epochs, noise_multiplier, delta):
    q = expected_batch_size / n
    return dp.gdp_epsilon(noise_multiplier, round(epochs / q), q, delta=delta)


def prv(n, expected_batch_size, epochs, noise_multiplier, delta):
    accountant = PRVAccountant()
    accountant.history = [
        (noise_multiplier, expected_batch_size / n, round(epochs * n / expected_batch_size))
    ]
    return float(accountant.get_epsilon(delta))


def accountant(
    *,
    steps: Callable = lambda n, b, e: e * n / b,
    rate: Callable = lambda n, b: b / n,
    sampled: bool = True,
    made: Callable = privacy_loss,
    at: float | None = None,
) -> Callable:
    def attempt(n, expected_batch_size, epochs, noise_multiplier, delta):
        event = dp_event.GaussianDpEvent(noise_multiplier)
        if sampled:
            event = dp_event.PoissonSampledDpEvent(rate(n, expected_batch_size), event)
        composed = made().compose(event, round(steps(n, expected_batch_size, epochs)))
        return composed.get_epsilon(at or delta)

    return attempt


def statement(n, expected_batch_size, epochs, noise_multiplier, delta):
    run = dp.SampledGaussian(
        noise_multiplier,
        steps=round(epochs * n / expected_batch_size),
        sample_rate=expected_batch_size / n,
    )
    return dp.privacy_statement(run, delta=delta).epsilon


RIGHT = {
    "02.poisson_batch": lambda n, q, g: torch.bernoulli(torch.full((n,), q), generator=g).nonzero().flatten(),
    "02.clip_per_sample": lambda g, c: g / (g.norm(dim=1, keepdim=True) / c).clamp(min=1),
    "02.noisy_mean": mean_with(lambda c, s, e, b: s * c / e, lambda c, s, e, b: e),
    "02.dp_sgd": train_with(),
    "02.epsilon": accountant(),
    "02.sample_rate": lambda n, b: 1 / (-(-n // b)),
    "02.coupled_rate": lambda rate, norm, new: rate / (new / norm),
}

ALSO_RIGHT = [
    ("02.poisson_batch", coins_one_by_one),
    ("02.poisson_batch", batch_of_size(binomial_size)),
    (
        "02.noisy_mean",
        noise_of(lambda d, g: torch.normal(0.0, 1.0, (d,), generator=g, dtype=torch.float64)),
    ),
    ("02.dp_sgd", train_with(draw=lambda n, q, g, t: coins_one_by_one(n, q, g))),
    ("02.epsilon", statement),
]

MISTAKES = [
    ("02.coupled_rate", lambda rate, norm, new: rate, "two things changed"),
    ("02.coupled_rate", lambda rate, norm, new: rate * new / norm, "a smaller norm wants a larger rate"),
    ("02.poisson_batch", batch_of_size(binomial_size, block=True), "stand together join together"),
    (
        "02.poisson_batch",
        batch_of_size(lambda n, q, g: torch.poisson(torch.tensor(n * q), generator=g)),
        "not that of n coins",
    ),
    ("02.poisson_batch", never_empty, "empty batches were drawn again"),
    ("02.poisson_batch", floats_when_empty, "an empty batch is a tensor of int64 too"),
    ("02.poisson_batch", lambda n, q, g: coins(n, q, None, 0), "ignores the generator"),
    ("02.poisson_batch", own_seed_batch, "or a seed is set inside"),
    (
        "02.noisy_mean",
        noise_of(lambda d, g: torch.randn(d, generator=torch.Generator().manual_seed(0))),
        "or a seed is set inside",
    ),
    ("02.noisy_mean", noise_of(lambda d, g: torch.randn(d)), "ignores the generator"),
    (
        "02.noisy_mean",
        noise_of(lambda d, g: torch.from_numpy(np.random.normal(size=d))),
        "ignores the generator",
    ),
    (
        "02.noisy_mean",
        noise_of(lambda d, g: 12**0.5 * (torch.rand(d, generator=g) - 0.5)),
        "assumes a Gaussian",
    ),
    ("02.noisy_mean", noise_of(laplace_noise), "assumes a Gaussian"),
    ("02.dp_sgd", train_with(draw=lambda n, q, g, t: torch.arange(n)), "the whole data set takes part"),
    (
        "02.dp_sgd",
        train_with(draw=lambda n, q, g, t: torch.randperm(n, generator=g)[: round(q * n)]),
        "batches of fixed size",
    ),
    (
        "02.dp_sgd",
        train_with(draw=lambda n, q, g, t: (t * round(q * n) + torch.arange(round(q * n))) % n),
        "batches in turn",
    ),
    ("02.dp_sgd", train_with(once=True), "one batch served all steps"),
    ("02.dp_sgd", train_with(divisor=lambda q, n, b: max(b, 1)), "the divisor is the *expected*"),
    ("02.dp_sgd", train_with(late=True), "before the next gradients, not after the loop"),
    ("02.dp_sgd", train_with(seeded=lambda seed: 0), "not seeded with `seed`"),
    (
        "02.dp_sgd",
        train_with(draw=lambda n, q, g, t: coins(n, q, None, t)),
        "draw all coins",
    ),
    ("02.epsilon", accountant(rate=lambda n, b: 0.05), "written into the function"),
    ("02.epsilon", accountant(steps=lambda n, b, e: 40), "written into the function"),
    ("02.epsilon", accountant(at=1e-5), "written into the function"),
    ("02.epsilon", accountant(made=RdpAccountant), "that is RDP"),
    ("02.epsilon", prv, "that is PRV"),
    ("02.epsilon", gdp, "that is GDP"),
    (
        "02.epsilon",
        accountant(made=lambda: privacy_loss(NeighboringRelation.REPLACE_ONE)),
        "that is replace-one",
    ),
    ("02.poisson_batch", lambda n, q, g: torch.randperm(n, generator=g)[: int(q * n)], "a batch of"),
    ("02.poisson_batch", lambda n, q, g: torch.randint(n, (int(q * n),), generator=g), "own coin once"),
    ("02.poisson_batch", lambda n, q, g: torch.rand(n, generator=g) < q, "a mask came"),
    (
        "02.poisson_batch",
        lambda n, q, g: (torch.rand(n, generator=g) > q).nonzero().flatten(),
        "each record joins with",
    ),
    ("02.clip_per_sample", sum_first, "one factor for the whole batch"),
    ("02.clip_per_sample", lambda g, c: g.clamp(-c, c), "each coordinate was clipped on its own"),
    ("02.clip_per_sample", lambda g, c: g * c / g.norm(dim=1, keepdim=True).clamp(min=1e-12), "stretched"),
    ("02.clip_per_sample", lambda g, c: g * c / g.norm(dim=1, keepdim=True), "norm 0 was divided"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: s * c, lambda c, s, e, b: e), "after the division"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: s / e, lambda c, s, e, b: e), "scale with max_grad_norm"),
    ("02.noisy_mean", mean_with(lambda c, s, e, b: 0, lambda c, s, e, b: e), "no noise was"),
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
    ("02.dp_sgd", train_with(divisor=lambda q, n, b: 1), "divide the sum by the expected batch size"),
    ("02.dp_sgd", train_with(clip=False), "clipped before the sum"),
    ("02.dp_sgd", train_with(noise=False), "no noise reached the weights"),
    ("02.epsilon", accountant(steps=lambda n, b, e: 1), "compose the event over all the steps"),
    ("02.epsilon", accountant(steps=lambda n, b, e: e), "epochs were counted as steps"),
    ("02.epsilon", accountant(sampled=False), "no credit for sampling"),
    ("02.sample_rate", lambda n, b: b / n, "their number is rounded up"),
    ("02.sample_rate", lambda n, b: 1 / max(1, n // b), "the last short one included"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(("name", "attempt"), ALSO_RIGHT)
def test_another_right_answer_passes(name: str, attempt: Callable) -> None:
    outcome = check(name, attempt)
    assert outcome.status == "passed", outcome


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
