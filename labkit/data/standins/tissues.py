"""28x28 patches of nine kinds of tissue, drawn by code: the stand-in for PathMNIST.

A patch is two maps, how much of each stain a pixel took up: haematoxylin (blue, in nuclei) and eosin (pink, in fibres
and cytoplasm). Each kind of tissue lays down nuclei, fibres, cells, glands or mucus in its own way, neighbouring
tissue often reaches into the patch, and stain and light vary from slide to slide. Stains absorb light, so that colours
come from optical densities, with stain vectors that are usual after Macenko et al. (2009, ISBI). No record of PathMNIST
was used; how much patches vary was set by hand, so that a small network tells most of them apart and a linear model
about half.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from labkit.data.errors import DataError
from labkit.data.formats.medmnist import PATH_CLASSES as CLASSES

if TYPE_CHECKING:
    import numpy as np

DESCRIPTION = "tissue drawn from nuclei, fibres and fat"
SIZES = (20_000, 5_000)  # a fifth of the real train set
SIDE = 28
CHUNK = 250
# Optical density of each stain in red, green and blue.
HAEMATOXYLIN = (0.563, 0.720, 0.406)
EOSIN = (0.216, 0.801, 0.558)
# Which tissue is next to which in a colon, by the order of CLASSES: what reaches into a patch.
BESIDE = ((1, 7), (0, 4), (3, 8, 7), (2, 6, 7), (1, 8, 2), (7, 7, 0), (3, 8, 7), (5, 5, 2), (6, 2, 7))
REACHES, DEEP = (
    0.55,
    0.42,
)  # how often a neighbour reaches into a patch, and the share of it that it then covers

Stains = tuple[Tensor, Tensor]  # haematoxylin and eosin, [n, 28, 28] each


def stand_in(seed: int) -> dict[str, np.ndarray]:
    """Return 20,000 train and 5,000 test patches as uint8, as :class:`labkit.data.formats.files.Format` decodes."""
    x, y = _pixels(sum(SIZES), seed)
    pixels, labels, cut = x.numpy(), y.byte().numpy(), SIZES[0]
    return {"train_x": pixels[:cut], "train_y": labels[:cut], "test_x": pixels[cut:], "test_y": labels[cut:]}


def tissues(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw ``n`` patches, each kind of tissue as likely as any other.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Same seed, same patches.

    Returns
    -------
    x : Tensor, float32 ``[n, 3, 28, 28]`` in [0, 1]
    y : Tensor, int64 ``[n]``, in the order of PathMNIST's classes

    Raises
    ------
    DataError
        If ``n`` is not positive.
    """
    if n < 1:
        raise DataError(f"asked for {n} patches; expected at least 1")
    x, y = _pixels(n, seed)
    return x.float() / 255, y


