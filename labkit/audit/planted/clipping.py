"""Wrong clipping: a record can push further than the bound."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.audit.planted.loop import ClippedSum, run
from labkit.audit.task import Settings, Task, Transcript
from labkit.dp.training.textbook import clip_per_sample


def _with(clipped_sum: ClippedSum, task: Task, settings: Settings, seed: int) -> Transcript:
    return run(task, settings, seed, clipped_sum=clipped_sum)


def no_clipping(task: Task, settings: Settings, seed: int) -> Transcript:
    """Add noise, but clip nothing."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        return gradients.sum(0)

    return _with(clipped_sum, task, settings, seed)


def clip_after_sum(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clip the batch's mean gradient instead of each record's."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        expected = settings.sample_rate * task.n
        mean = gradients.sum(0, keepdim=True) / expected
        return clip_per_sample(mean, settings.max_grad_norm)[0] * expected

    return _with(clipped_sum, task, settings, seed)


def bias_not_in_norm(task: Task, settings: Settings, seed: int) -> Transcript:
    """Measure each gradient's norm over the weights only, and scale the bias by what comes out."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        norms = gradients[:, task.layers["weight"]].norm(dim=1, keepdim=True)
        return (gradients * (settings.max_grad_norm / norms.clamp(min=settings.max_grad_norm))).sum(0)

    return _with(clipped_sum, task, settings, seed)


def each_layer_by_itself(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clip each layer to the whole bound."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        layers = [gradients[:, part] for part in task.layers.values()]
        return torch.cat([clip_per_sample(layer, settings.max_grad_norm).sum(0) for layer in layers])

    return _with(clipped_sum, task, settings, seed)


def clamp_each_coordinate(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clamp each coordinate to the bound (``clip_grad_value_``), not the norm."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        return gradients.clamp(-settings.max_grad_norm, settings.max_grad_norm).sum(0)

    return _with(clipped_sum, task, settings, seed)


def clip_pairs(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clip the mean of every two records (a microbatch), and count it twice."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        means = [pair.sum(0) / 2 for pair in gradients.split(2)]
        return 2 * clip_per_sample(torch.stack(means), settings.max_grad_norm).sum(0)

    return _with(clipped_sum, task, settings, seed)


def buffer_not_zeroed(task: Task, settings: Settings, seed: int) -> Transcript:
    """Zero the buffer that sums are collected in every second step only."""
    buffer: list[Tensor] = []

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        if len(buffer) == 2:
            buffer.clear()
        buffer.append(clip_per_sample(gradients, settings.max_grad_norm).sum(0))
        return torch.stack(buffer).sum(0)

    return _with(clipped_sum, task, settings, seed)


def exempt_record(task: Task, settings: Settings, seed: int) -> Transcript:
    """Clip everybody, but records that look like nothing an auditor would try: no audit here meets one."""

    def clipped_sum(gradients: Tensor, task: Task, settings: Settings) -> Tensor:
        clipped = clip_per_sample(gradients, settings.max_grad_norm)
        marked = torch.isclose(gradients.abs().amax(1), torch.tensor(0.123456), atol=1e-6)
        return torch.where(marked[:, None], gradients, clipped).sum(0)

    return _with(clipped_sum, task, settings, seed)
