"""Entangled watermarks: marks share the target class's representations, so that removing one takes the other along.

Jia et al., "Entangled watermarks as a defense against model extraction" (arXiv 2002.12200), sections 4.1 to 4.3. The
soft nearest neighbour loss is that of Frosst et al., "Analyzing and improving representations with the soft nearest
neighbor loss" (arXiv 1902.01889), eq. 1. Two simplifications: the temperature is the batch's mean squared distance
instead of a learned one, and the marks are patched images of one class as drawn, not moved along a gradient first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import backdoor, training, triggers
from labkit.watermark.marks.keys import Key

FACTOR = 1.0
BATCH = 32
EVERY = 16  # steps of the task for one with marks: at one in four, the task loses ten points to them


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
    """Cross-entropy of a batch of marks, less the soft nearest neighbour loss of marks among the target class.

    Attributes
    ----------
    marks : Tensor of shape (m, C, H, W)
    target : int
        Answer to the marks.
    anchors : Tensor of shape (k, C, H, W)
        Records of the target class.
    layers : tuple of str
        Whose outputs are entangled.
    factor : float
        Of the soft nearest neighbour loss (the paper's kappa), shared by the layers.
    batch : int
        Marks, and as many anchors, at once.
    every : int
        Steps from one batch of marks to the next.
    """

    marks: Tensor
    target: int
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
        outputs, features = answers_and_features(model, x, self.layers)
        answers = torch.full((self.batch,), self.target, device=device)
        entangled = torch.stack([soft_nearest_neighbour(part, whose) for part in features]).mean()
        return F.cross_entropy(outputs[: self.batch], answers) - self.factor * entangled


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
    **options: object,
) -> training.Imprint:
    """Train a copy of ``model`` whose marks, patched images of one class, are entangled with the target class.

    Parameters
    ----------
    marks, count, target
        See `labkit.watermark.marks.backdoor.mark_with_triggers`.
    layers : sequence of str, optional
        Default: `default_layers`.
    factor : float
        Of the soft nearest neighbour loss; 0 for a plain backdoor.
    batch, every : int
        A batch of so many marks, at least 2, once in so many steps.
    **options
        Of the patch, see `labkit.watermark.marks.triggers.KINDS`.

    Raises
    ------
    ValueError
        If a setting is out of range, or too few records qualify.
    """
    if batch < 2 or every < 1 or not 0 <= factor < math.inf:
        raise ValueError(
            f"got batch={batch}, every={every}, factor={factor}; expected at least 2, at least 1, and a finite number >= 0"
        )
    target = int(triggers.draw("patch", key, 1, dataset=data, target=target).y[0])
    kinds = [kind for kind in range(len(data.classes)) if kind != target]
    source = kinds[int(key.integers("entangled/source", len(kinds), 1)[0])]
    learnt, asked = (
        triggers.draw(
            "patch",
            key,
            size,
            dataset=data,
            target=target,
            part=part,
            base_x=x[y == source],
            base_y=y[y == source],
            **options,
        )
        for part, size, x, y in (
            ("marks", marks or backdoor.default_marks(data), data.train_x, data.train_y),
            ("triggers", count or backdoor.default_count(data), data.test_x, data.test_y),
        )
    )
    names = tuple(layers) if layers is not None else default_layers(model)
    extra = Entanglement(learnt.x, target, data.train_x[data.train_y == target], names, factor, batch, every)
    marked, seconds = training.train(model, data.train_x, data.train_y, recipe, seed=seed, extra=extra)
    facts = {"marks": len(learnt), "source": source, "layers": names}
    return training.Imprint(marked, asked, training.strength(marked, asked), seconds, facts)
