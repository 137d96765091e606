"""Attacks that change a model's weights to rid it of a mark: train on, prune, round, add noise, mark again.

All have the shape of `labkit.watermark.attacks.removal.Removal.run`; that module names and cites them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from labkit import profiles, training
from labkit.training.recipe import Recipe, train_one

if TYPE_CHECKING:
    from labkit.data import Dataset

RECORDS = 4000  # of the attacker, for attacks that change a model
TUNING = Recipe(epochs=2, learning_rate=0.05, mirror=True, shift=2)
HARD = Recipe(epochs=5, learning_rate=0.1, mirror=True, shift=2)  # the second dose: longer, in larger steps


def some(data: Dataset, records: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return at most ``records`` random train records: inputs (m, ...) and labels (m,)."""
    if records < 1:
        raise ValueError(f"records is {records}; expected at least 1")
    order = torch.from_numpy(np.random.default_rng([seed, 5]).permutation(len(data.train_y))[:records])
    return data.train_x[order], data.train_y[order]


def tune(make_model: Callable[[], nn.Module], x: Tensor, y: Tensor, recipe: Recipe, seed: int) -> nn.Module:
    """Train what ``make_model`` returns from the weights that it has, frozen parameters left alone."""
    state = train_one(make_model, x, y, recipe, seed, profiles.device())
    model = make_model()
    model.load_state_dict(state)
    return model


def last_layer(model: nn.Module) -> nn.Linear:
    """Return the last linear layer.

    Raises
    ------
    ValueError
        If there is none.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError("the model has no nn.Linear: this attack works on the last one")
    return layers[-1]


def _weighted(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers whose weights an attack changes: convolutions and linear layers."""
    return (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; expected a number between 0 and 1")


def fine_tune(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    only_last: bool = False,
    anew: bool = False,
    records: int = RECORDS,
    recipe: Recipe = TUNING,
) -> nn.Module:
    """Train on: all layers, only the last, or the last from fresh weights."""

    def start() -> nn.Module:
        copied = copy.deepcopy(model)
        last = last_layer(copied)
        if anew:
            last.reset_parameters()
        if only_last:
            copied.requires_grad_(False)
            last.requires_grad_(True)
        return copied

    return tune(start, *some(data, records, seed), recipe, seed).requires_grad_(True)


def magnitude_prune(model: nn.Module, data: Dataset, seed: int, *, share: float = 0.5) -> nn.Module:
    """Set the smallest ``share`` of all weights of convolutions and linear layers to zero, without training after."""
    _check_share("share", share)
    pruned = copy.deepcopy(model)
    weights = [(layer, "weight") for layer in _weighted(pruned)]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=share)
    for layer, name in weights:
        prune.remove(layer, name)
    return pruned


def fine_prune(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    share: float = 0.4,
    records: int = RECORDS,
    recipe: Recipe = TUNING,
) -> nn.Module:
    """Cut off the units that clean records use least, then train on without them.

    The units are those that feed the last linear layer: in the kit's networks the channels of the last convolution,
    as in the paper. A mark that hides in units that ordinary records leave idle goes with them.
    """
    _check_share("share", share)
    x, y = some(data, records, seed)
    idle = _activity(model, x).argsort()[: int(share * last_layer(model).in_features)]

    def start() -> nn.Module:
        copied = copy.deepcopy(model)
        last = last_layer(copied)
        mask = torch.ones_like(last.weight)
        mask[:, idle] = 0
        prune.custom_from_mask(last, "weight", mask)
        return copied

    pruned = tune(start, x, y, recipe, seed)
    prune.remove(last_layer(pruned), "weight")
    return pruned


def _activity(model: nn.Module, x: Tensor) -> Tensor:
    """Return the mean absolute input of each unit of the last linear layer over ``x``."""
    seen: list[Tensor] = []
    handle = last_layer(model).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].abs().sum(0))
    )
    try:
        training.logits(model, x)
    finally:
        handle.remove()
    return torch.stack(seen).sum(0) / len(x)


def quantise(model: nn.Module, data: Dataset, seed: int, *, bits: int = 8) -> nn.Module:
    """Round the weights of convolutions and linear layers to integers, one scale for each output channel.

    Simulated: the rounded weights are kept as floats and activations are not rounded, so it shows what storage in few
    bits does to a mark, not what it does to speed.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits is {bits}; expected 2 to 16")
    rounded, most = copy.deepcopy(model), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for layer in _weighted(rounded):
            scale = layer.weight.abs().flatten(1).amax(1).clamp_min(1e-12) / most
            scale = scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
            layer.weight.copy_((layer.weight / scale).round() * scale)
    return rounded


def weight_noise(model: nn.Module, data: Dataset, seed: int, *, scale: float = 0.15) -> nn.Module:
    """Add Gaussian noise to each weight tensor, its deviation ``scale`` times that of the tensor."""
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale is {scale}; expected a positive number")
    noisy, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in _weighted(noisy):
            noise = torch.randn(layer.weight.shape, generator=generator).to(layer.weight.device)
            layer.weight.add_(noise * scale * layer.weight.std())
    return noisy


def overwrite(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    marks: int | None = None,
    records: int = RECORDS,
    recipe: Recipe = TUNING,
) -> nn.Module:
    """Train on, with a patch mark of the attacker's own among the records.

    Parameters
    ----------
    marks : int, optional
        Default: one for every twenty records.
    """
    from labkit.watermark.marks import triggers
    from labkit.watermark.marks.keys import Key

    x, y = some(data, records, seed)
    key, count = Key.from_phrase(f"the attacker's mark, {seed}"), marks or max(1, len(y) // 20)
    own = triggers.draw("patch", key, count, dataset=data, part="marks", base_x=x, base_y=y)
    both = torch.cat([x, own.x]), torch.cat([y, own.y])
    return tune(lambda: copy.deepcopy(model), *both, recipe, seed)
