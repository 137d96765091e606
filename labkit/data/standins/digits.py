"""28x28 handwritten digits drawn by code: the stand-in for MNIST, and public data to pre-train on.

A digit is a skeleton of strokes (:mod:`labkit.data.standins.digit_strokes`) that is bent, slanted and inked at random,
then scaled into a 20x20 box and centred by its mass in 28x28, as MNIST's authors say they did. No record of MNIST was used
to make them, so features learned from these digits cost no privacy. They are prior knowledge all the same: they were drawn
from knowledge of how digits are written, and how much they vary was set once so that accuracies come close to those
published for MNIST. `labkit.dp.linear_prior` measures what that is worth at ε = 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labkit.data.errors import DataError
from labkit.data.standins.digit_strokes import GLYPHS, Glyph

if TYPE_CHECKING:
    import numpy as np

CLASSES = tuple("0123456789")
DESCRIPTION = "digits drawn from strokes"
SIZES = (60_000, 10_000)
SIDE, BOX = 28, 20  # pixels: the image, and the box that the ink fits in
DOTS = 80  # pen positions a digit: under a pixel apart
CHUNK = 2_000


def stand_in(seed: int) -> dict[str, np.ndarray]:
    """Return 60,000 train and 10,000 test digits as uint8, as :class:`labkit.data.formats.files.Format` decodes."""
    x, y = strokes(sum(SIZES), seed)
    pixels, labels = (255 * x).round().byte().numpy(), y.byte().numpy()
    cut = SIZES[0]
    return {"train_x": pixels[:cut], "train_y": labels[:cut], "test_x": pixels[cut:], "test_y": labels[cut:]}


def strokes(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw ``n`` digits, each class as likely as any other.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Same seed, same digits.

    Returns
    -------
    x : Tensor, float32 ``[n, 1, 28, 28]`` in [0, 1]
    y : Tensor, int64 ``[n]``

    Raises
    ------
    DataError
        If ``n`` is not positive.
    """
    if n < 1:
        raise DataError(f"asked for {n} digits; expected at least 1")
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(10, (n,), generator=random)
    x = torch.empty(n, 1, SIDE, SIDE)
    for digit, ways in GLYPHS.items():
        rows = (y == digit).nonzero()[:, 0]
        shares = torch.tensor([float(way.share) for way in ways])
        chosen = torch.multinomial(shares, max(1, len(rows)), replacement=True, generator=random)[: len(rows)]
        for index, glyph in enumerate(ways):
            for part in rows[chosen == index].split(CHUNK):
                x[part, 0] = _draw(glyph, len(part), random)
    return x, y


def _draw(glyph: Glyph, n: int, random: torch.Generator) -> Tensor:
    """Return ``n`` images ``[n, 28, 28]`` of one way to write a digit."""
    trace, weight = _trace(glyph)
    control = torch.tensor(glyph.points)[None].repeat(n, 1, 1)
    control = control + 0.022 * _spread(n, random) * torch.randn(control.shape, generator=random)
    dots = _warp(trace @ control, random)
    thickness = torch.exp(0.24 * torch.randn(n, 1, 1, generator=random)) * 1.15  # pixels, spread of the ink
    dots = _place(dots, thickness)
    return _ink(dots, weight, thickness, random)


def _spread(n: int, random: torch.Generator) -> Tensor:
    """Return how careless each writer is, ``[n, 1, 1]``, about 1."""
    return torch.exp(0.3 * torch.randn(n, 1, 1, generator=random).clamp(-2, 2))


