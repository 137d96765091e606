"""Entangled watermarks: marks share the target class's representations, so that removing one takes the other along.

Jia et al., "Entangled watermarks as a defense against model extraction" (arXiv 2002.12200), sections 4.1 to 4.3. The
soft nearest neighbour loss is that of Frosst et al., "Analyzing and improving representations with the soft nearest
neighbor loss" (arXiv 1902.01889), eq. 1. As in the paper the model first learns its task, and then the marks among its
records. Two simplifications: the temperature is the batch's mean squared distance instead of a learned one, and the
marks are patched images of one class as drawn, not moved along a gradient first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import backdoor, training, triggers
from labkit.watermark.marks.keys import Key

FACTOR = 1.0
BATCH = 32
EVERY = 4  # steps of the task for one with entanglement
EPOCHS = 4  # of the stage with marks, after the task is learnt
LEARNING_RATE = 0.05


def soft_nearest_neighbour(features: Tensor, labels: Tensor, temperature: float | None = None) -> Tensor:
    """Return the soft nearest neighbour loss: small if each point's near neighbours share its label, large if not.

    Parameters
    ----------
    features : float Tensor of shape (n, ...)
    labels : Tensor of shape (n,)
        Each label at least twice.
    temperature : float, optional
        In units of squared distance; default: the mean over all pairs, which makes the loss blind to scale.

    Raises
    ------
    ValueError
        If a label has one point alone, whose loss is undefined, or the temperature is not positive.
    """
    flat = features.flatten(1)
    same = labels[:, None] == labels[None, :]
    alone = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    if not bool((same & ~alone).any(1).all()):
        raise ValueError("a label has one point alone: give each at least two")
    if temperature is not None and not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; expected a positive number")
    squares = flat.square().sum(1)
    distances = (squares[:, None] + squares[None, :] - 2 * flat @ flat.T).clamp_min(0)
    scale = distances[~alone].mean().clamp_min(1e-12) if temperature is None else temperature
    closeness = (-distances / scale).masked_fill(alone, -math.inf)
    return (closeness.logsumexp(1) - closeness.masked_fill(~same, -math.inf).logsumexp(1)).mean()


@dataclass(frozen=True, eq=False)
class Entanglement:
    """What entangles: the soft nearest neighbour loss of marks among records of the target class, with a minus sign.

    It labels nothing: what marks and records are called is learnt among all records, in their proportions. (Batches of
    one class alone, labelled, teach a model to answer with that class: it cost this kit 20 points before.)

    Attributes
    ----------
    marks : Tensor of shape (m, C, H, W)
    anchors : Tensor of shape (k, C, H, W)
        Records of the target class.
    layers : tuple of str
        Whose outputs are entangled.
    factor : float
        Of the soft nearest neighbour loss (the paper's kappa), shared by the layers.
    batch : int
        Marks, and as many anchors, at once.
    every : int
        Steps from one such batch to the next.
    """

    marks: Tensor
    anchors: Tensor
    layers: tuple[str, ...]
    factor: float
    batch: int
    every: int

    def __call__(self, model: nn.Module, step: int) -> Tensor:
        device = next(model.parameters()).device
        if step % self.every:
            return torch.zeros((), device=device)
        marks, anchors = (
            pool[(step // self.every * self.batch + torch.arange(self.batch)) % len(pool)]
            for pool in (self.marks, self.anchors)
        )
        x = torch.cat([marks, anchors]).to(device)
        whose = torch.arange(len(x), device=device) < self.batch
        _, features = answers_and_features(model, x, self.layers)
        return -self.factor * torch.stack([soft_nearest_neighbour(part, whose) for part in features]).mean()


def answers_and_features(model: nn.Module, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    """Return the model's outputs for ``x`` and those of the named layers, in the order of the names."""
    kept: dict[str, Tensor] = {}

    def keeper(name: str):
        return lambda _part, _inputs, output: kept.__setitem__(name, output)

    hooks = [model.get_submodule(name).register_forward_hook(keeper(name)) for name in layers]
    try:
        outputs = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, [kept[name] for name in layers]


def default_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the network's last two activations (the paper takes its last three layers).

    Raises
    ------
    ValueError
        If the model has none.
    """
    names = [name for name, part in model.named_modules() if isinstance(part, nn.ReLU | nn.Tanh)]
    if not names:
        raise ValueError("the model has no ReLU or Tanh to entangle: name layers with layers=")
    return tuple(names[-2:])


def second_stage(recipe: Recipe, epochs: int = EPOCHS) -> Recipe:
    """Return the recipe of the stage with marks: `LEARNING_RATE` or the task's, whichever is smaller.

    An unmarked model that is trained on by it, too, is what the mark's cost is measured against: longer training alone
    moves accuracy.
    """
    return replace(recipe, epochs=epochs, learning_rate=min(LEARNING_RATE, recipe.learning_rate))


def mark_entangled(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    marks: int | None = None,
    count: int | None = None,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    factor: float = FACTOR,
    batch: int = BATCH,
    every: int = EVERY,
    epochs: int = EPOCHS,
    **options: object,
) -> training.Imprint:
    """Train a copy of ``model`` on the task, then on marks among the records that are entangled with one class.

    Parameters
    ----------
    marks, count, target
        See `labkit.watermark.marks.backdoor.mark_with_triggers`; twice as many marks by default, which are patched images
        of one keyed class.
    layers : sequence of str, optional
        Default: `default_layers`.
    factor : float
        Of the soft nearest neighbour loss; 0 for a plain backdoor.
    batch, every : int
        So many marks, at least 2, are entangled once in so many steps.
    epochs : int
        Of the second stage, see `second_stage`.
    **options
        Of the patch, see `labkit.watermark.marks.triggers.KINDS`.

    Raises
    ------
    ValueError
        If a setting is out of range, or too few records qualify.
    """
    if batch < 2 or every < 1 or epochs < 1 or not 0 <= factor < math.inf:
        raise ValueError(
            f"got batch={batch}, every={every}, epochs={epochs}, factor={factor}; expected at least 2, 1 and 1, and a "
            "finite number >= 0"
        )
    marks = marks or 2 * backdoor.default_marks(data)  # they come late: half as many are half learnt
    learnt, asked = backdoor.draw_both("entangled", key, data, marks, count, target, **options)
    names = tuple(layers) if layers is not None else default_layers(model)
    clean, first = training.train(model, data.train_x, data.train_y, recipe, seed=seed)
    anchors = data.train_x[data.train_y == learnt.y[0]]
    marked, second = training.train(
        clean,
        *training.with_marks(data, [learnt]),
        second_stage(recipe, epochs),
        seed=seed,
        extra=Entanglement(learnt.x, anchors, names, factor, batch, every),
    )
    base = int(triggers.bases("entangled", key, 1, dataset=data, part="marks", target=target, **options)[0])
    facts = {"marks": len(learnt), "source": int(data.train_y[base]), "layers": names}
    return training.Imprint(marked, asked, training.strength(marked, asked), first + second, facts)
