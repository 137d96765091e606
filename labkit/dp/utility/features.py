"""Fixed features for private learning: from images to vectors, without a look at any private record.

DP-SGD pays for what it has to learn under noise. So what can be known beforehand should be: wavelets
(:mod:`labkit.dp.utility.scattering`), templates cut out of public images (:mod:`labkit.dp.utility.patches`), and whatever
a small network learns from synthetic images *with their labels*. A linear model on top then learns from the private
records alone, and its per-sample gradient norms have a closed form.

Everything learned here (a whitening, templates, the network) is learned from public images
(:mod:`labkit.dp.utility.public`). No private record is read, so nothing has to be accounted for
(`FeatureStatement.events` is empty), in the spirit of DP-RandP (arXiv 2306.06076) and of Tramer & Boneh (arXiv
2011.11660). It is prior knowledge all the same: whoever drew the strokes knew what digits look like, and how much they
vary was set once against accuracies published for MNIST. `labkit.dp.linear_prior` measures what that is worth before any
private record is seen, the line at ε = 0: draw it beside every accuracy that leans on these features.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit import cache, models, profiles, progress, training
from labkit.data import Dataset
from labkit.dp.utility import network, patches, scattering
from labkit.dp.utility.public import PUBLIC_SEED, public_images

if TYPE_CHECKING:
    from labkit.dp.utility.patches import Templates

# Length of a feature vector. A bias is a feature of length 1, so it weighs a third as much.
FEATURE_NORM = 3.0
DAMPING = 0.03  # directions with less than 3% of the largest variance are lifted less than whitening would
CHUNK = 5_000


@dataclass(frozen=True)
class Block:
    """One group of features.

    Attributes
    ----------
    name : {"pixels", "scattering", "patches", "maps", "hidden"}
        The last two are layers of a small network: its last maps, and its hidden layer.
    dimension : int
        Number of directions that are kept.
    weight : float
        Length relative to the other blocks'.
    damping : float
        Of `whitening`.
    """

    name: str
    dimension: int
    weight: float = 1.0
    damping: float = DAMPING

    @property
    def taught(self) -> bool:
        """Whether labels of public images went into it."""
        return self.name in ("maps", "hidden")


DIGITS, COLOUR = (1, 28, 28), (3, 32, 32)
KINDS: dict[str, tuple[str, ...]] = {
    "pixels": ("pixels",),
    "scattering": ("scattering",),
    "patches": ("patches",),
    "network": ("maps", "hidden"),
    "patches+network": ("patches", "maps", "hidden"),
    "scattering+network": ("scattering", "maps", "hidden"),
    "scattering+patches+network": ("scattering", "patches", "maps", "hidden"),
}
DEFAULT_KIND = {DIGITS: "scattering+patches+network", COLOUR: "patches+network"}
BLOCKS = {
    "pixels": Block("pixels", 384),
    "scattering": Block("scattering", 384),
    "patches": Block("patches", 1000, damping=0.003),
    "maps": Block("maps", 192, damping=0.01),
    "hidden": Block("hidden", 128),
}
# What a shape wants otherwise. A network taught by drawn objects knows less of photographs than one taught by drawn
# digits knows of digits: its blocks weigh half.
OWN_BLOCKS = {
    DIGITS: {"patches": replace(BLOCKS["patches"], dimension=600, damping=0.03)},
    COLOUR: {name: replace(BLOCKS[name], weight=0.5) for name in ("maps", "hidden")},
}
LAYERS = {
    DIGITS: (patches.Layer(5, 64, 0.25, 2, 0.1), patches.Layer(3, 256, 1.2, 2, 0.03)),
    COLOUR: (patches.Layer(5, 64, 0.25, 2, 0.1), patches.Layer(3, 1000, 1.2, 6, 0.03)),
}


@dataclass(frozen=True)
class FeatureStatement:
    """What features were made of, for the record of a private release.

    Attributes
    ----------
    kind : str
    dimension : int
    learned_from : str
        The public images that whitening, templates and network were learned from, and whether with their labels.
    caveat : str
        Where the knowledge in those images came from.
    events : tuple
        Accounting events of what was taken from private records: always empty, nothing was.
    """

    kind: str
    dimension: int
    learned_from: str
    caveat: str
    events: tuple[()] = ()

    def __str__(self) -> str:
        return (
            f"{self.dimension} {self.kind} features, learned from {self.learned_from} ({self.caveat}); "
            "no private record read"
        )


@dataclass(frozen=True, repr=False, eq=False)
class FeatureSet(Dataset):
    """A data set of feature vectors that knows what they were learned from; subsets of it know too.

    Parameters
    ----------
    statement : FeatureStatement
    shape_before : tuple of int
        Shape of the images that the vectors were made of.
    """

    statement: FeatureStatement | None = None
    shape_before: tuple[int, ...] = ()


def statement(dataset: Dataset, kind: str | None = None) -> FeatureStatement:
    """Return what `features` would make of ``dataset``, without making it."""
    return _statement(dataset.shape, kind)


def _statement(shape: tuple[int, ...], kind: str | None) -> FeatureStatement:
    public = public_images(shape)
    kind = DEFAULT_KIND[shape] if kind is None else kind
    blocks = _blocks(kind, shape)
    words = public.words(any(block.taught for block in blocks))
    return FeatureStatement(kind, sum(block.dimension for block in blocks), words, public.caveat)


def features(dataset: Dataset, kind: str | None = None) -> FeatureSet:
    """Turn images into feature vectors by a map that depends on no private record.

    Each vector is a function of its own image and of constants learned from public images only. So training on the
    features with differential privacy is as private as training on the images.

    Parameters
    ----------
    dataset : Dataset
        Images ``[n, 1, 28, 28]`` or ``[n, 3, 32, 32]``.
    kind : str, optional
        Blocks joined by ``+``, one of `KINDS`; by default the best for the shape, `DEFAULT_KIND`. ``patches``: responses to
        templates cut out of public images. ``scattering``: two layers of wavelets. ``network``: the last maps and the
        hidden layer of a small CNN that was trained on synthetic images, with their labels. ``pixels``: the image itself, standardised.
        Each is whitened and scaled to one length.

    Returns
    -------
    FeatureSet
        ``train_x`` float32 ``[n, d]`` with rows of length `FEATURE_NORM`; ``source`` says how the features were made.

    Raises
    ------
    ValueError
        If the kind is unknown, or there are no public images of this shape.

    Notes
    -----
    Cached in pieces of 5,000 images: an interrupted call goes on where it stopped.
    """
    said = _statement(dataset.shape, kind)
    maps = [_learn(block, dataset.shape) for block in _blocks(said.kind, dataset.shape)]
    caveat = "" if dataset.real else "; the stand-in is drawn by the same code, which flatters them"
    return FeatureSet(
        name=dataset.name,
        source=f"{dataset.source}; features ({said.kind}) learned from {said.learned_from}{caveat}",
        real=dataset.real,
        train_x=_transform(maps, dataset.train_x, dataset.digest, "train"),
        train_y=dataset.train_y,
        test_x=_transform(maps, dataset.test_x, dataset.digest, "test"),
        test_y=dataset.test_y,
        classes=dataset.classes,
        digest=cache.digest(
            dataset.digest, said.kind, [[m.digest, m.block.weight] for m in maps], FEATURE_NORM
        ),
        statement=said,
        shape_before=dataset.shape,
    )


def public_records(dataset: FeatureSet, *, seed: int = 0) -> FeatureSet:
    """Return ``dataset`` with labelled synthetic records in place of its private ones, for the line at ε = 0.

    Parameters
    ----------
    dataset : FeatureSet
        Of `features`; its test records stay.
    seed : int
        Another seed draws other synthetic records; none of them taught the features.

    Raises
    ------
    ValueError
        If ``dataset`` does not say what its vectors were made of, or its classes are not those that are drawn.
    """
    said = getattr(dataset, "statement", None)
    if said is None:
        raise ValueError(
            f"{dataset.source}: these vectors do not say what they were learned from, so nothing is known before the "
            "private records: pass images, or what labkit.dp.utility.features.features made of them"
        )
    shape = dataset.shape_before
    public = public_images(shape)
    count = profiles.current().pick(smoke=1_000, laptop=12_000, full=12_000)
    x, y = public.labelled(count, PUBLIC_SEED + 100 + seed)
    if int(y.max()) >= len(dataset.classes):
        raise ValueError(
            f"{dataset.source} has {len(dataset.classes)} classes; {public.labelled_name} have {int(y.max()) + 1}"
        )
    maps = [_learn(block, shape) for block in _blocks(said.kind, shape)]
    drawn = cache.digest("drawn", public.labelled_name, count, seed, public.labelled)
    return replace(
        dataset,
        source=f"{dataset.source}; trained on {count:,} {public.labelled_name} and no private record",
        train_x=_transform(maps, x, drawn, "train"),
        train_y=y,
        digest=cache.digest(dataset.digest, drawn),
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
    with models.seeded(PUBLIC_SEED):  # the randomised SVD draws from the global state
        extra = min(most, dimension + 32)
        _, singular, directions = torch.pca_lowrank(x - mean, q=extra, center=False, niter=3)
    variances = singular[:dimension].square() / (len(x) - 1)
    scales = (variances + damping * variances[0]).clamp(min=1e-12).rsqrt()
    return mean, directions[:, :dimension] * scales


@dataclass(frozen=True, eq=False)
class _Map:
    """A block with all that was learned for it, from public images; maps images to whitened rows ``[n, k]``."""

    block: Block
    mean: Tensor
    projection: Tensor
    learned: nn.Sequential | tuple[Templates, ...] | None
    mirrored: bool
    digest: str = ""

    def __call__(self, x: Tensor) -> Tensor:
        return (_raw(self.block, x, self.learned, self.mirrored) - self.mean) @ self.projection


def _raw(block: Block, x: Tensor, learned: Any, mirrored: bool) -> Tensor:
    """Return a block's features of ``x`` ``[n, C, H, W]`` before whitening, as rows."""
    if block.name == "pixels":
        return scattering.standardise(x).flatten(1)
    if block.name == "scattering":
        return torch.cat([scattering.scattering_features(part) for part in x.split(500)])
    if block.name == "patches":
        return patches.patch_features(x, learned, mirrored=mirrored)
    return training.logits(learned, x, batch_size=500)


