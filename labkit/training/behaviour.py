"""What a model does in training, found by trying it on a few records rather than by the names of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit import adapt
from labkit.models import seeded

TRIED = 4  # records


@dataclass(frozen=True)
class Behaviour:
    """How a model in training treats a batch: see `behaviour`.

    Attributes
    ----------
    draws : bool
        Its forward pass takes numbers from the global random state (dropout).
    mixes : bool
        A record's answer depends on the others in the batch, or the batch leaves its trace in buffers (BatchNorm).
    needs_two : bool
        A batch of one record is an error (BatchNorm after global pooling, or on vectors).
    """

    draws: bool
    mixes: bool
    needs_two: bool


@torch.no_grad()
def behaviour(model: nn.Module, x: Tensor) -> Behaviour:
    """Try ``model`` in training mode, where it is, on the first records of ``x`` (n, ...); its buffers are put back.

    Examples
    --------
    >>> x = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    >>> behaviour(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), x)
    Behaviour(draws=True, mixes=False, needs_two=False)
    >>> behaviour(nn.BatchNorm1d(3), x)
    Behaviour(draws=False, mixes=True, needs_two=True)
    """
    buffers, was_training = {name: value.clone() for name, value in model.named_buffers()}, model.training
    model.train()
    try:
        return _tried(model, x[:TRIED].detach(), buffers)
    finally:
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
        model.train(was_training)


def _tried(model: nn.Module, x: Tensor, buffers: dict[str, Tensor]) -> Behaviour:
    needs_two = not _answers(model, x[:1])
    if len(x) < 2:
        return Behaviour(draws=False, mixes=needs_two, needs_two=needs_two)
    with seeded(0):
        before = _random_state(x.device)
        together = adapt.logits_of(model(x))
        draws = not torch.equal(before, _random_state(x.device))
    traces = any(not torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    with seeded(0):
        fewer = adapt.logits_of(model(x[: max(2, len(x) - 1)]))
    shared = not draws and not torch.allclose(together[: len(fewer)], fewer, rtol=1e-3, atol=1e-5)
    return Behaviour(draws=draws, mixes=traces or shared or needs_two, needs_two=needs_two)


def _answers(model: nn.Module, x: Tensor) -> bool:
    """Return whether ``model`` takes ``x`` in training mode: BatchNorm refuses what has one value to a channel."""
    try:
        with seeded(0):
            model(x)
    except ValueError:
        return False
    return True


def _random_state(device: torch.device) -> Tensor:
    """Return the global random state that layers on ``device`` draw from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()
