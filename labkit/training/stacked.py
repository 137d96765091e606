"""Training with stacked weights: many small models as one, their gradients taken under ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit.training.recipe import Recipe, State, augment, batches, fresh, one_cycle, optimizer_of, steps_of

STACK = 16  # models trained at once: bounds memory, and what an interrupt can lose


def same_steps(masks: np.ndarray, recipe: Recipe) -> bool:
    return len({steps_of(int(size), recipe) for size in masks.sum(1)}) <= 1


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
    if not same_steps(masks, recipe):
        raise ValueError(
            "stacked training needs the same number of batches for every model: use another strategy"
        )
    x, y = x.to(device), y.to(device)
    for first in range(0, len(masks), STACK):
        rows = range(first, min(first + STACK, len(masks)))
        models = [fresh(make_model, seeds[k]).to(device) for k in rows]
        states = _train_stack(models, x, y, [masks[k] for k in rows], recipe, [seeds[k] for k in rows])
        yield from zip(rows, states, strict=True)


def _train_stack(
    models: list[nn.Module],
    x: Tensor,
    y: Tensor,
    masks: list[np.ndarray],
    recipe: Recipe,
    seeds: Sequence[int],
) -> list[State]:
    parameters, buffers = torch.func.stack_module_state(models)
    optimizer = optimizer_of(list(parameters.values()), recipe)
    members = [torch.from_numpy(np.flatnonzero(mask)).to(x.device) for mask in masks]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    skeleton, images = models[0], x.ndim == 4

    def loss(weights: State, constants: State, inputs: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        outputs = torch.func.functional_call(skeleton, (weights, constants), (inputs,))
        losses = F.cross_entropy(outputs, labels, reduction="none", label_smoothing=recipe.label_smoothing)
        return (losses * weight).sum() / weight.sum()

    gradients = torch.func.vmap(torch.func.grad(loss))
    steps, step = steps_of(len(members[0]), recipe), 0
    for _ in range(recipe.epochs):
        epochs = [batches(len(m), recipe, images, g) for m, g in zip(members, generators, strict=True)]
        for batch in zip(*epochs, strict=True):
            inputs, labels, weight = _gather(x, y, members, batch, recipe.shift if images else 0)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            for name, gradient in gradients(parameters, buffers, inputs, labels, weight).items():
                parameters[name].grad = gradient
            optimizer.step()
            step += 1
    merged = {**parameters, **buffers}
    return [
        {name: value[k].detach().cpu().clone() for name, value in merged.items()} for k in range(len(models))
    ]


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
