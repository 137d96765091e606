"""Fixed features for private learning: from images to vectors, without a look at any private record.

DP-SGD pays for every parameter that it has to learn under noise. So what can be known beforehand should be: wavelets
(:mod:`labkit.dp.utility.scattering`), and whatever synthetic images teach. A linear model on top then learns from the private
records alone, and its per-sample gradient norms have a closed form.

Everything learned here (a whitening, a small network) is learned from images *drawn by code*: digits from strokes,
objects from shapes. No private record is read, so nothing has to be accounted for (`FeatureStatement.events` is empty),
in the spirit of DP-RandP (arXiv 2306.06076) and of Tramer & Boneh (arXiv 2011.11660). It is prior knowledge all the
same: whoever drew the strokes knew what digits look like. Say so next to the accuracy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labkit import cache, profiles, progress, training
from labkit.dp.utility import scattering

if TYPE_CHECKING:
    from labkit.data import Dataset

PUBLIC_SEED = 271_828  # of the synthetic images: not the seed that any stand-in is drawn with
FEATURE_NORM = (
    3.0  # length of a feature vector; a bias is a feature of length 1, so it weighs a third as much
)
DAMPING = 0.03  # directions with less than 3% of the largest variance are lifted less than whitening would
CHUNK = 5_000


@dataclass(frozen=True)
class Block:
    """One group of features: how many directions to keep, and its length relative to the others'."""

    name: str
    dimension: int
    weight: float


PIXELS, WAVELETS, NETWORK = (
    Block("pixels", 384, 1.0),
    Block("scattering", 384, 1.0),
    Block("network", 128, 0.5),
)
KINDS: dict[str, tuple[Block, ...]] = {
    "pixels": (PIXELS,),
    "scattering": (WAVELETS,),
    "network": (NETWORK,),
    "scattering+network": (WAVELETS, NETWORK),
}


@dataclass(frozen=True)
class FeatureStatement:
    """What features were made of, for the record of a private release.

    Attributes
    ----------
    kind : str
    dimension : int
    learned_from : str
        The public images that whitening and network were learned from.
    events : tuple
        Accounting events of what was taken from private records: always empty, nothing was.
    """

    kind: str
    dimension: int
    learned_from: str
    events: tuple[()] = ()

    def __str__(self) -> str:
        return (
            f"{self.dimension} {self.kind} features, learned from {self.learned_from}; no private record read"
        )


def statement(dataset: Dataset, kind: str = "scattering+network") -> FeatureStatement:
    """Return what `features` would make of ``dataset``, without making it."""
    blocks = _blocks(kind)
    _, name = _public(dataset.shape)
    return FeatureStatement(kind, sum(block.dimension for block in blocks), name)


def features(dataset: Dataset, kind: str = "scattering+network") -> Dataset:
    """Turn images into feature vectors by a map that depends on no private record.

    Each vector is a function of its own image and of constants learned from synthetic images only. So training on the
    features with differential privacy is as private as training on the images.

    Parameters
    ----------
    dataset : Dataset
        Images ``[n, 1, 28, 28]`` or ``[n, 3, 32, 32]``.
    kind : {"scattering+network", "scattering", "network", "pixels"}
        ``scattering``: two layers of wavelets. ``network``: the last hidden layer of a small CNN that was trained on
        synthetic images. ``pixels``: the image itself. Each standardised per image, whitened, and scaled to one length.

    Returns
    -------
    Dataset
        ``train_x`` float32 ``[n, d]`` with rows of length `FEATURE_NORM`; ``source`` says how the features were made.

    Raises
    ------
    ValueError
        If the kind is unknown, or there are no synthetic images of this shape.

    Notes
    -----
    Cached in pieces of 5,000 images: an interrupted call goes on where it stopped.
    """
    blocks = _blocks(kind)
    _, public = _public(dataset.shape)
    maps = [_learn(block, dataset.shape) for block in blocks]
    made = ", ".join(block.name for block in blocks)
    caveat = "" if dataset.real else "; the stand-in is drawn by the same code, which flatters them"
    return replace(
        dataset,
        train_x=_transform(maps, dataset.train_x, dataset.digest, "train"),
        test_x=_transform(maps, dataset.test_x, dataset.digest, "test"),
        source=f"{dataset.source}; features ({made}) learned from {public} only{caveat}",
        digest=cache.digest(dataset.digest, kind, [m.digest for m in maps]),
    )


def whitening(x: Tensor, dimension: int, *, damping: float = DAMPING) -> tuple[Tensor, Tensor]:
    """Learn a damped PCA whitening: centre, rotate to the main directions, even out their variances.

    Parameters
    ----------
    x : Tensor, float32 ``[m, D]``
        Public vectors, more than ``dimension`` of them. Everything returned is a statistic of ``x``.
    dimension : int
        Number k of directions to keep.
    damping : float
        Direction j of variance λ_j is divided by sqrt(λ_j + damping * λ_1): 0 whitens fully, which also lifts
        directions of pure noise to full length.

    Returns
    -------
    mean : Tensor ``[D]``
    projection : Tensor ``[D, k]``
        A vector v becomes ``(v - mean) @ projection``.

    Raises
    ------
    ValueError
        If ``dimension`` is not between 1 and what ``m`` vectors of length D can span.
    """
    most = min(len(x) - 1, x.shape[1])
    if not 1 <= dimension <= most:
        raise ValueError(
            f"dimension is {dimension}; {len(x)} vectors of length {x.shape[1]} give 1 to {most}"
        )
    mean = x.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PUBLIC_SEED)  # the randomised SVD draws from the global state
        extra = min(most, dimension + 32)
        _, singular, directions = torch.pca_lowrank(x - mean, q=extra, center=False, niter=3)
    variances = singular[:dimension].square() / (len(x) - 1)
    scales = (variances + damping * variances[0]).clamp(min=1e-12).rsqrt()
    return mean, directions[:, :dimension] * scales


