"""Wavelet scattering: features that nobody learned, so that they cost no privacy.

Two layers of oriented wavelets, each followed by a modulus and averaged over patches of 4x4 pixels (Bruna & Mallat,
arXiv 1203.1513; Oyallon & Mallat, arXiv 1412.8659). Tramer & Boneh (arXiv 2011.11660) showed that a linear model on them
beats a private CNN at small ε.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

SCALES, ANGLES = 2, 8
# Maps per input channel by order: the plain average, one wavelet, two wavelets in a row (the second one coarser).
ORDERS = (1, SCALES * ANGLES, ANGLES**2 * SCALES * (SCALES - 1) // 2)


@functools.lru_cache(maxsize=4)
def _transform(height: int, width: int) -> Any:
    # Not `kymatio.torch`: that also imports the 3-D transform, which current scipy releases break.
    from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D

    return ScatteringTorch2D(J=SCALES, shape=(height, width), L=ANGLES)


@torch.no_grad()
def scattering(x: Tensor) -> Tensor:
    """Return the scattering maps of images.

    Parameters
    ----------
    x : Tensor, float32 ``[n, C, H, W]`` in [0, 1]

    Returns
    -------
    Tensor, float32 ``[n, C, 81, H // 4, W // 4]``
        81 = 1 + 16 + 64 maps of orders 0, 1 and 2.

    Raises
    ------
    ValueError
        If ``x`` is not a batch of images of at least 8x8 pixels.
    """
    if x.ndim != 4 or min(x.shape[2:]) < 8:
        raise ValueError(
            f"got a tensor of shape {tuple(x.shape)}; expected images [n, C, H, W] of at least 8x8 pixels"
        )
    return _transform(*x.shape[2:])(x.contiguous())


def standardise(x: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Give each record mean 0 and standard deviation 1, over all its own numbers.

    Parameters
    ----------
    x : Tensor, float ``[n, ...]``
        At least two numbers a record.

    Returns
    -------
    Tensor of the same shape. Row i depends on row i alone, so that no record can influence another's features.
    """
    rows = x.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    return (centred / (centred.square().mean(1, keepdim=True).sqrt() + eps)).view_as(x)


def scattering_features(x: Tensor) -> Tensor:
    """Return scattering maps of ``x`` ``[n, C, H, W]``, each order standardised per image, as rows ``[n, D]``.

    The orders differ in scale by a factor of ten; standardising each gives all three a say (a GroupNorm whose groups
    are the orders). D is 3,969 for 1x28x28 and 15,552 for 3x32x32.
    """
    parts = scattering(x).split(ORDERS, dim=2)
    return torch.cat([standardise(part).flatten(1) for part in parts], dim=1)