def _pixels(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return uint8 patches and labels."""
    from labkit.progress import track

    random = torch.Generator().manual_seed(seed)
    y = torch.randint(len(CLASSES), (n,), generator=random)
    x = torch.empty(n, 3, SIDE, SIDE, dtype=torch.uint8)
    jobs = [
        (kind, rows)
        for kind in range(len(CLASSES))
        for rows in (y == kind).nonzero()[:, 0].split(CHUNK)
        if len(rows)
    ]
    for kind, rows in track(jobs, "drawing tissue") if n > 2_000 else jobs:
        x[rows] = (255 * _draw(kind, len(rows), random)).round().byte()
    return x, y


def _draw(kind: int, n: int, random: torch.Generator) -> Tensor:
    """Return ``n`` patches ``[n, 3, 28, 28]`` of one kind of tissue."""
    own = TISSUES[kind](n, random)
    beside = BESIDE[kind]
    neighbour = TISSUES[beside[int(torch.randint(len(beside), (1,), generator=random))]](n, random)
    share = _region(n, random)
    blue, pink = (torch.lerp(mine, theirs, share) for mine, theirs in zip(own, neighbour, strict=True))
    return _scan(blue, pink, random)


def _region(n: int, random: torch.Generator) -> Tensor:
    """Return how much of each pixel the neighbour covers: the far side of a wavy edge, in some patches."""
    grid = torch.linspace(-1, 1, SIDE)
    turn = 2 * math.pi * torch.rand(n, 1, 1, generator=random)
    along = grid[None, None, :] * turn.cos() + grid[None, :, None] * turn.sin()
    edge = 1.3 - 2.6 * DEEP * torch.rand(n, 1, 1, generator=random).sqrt()
    there = torch.rand(n, 1, 1, generator=random) < REACHES
    return torch.sigmoid((along + 0.3 * _noise(n, random, (3, 6)) - edge) * 10) * there


def _normal(n: int, random: torch.Generator, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    """Return ``[n, 1, 1]`` normal numbers, without the far tails."""
    return mean + scale * torch.randn(n, 1, 1, generator=random).clamp(-2, 2)


def _noise(n: int, random: torch.Generator, cells: tuple[int, ...] = (4, 8, 14, 28)) -> Tensor:
    """Return grey noise of about unit size in patches of several sizes, ``[n, 28, 28]``."""
    total = torch.zeros(n, 1, SIDE, SIDE)
    for count in cells:
        field = torch.randn(n, 1, count, count, generator=random)
        total += interpolate(field, (SIDE, SIDE), mode="bilinear", align_corners=False) * 1.3
    return total[:, 0] / math.sqrt(len(cells))


def _grid() -> tuple[Tensor, Tensor]:
    """Return each pixel's x and y in pixels, ``[1, 1, 28]`` and ``[1, 28, 1]``."""
    line = torch.arange(float(SIDE))
    return line[None, None, :], line[None, :, None]


def _nuclei(
    n: int,
    random: torch.Generator,
    *,
    count: tuple[int, int],
    radius: float,
    stretch: float = 1.0,
    uneven: float = 0.15,
    along: Tensor | None = None,
    centres: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return how much nucleus each pixel holds, ``[n, 28, 28]`` in [0, 1].

    Parameters
    ----------
    count : (fewest, most)
        Nuclei in a patch; radius and stretch (length over width) are in pixels and vary by ``uneven``, as a factor.
    along : Tensor, shape [n, 1, 1], optional
        Direction in which they lie; each its own otherwise.
    centres : pair of Tensor, shape [n, most], optional
        Where they are; anywhere otherwise.
    """
    most = count[1]
    x, y = centres or tuple((SIDE + 4) * torch.rand(n, most, generator=random) - 2 for _ in range(2))
    total = torch.zeros(n, SIDE, SIDE)
    number = torch.randint(count[0], most + 1, (n, 1, 1), generator=random)
    across, down = _grid()
    for index in range(most):
        turn = math.pi * torch.rand(n, 1, 1, generator=random)
        if along is not None:
            turn = along + 0.25 * torch.randn(n, 1, 1, generator=random)
        size = radius * torch.exp(uneven * torch.randn(n, 1, 1, generator=random).clamp(-2, 2))
        shape = math.sqrt(stretch) * torch.exp(0.7 * uneven * torch.randn(n, 1, 1, generator=random))
        dx, dy = across - x[:, index, None, None], down - y[:, index, None, None]
        u = (dx * turn.cos() + dy * turn.sin()) / (size * shape)
        v = (dy * turn.cos() - dx * turn.sin()) / (size / shape)
        mask = torch.sigmoid((1 - (u * u + v * v).sqrt()) * size * 1.8) * (index < number)
        depth = 0.75 + 0.25 * torch.rand(n, 1, 1, generator=random)
        total = torch.maximum(total, mask * depth)
    return total


def _fibres(n: int, random: torch.Generator, turn: Tensor, *, width: float, wave: float) -> Tensor:
    """Return strands that run along ``turn``, ``width`` pixels wide and as wavy as ``wave``, in [0, 1]."""
    across, down = _grid()
    along = across * turn.cos() + down * turn.sin()
    over = down * turn.cos() - across * turn.sin()
    length = _normal(n, random, 10.0, 2.5)
    phase = 2 * math.pi * torch.rand(n, 1, 1, generator=random)
    over = over + wave * torch.sin(2 * math.pi * along / length + phase) + wave * _noise(n, random, (3, 6))
    width_ = width * torch.exp(_normal(n, random, 0.0, 0.2))
    first = torch.sin(2 * math.pi * over / (2 * width_) + _normal(n, random, 0.0, 3.0))
    second = torch.sin(2 * math.pi * over / (3.3 * width_) + _normal(n, random, 0.0, 3.0))
    return 0.5 + 0.25 * (first + second) * (1 + 0.3 * _noise(n, random)).clamp(0, 2)


def _adipose(n: int, random: torch.Generator) -> Stains:
    """Large empty cells with thin walls: the nearest and second nearest of a few centres say where a wall is."""
    across, down = _grid()
    most = 7
    x, y = ((SIDE + 12) * torch.rand(n, most, 1, 1, generator=random) - 6 for _ in range(2))
    far = torch.sqrt((across[None] - x) ** 2 + (down[None] - y) ** 2)
    there = torch.arange(most)[None, :, None, None] < torch.randint(
        4, most + 1, (n, 1, 1, 1), generator=random
    )
    near = torch.where(there, far, torch.inf).topk(2, dim=1, largest=False).values
    wall = torch.exp(-(((near[:, 1] - near[:, 0]) / _normal(n, random, 2.0, 0.4)) ** 2))
    nuclei = _nuclei(n, random, count=(0, 2), radius=1.3, stretch=2.0) * (wall > 0.3)
    return 0.1 * wall + 0.7 * nuclei, 0.03 + wall * _normal(n, random, 0.45, 0.12).clamp(min=0.15)


def _background(n: int, random: torch.Generator) -> Stains:
    """Bare glass: next to nothing, a little dirt, sometimes a smear."""
    smear = (_noise(n, random, (3, 6)) - 0.6).clamp(min=0) * _normal(n, random, 0.10, 0.08).clamp(min=0)
    dirt = _nuclei(n, random, count=(0, 2), radius=0.8) * 0.25
    return 0.02 + 0.4 * smear + dirt, 0.03 + smear


def _debris(n: int, random: torch.Generator) -> Stains:
    """Dead tissue: grains and crumbs of nuclei in a smudged pink ground."""
    ground = (0.35 + 0.25 * _noise(n, random, (4, 9, 16))).clamp(min=0.02)
    crumbs = _nuclei(n, random, count=(6, 18), radius=1.1, uneven=0.45)
    clumps = (_noise(n, random, (4, 8)) - 0.5).clamp(0, 1)
    return 0.12 + 0.55 * crumbs + 0.3 * clumps, ground + 0.15 * crumbs


def _lymphocytes(n: int, random: torch.Generator) -> Stains:
    """Small round dark nuclei, crowded, with hardly anything between them."""
    nuclei = _nuclei(n, random, count=(28, 46), radius=1.9, uneven=0.12)
    return 0.15 + 1.0 * nuclei + 0.06 * _noise(n, random), 0.15 + 0.05 * _noise(n, random).abs()


def _mucus(n: int, random: torch.Generator) -> Stains:
    """Pale wisps that flow, with a few loose cells."""
    turn = math.pi * torch.rand(n, 1, 1, generator=random)
    wisps = _fibres(n, random, turn, width=3.4, wave=3.0) * (0.6 + 0.4 * _noise(n, random, (3, 6))).clamp(
        0, 1.5
    )
    cells = _nuclei(n, random, count=(0, 5), radius=1.6)
    strength = _normal(n, random, 0.25, 0.07).clamp(min=0.08)
    return 0.05 + strength * wisps + 0.6 * cells, 0.06 + 0.6 * strength * wisps


def _muscle(n: int, random: torch.Generator) -> Stains:
    """Straight parallel bundles of pink fibres, long thin nuclei along them."""
    turn = math.pi * torch.rand(n, 1, 1, generator=random)
    fibres = _fibres(n, random, turn, width=2.6, wave=0.5)
    nuclei = _nuclei(n, random, count=(3, 8), radius=1.5, stretch=3.6, along=turn)
    return 0.06 + 0.08 * fibres + 0.6 * nuclei, 0.35 + 0.38 * fibres


def _mucosa(n: int, random: torch.Generator) -> Stains:
    """Glands: rings of even nuclei around a pale middle, stroma between them."""
    across, down = _grid()
    x, y = (SIDE * torch.rand(n, 1, 1, generator=random) for _ in range(2))
    radius = _normal(n, random, 8.0, 1.2)
    far = torch.sqrt((across - x) ** 2 + (down - y) ** 2) + 0.5 * _noise(n, random, (4, 8))
    most = 26
    angle = 2 * math.pi * (torch.arange(most) + 0.6 * torch.rand(n, most, generator=random)) / most
    ring = radius[:, 0] + 0.5 * torch.randn(n, most, generator=random)
    centres = (x[:, 0] + ring * angle.cos(), y[:, 0] + ring * angle.sin())
    nuclei = _nuclei(n, random, count=(20, most), radius=1.5, stretch=1.4, centres=centres)
    between = _nuclei(n, random, count=(4, 12), radius=1.5, uneven=0.25) * torch.sigmoid(far - radius - 2)
    inside = torch.sigmoid((radius - 1.5 - far) * 1.5)
    blue = 0.16 + 0.75 * torch.maximum(nuclei, between) - 0.08 * inside
    return blue, 0.33 - 0.22 * inside + 0.08 * _noise(n, random)


def _stroma(n: int, random: torch.Generator) -> Stains:
    """Wavy loose fibres around a tumour, nuclei of every shape among them."""
    turn = math.pi * torch.rand(n, 1, 1, generator=random)
    fibres = _fibres(n, random, turn, width=2.2, wave=1.7)
    nuclei = _nuclei(n, random, count=(3, 11), radius=1.6, stretch=2.2, uneven=0.35)
    return 0.08 + 0.10 * fibres + 0.6 * nuclei, 0.24 + 0.40 * fibres


def _tumour(n: int, random: torch.Generator) -> Stains:
    """Large crowded nuclei of uneven size, purple all over, a crooked gap here and there."""
    nuclei = _nuclei(n, random, count=(12, 24), radius=2.7, stretch=1.5, uneven=0.3)
    gap = torch.sigmoid((_noise(n, random, (3, 5)) - 1.1) * 6)
    blue = (0.24 + 0.62 * nuclei + 0.08 * _noise(n, random)) * (1 - 0.85 * gap)
    return blue, (0.30 + 0.10 * _noise(n, random)) * (1 - 0.85 * gap)


TISSUES: tuple[Callable[[int, torch.Generator], Stains], ...] = (
    _adipose,
    _background,
    _debris,
    _lymphocytes,
    _mucus,
    _muscle,
    _mucosa,
    _stroma,
    _tumour,
)


def _scan(blue: Tensor, pink: Tensor, random: torch.Generator) -> Tensor:
    """Stain, light and photograph: densities ``[n, 28, 28]`` to colours ``[n, 3, 28, 28]`` in [0, 1]."""
    n = len(blue)
    strength = [torch.exp(_normal(n, random, 0.0, 0.28)) * part.clamp(min=0) for part in (blue, pink)]
    colours = torch.tensor([HAEMATOXYLIN, EOSIN]) * torch.exp(0.10 * torch.randn(n, 2, 3, generator=random))
    density = sum(part[:, None] * colours[:, index, :, None, None] for index, part in enumerate(strength))
    light = torch.exp(_normal(n, random, -0.05, 0.05))[:, None]
    return (light * torch.exp(-1.6 * density) + 0.02 * torch.randn(n, 3, SIDE, SIDE, generator=random)).clamp(
        0, 1
    )
