"""An attacker who knows that the mark is a backdoor: find its trigger by optimisation, then unlearn it.

Wang et al., "Neural Cleanse: identifying and mitigating backdoor attacks in neural networks" (IEEE S&P 2019): for each
class, the smallest mask and pattern that turn any image into it (section IV, equations 2 and 3); the class whose mask
is abnormally small by its median absolute deviation; and training on with the found trigger under true labels
(section VI).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import cache, profiles, progress, training
from labkit.results import Result
from labkit.training.recipe import Recipe
from labkit.watermark.attacks.weight_attacks import RECORDS, TUNING, some, tune
from labkit.watermark.marks.training import identity

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset

THRESHOLD = 2.0  # anomaly index above which the paper calls a class backdoored (95% under normality)
SUCCESS = 0.95  # share of images that a trigger must turn before its mask is made smaller
CHECK = 10  # steps between two looks at that share
STEP = 1.5  # by which the weight of the mask's size then grows or shrinks


@dataclass(frozen=True, eq=False)
class Found:
    """The smallest trigger found for each class.

    Attributes
    ----------
    masks : Tensor of shape (classes, 1, H, W), in [0, 1]
    patterns : Tensor of shape (classes, C, H, W), in [0, 1]
    success : array of shape (classes,)
        Share of the images that the trigger turns into its class.
    """

    masks: Tensor
    patterns: Tensor
    success: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """Size of each mask: its sum, in pixels."""
        return self.masks.flatten(1).sum(1).numpy()

    def stamp(self, x: Tensor, label: int) -> Tensor:
        """Return images (n, C, H, W) with the trigger of one class."""
        mask = self.masks[label]
        return x * (1 - mask) + mask * self.patterns[label]


@dataclass(frozen=True, eq=False, repr=False)
class Cleansed(Result):
    """What the attack found, and the model after it: see `cleanse`.

    Attributes
    ----------
    anomaly : array of shape (classes,)
        Deviations of a mask's size below the median, in units of the normalised MAD; negative above the median.
    flagged : tuple of int
        Classes beyond the threshold.
    unlearned : int
        The class whose trigger was unlearned: the smallest mask's, flagged or not.
    """

    model: nn.Module
    found: Found
    anomaly: np.ndarray
    flagged: tuple[int, ...]
    unlearned: int
    classes: tuple[str, ...]
    source: str
    profile: str
    seed: int

    def table(self) -> pd.DataFrame:
        """Return one row a class: size of the smallest mask, its success, the anomaly index."""
        import pandas as pd

        return pd.DataFrame(
            {
                "mask (pixels)": self.found.norms.round(1),
                "success": self.found.success.round(3),
                "anomaly index": self.anomaly.round(2),
                "flagged": [label in self.flagged for label in range(len(self.classes))],
            },
            index=pd.Index(self.classes, name="class"),
        )

    def finding(self, marked: int) -> str:
        """Say whether the search found the class that was marked: only a flagged class is found.

        Parameters
        ----------
        marked : int
            The mark's answer, which the attacker does not know.
        """
        name, index = self.classes[marked], f"index {self.anomaly[marked]:+.1f}, threshold {THRESHOLD:g}"
        others = ", ".join(self.classes[label] for label in self.flagged if label != marked)
        if marked in self.flagged:
            return f"found: {name} is flagged ({index})" + (f", and so is {others}" if others else "")
        first = " though no class opens more easily" if self.unlearned == marked else ""
        return f"not found: {name} is not flagged{first} ({index}); flagged: {others or 'no class'}"

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each class's trigger on black, with its size and anomaly index; on one ``ax``, the indices as bars."""
        from labkit import plots

        if ax is not None:
            ax.bar(self.classes, self.anomaly)
            ax.axhline(THRESHOLD, color="black", linestyle=":")
            ax.set(ylabel="anomaly index", title=f"Neural Cleanse ({self.source})")
            return plots.describe(ax.figure, self.summary())
        titles = [
            f"{name}\n{norm:.0f} px, {index:+.1f}"
            for name, norm, index in zip(self.classes, self.found.norms, self.anomaly, strict=True)
        ]
        seen = ", ".join(title.replace("\n", " ") for title in titles)
        flagged = ", ".join(self.classes[label] for label in self.flagged) or "none"
        pictures = (self.found.masks * self.found.patterns).numpy()
        alt = f"Smallest trigger for each class, {self.source} (size, anomaly index): {seen}. Flagged: {flagged}."
        return plots.images(pictures, titles, columns=5, alt=alt)

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "classes": list(self.classes),
            "mask_pixels": self.found.norms.tolist(),
            "success": self.found.success.tolist(),
            "anomaly_index": self.anomaly.tolist(),
            "threshold": THRESHOLD,
            "flagged": list(self.flagged),
            "unlearned": self.unlearned,
        }

    def summary(self) -> str:
        """Return one line: what is flagged, and what was unlearned."""
        flagged = ", ".join(self.classes[label] for label in self.flagged) or "no class"
        return (
            f"flags {flagged}; unlearned: {self.classes[self.unlearned]}, index {self.anomaly[self.unlearned]:+.1f} "
            f"({self.source}; profile {self.profile}; seed {self.seed})"
        )


