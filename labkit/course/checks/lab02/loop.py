"""Checks of lab 02: the whole of DP-SGD."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.course.exercises.exercise import Wrong, exercise

if TYPE_CHECKING:
    from torch import Tensor

TEXTBOOK = "labkit.dp.training.textbook"


@exercise(
    "02.dp_sgd",
    title="the whole of DP-SGD",
    points=5,
    difficulty=3,
    importance=5,
    minutes=20,
    reference=f"{TEXTBOOK}:dp_sgd",
)
def check_dp_sgd(attempt: Callable) -> None:
    """Without noise and with everyone in every batch, three steps equal Opacus's; then sampler, noise and their order."""
    import torch

    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    y = torch.arange(40) % 3
    settings = {"sample_rate": 1.0, "steps": 3, "learning_rate": 0.7, "max_grad_norm": 0.8, "classes": 3}
    given = f"40 records of 6 features, {settings}, noise_multiplier=0"
    got = attempt(x, y, noise_multiplier=0.0, seed=0, **settings)
    expected = opacus_weights(x, y, settings)
    if not isinstance(got, torch.Tensor) or got.shape != (6, 3):
        raise Wrong(
            given=given,
            got=f"shape {tuple(getattr(got, 'shape', ()))}",
            expected="weights of shape (6, 3)",
            because="return the weights",
        )
    if not torch.allclose(got, expected, atol=1e-8):
        cause = _step_cause(float((got * expected).sum() / expected.square().sum()))
        raise Wrong(
            given=given,
            got=f"weights of norm {got.norm():.4f}",
            expected=f"Opacus's, of norm {expected.norm():.4f}",
            because=cause,
        )
    _check_sampler(attempt)
    _check_spread(attempt, y)
    _check_feedback(attempt)
    _check_repeats(attempt)


def _step_cause(ratio: float) -> str:
    if ratio < 0:
        return "the step has the wrong sign: move against the gradient"
    if ratio > 5:
        return "the steps are far too long: a sum was taken where the mean over an expected batch belongs\ndivide the sum by the expected batch size, sample_rate * n"
    if ratio > 1.2:
        return "the steps are longer than Opacus's: is each record clipped before the sum?"
    return (
        "clip each record, sum, divide by the expected batch size, step against the gradient, `steps` times"
    )


def _check_sampler(attempt: Callable) -> None:
    """On unit vectors record i moves row i only, so the rows that moved are the batch.

    Bounds of six standard errors over 200 fixed seeds: a right sampler fails below 1e-8. The right share of records
    that take part in 20 steps is 1 - 0.75^20 = 0.997.
    """
    import torch

    n, rate, seeds = 40, 0.25, 200
    x, y = torch.eye(n, dtype=torch.float64), torch.arange(n) % 2
    one = {"sample_rate": rate, "learning_rate": 1.0, "max_grad_norm": 10.0, "noise_multiplier": 0.0}
    given = f"40 unit vectors, {one}, 1 step, {seeds} seeds"
    moved = torch.stack(
        [attempt(x, y, steps=1, seed=s, classes=2, **one).abs().amax(1) for s in range(seeds)]
    )
    joined = moved > 0
    _check_drawn(given, joined, rate)
    if not torch.allclose(moved[joined], torch.full_like(moved[joined], 0.5 / (n * rate)), rtol=1e-4):
        raise Wrong(
            given=given,
            got=f"rows moved by {float(moved[joined].min()):.4f} to {float(moved[joined].max()):.4f}",
            expected="0.0500 for every record that joined",
            because="the divisor is the number of all records; only a share of them is expected in a step\nsample_rate * n"
            if torch.allclose(moved[joined], torch.full_like(moved[joined], 0.5 / n), rtol=1e-4)
            else "the divisor is the *expected* batch size; the size that came is private\nsample_rate * n",
        )
    share = float((attempt(x, y, steps=20, seed=0, classes=2, **one).abs().amax(1) > 0).double().mean())
    if share < 0.8:
        raise Wrong(
            given=f"40 unit vectors, {one}, 20 steps, seed 0",
            got=f"{share:.2f} of the records took part",
            expected="nearly all, 1 - 0.75^20",
            because="one batch served all steps: draw a new one inside the loop",
        )