def _learn(block: Block, shape: tuple[int, ...]) -> _Map:
    """Learn a block's whitening (and templates, or network) from public images, or fetch it from the cache."""
    count, layers = profiles.current().pick(smoke=1000, laptop=6000, full=10_000), _layers(shape)
    lessons = network.lessons()
    settings = {
        "block": block,
        "shape": list(shape),
        "whiten": count,
        "layers": list(layers),
        "network": list(lessons),
    }
    compute = functools.partial(_make_map, block, shape, count, layers, lessons)
    return cache.cached("public-features", settings, compute, code=[_make_map])


def _make_map(
    block: Block,
    shape: tuple[int, ...],
    count: int,
    layers: tuple[patches.Layer, ...],
    lessons: tuple[int, int],
) -> _Map:
    x = public_images(shape).unlabelled(count, PUBLIC_SEED)
    mirrored = shape == COLOUR  # an object is the same in a mirror, a digit is not
    learned: Any = None
    if block.taught:
        taught = network.taught_network(shape, *lessons)
        learned = taught if block.name == "hidden" else taught[:-2]
    elif block.name == "patches":
        learned = patches.learn(x, layers, seed=PUBLIC_SEED)
    mean, projection = whitening(_raw(block, x, learned, mirrored), block.dimension, damping=block.damping)
    return _Map(block, mean, projection, learned, mirrored, cache.digest(mean, projection))


