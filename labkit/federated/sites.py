"""How the same patient looks different in another hospital: devices for tables, stain and scanner for images.

The sizes below are stated, not fitted: the spread between laboratories' devices, and between slide scanners, that a
model has to live with. Every draw is a hospital's own and holds for all of its records, train and test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.data.dataset import Dataset

GAIN = 0.10  # standard deviation of the logarithm of a device's gain
OFFSET = 0.03  # standard deviation of a device's offset, in widths of the public range
STAIN = (
    0.12  # standard deviation of the entries that mix optical densities of the colours, about the identity
)
LIGHT = 0.10  # standard deviation of the logarithm of a scanner's brightness
BLUR = 0.8  # largest standard deviation of a scanner's blur, in pixels


@dataclass(frozen=True)
class DeviceShift:
    """One hospital's measuring devices: ``x * gain + offset``, cut to the public range [0, 1].

    Attributes
    ----------
    gain, offset : array, shape [d]
        1 and 0 for columns that are categories, which no device measures.
    """

    gain: np.ndarray
    offset: np.ndarray

    def apply(self, x: Tensor) -> Tensor:
        """Return records ``[n, d]`` as this hospital would have measured them."""
        gain, offset = (x.new_tensor(part) for part in (self.gain, self.offset))
        return (x * gain + offset).clamp(0, 1)


@dataclass(frozen=True)
class ScannerShift:
    """One hospital's stain and scanner: colours mixed as optical densities, then brightness and blur.

    Stains absorb light, so that they add as optical densities, -log of the light let through (Ruifrok & Johnston 2001).

    Attributes
    ----------
    stain : array, shape [C, C]
    light : float
        Factor of brightness.
    blur : float
        Standard deviation in pixels.
    """

    stain: np.ndarray
    light: float
    blur: float

    def apply(self, x: Tensor) -> Tensor:
        """Return images ``[n, C, H, W]`` in [0, 1] as this hospital would have stained and scanned them."""
        import torch

        density = -x.clamp(min=1 / 255).log()
        mixed = torch.einsum("oc,nchw->nohw", x.new_tensor(self.stain), density)
        seen = (-mixed).exp() * self.light
        return _blurred(seen, self.blur).clamp(0, 1)


def draw(
    dataset: Dataset, count: int, rng: np.random.Generator
) -> tuple[DeviceShift, ...] | tuple[ScannerShift, ...]:
    """Return one shift for each of ``count`` hospitals.

    Raises
    ------
    ValueError
        If values lie outside [0, 1]: without a public range nothing says where a device's scale ends.
    """
    low, high = float(dataset.train_x.min()), float(dataset.train_x.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"{dataset.name}: values run from {low:g} to {high:g}; by='site' expects public ranges scaled to [0, 1]"
        )
    if len(dataset.shape) == 1:
        return tuple(_devices(dataset, rng) for _ in range(count))
    return tuple(_scanner(dataset.shape[0], rng) for _ in range(count))


def describe(dataset: Dataset) -> str:
    """Return the sizes of the shifts, for titles."""
    if len(dataset.shape) == 1:
        return f"devices: gain {GAIN:.0%}, offset {OFFSET:.0%} of the range"
    return f"stain {STAIN:.0%}, light {LIGHT:.0%}, blur up to {BLUR:g} pixels"


def _devices(dataset: Dataset, rng: np.random.Generator) -> DeviceShift:
    d = dataset.shape[0]
    gain, offset = np.exp(GAIN * rng.standard_normal(d)), OFFSET * rng.standard_normal(d)
    values = dataset.train_x
    category = ((values == 0) | (values == 1)).all(0).cpu().numpy()
    return DeviceShift(np.where(category, 1.0, gain), np.where(category, 0.0, offset))


def _scanner(channels: int, rng: np.random.Generator) -> ScannerShift:
    stain = np.eye(channels) + STAIN * rng.standard_normal((channels, channels))
    return ScannerShift(stain, math.exp(LIGHT * rng.standard_normal()), float(rng.uniform(0, BLUR)))


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Return images blurred by a Gaussian, with mirrored edges."""
    import torch
    from torch.nn.functional import conv2d, pad

    radius = 2
    steps = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(steps**2) / (2 * max(sigma, 1e-3) ** 2))
    kernel = kernel / kernel.sum()
    n, channels, height, width = x.shape
    flat = pad(x.reshape(n * channels, 1, height, width), (radius,) * 4, mode="reflect")
    flat = conv2d(conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view(n, channels, height, width)
