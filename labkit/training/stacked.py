"""Training with stacked weights: many small models as one, their gradients taken under ``vmap``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit.training.behaviour import behaviour
from labkit.training.recipe import (
    Recipe,
    State,
    arithmetic,
    augment,
    batches,
    fresh,
    lengths,
    one_cycle,
    optimizer_of,
    state_of,
    steps_of,
)

STACK = 16  # models trained at once: bounds memory, and what an interrupt can lose


def refusal(make_model: Callable[[], nn.Module], x: Tensor, masks: np.ndarray, recipe: Recipe) -> str | None:
    """Return why these models cannot be trained with stacked weights and come out as the loop's, or None if they can.

    Found by trying: a forward pass on a few records, and a gradient step of two stacked copies.
    """
    cut = {tuple(lengths(int(size), recipe.batch_size)) for size in masks.sum(1)}
    if len({len(parts) for parts in cut}) > 1:
        return "the models' records make different numbers of batches"
    model = fresh(make_model, 0)
    nature = behaviour(model, x)
    if nature.draws:
        return (
            "the model draws random numbers as it answers (dropout), and would draw others than in the loop"
        )
    if nature.mixes and len(cut) > 1:
        return "records of a batch meet in the model (BatchNorm), and the models' batches differ in length"
    try:
        few = x[: min(len(x), 4)]
        answers = model.cpu()(few.cpu())
        _Stack([model, fresh(make_model, 1)], recipe).gradients(
            torch.stack([few, few]),
            answers.detach().softmax(-1).expand(2, *answers.shape),
            torch.ones(2, len(few)),
        )
    except Exception as error:  # whatever vmap cannot trace, the loop can train
        return f"vmap cannot follow the model ({type(error).__name__}: {str(error).splitlines()[0][:80]})"
    return None


def train_stacked(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    seeds: Sequence[int],
    device: torch.device,
) -> Iterator[tuple[int, State]]:
    """Train up to `STACK` models at once, their weights stacked and the gradient taken under ``vmap``."""
    x, y = x.to(device), y.to(device)
    for first in range(0, len(masks), STACK):
        rows = range(first, min(first + STACK, len(masks)))
        stack = _Stack([fresh(make_model, seeds[k]).to(device) for k in rows], recipe)
        states = _train(stack, x, y, [masks[k] for k in rows], recipe, [seeds[k] for k in rows])
        yield from zip(rows, states, strict=True)


class _Stack:
    """Models of one architecture with their weights stacked: those that move, and those that stay (frozen, buffers)."""

    def __init__(self, models: list[nn.Module], recipe: Recipe) -> None:
        self.models, self.recipe = models, recipe
        self.skeleton = copy.deepcopy(models[0])  # functional_call does not put a shared layer's weights back
        parameters, self.buffers = torch.func.stack_module_state(models)
        self.moving = {name: value for name, value in parameters.items() if value.requires_grad}
        self.frozen = {name: value for name, value in parameters.items() if not value.requires_grad}

    def gradients(self, inputs: Tensor, labels: Tensor, weight: Tensor) -> State:
        """Return each model's gradients on its own batch; a record of weight 0 is padding."""
        return torch.func.vmap(torch.func.grad(self._loss))(
            self.moving, self.frozen, self.buffers, inputs, labels, weight
        )

    def _loss(
        self, moving: State, frozen: State, buffers: State, inputs: Tensor, labels: Tensor, weight: Tensor
    ) -> Tensor:
        with arithmetic(self.recipe, inputs.device):
            weights = {**moving, **frozen, **buffers}
            outputs = torch.func.functional_call(self.skeleton, weights, (inputs,))
        smoothing = self.recipe.label_smoothing
        losses = F.cross_entropy(outputs.float(), labels, reduction="none", label_smoothing=smoothing)
        return (losses * weight).sum() / weight.sum()

    @torch.no_grad()
    def states(self) -> list[State]:
        """Return each model's weights, under the names that the model itself gives them (tied weights have several)."""
        stacked = {**self.moving, **self.buffers}
        for k, model in enumerate(self.models):
            for name, value in [*model.named_parameters(), *model.named_buffers()]:
                if name in stacked:
                    value.copy_(stacked[name][k])
        return [state_of(model) for model in self.models]


def _train(
    stack: _Stack, x: Tensor, y: Tensor, masks: list[np.ndarray], recipe: Recipe, seeds: Sequence[int]
) -> list[State]:
    optimizer = optimizer_of(list(stack.moving.values()), recipe)
    members = [torch.from_numpy(np.flatnonzero(mask)).to(x.device) for mask in masks]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps, step, images = steps_of(len(members[0]), recipe), 0, x.ndim == 4
    for _ in range(recipe.epochs):
        epochs = [batches(len(m), recipe, images, g) for m, g in zip(members, generators, strict=True)]
        for batch in zip(*epochs, strict=True):
            inputs, labels, weight = _gather(x, y, members, batch, recipe.shift if images else 0)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            for name, gradient in stack.gradients(inputs, labels, weight).items():
                stack.moving[name].grad = gradient
            optimizer.step()
            step += 1
    return stack.states()


def _gather(
    x: Tensor, y: Tensor, members: list[Tensor], batch: tuple, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each model's batch, stacked; a model that is a record or two short repeats one at weight zero."""
    longest = max(len(positions) for positions, _, _ in batch)
    inputs, labels, weights = [], [], []
    for chosen, (positions, flips, offset) in zip(members, batch, strict=True):
        missing = longest - len(positions)
        taken = chosen[positions.to(chosen.device)]
        pictures = augment(x[taken], flips, offset, most)
        inputs.append(torch.cat([pictures, pictures[:1].expand(missing, *pictures.shape[1:])]))
        labels.append(torch.cat([y[taken], y[taken][:1].expand(missing, *y.shape[1:])]))
        weights.append(torch.cat([torch.ones(len(taken)), torch.zeros(missing)]).to(x.device))
    return torch.stack(inputs), torch.stack(labels), torch.stack(weights)
