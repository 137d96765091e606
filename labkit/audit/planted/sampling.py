"""Wrong batches: accounted for as coin flips at the stated rate, and drawn in another way."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from labkit.audit.planted.loop import poisson, run
from labkit.audit.task import Settings, Task, Transcript
from labkit.dp.training.textbook import poisson_batch


def _size(task: Task, settings: Settings) -> int:
    return max(1, round(settings.sample_rate * task.n))


def wrong_sample_rate(task: Task, settings: Settings, seed: int) -> Transcript:
    """Let each record join four times as often as the accountant is told (gradient accumulation left out of q)."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(settings.steps):
            yield poisson_batch(task.n, min(1.0, 4 * settings.sample_rate), generator)

    return run(task, settings, seed, batches=batches)


def shuffled(task: Task, settings: Settings, seed: int) -> Transcript:
    """Cut shuffled epochs into batches of one size, and account as if each were drawn by coin flips."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for _ in range(settings.steps):
            if not waiting:
                waiting = list(torch.randperm(task.n, generator=generator).split(_size(task, settings)))
            yield waiting.pop()

    return run(task, settings, seed, batches=batches)


def fixed_size(task: Task, settings: Settings, seed: int) -> Transcript:
    """Draw the same number of records at every step, without replacement."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(settings.steps):
            yield torch.randperm(task.n, generator=generator)[: _size(task, settings)]

    return run(task, settings, seed, batches=batches)


def with_replacement(task: Task, settings: Settings, seed: int) -> Transcript:
    """Draw with replacement: a record may be in a batch twice, and pushes twice as far."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(settings.steps):
            yield torch.randint(task.n, (_size(task, settings),), generator=generator)

    return run(task, settings, seed, batches=batches)


def batch_for_two_steps(task: Task, settings: Settings, seed: int) -> Transcript:
    """Take two steps on each batch."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        batch = torch.zeros(0, dtype=torch.int64)
        for step in range(settings.steps):
            if step % 2 == 0:
                batch = poisson_batch(task.n, settings.sample_rate, generator)
            yield batch

    return run(task, settings, seed, batches=batches)


def empty_batches_skipped(task: Task, settings: Settings, seed: int) -> Transcript:
    """Take no step on an empty batch: that nothing happened tells that nobody was in."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        return (batch for batch in poisson(task, settings, generator) if len(batch))

    return run(task, settings, seed, batches=batches)


def divided_by_realised_size(task: Task, settings: Settings, seed: int) -> Transcript:
    """Divide sum and noise by the size that the batch happened to have: the noise's strength then tells it."""

    def divisor(task: Task, settings: Settings, batch: Tensor) -> float:
        return max(1, len(batch))

    return run(task, settings, seed, divisor=divisor)
