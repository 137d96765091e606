"""The loop that all planted bugs share: DP-SGD in four pieces, each of which can be swapped for a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from labkit.audit.task import Settings, Task, Transcript
from labkit.dp.training.textbook import clip_per_sample, poisson_batch

Batches = Callable[[Task, Settings, torch.Generator], Iterator[Tensor]]
ClippedSum = Callable[[Tensor, Task, Settings], Tensor]
Noise = Callable[[Task, Settings, torch.Generator, int], Tensor]
Divisor = Callable[[Task, Settings, Tensor], float]


def poisson(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield one Poisson batch a step."""
    for _ in range(settings.steps):
        yield poisson_batch(task.n, settings.sample_rate, generator)


def clip_then_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
    """Bound each record's gradient, then add up."""
    return clip_per_sample(gradients, settings.max_grad_norm).sum(0)


def fresh_noise(task: Task, settings: Settings, generator: torch.Generator, step: int = 0) -> Tensor:
    """Draw independent noise for every parameter."""
    std = settings.noise_multiplier * settings.max_grad_norm
    return std * torch.randn(task.dimension, generator=generator)


def expected_size(task: Task, settings: Settings, batch: Tensor) -> float:
    """Return what a batch is expected to hold: a public constant."""
    return settings.sample_rate * task.n


def run(
    task: Task,
    settings: Settings,
    seed: int,
    *,
    batches: Batches = poisson,
    clipped_sum: ClippedSum = clip_then_sum,
    noise: Noise = fresh_noise,
    divisor: Divisor = expected_size,
) -> Transcript:
    """Run DP-SGD with these pieces; with the pieces left alone it is correct (arXiv 1607.00133, algorithm 1)."""
    generator = torch.Generator().manual_seed(seed)
    weights, updates = torch.zeros(task.dimension), []
    for step, batch in enumerate(batches(task, settings, generator)):
        total = clipped_sum(task.gradients(weights, batch), task, settings)
        update = (total + noise(task, settings, generator, step)) / divisor(task, settings, batch)
        weights = weights - settings.learning_rate * update
        updates.append(update)
    return Transcript(torch.stack(updates), weights)


def correct(task: Task, settings: Settings, seed: int) -> Transcript:
    """DP-SGD as it should be."""
    return run(task, settings, seed)
