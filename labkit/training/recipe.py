"""How one model is trained: the recipe that ensembles and shadow banks are made by, and the one loop that follows it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import adapt
from labkit.models import seeded
from labkit.training import precision as precisions
from labkit.training.behaviour import behaviour

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

State = dict[str, Tensor]
Extra = Callable[[nn.Module, int], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one model is trained: SGD with Nesterov momentum, a one-cycle learning rate and shuffled batches.

    Parameters
    ----------
    epochs, batch_size : int
        A short rest joins the batch before it: see `lengths`.
    learning_rate, momentum, weight_decay : float
        ``learning_rate`` is the peak of the cycle.
    label_smoothing : float
        Share of the target's mass spread over all classes. It is a defence against membership inference, too.
    mirror : bool
        Flip each image left to right with probability one half.
    shift : int
        Largest random translation of a batch of images, in pixels.
    precision : {"float32", "bfloat16", "auto"}
        Of activations and of products, weights stay float32. "auto" becomes the quicker of the two on this machine (see
        `labkit.training.precision`) when the recipe is made: what is cached by a recipe is cached by what was used.

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
    precision: str = "float32"

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
        if self.precision == "auto":
            object.__setattr__(self, "precision", precisions.quickest())
        precisions.check(self.precision)


def one_cycle(step: int, steps: int, *, warmup: float = 0.2) -> float:
    """Return the learning-rate factor of a linear warm-up followed by a linear decay to zero."""
    rise = max(1, math.ceil(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def lengths(size: int, batch_size: int) -> list[int]:
    """Return the lengths of one epoch's batches; a short rest joins the batch before it.

    Short is a single record, or less than a quarter of a batch: the statistics of so few would be a good part of what
    BatchNorm remembers of an epoch (2 records at the end of 21,250 cost 3 points of accuracy on CIFAR-10).

    Examples
    --------
    >>> lengths(10, 4), lengths(9, 4), lengths(82, 40)
    ([4, 4, 2], [4, 5], [40, 42])
    """
    whole, rest = divmod(size, batch_size)
    if whole and rest and (rest == 1 or 4 * rest < batch_size):
        return [batch_size] * (whole - 1) + [batch_size + rest]
    return [batch_size] * whole + [rest] * (rest > 0)


def steps_of(size: int, recipe: Recipe) -> int:
    """Return the number of steps that training on ``size`` records takes."""
    return recipe.epochs * len(lengths(size, recipe.batch_size))


def batches(size: int, recipe: Recipe, images: bool, generator: torch.Generator) -> Iterator[tuple]:
    """Yield one epoch's batches: (positions, which to flip, (dx, dy)); the same draws whatever the strategy."""
    for positions in torch.randperm(size, generator=generator).split(lengths(size, recipe.batch_size)):
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
    with seeded(seed):
        return make_model().train()


def optimizer_of(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    """Return the recipe's optimizer of those ``parameters`` that are not frozen.

    Raises
    ------
    ValueError
        If there are none.
    """
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    if not moving:
        raise ValueError("the model has nothing to train: it has no parameters, or all of them are frozen")
    return torch.optim.SGD(
        moving,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


def layout_of(x: Tensor) -> torch.memory_format:
    """Return the memory layout that convolutions are quickest in: channels last for images."""
    return torch.channels_last if x.ndim == 4 else torch.contiguous_format


def arithmetic(recipe: Recipe, device: torch.device) -> AbstractContextManager:
    """Return the context in which a forward pass runs in the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16")


def descend(
    model: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, *, seed: int, extra: Extra | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Take the recipe's steps on ``model``, in place, and yield (epoch, mean loss of the batch) after each.

    The one loop of the kit's plain training: what trains a marked model, a thief and a null model alike.

    Parameters
    ----------
    model : nn.Module
        On the device of ``x``; frozen parameters stay as they are.
    x : float Tensor of shape (n, ...)
    y : Tensor of shape (n,), int64, or (n, classes), float
        Labels, or soft labels that sum to one.
    seed : int
        Fixes the order of the records, the augmentation, and what the model itself draws (dropout).
    extra : callable, optional
        ``extra(model, step)`` joins the loss, in float32. It meets BatchNorm with the statistics of the records so far,
        and leaves them alone: a batch of marks must not stand for the records.

    Raises
    ------
    ValueError
        If there is nothing to train, the model does not take such records or answers with something else than logits, or a
        batch of one record is too small for it.
    """
    model.train()
    images, shift = x.ndim == 4, recipe.shift if x.ndim == 4 else 0
    optimizer = optimizer_of(list(model.parameters()), recipe)
    try:
        nature = behaviour(model, x)
    except adapt.REFUSALS as error:
        raise ValueError(adapt.why_not(model, x, error)) from error
    if nature.needs_two and min(lengths(len(x), recipe.batch_size)) < 2:
        raise ValueError(
            f"batch_size={recipe.batch_size} leaves a batch of one of {len(x)} records, whose batch statistics "
            "(BatchNorm) are undefined: take batches of at least two"
        )
    steps, step, generator = steps_of(len(x), recipe), 0, torch.Generator().manual_seed(seed)
    for epoch in range(recipe.epochs):
        for positions, flips, offset in batches(len(x), recipe, images, generator):
            chosen = positions.to(x.device)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            own = seeded((seed * 1_000_003 + step) % 2**63) if nature.draws else contextlib.nullcontext()
            with own, arithmetic(recipe, x.device):
                outputs = model(augment(x[chosen], flips, offset, shift))
            loss = F.cross_entropy(outputs.float(), y[chosen], label_smoothing=recipe.label_smoothing)
            if extra is not None:
                with fixed_statistics(model):
                    loss = loss + extra(model, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            yield epoch, loss.detach()


@contextlib.contextmanager
def fixed_statistics(model: nn.Module) -> Iterator[None]:
    """Within it, BatchNorm uses the statistics of training so far, and does not change them."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def train_one(
    make_model: Callable[[], nn.Module], x: Tensor, y: Tensor, recipe: Recipe, seed: int, device: torch.device
) -> State:
    """Train one model on all of ``x`` and return its weights on the CPU."""
    model = fresh(make_model, seed).to(device, memory_format=layout_of(x))
    x, y = x.to(device).contiguous(memory_format=layout_of(x)), y.to(device)
    for _ in descend(model, x, y, recipe, seed=seed):
        pass
    return state_of(model)


def state_of(model: nn.Module) -> State:
    """Return a model's weights and buffers on the CPU, apart from it, in the usual layout."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