def _check_drawn(given: str, joined: Tensor, rate: float) -> None:
    """Compare the sizes of batches (seeds x records, true for who joined) with the binomial law."""
    (seeds, n), sizes = joined.shape, joined.sum(1).double()
    mean, variance, expected = float(sizes.mean()), float(sizes.var()), n * rate * (1 - rate)
    if mean < n and len(joined.unique(dim=0)) == 1:
        raise Wrong(
            given=given,
            got=f"the same {mean:.0f} records for every seed",
            expected="another batch for another seed",
            because="batches in turn, or coins that are not seeded with `seed`, are no draw: flip a coin for each record in each step",
        )
    if abs(mean - n * rate) > 6 * math.sqrt(expected / seeds):
        raise Wrong(
            given=given,
            got=f"{mean:.1f} records a step on average",
            expected=f"{n * rate:.1f} = sample_rate * n",
            because="the whole data set takes part in every step: draw a Poisson batch in each, or sampling earns no privacy"
            if mean == n
            else "each record joins a step with probability sample_rate",
        )
    if abs(variance - expected) > 6 * expected * math.sqrt(2.1 / seeds):
        raise Wrong(
            given=given,
            got=f"batch sizes of mean {mean:.1f} and variance {variance:.2f}",
            expected=f"variance {expected:.2f}, that of 40 coins",
            because="batches of fixed size: epsilon is computed for a coin flip per record, so the size must vary from step to step"
            if variance < expected / 10
            else "the sizes of the batches scatter otherwise than those of one coin for each record do",
        )


def _check_feedback(attempt: Callable) -> None:
    """The noise of a step must move the gradients of the next: kept back to the end, it leaves them as they were.

    Records are unit vectors, all in every step. The walk of each row is pulled back towards its label, so noise
    lengthens its way there: by 8.3 standard errors of the noise, give or take 0.64 (200 seeds), and by 0 if added last.
    A bound of 4.2 lets 1e-10 of the right answers fail, and 1e-5 of the wrong ones pass.
    """
    import torch

    n, steps, noise, rate = 200, 32, 1.5, 800.0
    x, y = torch.eye(n, dtype=torch.float64), torch.arange(n) % 2
    settings = {"sample_rate": 1.0, "steps": steps, "learning_rate": rate, "max_grad_norm": 1.0}
    noisy, quiet = (attempt(x, y, noise_multiplier=m, classes=2, seed=0, **settings) for m in (noise, 0.0))
    shift = (noisy - quiet) * torch.where(torch.arange(2) == y[:, None], 1, -1)
    errors = float(shift.sum(1).mean()) / (rate / n * noise * math.sqrt(2 * steps / n))
    if not errors >= 4.2:  # NaN fails too
        raise Wrong(
            given=f"200 unit vectors, {settings}, noise_multiplier={noise}",
            got=f"the gradients' reply to the noise: {errors:.1f} standard errors",
            expected="about 8",
            because="the gradients never met the noise: add it in each step, before the next gradients, not after the loop",
        )


def _check_spread(attempt: Callable, y: Tensor) -> None:
    """With inputs of zero the weights are pure noise: a sum of `steps` draws; 200 weights x 6 seeds give 2% precision."""
    import torch

    wide = torch.zeros(40, 100, dtype=torch.float64)
    settings = {
        "sample_rate": 0.25,
        "steps": 16,
        "learning_rate": 0.5,
        "max_grad_norm": 2.0,
        "noise_multiplier": 1.5,
    }
    runs = [attempt(wide, y % 2, classes=2, seed=seed, **settings) for seed in range(6)]
    std, expected = float(torch.stack(runs).std()), 0.5 * 4 * 1.5 * 2.0 / 10
    if (
        abs(std / expected - 1) > 0.12
    ):  # six standard errors: a correct answer fails with probability below 1e-8
        raise Wrong(
            given=f"inputs of zero, 6 seeds, {settings}",
            got=f"weights spread by {std:.4f}",
            expected=f"{expected:.4f}",
            because="no noise reached the weights"
            if std < 1e-9
            else "draw fresh noise of the right scale in every step",
        )


def _check_repeats(attempt: Callable) -> None:
    """One seed gives one run, coins and noise alike; another seed gives another."""
    import torch

    x, y = torch.eye(40, dtype=torch.float64), torch.arange(40) % 2
    settings = {"sample_rate": 0.25, "steps": 3, "learning_rate": 1.0, "max_grad_norm": 1.0, "classes": 2}
    first, again, other = (attempt(x, y, noise_multiplier=0.5, seed=s, **settings) for s in (0, 0, 1))
    if torch.allclose(first, other) or not torch.equal(first, again):
        raise Wrong(
            given=f"40 unit vectors, {settings}, two calls",
            got="the same weights for two seeds" if torch.equal(first, again) else "two results for one seed",
            expected="a run that repeats for the same seed only",
            because="draw all coins and all noise from the generator that was seeded with `seed`",
        )


def opacus_weights(x: Tensor, y: Tensor, settings: dict) -> Tensor:
    """Return what Opacus's own optimizer makes of the same noiseless full-batch steps, as weights (d, classes)."""
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from torch import nn

    linear = nn.Linear(x.shape[1], settings["classes"], bias=False, dtype=x.dtype)
    nn.init.zeros_(linear.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = GradSampleModule(linear)
        optimizer = DPOptimizer(
            torch.optim.SGD(module.parameters(), lr=settings["learning_rate"]),
            noise_multiplier=0.0,
            max_grad_norm=settings["max_grad_norm"],
            expected_batch_size=len(x),
        )
        for _ in range(settings["steps"]):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    return linear.weight.detach().T
