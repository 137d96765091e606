"""Attacks that try to rid a stolen model of its mark and keep its accuracy.

The families are those of Lukas et al., "SoK: How robust is image classification deep neural network watermarking?"
(arXiv 2108.04974, section IV): change the weights, change the input, or train another model on the answers. An
attacker here holds the model and labelled records of the task that the owner never saw: a few thousand for a change,
more for training anew. Every attack returns a new model and leaves the one it was given as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import profiles
from labkit.training.recipe import Recipe
from labkit.watermark.attacks import weight_attacks as weights
from labkit.watermark.attacks.interface import Api, Marker, as_targets
from labkit.watermark.marks import light

if TYPE_CHECKING:
    from labkit.data import Dataset

ANEW_RECORDS = 10_000  # of the attacker, for attacks that train another model
ANEW = Recipe(epochs=10, learning_rate=0.15, weight_decay=5e-4, mirror=True, shift=2)
APART = 0x616E6577  # mixed into such a model's seed: an equal one would start it from the victim's initial weights


@dataclass(frozen=True)
class Removal:
    """One attack: see `REMOVALS`.

    Attributes
    ----------
    run : callable
        ``run(model, data, seed, **options) -> nn.Module``.
    what : str
        One sentence for tables.
    family : {"weights", "input", "anew", "adaptive"}
    citation : str
    doses : tuple of dict
        Options of each dose that a matrix tries, the gentlest first. An attack is judged by its best dose: one dose says
        what that dose does, not what the attack can do (Lukas et al. vary the parameters of each).
    """

    name: str
    run: Callable[..., nn.Module]
    what: str
    family: str
    citation: str
    doses: tuple[dict[str, Any], ...] = ({},)


def parts_of(name: str) -> list[Removal]:
    """Return the attacks of a name such as ``"prune + fine-tune all"``, in the order in which they are done.

    Raises
    ------
    ValueError
        If one is unknown.
    """
    names = name.split(" + ")
    if unknown := [part for part in names if part not in REMOVALS]:
        raise ValueError(f"attack {unknown[0]!r} is unknown; expected one of {', '.join(REMOVALS)}")
    return [REMOVALS[part] for part in names]


def remove(name: str, model: nn.Module, dataset: Dataset, *, seed: int = 0, **options: Any) -> nn.Module:
    """Attack a model's mark and return the attacked copy, ready to be asked.

    Parameters
    ----------
    name : str
        A key of `REMOVALS`, or several joined by ``" + "``, done in that order.
    dataset : Dataset
        The attacker's: its train records and their labels are used, its test records never.
    seed : int
        Fixes which records are used, and all that is random in the attack.
    **options
        Of a single attack's own function, such as ``share`` for "prune" or ``records`` and ``recipe`` for those that
        train.

    Raises
    ------
    ValueError
        If the attack is unknown, an option is out of range, or the model lacks what it works on.
    """
    parts = parts_of(name)
    if options and len(parts) > 1:
        raise ValueError(
            f"{name!r} is several attacks: options go to one at a time, so do them one after the other"
        )
    for part in parts:
        model = part.run(model, dataset, seed, **options).to(profiles.device()).eval()
    return model


class Preprocessed(nn.Module):
    """A model that looks at every image through a filter.

    Parameters
    ----------
    view : callable
        Maps images (n, C, H, W) to images of the same shape.
    """

    def __init__(self, model: nn.Module, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.view = model, view

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.view(x))


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blur images (n, C, H, W) by a Gaussian of ``sigma`` pixels, cut at 5 x 5."""
    steps = torch.arange(-2, 3, dtype=x.dtype, device=x.device)
    line = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    padded = nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    return nn.functional.conv2d(padded, kernel.expand(x.shape[1], 1, 5, 5), groups=x.shape[1])


def mirrored(x: Tensor) -> Tensor:
    """Flip images (n, C, H, W) left to right."""
    return x.flip(-1)


def smooth(model: nn.Module, data: Dataset, seed: int, *, sigma: float = 0.6) -> nn.Module:
    """Answer on a blurred image; the weights stay."""
    if not 0 < sigma < float("inf"):
        raise ValueError(f"sigma is {sigma}; expected a positive number of pixels")
    return Preprocessed(copy.deepcopy(model), partial(blurred, sigma=sigma))


def mirror(model: nn.Module, data: Dataset, seed: int) -> nn.Module:
    """Answer on the mirror image; the weights stay."""
    return Preprocessed(copy.deepcopy(model), mirrored)


def evened(x: Tensor) -> Tensor:
    """Take the light out of images (n, C, H, W): the slow changes that `labkit.watermark.marks.light` is made of."""
    waves = torch.from_numpy(light.cosines(tuple(x.shape[1:]))).to(x)
    flat = x.flatten(1)
    return (flat - (flat - x.new_tensor(0.5)) @ waves.T @ waves).reshape(x.shape).clamp(0, 1)


def even_light(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    records: int = weights.RECORDS,
    recipe: Recipe | None = weights.TUNING,
) -> nn.Module:
    """Answer on an image without its light, after training on such images: who knows the class-feature mark does this.

    Parameters
    ----------
    recipe : Recipe, optional
        Of the training; None for none.
    """
    seen = copy.deepcopy(model)
    if recipe is not None:
        x, y = weights.some(data, records, seed)
        seen = weights.tune(lambda: copy.deepcopy(model), evened(x), y, recipe, seed)
    return Preprocessed(seen, evened)


