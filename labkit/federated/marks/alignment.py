"""Hidden units put back in their order and scale: what changes no answer must not hide who leaked.

A perceptron's hidden units can be permuted, and with ReLU each may be scaled up if what follows is scaled down. Both leave
every answer as it was and move every weight. Whoever has the original finds the units again: the assignment that
makes their incoming weights most alike (Kuhn 1955; Ainsworth et al. 2022, arXiv 2209.04836, section 3.2).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn


def aligned(weights: np.ndarray, original: np.ndarray, make_model: Callable[[], nn.Module]) -> np.ndarray:
    """Return ``weights`` [d] with the hidden units of successive linear layers put back as in ``original`` [d].

    Scales are put back where a ReLU follows. A unit whose incoming weights are all 0 stays as it is.

    Raises
    ------
    ValueError
        If the model has no two linear layers in a row (apart from activations).
    """
    from scipy.optimize import linear_sum_assignment

    from labkit.federated.rounds import flatten, unflatten

    model, reference = unflatten(make_model(), weights), unflatten(make_model(), original)
    pairs = list(zip(hidden(model), hidden(reference), strict=True))
    if not pairs:
        raise ValueError(f"{type(model).__name__} has no two linear layers in a row: leave make_model out")
    for (first, second, relu), (old, _, _) in pairs:
        have, want = _rows(first), _rows(old)
        alike = _unit(want) @ _unit(have).T
        _, order = linear_sum_assignment(-alike)
        size, target = np.linalg.norm(have[order], axis=1), np.linalg.norm(want, axis=1)
        scale = np.where((size > 0) & (target > 0), target / np.maximum(size, 1e-300), 1.0)
        rearrange(first, second, order, scale if relu else np.ones_like(scale))
    return flatten(model)


def hidden(model: nn.Module) -> list[tuple[nn.Linear, nn.Linear, bool]]:
    """Return pairs of successive linear layers, and whether a ReLU alone lies between them."""
    from torch import nn

    leaves = [part for part in model.modules() if not list(part.children())]
    at = [index for index, part in enumerate(leaves) if isinstance(part, nn.Linear)]
    found = []
    for one, two in itertools.pairwise(at):
        between = leaves[one + 1 : two]
        if leaves[two].in_features == leaves[one].out_features:
            relu = len(between) == 1 and isinstance(between[0], nn.ReLU)
            found.append((leaves[one], leaves[two], relu))
    return found


def _rows(layer: nn.Linear) -> np.ndarray:
    """Return each unit's incoming weights and bias, shape [units, inputs + 1]."""
    parts = [layer.weight.detach().double().numpy()]
    if layer.bias is not None:
        parts.append(layer.bias.detach().double().numpy()[:, None])
    return np.hstack(parts)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def rearrange(first: nn.Linear, second: nn.Linear, order: np.ndarray, scale: np.ndarray) -> None:
    """Put units in this order and multiply what comes into each by ``scale``, in place; what goes out is divided."""
    import torch

    rows = torch.from_numpy(order)
    factor = torch.from_numpy(scale).to(first.weight.dtype)
    with torch.no_grad():
        first.weight.copy_(first.weight[rows] * factor[:, None])
        if first.bias is not None:
            first.bias.copy_(first.bias[rows] * factor)
        second.weight.copy_(second.weight[:, rows] / factor)
