"""Public images that features are learned from: drawn by code, and crops of two photographs that scikit-learn ships.

Nothing here is a private record, so nothing learned here costs privacy. It is prior knowledge all the same, and
`Public.words` says which: a release that leans on it names it, and draws its ε = 0 line beside the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the usual name)

PUBLIC_SEED = 271_828  # of the public images: not the seed that any stand-in is drawn with
SCALES = (1.0, 0.5, 0.35, 0.25, 0.17, 0.12)  # of a photograph, before squares of 32 pixels are cut out of it
SIDE = 32


@dataclass(frozen=True)
class Public:
    """What is known beforehand about images of one shape.

    Attributes
    ----------
    labelled : callable
        From a number and a seed to as many images and their labels.
    unlabelled : callable
        From a number and a seed to as many images.
    labelled_name, unlabelled_name : str
        What these are.
    caveat : str
        Where the knowledge in them came from, beyond what can be seen in them.
    """

    labelled: Callable[[int, int], tuple[Tensor, Tensor]]
    unlabelled: Callable[[int, int], Tensor]
    labelled_name: str
    unlabelled_name: str
    caveat: str

    def words(self, with_labels: bool) -> str:
        """Return what features were learned from, for statements, sources and legends."""
        if not with_labels:
            return self.unlabelled_name
        if self.labelled_name == self.unlabelled_name:
            return f"{self.labelled_name} with their labels"
        return f"{self.unlabelled_name}, and from the objects' labels"


def public_images(shape: tuple[int, ...]) -> Public:
    """Return what there is for records of ``shape``: ``(1, 28, 28)`` or ``(3, 32, 32)``.

    Raises
    ------
    ValueError
        For any other shape.
    """
    from labkit import data

    if tuple(shape) == (1, 28, 28):
        return Public(
            data.strokes,
            lambda count, seed: data.strokes(count, seed)[0],
            "synthetic strokes",
            "synthetic strokes",
            "how much strokes vary was set once, so that accuracies come close to those published for MNIST",
        )
    if tuple(shape) == (3, 32, 32):
        return Public(
            data.objects,
            objects_and_photographs,
            "synthetic objects",
            "synthetic objects and two public photographs",
            "how much colour and shape tell was set once, so that accuracies come close to those published for CIFAR-10",
        )
    raise ValueError(
        f"records have shape {tuple(shape)}; features are made of images 1x28x28 or 3x32x32, "
        "for which there are public images to learn from: resize yours, or train on them directly"
    )


def objects_and_photographs(count: int, seed: int) -> Tensor:
    """Return ``count`` images ``[count, 3, 32, 32]``, half of them drawn, half cut out of photographs, in random order."""
    from labkit import data

    half = count // 2
    images = torch.cat([data.objects(count - half, seed)[0], photograph_crops(half, seed)])
    return images[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]


def photograph_crops(count: int, seed: int) -> Tensor:
    """Cut ``count`` squares out of scikit-learn's ``china.jpg`` and ``flower.jpg``, at `SCALES`, half of them mirrored.

    Both come with scikit-learn, under CC BY 2.0; its ``datasets/images/README.txt`` has the attribution.
    """
    from sklearn.datasets import load_sample_images

    random = torch.Generator().manual_seed(seed)
    pages = []
    for picture in load_sample_images().images:
        whole = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
        pages += [F.interpolate(whole, scale_factor=scale, mode="area")[0] for scale in SCALES]
    crops = torch.empty(count, 3, SIDE, SIDE)
    for index in range(count):
        page = pages[index % len(pages)]
        top, left = (int(torch.randint(0, side - SIDE + 1, (), generator=random)) for side in page.shape[1:])
        crop = page[:, top : top + SIDE, left : left + SIDE]
        crops[index] = crop.flip(-1) if torch.rand((), generator=random) < 0.5 else crop
    return crops
