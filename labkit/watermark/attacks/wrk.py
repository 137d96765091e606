"""An attacker who knows that marks sit at strange borders: move the borders, then train on with changed pictures.

WRK of Xiao et al., "Class-feature watermark" (arXiv 2511.07947): marks made of single samples need a border of their own
between images and their marked twins. So the attacker makes pictures that cross borders (one signed gradient step
towards a random class, Goodfellow et al., arXiv 1412.6572), gives them any wrong label, trains on with them among its
records, and ends with training on turned and recoloured records. Steps and order are those of the authors' code; sizes
here follow the number of the attacker's records.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import profiles
from labkit.training.recipe import Recipe
from labkit.watermark.attacks.weight_attacks import RECORDS, TUNING, some, tune

if TYPE_CHECKING:
    from labkit.data import Dataset

STEP = 8 / 255  # of the signed gradient; .15 of a pixel's standard deviation in the paper's code
SHARE = 0.2  # crossing pictures among the records
DEGREES = 15.0  # most that a picture is turned
COLOUR = 0.2  # most that brightness and contrast change


def reshape_borders(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    step: float = STEP,
    share: float = SHARE,
    records: int = RECORDS,
    recipe: Recipe = TUNING,
) -> nn.Module:
    """Return the model trained on with pictures that cross its borders, then with turned and recoloured ones.

    Parameters
    ----------
    step : float
        Change of each pixel.
    share : float
        Of the records that are moved across a border.

    Raises
    ------
    ValueError
        If the step or the share is out of range.
    """
    if not 0 < step < 1 or not 0 < share <= 1:
        raise ValueError(f"got step={step}, share={share}; expected numbers above 0, below 1 and at most 1")
    x, y = some(data, records, seed)
    generator = torch.Generator().manual_seed(seed)
    count, classes = max(1, int(share * len(x))), len(data.classes)
    towards = torch.randint(classes, (count,), generator=generator)
    crossed = towards_class(model, x[:count], towards, step)
    # Any class but its own: what crosses a border shall end anywhere.
    wrong = (y[:count] + torch.randint(1, classes, (count,), generator=generator)) % classes
    moved = tune(lambda: copy.deepcopy(model), torch.cat([x, crossed]), torch.cat([y, wrong]), recipe, seed)
    gentle = replace(recipe, learning_rate=recipe.learning_rate / 5)
    return tune(lambda: copy.deepcopy(moved), recoloured(turned(x, generator), generator), y, gentle, seed)


def towards_class(model: nn.Module, x: Tensor, labels: Tensor, step: float) -> Tensor:
    """Return images (n, C, H, W) one signed gradient step nearer to the classes of ``labels`` (n,), in [0, 1]."""
    device = profiles.device()
    model = copy.deepcopy(model).to(device).eval().requires_grad_(False)
    moved = []
    for part, wanted in zip(x.split(500), labels.split(500), strict=True):
        part = part.to(device).requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(part), wanted.to(device)), part)
        moved.append((part.detach() - step * slope.sign()).clamp(0, 1).cpu())
    return torch.cat(moved)


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (n, C, H, W), each turned by up to `DEGREES` either way, edges repeated."""
    angle = torch.deg2rad(DEGREES * (2 * torch.rand(len(x), generator=generator) - 1))
    cosine, sine, none = angle.cos(), angle.sin(), torch.zeros(len(x))
    rows = torch.stack([torch.stack([cosine, -sine, none], 1), torch.stack([sine, cosine, none], 1)], 1)
    grid = F.affine_grid(rows, list(x.shape), align_corners=False).to(x)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def recoloured(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (n, C, H, W), each with brightness and contrast changed by up to `COLOUR`."""
    bright, contrast = 1 + COLOUR * (2 * torch.rand(2, len(x), 1, 1, 1, generator=generator) - 1).to(x)
    middle = x.mean((1, 2, 3), keepdim=True)
    return ((x - middle) * contrast + middle * bright).clamp(0, 1)
