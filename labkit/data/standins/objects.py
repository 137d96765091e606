"""32x32 colour objects in ten classes, drawn by code: the stand-in for CIFAR-10.

An object is a plan of parts (:mod:`labkit.data.standins.object_parts`), jittered, turned, shaded and set into a noisy surrounding
with other things around and in front. The share of label information in colour, shape and neither was set so that
published accuracies on CIFAR-10 are about met: see the table in ``data/README.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from labkit.data.errors import DataError
from labkit.data.standins.object_parts import COLOURS, PARTS, SCENES, SEEN_IN
from labkit.data.standins.object_parts import Part as PartPlan
from labkit.progress import track

if TYPE_CHECKING:
    import numpy as np

CLASSES = tuple(PARTS)
DESCRIPTION = "objects drawn from parts"
SIZES = (50_000, 10_000)
SIDE = 32
CHUNK = 500
JITTER = 0.3  # how far parts stray from their plan, relative to their size


def stand_in(seed: int) -> dict[str, np.ndarray]:
    """Return 50,000 train and 10,000 test images as uint8, as :class:`labkit.data.formats.files.Format` decodes."""
    x, y = _pixels(sum(SIZES), seed)
    pixels, labels, cut = x.numpy(), y.byte().numpy(), SIZES[0]
    return {"train_x": pixels[:cut], "train_y": labels[:cut], "test_x": pixels[cut:], "test_y": labels[cut:]}


def objects(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw ``n`` objects, each class as likely as any other.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Same seed, same objects.

    Returns
    -------
    x : Tensor, float32 ``[n, 3, 32, 32]`` in [0, 1]
    y : Tensor, int64 ``[n]``

    Raises
    ------
    DataError
        If ``n`` is not positive.
    """
    if n < 1:
        raise DataError(f"asked for {n} objects; expected at least 1")
    x, y = _pixels(n, seed)
    return x.float() / 255, y


