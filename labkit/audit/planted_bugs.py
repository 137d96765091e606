"""Wrong ways to train privately: each looks like DP-SGD, reports its ε, and gives less privacy than that.

All share one loop, `run`, and differ from it in one small piece. `ALL` names them and says what is wrong; `number`
hands them out without their names, for the lab.

`labkit.audit.white_box.audit_gradients` with ``runs=10`` and default `Settings` (ε = 1.65, seconds on one core) refutes
the claim of each but ``shuffled``. At noise that hides a single step, where a record was in an epoch tells little, and
no audit here sees the difference. `audit_many_runs` with 400 runs refutes it at noise multiplier 0.25 over one epoch
of 50 steps, where coin flips leave out e^-1 of the records and shuffling leaves out none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from labkit.audit.task import Settings, Task, TrainingFunction, Transcript
from labkit.dp.training.textbook import clip_per_sample, poisson_batch

Batches = Callable[[Task, Settings, torch.Generator], Iterator[Tensor]]
ClippedSum = Callable[[Tensor, Task, Settings], Tensor]
Noise = Callable[[Task, Settings, torch.Generator], Tensor]


def poisson(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield one Poisson batch a step."""
    for _ in range(settings.steps):
        yield poisson_batch(task.n, settings.sample_rate, generator)


def clip_then_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
    """Bound each record's gradient, then add up."""
    return clip_per_sample(gradients, settings.max_grad_norm).sum(0)


def fresh_noise(task: Task, settings: Settings, generator: torch.Generator) -> Tensor:
    """Draw independent noise for every parameter."""
    std = settings.noise_multiplier * settings.max_grad_norm
    return std * torch.randn(task.dimension, generator=generator)


def run(
    task: Task,
    settings: Settings,
    seed: int,
    *,
    batches: Batches = poisson,
    clipped_sum: ClippedSum = clip_then_sum,
    noise: Noise = fresh_noise,
) -> Transcript:
    """Run DP-SGD with these three pieces; with the pieces left alone it is correct."""
    generator = torch.Generator().manual_seed(seed)
    weights, updates = torch.zeros(task.dimension), []
    for batch in batches(task, settings, generator):
        total = clipped_sum(task.gradients(weights, batch), task, settings)
        update = (total + noise(task, settings, generator)) / (settings.sample_rate * task.n)
        weights = weights - settings.learning_rate * update
        updates.append(update)
    return Transcript(torch.stack(updates), weights)


def correct(task: Task, settings: Settings, seed: int) -> Transcript:
    """DP-SGD as it should be."""
    return run(task, settings, seed)


def noise_over_batch(task: Task, settings: Settings, seed: int) -> Transcript:
    """Divide the noise by the batch size once more than the sum it hides."""

    def noise(task: Task, settings: Settings, generator: torch.Generator) -> Tensor:
        return fresh_noise(task, settings, generator) / (settings.sample_rate * task.n)

    return run(task, settings, seed, noise=noise)


