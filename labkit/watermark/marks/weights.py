"""A white-box mark: bits that a secret projection reads from one layer's weights.

Uchida et al., "Embedding watermarks into deep neural networks" (arXiv 1701.04082), sections 3.1 to 3.3: the kernel of
one convolution is averaged over its filters, a random matrix drawn from the key projects it onto as many numbers as
there are bits, and a regulariser pulls their signs to the owner's bits while the network learns its task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import stats
from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import training
from labkit.watermark.marks.keys import Key

BITS = 64
CHANCE = 0.5  # that a bit is read right from weights that do not depend on the key
WEIGHT = 0.1  # of the regulariser: the paper's 0.01 is for 200 epochs, the labs train for a dozen


@dataclass(frozen=True, eq=False)
class BitLoss:
    """Uchida et al., eq. 4: cross-entropy between the owner's bits and the sigmoid of the projected weights.

    Attributes
    ----------
    layer : str
        Name of the convolution or linear layer, as in ``model.named_modules()``.
    projection : Tensor of shape (bits, m)
    bits : float Tensor of shape (bits,)
    weight : float
    """

    layer: str
    projection: Tensor
    bits: Tensor
    weight: float

    def __call__(self, model: nn.Module, step: int) -> Tensor:
        carrier = average(model, self.layer)
        read = self.projection.to(carrier.device) @ carrier
        return self.weight * F.binary_cross_entropy_with_logits(read, self.bits.to(carrier.device))


def carriers(model: nn.Module) -> dict[str, int]:
    """Return the layers that can carry bits, in the network's order, with the number of weights that each averages to."""
    return {
        name: part.weight[0].numel()
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding)
    }


def default_layer(model: nn.Module) -> str:
    """Return the last layer before the output, which moves less than the output when a thief fine-tunes.

    Raises
    ------
    ValueError
        If the model has fewer than two convolutions or linear layers.
    """
    names = list(carriers(model))
    if len(names) < 2:
        raise ValueError(
            f"the model has {len(names)} layers with weights; expected at least 2: name one with layer="
        )
    return names[-2]


def average(model: nn.Module, layer: str) -> Tensor:
    """Return a layer's weights averaged over its filters, flat, of shape (m,), with their gradient.

    Raises
    ------
    ValueError
        If the model has no such layer.
    """
    known = carriers(model)
    if layer not in known:
        raise ValueError(f"layer {layer!r} is unknown; expected one of {', '.join(known)}")
    return model.get_submodule(layer).weight.mean(0).flatten()


def projection(key: Key, bits: int, m: int) -> Tensor:
    """Return the secret matrix of shape (bits, m), standard normal (the paper's X_random), float32."""
    return torch.from_numpy(key.normal(f"bits/projection/{m}", (bits, m)).astype(np.float32))


def owned(key: Key, bits: int = BITS) -> np.ndarray:
    """Return the owner's message, int64 of shape (bits,), drawn from the key."""
    return key.integers("bits/message", 2, bits)


def read(model: nn.Module, key: Key, *, layer: str | None = None, bits: int = BITS) -> np.ndarray:
    """Return the bits that a key reads from a model, int64 of shape (bits,).

    Rows of the projection and bits of the message are independent draws, symmetric around 0: under a key that a model
    never saw, each bit is right with probability `CHANCE`, independently of the others, whatever the model's weights.

    Parameters
    ----------
    layer : str, optional
        Default: `default_layer`.

    Raises
    ------
    ValueError
        If the layer is unknown, or has fewer weights than there are bits.
    """
    layer = layer or default_layer(model)
    carrier = average(model, layer).detach().cpu()
    _check(bits, len(carrier), layer)
    return (projection(key, bits, len(carrier)) @ carrier > 0).numpy().astype(np.int64)


def mark_weights(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    bits: int = BITS,
    layer: str | None = None,
    weight: float = WEIGHT,
) -> training.Imprint:
    """Train a copy of ``model`` with the regulariser of Uchida et al.

    Parameters
    ----------
    bits : int
        Length of the message; at most as many as the layer's averaged weights, and far fewer to be safe.
    layer : str, optional
        Default: `default_layer`.
    weight : float
        Of the regulariser (the paper's lambda).

    Raises
    ------
    ValueError
        If the layer is unknown or too small, or the weight is not positive.
    """
    layer = layer or default_layer(model)
    m = len(average(model, layer))
    _check(bits, m, layer)
    if not 0 < weight < float("inf"):
        raise ValueError(f"weight is {weight}; expected a positive number such as {WEIGHT}")
    message = owned(key, bits)
    extra = BitLoss(layer, projection(key, bits, m), torch.from_numpy(message).float(), weight)
    marked, seconds = training.train(model, data.train_x, data.train_y, recipe, seed=seed, extra=extra)
    right = int((read(marked, key, layer=layer, bits=bits) == message).sum())
    facts = {"layer": layer, "bits": bits, "message": message}
    return training.Imprint(marked, None, stats.clopper_pearson(right, bits), seconds, facts)


def _check(bits: int, m: int, layer: str) -> None:
    if not 1 <= bits <= m:
        raise ValueError(
            f"asked for {bits} bits in layer {layer!r}, which averages to {m} weights; expected 1 to {m}"
        )
