"""A false claim: triggers that were optimised on the forger's own models, and that innocent models answer as he says.

Liu et al., "False claims against model ownership resolution" (arXiv 2304.06607): adversarial examples transfer between
independent models, so a judge who compares the hits with one over the number of classes convicts anybody.
`labkit.watermark.court.hearing` shows such a judge beside those that are not fooled.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit.watermark.court.claims import Claim, claim_on
from labkit.watermark.court.deposits import Notary
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.verification.verify import answers

if TYPE_CHECKING:
    from labkit.data import Dataset


class Ensemble(nn.Module):
    """The mean logits of several models: what fools them all is likely to fool one more."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(copy.deepcopy(model).cpu().eval() for model in models).requires_grad_(
            False
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([model(x) for model in self.models]).mean(0)


def own(model: nn.Module, x: Tensor, target: Tensor, *, radius: float, steps: int) -> Tensor:
    """Return images within ``radius`` of ``x`` (n, C, H, W) that ``model`` takes for ``target`` (n,).

    Projected gradient descent (Madry et al., arXiv 1706.06083) with momentum, which transfers better (Dong et al.,
    arXiv 1710.06081).
    """
    moved, momentum = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), target, reduction="sum"), moved)
        momentum = momentum + slope / slope.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        moved = moved.detach() - (2.5 * radius / steps) * momentum.sign()
        moved = (x + (moved - x).clamp(-radius, radius)).clamp(0, 1)
    return moved


def by_cleverhans(model: nn.Module, x: Tensor, target: Tensor, *, radius: float, steps: int) -> Tensor:
    """Do the same with CleverHans's projected gradient descent (without momentum)."""
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    found = projected_gradient_descent(
        model,
        x,
        radius,
        min(radius, 2.5 * radius / steps),
        steps,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=target,
        targeted=True,
        rand_init=False,
        sanity_checks=False,
    )
    return found.detach()


def by_art(model: nn.Module, x: Tensor, target: Tensor, *, radius: float, steps: int) -> Tensor:
    """Do the same with the Adversarial Robustness Toolbox's projected gradient descent (without momentum)."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm=np.inf,
        eps=radius,
        eps_step=2.5 * radius / steps,
        max_iter=steps,
        targeted=True,
        batch_size=len(x),
        verbose=False,
    )
    return torch.from_numpy(attack.generate(x.numpy(), F.one_hot(target, classes).numpy()))


ENGINES: dict[str, Callable[..., Tensor]] = {"cleverhans": by_cleverhans, "art": by_art, "own": own}


def available() -> str:
    """Return the first engine that is installed: CleverHans, ART, our own."""
    return next(name for name in ENGINES if name == "own" or importlib.util.find_spec(name))


def forge(
    surrogates: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    count: int,
    *,
    says: str = "noise",
    radius: float = 16 / 255,
    steps: int = 20,
    engine: str = "auto",
) -> TriggerSet:
    """Return triggers that the forger's own models were made to answer, the most transferable first.

    Each record's answer is the class that the surrogates find second best: the shortest way to a wrong answer that all
    models share. The last third of the surrogates takes no part in the optimisation; it tells which triggers transfer.

    Parameters
    ----------
    surrogates : sequence of at least 3 nn.Module
        Trained by the forger; the suspect is never asked.
    x, y : Tensors of shape (n, C, H, W) and (n,)
        Records to start from, with their labels.
    count : int
        Triggers wanted, at most n.
    says : str
        The kind that the forger claims they are: a key of `labkit.watermark.marks.triggers.KINDS`.
    radius : float
        Largest change of a pixel.
    engine : {"auto", "cleverhans", "art", "own"}

    Raises
    ------
    ValueError
        If there are too few surrogates or records, or the engine is unknown or not installed.
    """
    engine = available() if engine == "auto" else engine
    if engine not in ENGINES or (engine != "own" and not importlib.util.find_spec(engine)):
        raise ValueError(
            f"engine {engine!r} is unknown or not installed; expected own, or pip install 'labkit[bridges]'"
        )
    if len(surrogates) < 3 or not 1 <= count <= len(x) or not 0 < radius < 1 or steps < 1:
        raise ValueError(
            f"got {len(surrogates)} surrogates, count={count} of {len(x)} records, radius={radius}, steps={steps}; "
            "expected at least 3 surrogates, 1 to n triggers, a radius in (0, 1) and at least 1 step"
        )
    aside = max(1, len(surrogates) // 3)
    ensemble = Ensemble(surrogates[:-aside])
    found = []
    for part, labels in zip(x.split(200), y.split(200), strict=True):
        with torch.no_grad():
            second = ensemble(part).scatter(1, labels[:, None], -torch.inf).argmax(1)
        found.append((ENGINES[engine](ensemble, part, second, radius=radius, steps=steps), second))
    made, target = torch.cat([m for m, _ in found]), torch.cat([t for _, t in found])
    fooled = sum((answers(model, made) == target.numpy()).astype(int) for model in surrogates[-aside:])
    best = torch.from_numpy(np.argsort(-fooled, kind="stable")[:count].copy())
    return TriggerSet(made[best], target[best], says)


def false_claim(
    forger: str,
    surrogates: Sequence[nn.Module],
    records: Dataset,
    count: int = 100,
    *,
    notary: Notary | None = None,
    moment: datetime | None = None,
    phrase: str = "forger",
    **settings: Any,
) -> Claim:
    """Return a claim with forged triggers, deposited as early as the forger likes; only the triggers give it away.

    Parameters
    ----------
    surrogates : sequence of at least 3 nn.Module
        The forger's own; the first is called the original.
    records : Dataset
        The forger's. Triggers start from its test records.
    **settings
        Of `forge`.
    """
    made = forge(surrogates, records.test_x, records.test_y, count, **settings)
    key = Key.from_phrase(phrase)
    return claim_on(forger, surrogates[0], key, made, records, notary=notary, moment=moment)
