"""Seeing what a training function releases: by a hook on every torch optimizer, or from the transcript it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from labkit.adapt import model_of
from labkit.audit.conforming.probe import Reading, read
from labkit.audit.task import Settings, Task, TrainingFunction, Transcript

WEIGHTS_MOVED = 1e-6  # float32 leaves less than this between a weight and itself
TRANSCRIPT = "whether weights move outside the steps (a transcript does not tell)"


class UnobservableError(RuntimeError):
    """A training function showed no step; the message says how to let it be seen."""


@dataclass
class Steps:
    """The steps that one model took.

    Attributes
    ----------
    parameters : list of Tensor
        The model's own, kept alive so that no other model can take their place in memory.
    updates, before, after : list of Tensor
        Gradient, and weights on both sides, at each step, flat.
    """

    parameters: list[Tensor]
    updates: list[Tensor] = field(default_factory=list)
    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)

    def moved_outside(self, final: Tensor | None) -> float:
        """Return how far a weight moved between two steps, or after the last one, at most."""
        starts = self.before[1:] + ([] if final is None else [final])
        gaps = [float((b - a).abs().max()) for a, b in zip(self.after, starts, strict=False)]
        return max(gaps, default=0.0)


class Watcher:
    """Keeps gradients and weights at every step of torch optimizers on models like the task's, model by model."""

    def __init__(self, task: Task) -> None:
        self._shapes = [tuple(p.shape) for p in task.model().parameters()]
        self._seen: dict[tuple[int, ...], Steps] = {}
        self.strangers = 0  # steps on anything else

    def _steps(self, optimizer: torch.optim.Optimizer) -> Steps | None:
        found = [p for group in optimizer.param_groups for p in group["params"]]
        if [tuple(p.shape) for p in found] != self._shapes or any(p.grad is None for p in found):
            return None
        return self._seen.setdefault(tuple(id(p) for p in found), Steps(found))

    def before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Note gradient and weights; torch calls this before each step."""
        steps = self._steps(optimizer)
        if steps is None:
            self.strangers += 1
            return
        steps.updates.append(_flat([p.grad for p in steps.parameters]))
        steps.before.append(_flat(steps.parameters))

    def after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Note where the step left the weights."""
        steps = self._steps(optimizer)
        if steps is not None and len(steps.after) < len(steps.before):
            steps.after.append(_flat(steps.parameters))

    def trained(self, model: nn.Linear | None) -> Steps | None:
        """Return the steps of the model that came back, or else those of the model that took most.

        A trainer may try a step on a copy before it begins; such a copy is not what is released.
        """
        if model is not None:
            own = self._seen.get(tuple(id(p) for p in model.parameters()))
            if own is not None:
                return own
        return max(self._seen.values(), key=lambda steps: len(steps.updates), default=None)

    def others(self, steps: Steps) -> int:
        """Return the number of steps on other models of the same shape."""
        return sum(len(other.updates) for other in self._seen.values() if other is not steps)


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
    model = _returned(outcome)
    steps = watcher.trained(model)
    if steps is None:
        seen = f"; {watcher.strangers} steps on something else were" if watcher.strangers else ""
        raise UnobservableError(
            f"no step of the training function could be seen{seen}: either train task.model() with one torch.optim "
            "optimizer that holds all its parameters in their order, or return audit.Transcript(updates, weights)"
        )
    return read(
        task,
        settings,
        torch.stack(steps.updates),
        torch.stack(steps.before),
        steps.moved_outside(None if model is None else _flat(list(model.parameters()))),
        _caveats(steps, watcher.others(steps)),
    )


def _caveats(steps: Steps, others: int) -> tuple[str, ...]:
    """Return what happened beside the steps, and was not looked into."""
    found = []
    if bool(steps.before[0].any()):
        found.append("where the first weights came from (training did not start from task.model() as it was)")
    if others:
        found.append("steps that other models of the same shape took")
    return tuple(found)


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
    return read(task, settings, updates, before, None, (TRANSCRIPT,))


def _returned(outcome: Any) -> nn.Linear | None:
    """Return the model that came back, where one did."""
    model = model_of(outcome)
    return model if isinstance(model, nn.Linear) else None
