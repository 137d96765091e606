"""Scores: how likely a canary was in, from what an adversary sees. Higher means "in"."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit import adapt, training

if TYPE_CHECKING:
    from labkit.audit.task import Settings, Transcript


def losses(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Return the cross-entropy of each record, shape (m,), from ``x`` (m, ...) and ``y`` (m,)."""
    return F.cross_entropy(training.logits(adapt.as_module(model), x), y.cpu(), reduction="none").numpy()


def loss_difference(
    model: nn.Module, x: Tensor, y: Tensor, *, reference: nn.Module | None = None
) -> np.ndarray:
    """Return the black-box score: how much lower a canary's loss is than a reference model's loss on it.

    Parameters
    ----------
    model : nn.Module
        The model under audit.
    x : Tensor of shape (m, ...)
    y : Tensor of shape (m,), int64
    reference : nn.Module, optional
        A model trained without any canary. It takes out how hard each canary is; without it the score is minus the loss.
    """
    after = losses(model, x, y)
    return -after if reference is None else losses(reference, x, y) - after


class Observer:
    """A white-box adversary: sees every update that any torch optimizer makes, and scores record canaries by it.

    At each step the score of a canary grows by the inner product of the gradient that moves the weights (noise and
    all) and the canary's own gradient there, as long as it is: a canary that a model fits well has a short one and tells
    little. If the canary was in that batch, its own gradient is part of the update.

    Attributes
    ----------
    scores : ndarray of shape (m,)
    steps : int
        Updates seen so far.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self._model = copy.deepcopy(model).eval()
        self._x, self._y = x, y
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.scores, self.steps = np.zeros(len(y)), 0

    def see(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Take one update into account; called by torch before each optimizer step."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        ours = dict(self._model.named_parameters())
        shapes = [tuple(ours[name].shape) for name in self._names]
        if [tuple(p.shape) for p in parameters] != shapes or any(p.grad is None for p in parameters):
            return  # another model's optimizer (a baseline, a probe), or a step without gradients
        weights = {name: p.detach().cpu() for name, p in zip(self._names, parameters, strict=True)}
        update = {name: p.grad.detach().cpu() for name, p in zip(self._names, parameters, strict=True)}
        self.scores += self._inner_products(weights, update).numpy()
        self.steps += 1

    def _inner_products(self, weights: dict[str, Tensor], update: dict[str, Tensor]) -> Tensor:
        """Return <update, gradient of canary i>, (m,), by one forward-mode derivative for all canaries at once."""
        from torch.func import functional_call, jvp

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            logits = functional_call(self._model, parameters, (self._x,))
            return F.cross_entropy(logits, self._y, reduction="none")

        _, along = jvp(loss, (weights,), (update,))
        return along.detach()


@contextmanager
def observe(model: nn.Module, x: Tensor, y: Tensor) -> Iterator[Observer]:
    """Watch all training inside the block, whoever's loop it is: Opacus's, ``labkit.dp``'s or your own.

    Parameters
    ----------
    model : nn.Module
        Of the architecture that is trained; its weights do not matter.
    x, y : Tensor
        The canaries, shapes (m, ...) and (m,).

    Raises
    ------
    RuntimeError
        At the end, if no optimizer step on such a model was seen.
    """
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    watcher = Observer(model, x, y)
    handle = register_optimizer_step_pre_hook(watcher.see)
    try:
        yield watcher
    finally:
        handle.remove()
    if watcher.steps == 0:
        raise RuntimeError(
            "no optimizer step on a model of this architecture was seen: the training function must train with a "
            "torch.optim optimizer, all parameters in the model's own order, or be audited as a black box"
        )


def projections(transcript: Transcript, canaries: Tensor, settings: Settings, n: int) -> Tensor:
    """Return <sum of clipped gradients + noise, direction of canary i> / C at each step, shape (steps, m).

    A canary that joined adds 1; the noise has standard deviation ``noise_multiplier``. Divisor of the mean: q * n.
    """
    directions = canaries / canaries.norm(dim=1, keepdim=True)
    scale = settings.sample_rate * n / settings.max_grad_norm
    return scale * transcript.updates @ directions.T


def likelihood(z: Tensor, settings: Settings) -> np.ndarray:
    """Return the log-likelihood ratio "in" against "out" of `projections` ``z`` (steps, m) under the claimed settings.

    The most powerful test of the claim (Neyman & Pearson, 1933) if the run is what it claims to be.
    """
    variance = settings.noise_multiplier**2
    ratio = (2 * z - 1) / (2 * variance) + np.log(settings.sample_rate)
    stay = torch.full_like(z, np.log1p(-settings.sample_rate) if settings.sample_rate < 1 else -np.inf)
    return torch.logaddexp(ratio, stay).sum(0).numpy()


def spread(z: Tensor, settings: Settings) -> np.ndarray:
    """Return the standard deviation over steps of `projections` ``z`` (steps, m): sees noise that does not change."""
    return z.std(0, correction=0).numpy()


BY_STEPS = {"likelihood ratio": likelihood, "spread": spread}