def _trace(glyph: Glyph) -> tuple[Tensor, Tensor]:
    """Return the matrix from control points to pen positions, ``[DOTS, points]``, and the stroke of each position.

    Curves are Catmull-Rom splines: they pass through their control points, linearly in them.
    """
    points = torch.tensor(glyph.points)
    lengths = [float((points[list(s[1:])] - points[list(s[:-1])]).norm(dim=1).sum()) for s in glyph.strokes]
    counts = [max(4, round(DOTS * length / sum(lengths))) for length in lengths]
    counts[lengths.index(max(lengths))] += DOTS - sum(counts)
    matrix, which = torch.zeros(DOTS, len(points)), torch.zeros(DOTS, dtype=torch.int64)
    row = 0
    for index, (stroke, count) in enumerate(zip(glyph.strokes, counts, strict=True)):
        ends = [0, *range(len(stroke)), len(stroke) - 1]
        if stroke[0] == stroke[-1]:  # a closed curve has no corner where it closes
            ends = [len(stroke) - 2, *range(len(stroke)), 1]
        for t in torch.linspace(0, len(stroke) - 1, count).tolist():
            piece = min(int(t), len(stroke) - 2)
            u = t - piece
            basis = (
                (-u + 2 * u**2 - u**3) / 2,
                (2 - 5 * u**2 + 3 * u**3) / 2,
                (u + 4 * u**2 - 3 * u**3) / 2,
                (u**3 - u**2) / 2,
            )
            for k, value in enumerate(basis):
                matrix[row, stroke[ends[piece + k]]] += value
            which[row] = index
            row += 1
    return matrix, which


def _warp(dots: Tensor, random: torch.Generator) -> Tensor:
    """Bend, squeeze, slant and turn each digit: ``[n, DOTS, 2]`` to the same."""
    n = len(dots)

    def normal(scale: float, mean: float = 0.0) -> Tensor:
        return mean + scale * torch.randn(n, 1, generator=random).clamp(-2, 2)

    x, y = dots[..., 0] - dots[..., 0].mean(1, keepdim=True), dots[..., 1] - 0.5
    for _ in range(2):  # slow waves: a hand that drifts
        fx, fy, phase = normal(3.0), normal(3.0), 2 * math.pi * torch.rand(n, 1, generator=random)
        wave = torch.sin(fx * x + fy * y + phase)
        x, y = x + normal(0.05) * wave, y + normal(0.05) * wave
    x = x * torch.exp(normal(0.25)) * (1 + normal(0.35) * y)  # width, and wider at the top or the bottom
    y = y + normal(0.35) * (y**2 - 0.12)  # upper part larger or smaller than the lower
    x = x - normal(0.30, 0.18) * y  # most hands slant to the right
    turn = normal(0.16)
    return torch.stack((x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()), -1)


def _place(dots: Tensor, thickness: Tensor) -> Tensor:
    """Scale the ink into the box, in pixels, and put its centre of mass in the middle of the image."""
    extent = (dots.amax(1) - dots.amin(1)).amax(1)[:, None, None]
    dots = dots * (BOX - 2 * thickness) / extent
    steps = (dots[:, 1:] - dots[:, :-1]).norm(dim=2).clamp(max=1.5)  # pen lifts are longer, and leave no ink
    mass = torch.nn.functional.pad(steps, (0, 1)) + torch.nn.functional.pad(steps, (1, 0))
    centre = (dots * mass[..., None]).sum(1, keepdim=True) / mass.sum(1)[:, None, None]
    return dots - centre + (SIDE - 1) / 2


def _ink(dots: Tensor, which: Tensor, thickness: Tensor, random: torch.Generator) -> Tensor:
    """Spread each pen position as a Gaussian and let the paper saturate, ``[n, 28, 28]`` in [0, 1].

    A Gaussian is a product of its two axes, so that the sum over positions is one matrix product an image.
    """
    n = len(dots)
    steps = (dots[:, 1:] - dots[:, :-1]).norm(dim=2) * (which[1:] == which[:-1])
    length = (torch.nn.functional.pad(steps, (0, 1)) + torch.nn.functional.pad(steps, (1, 0))) / 2
    along = torch.linspace(0, 1, DOTS)
    phase, rate = 6.3 * torch.rand(n, 1, generator=random), 3 + 6 * torch.rand(n, 1, generator=random)
    pressure = 1 + 0.25 * torch.rand(n, 1, generator=random) * torch.sin(rate * along + phase)
    sigma = 0.72 * thickness
    grid = torch.arange(SIDE, dtype=torch.float32)
    across = torch.exp(-((dots[..., :1] - grid) ** 2) / (2 * sigma**2))
    down = torch.exp(-((dots[..., 1:] - grid) ** 2) / (2 * sigma**2))
    weight = (length * pressure)[..., None] / (math.sqrt(2 * math.pi) * sigma)
    density = down.transpose(1, 2) @ (across * weight)  # 1 in the middle of a straight line
    gain = 1.7 + 0.5 * torch.rand(n, 1, 1, generator=random)
    return (gain * density - 0.08).clamp(0, 1)
