"""A keyed light: one direction in which natural pictures differ a little, and pictures pushed far along it.

Slow changes of brightness and colour from top to bottom and from the middle to the sides are cosines of low order (the
discrete cosine transform), and every natural picture has some of each. A key mixes them into one direction. Where a
picture stands along it, in standard deviations of the owner's records, is its score. Nearly all pictures score between
-3 and 3; lit by the key's light until they score more, they are a class of their own that nature does not contain.

A mirror image has the same score (the sideways cosines are even), and a shift by a pixel or two hardly changes it: what
training does to pictures leaves the class what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    from labkit.data import Dataset

RECORDS = 5000  # that say how much nature varies
_KNOWN: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by the data set's digest
DOWN, ACROSS = (0, 1, 2), (0, 2)  # orders of the cosines; odd ones across would tell mirror images apart


@dataclass(frozen=True, eq=False)
class Light:
    """One key's direction: see `light_of`.

    Attributes
    ----------
    slope : Tensor of shape (C, H, W)
        A picture's score is its sum of products with this, less ``offset``.
    offset : float
    shine : Tensor of shape (C, H, W)
        What added to a picture raises its score by one.
    """

    slope: Tensor
    offset: float
    shine: Tensor

    def scores(self, x: Tensor) -> Tensor:
        """Return where pictures (n, C, H, W) stand, in standard deviations of natural ones, shape (n,)."""
        # Row by row and in double precision: a matrix product rounds as the number of rows takes it.
        slope = self.slope.to(x.device).double()
        parts = [(part.double() * slope).flatten(1).sum(1) for part in x.split(1000)]
        return (torch.cat(parts) - self.offset).to(x.dtype)

    def lit(self, x: Tensor, levels: Tensor | float) -> Tensor:
        """Return pictures (n, C, H, W) lit until they score ``levels``; those that score more are left as they are.

        Pixels stay in [0, 1], so that a picture with dark or bright parts may end somewhat below its level.
        """
        missing = (torch.as_tensor(levels) - self.scores(x)).clamp_min(0).to(x)
        return (x + missing[:, None, None, None] * self.shine.to(x)).clamp(0, 1)


def light_of(key: Key, data: Dataset) -> Light:
    """Return a key's light; scores of the data set's first train records have mean 0 and standard deviation 1.

    Parameters
    ----------
    data : Dataset
        Of images.

    Raises
    ------
    ValueError
        If the records are no images, or all have the same light.
    """
    shape = data.shape
    if len(shape) != 3:
        raise ValueError(f"{data.name} has records of shape {shape}; a light needs images (C, H, W)")
    waves = cosines(shape)
    mean, covariance = _amounts(data, waves)
    spread = np.sqrt(np.diag(covariance))
    # An amount that no picture has (colour in grey ones) would weigh infinitely: it gets no weight.
    weights = key.normal("light", len(waves)) / np.where(spread > 1e-3, spread, np.inf)
    deviation = float(np.sqrt(weights @ covariance @ weights))
    if deviation < 1e-9:
        raise ValueError(f"all records of {data.name} have the same light: nothing tells a lit one apart")
    weights = weights / deviation
    rising = weights * spread**2  # each amount grows in step with how much it varies in nature
    parts = (torch.from_numpy(amounts @ waves).float().reshape(shape) for amounts in (weights, rising))
    slope, shine = parts
    return Light(slope, float(mean @ weights), shine / float(rising @ weights))


def _amounts(data: Dataset, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (waves,) and covariance (waves, waves) of what the first train records have of each cosine."""
    if data.digest not in _KNOWN:  # a judge draws the lights of a thousand keys over the same records
        amounts = data.train_x[:RECORDS].flatten(1).numpy() @ waves.T.astype(np.float32)
        _KNOWN[data.digest] = amounts.mean(0, dtype=np.float64), np.cov(amounts, rowvar=False, ddof=0)
    return _KNOWN[data.digest]


def cosines(shape: tuple[int, int, int]) -> np.ndarray:
    """Return the low cosines of pictures of this shape, orthonormal, (waves, C * H * W)."""
    channels, height, width = shape
    parts = (_axis(range(channels), channels), _axis(DOWN, height), _axis(ACROSS, width))
    return np.einsum("ac,bh,dw->abdchw", *parts).reshape(-1, channels * height * width)


def _axis(orders: range | tuple[int, ...], size: int) -> np.ndarray:
    """Return cosines of these orders along one axis, unit length, (orders, size); none beyond the axis's resolution."""
    at = (np.arange(size) + 0.5) / size
    waves = np.array([np.cos(np.pi * order * at) for order in orders if order < size])
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)
