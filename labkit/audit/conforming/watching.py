"""Seeing what a training function releases: by a hook on every torch optimizer, or from the transcript it returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labkit.audit.conforming.probe import Reading, read
from labkit.audit.task import Settings, Task, TrainingFunction, Transcript

WEIGHTS_MOVED = 1e-6  # float32 leaves less than this between a weight and itself


class UnobservableError(RuntimeError):
    """A training function showed no step; the message says how to let it be seen."""


class Watcher:
    """Keeps gradients and weights at every step of a torch optimizer on a model like the task's."""

    def __init__(self, task: Task) -> None:
        self._shapes = [tuple(p.shape) for p in task.model().parameters()]
        self.updates: list[Tensor] = []
        self.before: list[Tensor] = []
        self.after: list[Tensor] = []
        self.strangers = 0  # steps on anything else

    def _parameters(self, optimizer: torch.optim.Optimizer) -> list[Tensor] | None:
        found = [p for group in optimizer.param_groups for p in group["params"]]
        return found if [tuple(p.shape) for p in found] == self._shapes else None

    def before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Note gradient and weights; torch calls this before each step."""
        parameters = self._parameters(optimizer)
        if parameters is None or any(p.grad is None for p in parameters):
            self.strangers += 1
            return
        self.updates.append(_flat([p.grad for p in parameters]))
        self.before.append(_flat(parameters))

    def after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Note where the step left the weights."""
        parameters = self._parameters(optimizer)
        if parameters is not None and len(self.after) < len(self.before):
            self.after.append(_flat(parameters))

    def moved_outside(self, final: Tensor | None) -> float:
        """Return how far a weight moved between two steps, or after the last one, at most."""
        starts = self.before[1:] + ([] if final is None else [final])
        gaps = [float((b - a).abs().max()) for a, b in zip(self.after, starts, strict=False)]
        return max(gaps, default=0.0)


def _flat(layers: list[Tensor]) -> Tensor:
    """Return weight (classes, d) and bias (classes,) in the order of `Task`: features first, then the bias."""
    weight, bias = (p.detach().cpu().double() for p in layers)
    return torch.cat([weight.T.flatten(), bias])


def watch(train: TrainingFunction, task: Task, settings: Settings, seed: int) -> Reading:
    """Run a training function once and return what it released.

    Raises
    ------
    UnobservableError
        If no step was seen: neither an optimizer's nor a transcript's.
    ValueError
        If a transcript does not fit the task.
    """
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    watcher = Watcher(task)
    handles = [
        register_optimizer_step_pre_hook(watcher.before_step),
        register_optimizer_step_post_hook(watcher.after_step),
    ]
    try:
        outcome = train(task, settings, seed)
    finally:
        for handle in handles:
            handle.remove()
    if isinstance(outcome, Transcript):
        return _from_transcript(task, settings, outcome)
    if not watcher.updates:
        seen = f"; {watcher.strangers} steps on something else were" if watcher.strangers else ""
        raise UnobservableError(
            f"no step of the training function could be seen{seen}: either train task.model() with one torch.optim "
            "optimizer that holds all its parameters in their order, or return audit.Transcript(updates, weights)"
        )
    return read(
        task,
        settings,
        torch.stack(watcher.updates),
        torch.stack(watcher.before),
        watcher.moved_outside(_final(outcome)),
    )


def _from_transcript(task: Task, settings: Settings, transcript: Transcript) -> Reading:
    updates = transcript.updates
    if updates.ndim != 2 or updates.shape[1] != task.dimension or len(updates) == 0:
        raise ValueError(
            f"the transcript's updates have shape {tuple(updates.shape)}; expected (steps, {task.dimension}), one row a "
            "step, features first, then the bias"
        )
    path = settings.learning_rate * updates.double().cumsum(0)
    start = transcript.weights.double().flatten() + path[-1]  # plain SGD, played backwards
    before = torch.cat([start[None], start - path[:-1]])
    return read(task, settings, updates, before, None)


def _final(outcome: Any) -> Tensor | None:
    """Return the weights of the model that came back, where one did."""
    model = getattr(outcome, "model", outcome)
    return _flat(list(model.parameters())) if isinstance(model, nn.Linear) else None