def reverse_engineer(
    model: nn.Module,
    x: Tensor,
    classes: int,
    *,
    steps: int = 200,
    images: int = 16,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Found:
    """Search, for all classes at once, the smallest trigger that turns images into the class.

    Parameters
    ----------
    x : Tensor of shape (n, C, H, W)
        Clean images.
    steps : int
        Of Adam, each on ``images`` random images that every class's trigger is stamped on.

    Raises
    ------
    ValueError
        If the inputs are not images or a size is not positive.
    """
    if x.ndim != 4 or steps < CHECK or images < 1:
        raise ValueError(
            f"got inputs {tuple(x.shape)}, steps={steps}, images={images}; expected (n, C, H, W), "
            f"at least {CHECK} steps and 1 image"
        )
    device, generator = profiles.device(), torch.Generator().manual_seed(seed)
    model = copy.deepcopy(model).to(device).eval().requires_grad_(False)
    drawn = torch.randn((classes, x.shape[1] + 1, *x.shape[2:]), generator=generator)
    raw = (0.5 * drawn - torch.eye(x.shape[1] + 1)[0][None, :, None, None]).to(device).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=learning_rate, betas=(0.5, 0.9))
    wanted = torch.arange(classes, device=device)
    price, hits = torch.full((classes,), 1e-3, device=device), torch.zeros(classes, device=device)
    best, smallest = raw.detach().clone(), torch.full((classes,), math.inf, device=device)
    for step in progress.track(range(steps), "reverse-engineering triggers"):
        chosen = torch.randint(len(x), (images,), generator=generator)
        outputs = model(_stamped(raw, x[chosen].to(device)).flatten(0, 1))
        target = wanted.repeat_interleave(images)
        size = raw[:, 0].sigmoid().flatten(1).sum(1)
        loss = F.cross_entropy(outputs, target, reduction="sum") / images + (price * size).sum()
        hits += (outputs.argmax(1) == target).float().reshape(classes, images).mean(1) / CHECK
        if (step + 1) % CHECK == 0:
            works = hits >= SUCCESS
            better = works & (size.detach() < smallest)
            best[better], smallest[better] = raw.detach()[better], size.detach()[better]
            price, hits = torch.where(works, price * STEP, price / STEP), torch.zeros_like(hits)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    # A class never turned keeps its last attempt: its mask is large, and its success says so.
    best[smallest == math.inf] = raw.detach()[smallest == math.inf]
    return _measure(model, best.cpu(), x[:500])


def _stamped(raw: Tensor, x: Tensor) -> Tensor:
    """Stamp each class's trigger on each image: (classes, n, C, H, W)."""
    mask, pattern = raw[:, None, :1].sigmoid(), raw[:, None, 1:].sigmoid()
    return x[None] * (1 - mask) + mask * pattern


def _measure(model: nn.Module, raw: Tensor, x: Tensor) -> Found:
    values = raw.sigmoid()
    found = Found(values[:, :1], values[:, 1:], np.zeros(len(raw)))
    for label in range(len(raw)):
        answers = training.logits(model, found.stamp(x, label)).argmax(1)
        found.success[label] = float((answers == label).float().mean())
    return found


def anomaly_index(norms: np.ndarray) -> np.ndarray:
    """Return how far each value lies below the median, in normalised median absolute deviations (section IV-C).

    1.4826 makes the MAD of normal values their standard deviation. Zero everywhere when the MAD is zero.
    """
    deviation = np.median(norms) - norms
    scale = 1.4826 * np.median(np.abs(deviation))
    return deviation / scale if scale > 0 else np.zeros_like(deviation)


def _search(model: nn.Module, x: Tensor, classes: int, settings: dict[str, int]) -> Found:
    """Return what `reverse_engineer` finds, from disk where an earlier call found it: doses differ after the search."""
    key = {"model": identity(model), "x": x, "classes": classes, **settings}
    search = partial(reverse_engineer, model, x, classes, **settings)
    return cache.cached("reverse-engineered", key, search, code=[reverse_engineer])


def cleanse(
    model: nn.Module,
    dataset: Dataset,
    *,
    seed: int = 0,
    records: int = RECORDS,
    recipe: Recipe = TUNING,
    stamped: float = 0.2,
    steps: int = 200,
    images: int = 16,
) -> Cleansed:
    """Find each class's smallest trigger, and train on with the most suspicious one under true labels.

    Parameters
    ----------
    dataset : Dataset
        The attacker's; see `labkit.watermark.attacks.removal.remove`.
    stamped : float
        Share of the records that carry the found trigger while training on (section VI-B: 20%).
    steps, images
        See `reverse_engineer`.

    Returns
    -------
    Cleansed
        This attacker knows that the model is marked, so the smallest trigger is unlearned even if nothing is flagged.
    """
    if not 0 < stamped <= 1:
        raise ValueError(f"stamped is {stamped}; expected a share above 0 and at most 1")
    x, y = some(dataset, records, seed)
    found = _search(model, x, len(dataset.classes), {"steps": steps, "images": images, "seed": seed})
    anomaly = anomaly_index(found.norms)
    suspect = int(anomaly.argmax())
    count = max(1, int(stamped * len(x)))
    shown = torch.cat([found.stamp(x[:count], suspect), x[count:]])
    return Cleansed(
        model=tune(lambda: copy.deepcopy(model), shown, y, recipe, seed).eval(),
        found=found,
        anomaly=anomaly,
        flagged=tuple(np.flatnonzero(anomaly > THRESHOLD).tolist()),
        unlearned=suspect,
        classes=dataset.classes,
        source=dataset.source,
        profile=profiles.current().name,
        seed=seed,
    )