def _layers(shape: tuple[int, ...]) -> tuple[patches.Layer, ...]:
    """Return the layers of templates for images of ``shape``; a tenth as many templates in profile smoke."""
    if profiles.current().name != "smoke":
        return LAYERS[shape]
    first, second = LAYERS[shape]
    return replace(first, count=16), replace(second, count=second.count // 10)


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
                pieces.append(cache.cached("features", settings, compute, code=[_half]))
                shown.update()
            columns.append(learned.block.weight * torch.cat(pieces).float())
    return FEATURE_NORM * nn.functional.normalize(torch.cat(columns, dim=1), dim=1)


def _half(learned: _Map, images: Tensor) -> Tensor:
    """Return a block's rows of length 1, in half precision: its rounding is far below the noise of training."""
    return nn.functional.normalize(learned(images), dim=1).half()


def _blocks(kind: str, shape: tuple[int, ...]) -> tuple[Block, ...]:
    """Return the blocks of a kind; patches have fewer directions in profile smoke, where they have fewer templates."""
    if kind not in KINDS:
        raise ValueError(f"features of kind {kind!r} are unknown; expected one of {', '.join(KINDS)}")
    known = BLOCKS | OWN_BLOCKS[shape]
    blocks = [known[name] for name in KINDS[kind]]
    if profiles.current().name != "smoke":
        return tuple(blocks)
    return tuple(replace(block, dimension=min(block.dimension, 384)) for block in blocks)
