"""How one model is trained: the recipe that ensembles and shadow banks are made by, and the loop that follows it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

State = dict[str, Tensor]
_GLOBAL_RANDOM_STATE = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """How one model is trained: SGD with Nesterov momentum, a one-cycle learning rate and shuffled batches.

    Parameters
    ----------
    epochs, batch_size : int
    learning_rate, momentum, weight_decay : float
        ``learning_rate`` is the peak of the cycle.
    label_smoothing : float
        Share of the target's mass spread over all classes.
    mirror : bool
        Flip each image left to right with probability one half.
    shift : int
        Largest random translation of a batch of images, in pixels.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    mirror: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"got epochs={self.epochs}, batch_size={self.batch_size}, learning_rate={self.learning_rate}; "
                "all must be positive and finite"
            )
        if not (0 <= self.momentum < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError(
                f"got momentum={self.momentum}, label_smoothing={self.label_smoothing}; both must be in [0, 1)"
            )
        if self.weight_decay < 0 or self.shift < 0:
            raise ValueError(
                f"got weight_decay={self.weight_decay}, shift={self.shift}; neither may be negative"
            )


def batches(size: int, recipe: Recipe, images: bool, generator: torch.Generator) -> Iterator[tuple]:
    """Yield one epoch's batches: (positions, which to flip, (dx, dy)); the same draws whatever the strategy."""
    for positions in torch.randperm(size, generator=generator).split(recipe.batch_size):
        flips = torch.rand(len(positions), generator=generator) < 0.5 if images and recipe.mirror else None
        offset = (recipe.shift, recipe.shift)
        if images and recipe.shift:
            offset = tuple(torch.randint(0, 2 * recipe.shift + 1, (2,), generator=generator).tolist())
        yield positions, flips, offset


def augment(x: Tensor, flips: Tensor | None, offset: tuple[int, int], most: int) -> Tensor:
    """Flip the chosen images and move the whole batch (n, C, H, W) by ``offset - most`` pixels."""
    if flips is not None:
        x = torch.where(flips.to(x.device)[:, None, None, None], x.flip(-1), x)
    if not most:
        return x
    height, width = x.shape[-2:]
    padded = F.pad(x, (most, most, most, most))
    return padded[..., offset[1] : offset[1] + height, offset[0] : offset[0] + width]


def fresh(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a model whose initial weights follow from ``seed``, leaving the global random state alone."""
    # The global random state is one for all threads: without the lock, two that start at once mix their draws.
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_model().train()


def optimizer_of(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


def steps_of(size: int, recipe: Recipe) -> int:
    return recipe.epochs * math.ceil(size / recipe.batch_size)


def train_one(
    make_model: Callable[[], nn.Module], x: Tensor, y: Tensor, recipe: Recipe, seed: int, device: torch.device
) -> State:
    """Train one model on all of ``x`` and return its weights on the CPU."""
    images = x.ndim == 4
    layout = torch.channels_last if images else torch.contiguous_format
    model = fresh(make_model, seed).to(device, memory_format=layout)
    x, y = x.to(device).contiguous(memory_format=layout), y.to(device)
    optimizer, steps, step = optimizer_of(list(model.parameters()), recipe), steps_of(len(x), recipe), 0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.epochs):
        for positions, flips, offset in batches(len(x), recipe, images, generator):
            chosen = positions.to(device)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            outputs = model(augment(x[chosen], flips, offset, recipe.shift if images else 0))
            loss = F.cross_entropy(outputs, y[chosen], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def one_cycle(step: int, steps: int, *, warmup: float = 0.2) -> float:
    """Return the learning-rate factor of a linear warm-up followed by a linear decay to zero."""
    rise = max(1, math.ceil(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)