def train_anew(
    model: nn.Module,
    data: Dataset,
    seed: int,
    *,
    answers: str = "probabilities",
    marker: Marker | None = None,
    make_model: Callable[[], nn.Module] | None = None,
    records: int = ANEW_RECORDS,
    recipe: Recipe = ANEW,
) -> nn.Module:
    """Train another model from scratch on the answers to the attacker's records, labels unused.

    Parameters
    ----------
    answers, marker
        See `labkit.watermark.attacks.interface.Api`.
    make_model : callable, optional
        Default: the same architecture with fresh weights, other than those that the victim began with.
    """

    def same_architecture() -> nn.Module:
        copied = copy.deepcopy(model)
        for layer in copied.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return copied

    x, _ = weights.some(data, records, seed)
    shown = as_targets(Api(model, answers=answers, marker=marker)(x))
    own = int(np.random.default_rng([seed, APART]).integers(2**62))
    return weights.tune(make_model or same_architecture, x, shown, recipe, own)


def cleanse(model: nn.Module, data: Dataset, seed: int, **options: Any) -> nn.Module:
    """Reverse-engineer the trigger and unlearn it: see `labkit.watermark.attacks.neural_cleanse.cleanse`."""
    from labkit.watermark.attacks import neural_cleanse

    return neural_cleanse.cleanse(model, data, seed=seed, **options).model


def reshape(model: nn.Module, data: Dataset, seed: int, **options: Any) -> nn.Module:
    """Move the borders that marks need: see `labkit.watermark.attacks.wrk.reshape_borders`."""
    from labkit.watermark.attacks import wrk

    return wrk.reshape_borders(model, data, seed, **options)


def _named(*attacks: Removal) -> dict[str, Removal]:
    return {attack.name: attack for attack in attacks}


ADI = "Adi et al. 2018 (arXiv 1802.04633, section 5)"
LUKAS = "Lukas et al. 2021 (arXiv 2108.04974, section IV)"
LONGER = ({"recipe": weights.TUNING}, {"recipe": weights.HARD})
REMOVALS: dict[str, Removal] = _named(
    Removal(
        "fine-tune last",
        partial(weights.fine_tune, only_last=True),
        "train the last layer on",
        "weights",
        ADI,
        LONGER,
    ),
    Removal("fine-tune all", weights.fine_tune, "train all layers on", "weights", ADI, LONGER),
    Removal(
        "retrain last",
        partial(weights.fine_tune, only_last=True, anew=True),
        "train the last layer from fresh weights",
        "weights",
        ADI,
        LONGER,
    ),
    Removal(
        "prune",
        weights.magnitude_prune,
        "set the smallest weights to zero",
        "weights",
        "Han et al. 2015 (arXiv 1506.02626), one round, no training after",
        ({"share": 0.5}, {"share": 0.8}),
    ),
    Removal(
        "fine-prune",
        weights.fine_prune,
        "cut off idle units, then train all layers on",
        "weights",
        "Liu et al. 2018 (arXiv 1805.12185, section 3)",
        ({"share": 0.4, "recipe": weights.TUNING}, {"share": 0.8, "recipe": weights.HARD}),
    ),
    Removal(
        "round",
        weights.quantise,
        "round weights to 8 or 4 bits per channel (simulated)",
        "weights",
        LUKAS,
        ({"bits": 8}, {"bits": 4}),
    ),
    Removal(
        "noise",
        weights.weight_noise,
        "add Gaussian noise to the weights",
        "weights",
        LUKAS,
        ({"scale": 0.15}, {"scale": 0.4}),
    ),
    Removal(
        "overwrite",
        weights.overwrite,
        "train on with a mark of the attacker's own",
        "weights",
        "Uchida et al. 2017 (arXiv 1701.04082, section 4), with a backdoor mark",
        LONGER,
    ),
    Removal(
        "blur",
        smooth,
        "answer on a blurred image",
        "input",
        "Xu et al. 2018 (arXiv 1704.01155, section III), Gaussian",
        ({"sigma": 0.6}, {"sigma": 1.0}),
    ),
    Removal("mirror", mirror, "answer on the mirror image", "input", LUKAS),
    Removal(
        "distil",
        train_anew,
        "train another model on the probabilities",
        "anew",
        "Hinton et al. 2015 (arXiv 1503.02531)",
    ),
    Removal(
        "extract",
        partial(train_anew, answers="labels"),
        "train another model on the labels alone",
        "anew",
        "Orekondy et al. 2019 (arXiv 1812.02766), records of the task",
    ),
    Removal(
        "neural cleanse",
        cleanse,
        "reverse-engineer the trigger, then unlearn it",
        "adaptive",
        "Wang et al. 2019 (IEEE S&P, sections IV to VI)",
        LONGER,
    ),
    Removal(
        "WRK",
        reshape,
        "move the borders that marks sit at, then train on changed images",
        "adaptive",
        "Xiao et al. 2025 (arXiv 2511.07947)",
        LONGER,
    ),
    Removal(
        "even light",
        even_light,
        "take slow changes of light out of every image, after training on such images",
        "adaptive",
        "this kit, against its own class-feature mark",
        LONGER,
    ),
)