def _pixels(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return uint8 images and labels."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(len(CLASSES), (n,), generator=random)
    x = torch.empty(n, 3, SIDE, SIDE, dtype=torch.uint8)
    jobs = [
        (kind, rows)
        for index, kind in enumerate(CLASSES)
        for rows in (y == index).nonzero()[:, 0].split(CHUNK)
        if len(rows)
    ]
    for kind, rows in track(jobs, "drawing 32x32 objects") if n > 2_000 else jobs:
        x[rows] = (255 * _draw(kind, len(rows), random)).round().byte()
    return x, y


def _draw(kind: str, n: int, random: torch.Generator) -> Tensor:
    """Return ``n`` images ``[n, 3, 32, 32]`` of one kind."""
    image = _surrounding(kind, n, random)
    for _ in range(2):
        image = _clutter(image, random)
    frame = _frame(n, random)
    paints = _paints(kind, n, random)
    texture = 0.5 * _noise(n, random)
    for part in PARTS[kind]:
        mask = _part(part, frame, random)
        shade = 1 - 0.25 * frame[1].clamp(-1, 1) + 0.25 * texture[:, 0]
        colour = paints[part.paint][:, :, None, None] * shade[:, None]
        image = torch.lerp(image, colour, mask[:, None])
    image = _clutter(image, random, rare=0.35)
    return _photograph(image, random)


def _normal(n: int, scale: float, random: torch.Generator, mean: float = 0.0) -> Tensor:
    """Return ``[n, 1, 1]`` normal numbers, without the far tails."""
    return mean + scale * torch.randn(n, 1, 1, generator=random).clamp(-2, 2)


def _noise(n: int, random: torch.Generator) -> Tensor:
    """Return grey noise with more power in large patches than in small, ``[n, 1, 32, 32]``."""
    total = torch.zeros(n, 1, SIDE, SIDE)
    for cells in (3, 6, 12, 32):
        field = torch.randn(n, 1, cells, cells, generator=random)
        total += interpolate(field, (SIDE, SIDE), mode="bilinear", align_corners=False) * cells**-0.35
    return total


def _surrounding(kind: str, n: int, random: torch.Generator) -> Tensor:
    """Return backgrounds: an upper and a lower colour, a horizon, and noise."""
    scenes = torch.tensor(list(SCENES.values()))
    likely = torch.tensor([float(v) for v in SEEN_IN[kind]])
    chosen = scenes[torch.multinomial(likely, n, replacement=True, generator=random)]
    chosen = chosen + 0.13 * torch.randn(n, 2, 3, generator=random)
    rows = torch.linspace(-1, 1, SIDE)[None, :, None]
    edge = torch.sigmoid((rows - _normal(n, 0.35, random, 0.1)) * torch.exp(_normal(n, 0.9, random, 1.2)))
    upper, lower = chosen[:, 0, :, None, None], chosen[:, 1, :, None, None]
    return upper + edge[:, None] * (lower - upper) + 0.09 * _noise(n, random)


def _frame(n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return each pixel's place in its object's own axes, x and y, ``[n, 32, 32]`` each."""
    grid = torch.linspace(-1, 1, SIDE)
    x = grid[None, None, :] - _normal(n, 0.16, random)
    y = grid[None, :, None] - _normal(n, 0.14, random, 0.05)
    turn = _normal(n, 0.22, random)
    x, y = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    flip = torch.randint(0, 2, (n, 1, 1), generator=random) * 2 - 1
    scale = torch.exp(_normal(n, 0.26, random, -0.12))
    x, y = x / (scale * torch.exp(_normal(n, 0.14, random))) * flip, y / scale
    wave = torch.sin(_normal(n, 2.0, random) * x + _normal(n, 2.0, random) * y + _normal(n, 3.0, random))
    return x + _normal(n, 0.07, random) * wave, y + _normal(n, 0.07, random) * wave


def _paints(kind: str, n: int, random: torch.Generator) -> dict[str, Tensor]:
    """Return the colours of each object, ``[n, 3]``."""
    grey = 0.2 * torch.randn(n, 1, generator=random)
    main = torch.tensor(COLOURS[kind]) + grey + 0.1 * torch.randn(n, 3, generator=random)
    second = main + 0.2 * torch.randn(n, 1, generator=random) + 0.05 * torch.randn(n, 3, generator=random)
    dark = 0.16 + 0.08 * torch.randn(n, 1, generator=random).expand(n, 3)
    light = 0.72 + 0.12 * torch.randn(n, 1, generator=random).expand(n, 3)
    return {"a": main, "b": second, "d": dark, "l": light}


def _part(plan: PartPlan, frame: tuple[Tensor, Tensor], random: torch.Generator) -> Tensor:
    """Return how much of each pixel a part covers, ``[n, 32, 32]``."""
    n = len(frame[0])
    size = max(plan.rx, plan.ry)
    x = frame[0] - plan.x - _normal(n, JITTER * (0.1 + 0.4 * size), random)
    y = frame[1] - plan.y - _normal(n, JITTER * (0.1 + 0.4 * size), random)
    angle = _normal(n, JITTER * 0.7, random, plan.angle * torch.pi / 180)
    x, y = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    rx = plan.rx * torch.exp(_normal(n, JITTER * 0.8, random))
    ry = plan.ry * torch.exp(_normal(n, JITTER * 0.8, random))
    x, y, halvings = x / rx, y / ry, plan.power.bit_length() - 1
    for _ in range(halvings):  # a power of two by squaring, and its root: far quicker than pow
        x, y = x * x, y * y
    radius = x + y
    for _ in range(halvings):
        radius = radius.sqrt()
    there = torch.rand(n, 1, 1, generator=random) < plan.there
    return torch.sigmoid((1 - radius) * torch.minimum(rx, ry) * 32) * there


def _clutter(image: Tensor, random: torch.Generator, rare: float = 0.7) -> Tensor:
    """Put one thing of no class in or before the scene."""
    n = len(image)
    plan = PartPlan("a", 2, 0, 0, 0.32, 0.2, 0, rare)
    grid = torch.linspace(-1, 1, SIDE)
    x = (grid[None, None, :] - _normal(n, 0.6, random)).expand(n, SIDE, SIDE)
    y = (grid[None, :, None] - _normal(n, 0.6, random)).expand(n, SIDE, SIDE)
    mask = _part(plan, (x, y), random)[:, None]
    colour = 0.45 + 0.22 * torch.randn(n, 1, generator=random) + 0.12 * torch.randn(n, 3, generator=random)
    return image + mask * (colour[:, :, None, None] - image)


def _photograph(image: Tensor, random: torch.Generator) -> Tensor:
    """Vary light, contrast and colour, and add grain."""
    n = len(image)
    light = _normal(n, 0.1, random)[:, None]
    contrast = torch.exp(_normal(n, 0.22, random))[:, None]
    grey = image.mean(1, keepdim=True)
    image = grey + torch.exp(_normal(n, 0.25, random))[:, None] * (image - grey)
    image = 0.5 + contrast * (image - 0.5) + light
    return (image + 0.03 * torch.randn(image.shape, generator=random)).clamp(0, 1)