def clip_after_sum(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clip the batch's mean gradient instead of each record's."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        expected = settings.sample_rate * task.n
        mean = gradients.sum(0, keepdim=True) / expected
        return clip_per_sample(mean, settings.max_grad_norm)[0] * expected

    return run(task, settings, seed, clipped_sum=clipped_sum)


def layer_without_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Forget the noise on one layer."""

    def noise(task: Task, settings: Settings, generator: torch.Generator) -> Tensor:
        drawn = fresh_noise(task, settings, generator)
        drawn[task.layers["bias"]] = 0
        return drawn

    return run(task, settings, seed, noise=noise)


def wrong_sample_rate(task: Task, settings: Settings, seed: int) -> Transcript:
    """Let each record join four times as often as the accountant is told (gradient accumulation left out of q)."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(settings.steps):
            yield poisson_batch(task.n, min(1.0, 4 * settings.sample_rate), generator)

    return run(task, settings, seed, batches=batches)


def bias_not_in_norm(task: Task, settings: Settings, seed: int) -> Transcript:
    """Measure each gradient's norm over the weights only, and scale the bias by what comes out."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        norms = gradients[:, task.layers["weight"]].norm(dim=1, keepdim=True)
        return (gradients * (settings.max_grad_norm / norms.clamp(min=settings.max_grad_norm))).sum(0)

    return run(task, settings, seed, clipped_sum=clipped_sum)


def shuffled(task: Task, settings: Settings, seed: int) -> Transcript:
    """Cut shuffled epochs into batches of one size, and account as if each were drawn by coin flips."""

    def batches(task: Task, settings: Settings, generator: torch.Generator) -> Iterator[Tensor]:
        size, waiting = max(1, round(settings.sample_rate * task.n)), []
        for _ in range(settings.steps):
            if not waiting:
                waiting = list(torch.randperm(task.n, generator=generator).split(size))
            yield waiting.pop()

    return run(task, settings, seed, batches=batches)


def noise_reused(task: Task, settings: Settings, seed: int) -> Transcript:
    """Start the noise from the same seed at every step."""

    def noise(task: Task, settings: Settings, generator: torch.Generator) -> Tensor:
        return fresh_noise(task, settings, torch.Generator().manual_seed(seed))

    return run(task, settings, seed, noise=noise)


@dataclass(frozen=True)
class Planted:
    """One training function of the collection.

    Attributes
    ----------
    name : str
    train : callable
        ``train(task, settings, seed) -> Transcript``.
    wrong : str
        What is wrong with it, or nothing for the correct one.
    seen : str
        How it comes about.
    """

    name: str
    train: TrainingFunction = field(repr=False)
    wrong: str
    seen: str

    @property
    def is_correct(self) -> bool:
        return not self.wrong


ALL = {
    planted.name: planted
    for planted in (
        Planted(
            "layer_without_noise",
            layer_without_noise,
            "the bias gets no noise at all",
            "a second parameter group, or a layer added later, that the private optimizer was not told of",
        ),
        Planted(
            "clip_after_sum",
            clip_after_sum,
            "the mean gradient is clipped, so one record alone can be as long as the whole batch may be",
            "clip_grad_norm_ called on a batch gradient",
        ),
        Planted("correct", correct, "", "arXiv 1607.00133, algorithm 1"),
        Planted(
            "shuffled",
            shuffled,
            "shuffled batches are accounted as Poisson batches",
            "most training loops (arXiv 2403.17673; audited in 2411.10614)",
        ),
        Planted(
            "noise_over_batch",
            noise_over_batch,
            "the noise is divided by the batch size twice",
            "a published defence, found by auditing it (arXiv 2202.12219)",
        ),
        Planted("noise_reused", noise_reused, "every step adds the same noise", "a seed set inside the step"),
        Planted(
            "bias_not_in_norm",
            bias_not_in_norm,
            "the bias does not count in the norm that is clipped",
            "ghost clipping in Opacus before 1.5.4",
        ),
        Planted(
            "wrong_sample_rate",
            wrong_sample_rate,
            "records join four times as often as accounted for",
            "gradient accumulation that the accountant does not see",
        ),
    )
}


def number(index: int) -> TrainingFunction:
    """Return training function ``index`` (1 to 8) under no other name than its number; `reveal` tells it.

    Raises
    ------
    ValueError
        If there is no such number.
    """
    chosen = reveal(index).train

    def train(task: Task, settings: Settings, seed: int) -> Transcript:
        return chosen(task, settings, seed)

    train.__name__ = train.__qualname__ = f"training_function_{index}"
    return train


def reveal(index: int) -> Planted:
    """Return what training function ``index`` is."""
    if not 1 <= index <= len(ALL):
        raise ValueError(f"there is no training function {index}; expected 1 to {len(ALL)}")
    return list(ALL.values())[index - 1]
