"""Attacks that see nothing but the predicted class: Choquette-Choo et al. (arXiv 2007.14321), Li & Zhang (2007.15528).

They need the model itself, to ask it about changed copies of each record; no shadow model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.training.loops import logits as model_logits

LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)  # standard deviations of the noise, in units of [0, 1]


def _model(target: Target) -> nn.Module:
    if target.model is None:
        raise ValueError(
            f"{target.name} was given as outputs only; a label-only attack must ask the model itself"
        )
    return target.model


def _chosen(bank: ShadowBank, records: np.ndarray | None) -> tuple[Tensor, Tensor]:
    positions = torch.arange(len(bank.y)) if records is None else torch.as_tensor(records)
    return bank.x[positions], bank.y[positions]


def _right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    return model_logits(model, x.contiguous(memory_format=layout)).argmax(1) == y


def noise_robustness(
    target: Target,
    bank: ShadowBank,
    *,
    records: np.ndarray | None = None,
    copies: int = 3,
    levels: tuple[float, ...] = LEVELS,
    seed: int = 0,
) -> np.ndarray:
    """Score by the share of noisy copies that are still classified right (Choquette-Choo et al., section 3.3).

    Parameters
    ----------
    records : int array, optional
        Positions in the pool (default: all).
    copies : int
        Per noise level; the record itself is asked too.
    levels : tuple of float
        Standard deviations of Gaussian noise on inputs in [0, 1]; several, so that scores tie less.
    """
    model, generator = _model(target), torch.Generator().manual_seed(seed)
    x, y = _chosen(bank, records)
    if not x.is_floating_point():
        raise ValueError(
            f"the records are {x.dtype} (tokens): noise between tokens means nothing; use an attack on logits"
        )
    hits = _right(model, x, y).double()
    for level in levels:
        for _ in range(copies):
            noise = level * torch.randn(x.shape, generator=generator)
            hits += _right(model, (x + noise).clamp(0, 1), y)
    return (hits / (1 + copies * len(levels))).numpy()


def boundary_distance(
    target: Target,
    bank: ShadowBank,
    *,
    records: np.ndarray | None = None,
    directions: int = 8,
    steps: int = 8,
    reach: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Score by the distance to the nearest change of label along random directions (Choquette-Choo et al., section 3.2).

    An approximation from above to the distance that HopSkipJump searches for, at ``directions * (steps + 1)``
    questions a record. Misclassified records score 0, as in the paper.

    Parameters
    ----------
    reach : float
        Farthest step, as root mean square over the inputs; the score where no label changed within it.
    steps : int
        Halvings of the interval in which the label changes.
    """
    model, generator = _model(target), torch.Generator().manual_seed(seed)
    x, y = _chosen(bank, records)
    if not x.is_floating_point():
        raise ValueError(
            f"the records are {x.dtype} (tokens): noise between tokens means nothing; use an attack on logits"
        )
    right = _right(model, x, y)
    shape = (len(x),) + (1,) * (x.ndim - 1)
    nearest = torch.full((len(x),), reach)
    for _ in range(directions):
        direction = torch.randn(x.shape, generator=generator)
        far = torch.full((len(x),), reach)
        near = torch.zeros(len(x))
        stays = _right(model, x + reach * direction, y)
        for _ in range(steps):
            middle = (near + far) / 2
            kept = _right(model, x + middle.reshape(shape) * direction, y)
            near, far = torch.where(kept, middle, near), torch.where(kept, far, middle)
        nearest = torch.minimum(nearest, torch.where(stays, torch.tensor(reach), far))
    return torch.where(right, nearest, torch.tensor(0.0)).double().numpy()
