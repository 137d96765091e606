"""Patch features: how much an image holds of which templates, where the templates were cut out of public images.

One layer compares every small square of its input with templates: each square is centred and scaled, whitened, and
multiplied with whitened squares of other images, gathered by spherical k-means; what exceeds a threshold is averaged over
neighbours (Coates & Ng, "The importance of encoding versus training with sparse coding and vector quantization", ICML
2011). Two layers in a row see squares of squares, as in convolutional kernel networks (Mairal, arXiv 1605.06265). No
label is used. One photograph is enough to learn such templates from (Asano et al., arXiv 1904.13132).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the usual name)

FLOOR = 10 / 255**2  # added to the variance of a square: contrast far below it is noise
CHUNK = 32  # images at a time: responses stay in the processor's cache
LEARN_FROM = 60_000  # squares that templates are learned from
ROUNDS = 5  # of k-means


@dataclass(frozen=True)
class Layer:
    """One layer before it has learned anything.

    Attributes
    ----------
    size : int
        Side of the squares, in cells of the input.
    count : int
        Number of templates.
    threshold : float
        What a response must exceed to count.
    window : int
        Side of the neighbourhood that responses are averaged over, and the step between neighbourhoods.
    damping : float
        Added to the variances when whitening.
    """

    size: int
    count: int
    threshold: float
    window: int
    damping: float


@dataclass(frozen=True, eq=False)
class Templates:
    """A layer that has learned its templates; maps ``[n, C, H, W]`` to ``[n, count, h, w]``.

    Attributes
    ----------
    layer : Layer
    weights : Tensor ``[C * size * size + 1, count]``
        From a normalised square and a constant 1 to responses: whitening, templates and threshold in one product.
    """

    layer: Layer
    weights: Tensor

    @torch.no_grad()
    def __call__(self, maps: Tensor) -> Tensor:
        """Return the root of the average excess over the threshold; each image's from that image alone."""
        weights = self.weights.to(_arithmetic())
        parts = [self._responses(part, weights) for part in maps.split(CHUNK)]
        return torch.cat(parts)

    def _responses(self, maps: Tensor, weights: Tensor) -> Tensor:
        squares = normalise(cut(maps.float(), self.layer.size))
        inputs = torch.cat([squares, squares.new_ones(len(squares), 1)], 1).to(weights.dtype)
        responses = (inputs @ weights).relu_()
        height, width = (side - self.layer.size + 1 for side in maps.shape[-2:])
        grid = responses.view(len(maps), height, width, -1).permute(0, 3, 1, 2)
        return F.avg_pool2d(grid, self.layer.window).sqrt_()


@functools.cache
def _arithmetic() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively (several times faster), else float32.

    Responses are averaged afterwards: the rounding, under half a percent each, is far below the noise of training.
    """
    native = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


def cut(maps: Tensor, size: int) -> Tensor:
    """Return all ``size`` x ``size`` squares of ``maps`` ``[n, C, H, W]`` as rows ``[n * h * w, C * size * size]``."""
    squares = F.unfold(maps, size).transpose(1, 2)
    return squares.reshape(-1, squares.shape[-1])


def normalise(squares: Tensor) -> Tensor:
    """Return rows ``[m, p]`` with their mean removed, divided by their contrast."""
    centred = squares - squares.mean(1, keepdim=True)
    return centred * (centred.square().mean(1, keepdim=True) + FLOOR).rsqrt_()


def learn_layer(maps: Tensor, layer: Layer, *, seed: int) -> Templates:
    """Learn a layer's templates from public images, or from what the layer before makes of them.

    Parameters
    ----------
    maps : Tensor, float ``[m, C, H, W]``
    layer : Layer
    seed : int
        Of the squares that are drawn, and of k-means.

    Raises
    ------
    ValueError
        If ``maps`` hold fewer squares than there are templates to learn.
    """
    random = torch.Generator().manual_seed(seed)
    per_image = (maps.shape[2] - layer.size + 1) * (maps.shape[3] - layer.size + 1)
    most = min(LEARN_FROM, len(maps) * per_image)
    if most <= layer.count:
        raise ValueError(f"{len(maps)} images hold {most} squares; {layer.count} templates need more images")
    images = torch.randperm(len(maps), generator=random)[: -(-10 * most // per_image)]
    squares = normalise(cut(maps[images].float(), layer.size))
    squares = squares[torch.randperm(len(squares), generator=random)[:most]]
    mean = squares.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(squares.T))
    whiten = directions @ torch.diag((variances.clamp(min=0) + layer.damping).rsqrt()) @ directions.T
    templates = spherical_kmeans((squares - mean) @ whiten, layer.count, random)
    weights = whiten @ templates.T
    return Templates(layer, torch.cat([weights, -(mean @ weights)[None] - layer.threshold]))


def spherical_kmeans(rows: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Return ``count`` unit vectors that the rows ``[m, p]`` gather around by angle, ``[count, p]``.

    Each round, a row joins the centre it has the largest product with, and a centre becomes the direction of its rows'
    sum; a centre that no row joins is drawn again.
    """
    dtype = _arithmetic()
    centres = F.normalize(rows[torch.randperm(len(rows), generator=random)[:count]], dim=1)
    for _ in range(ROUNDS):
        sums = torch.zeros_like(centres)
        for part in rows.split(4_000):
            best, nearest = (part.to(dtype) @ centres.T.to(dtype)).float().max(1)
            sums.index_add_(0, nearest, part * best[:, None])
        empty = sums.norm(dim=1) < 1e-6
        again = torch.randperm(len(rows), generator=random)[: int(empty.sum())]
        sums[empty] = rows[again]
        centres = F.normalize(sums, dim=1)
    return centres


def learn(images: Tensor, layers: Sequence[Layer], *, seed: int) -> tuple[Templates, ...]:
    """Learn layers in turn from public ``images`` ``[m, C, H, W]``, each from what the ones before make of them."""
    learned: list[Templates] = []
    maps = images
    for index, layer in enumerate(layers):
        learned.append(learn_layer(maps, layer, seed=seed + index))
        if index + 1 < len(layers):
            maps = learned[-1](maps)
    return tuple(learned)


def patch_features(images: Tensor, layers: Sequence[Templates], *, mirrored: bool = False) -> Tensor:
    """Return the responses of the last layer as rows ``[n, D]``, float32.

    Parameters
    ----------
    images : Tensor, float ``[n, C, H, W]``
    layers : sequence of Templates
    mirrored : bool
        Average with the responses to the mirrored image: for things that are the same in a mirror, as digits are not.
    """
    rows = [_rows(part, layers, mirrored) for part in images.split(CHUNK)]
    return torch.cat(rows)


def _rows(images: Tensor, layers: Sequence[Templates], mirrored: bool) -> Tensor:
    maps = torch.cat([images, images.flip(-1)]) if mirrored else images
    for layer in layers:
        maps = layer(maps)
    rows = maps.float().flatten(1)
    return (rows[: len(images)] + rows[len(images) :]) / 2 if mirrored else rows
