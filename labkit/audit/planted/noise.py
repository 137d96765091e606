"""Wrong noise: too weak, too late, not everywhere, not Gaussian, or not new."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.audit.planted.loop import fresh_noise, run
from labkit.audit.task import Settings, Task, Transcript


def noise_over_batch(task: Task, settings: Settings, seed: int) -> Transcript:
    """Divide the noise by the batch size once more than the sum it hides."""
    return _scaled(task, settings, seed, lambda step: 1 / (settings.sample_rate * task.n))


def sqrt_of_sigma(task: Task, settings: Settings, seed: int) -> Transcript:
    """Take the square root of the noise multiplier, as if a variance had been given."""
    return _scaled(task, settings, seed, lambda step: 1 / math.sqrt(settings.noise_multiplier))


def noise_at_seven_tenths(task: Task, settings: Settings, seed: int) -> Transcript:
    """Add noise of 0.7 σ."""
    return _scaled(task, settings, seed, lambda step: 0.7)


def noise_at_four_fifths(task: Task, settings: Settings, seed: int) -> Transcript:
    """Add noise of 0.8 σ."""
    return _scaled(task, settings, seed, lambda step: 0.8)


def decaying_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Let the noise fall with the learning rate, to half."""
    return _scaled(task, settings, seed, lambda step: 1 - 0.5 * step / settings.steps)


def last_step_without_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Add no noise to the last step: the one that is released as it is."""
    return _scaled(task, settings, seed, lambda step: float(step < settings.steps - 1))


def _scaled(task: Task, settings: Settings, seed: int, factor: Callable[[int], float]) -> Transcript:
    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        return factor(step) * fresh_noise(task, settings, generator)

    return run(task, settings, seed, noise=noise)


def layer_without_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Forget the noise on one layer."""
    return _silent(task, settings, seed, task.layers["bias"])


def some_coordinates_without_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Leave out every fiftieth coordinate."""
    return _silent(task, settings, seed, slice(7, None, 50))


def one_weight_without_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Leave out a single weight."""
    return _silent(task, settings, seed, slice(3, 4))


def _silent(task: Task, settings: Settings, seed: int, where: slice) -> Transcript:
    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        drawn = fresh_noise(task, settings, generator)
        drawn[where] = 0
        return drawn

    return run(task, settings, seed, noise=noise)


def laplace_noise(task: Task, settings: Settings, seed: int) -> Transcript:
    """Draw Laplace noise of the right variance, and account for a Gaussian."""

    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        uniform = torch.rand(task.dimension, generator=generator) - 0.5
        drawn = -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.4999999)) / math.sqrt(2)
        return settings.noise_multiplier * settings.max_grad_norm * drawn

    return run(task, settings, seed, noise=noise)


def noise_cut_off(task: Task, settings: Settings, seed: int) -> Transcript:
    """Cut noise off at 2.5 σ "against outliers": what lies further out then proves a push."""

    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        limit = 2.5 * settings.noise_multiplier * settings.max_grad_norm
        return fresh_noise(task, settings, generator).clamp(-limit, limit)

    return run(task, settings, seed, noise=noise)


def noise_reused(task: Task, settings: Settings, seed: int) -> Transcript:
    """Start the noise from the same seed at every step."""

    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        return fresh_noise(task, settings, torch.Generator().manual_seed(seed))

    return run(task, settings, seed, noise=noise)


def noise_for_two_steps(task: Task, settings: Settings, seed: int) -> Transcript:
    """Use each draw for two steps."""
    kept: list[Tensor] = []

    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        if step % 2 == 0:
            kept[:] = [fresh_noise(task, settings, generator)]
        return kept[0]

    return run(task, settings, seed, noise=noise)


def one_draw_per_class(task: Task, settings: Settings, seed: int) -> Transcript:
    """Draw one number per class, and let broadcasting spread it over the features."""

    def noise(task: Task, settings: Settings, generator: torch.Generator, step: int) -> Tensor:
        drawn = fresh_noise(task, settings, generator)[: task.classes]
        return drawn.repeat(task.dimension // task.classes)

    return run(task, settings, seed, noise=noise)


def same_noise_in_every_run(task: Task, settings: Settings, seed: int) -> Transcript:
    """Seed the noise with a constant, "for reproducibility": whoever reads the code can subtract it."""
    generator = torch.Generator().manual_seed(42)

    def noise(task: Task, settings: Settings, _: torch.Generator, step: int) -> Tensor:
        return fresh_noise(task, settings, generator)

    return run(task, settings, seed, noise=noise)