@dataclass(frozen=True, eq=False)
class _Map:
    """A block with all that was learned for it, from synthetic images; maps images to whitened rows ``[n, k]``."""

    block: Block
    mean: Tensor
    projection: Tensor
    network: nn.Sequential | None
    digest: str = ""

    def __call__(self, x: Tensor) -> Tensor:
        rows = (_raw(self.block, x, self.network) - self.mean) @ self.projection
        return rows


def _raw(block: Block, x: Tensor, network: nn.Sequential | None) -> Tensor:
    """Return a block's features of ``x`` ``[n, C, H, W]`` before whitening, as rows."""
    if block.name == "pixels":
        return scattering.standardise(x).flatten(1)
    if block.name == "scattering":
        return torch.cat([scattering.scattering_features(part) for part in x.split(500)])
    return training.logits(network, x, batch_size=500)


def _learn(block: Block, shape: tuple[int, ...]) -> _Map:
    """Learn a block's whitening (and network) from synthetic images, or fetch it from the cache."""
    draw, _ = _public(shape)
    profile = profiles.current()
    count = profile.pick(smoke=1000, laptop=4000, full=10_000)
    sizes = profile.pick(smoke=(1000, 2), laptop=(30_000, 2), full=(60_000, 6))

    def compute() -> _Map:
        network = _train_network(draw, shape, *sizes) if block.name == "network" else None
        x, _ = draw(count, PUBLIC_SEED)
        mean, projection = whitening(_raw(block, x, network), block.dimension)
        return _Map(block, mean, projection, network, cache.digest(mean, projection))

    settings = {"block": block, "shape": list(shape), "whiten": count, "network": list(sizes)}
    code = [draw, whitening, _raw, _network, _train_network, training.fit, scattering]
    return cache.cached("public-features", settings, compute, code=code)


def _train_network(draw, shape: tuple[int, ...], count: int, epochs: int) -> nn.Sequential:
    """Train a small CNN to tell synthetic images apart; return it without its last layer."""
    from labkit.data import Dataset

    x, y = draw(count + 500, PUBLIC_SEED + 1)
    classes = tuple(str(label) for label in range(int(y.max()) + 1))
    public = Dataset("public", "synthetic images", False, x[500:], y[500:], x[:500], y[:500], classes)
    fitted = training.fit(
        _network(shape, len(classes)), public, epochs=epochs, learning_rate=0.1, device=torch.device("cpu")
    )
    return fitted.model[:-1]


def _network(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return three convolutions with GroupNorm, a hidden layer of 256, and a last layer."""

    def stage(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        return [convolution, nn.GroupNorm(8, outputs), nn.ReLU()]

    channels, height, width = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PUBLIC_SEED)
        return nn.Sequential(
            *stage(channels, 32, 5, 2),
            *stage(32, 64, 3, 1),
            nn.MaxPool2d(2),
            *stage(64, 64, 3, 1),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (height // 8) * (width // 8), 256),
            nn.ReLU(),
            nn.Linear(256, classes),
        )


def _transform(maps: list[_Map], x: Tensor, digest: str, part: str) -> Tensor:
    """Return feature rows ``[n, d]`` of length `FEATURE_NORM`, from the cache piece by piece where it has them."""
    starts = range(0, len(x), CHUNK)
    columns = []
    with progress.bar(len(maps) * len(starts), f"features of {part} images") as shown:
        for learned in maps:  # cached block by block: kinds that share a block share the work
            pieces = []
            for start in starts:
                images = x[start : start + CHUNK].cpu()
                settings = {"data": digest, "part": part, "start": start, "map": learned.digest}
                compute = functools.partial(_half, learned, images)
                pieces.append(cache.cached("features", settings, compute, code=[_Map, _raw, scattering]))
                shown.update()
            columns.append(learned.block.weight * torch.cat(pieces).float())
    return FEATURE_NORM * nn.functional.normalize(torch.cat(columns, dim=1), dim=1)


def _half(learned: _Map, images: Tensor) -> Tensor:
    """Return a block's rows of length 1, in half precision: its rounding is far below the noise of training."""
    return nn.functional.normalize(learned(images), dim=1).half()


def _blocks(kind: str) -> tuple[Block, ...]:
    if kind not in KINDS:
        raise ValueError(f"features of kind {kind!r} are unknown; expected one of {', '.join(KINDS)}")
    return KINDS[kind]


def _public(shape: tuple[int, ...]):
    """Return the generator of synthetic images of this shape, and their name."""
    from labkit import data

    if tuple(shape) == (1, 28, 28):
        return data.strokes, "synthetic strokes"
    if tuple(shape) == (3, 32, 32):
        return data.objects, "synthetic objects"
    raise ValueError(
        f"records have shape {tuple(shape)}; features are made of images 1x28x28 or 3x32x32, "
        "for which there are synthetic images to learn from: resize yours, or train on them directly"
    )
