"""Our models as classifiers of the Adversarial Robustness Toolbox (ART), in the form its attacks expect.

Two things go wrong without a word when a model is handed over as it is. ART takes what ``predict`` returns for
probabilities, so thieves that learn from a model's logits stay at chance; and its label-only attack feeds doubles, which
a float model refuses. `art_classifier` ends in a softmax and casts on the way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles, training
from labkit.bridges.agreement import Agreement, Line, largest, versions
from labkit.bridges.evasion import by_hand, trained

if TYPE_CHECKING:
    from torch import nn


def art_classifier(
    model: nn.Module,
    shape: tuple[int, ...],
    classes: int,
    *,
    outputs: str = "probabilities",
    bounds: tuple[float, float] = (0.0, 1.0),
    **options: Any,
) -> Any:
    """Return ``model`` as ART's ``PyTorchClassifier``.

    Parameters
    ----------
    model : nn.Module
        Gives logits (b, classes).
    shape : tuple of int
        Of one record.
    outputs : {"probabilities", "logits"}
        What its ``predict`` returns. "probabilities" is what ART's membership and extraction attacks want, with a loss to
        match; "logits" is what its gradient attacks are usually run on.
    bounds : (low, high)
        Of the entries of a record.
    **options
        Of ``PyTorchClassifier``, for example ``optimizer``.

    Raises
    ------
    ValueError
        If ``outputs`` is neither, or the model has no parameter to take its type from.
    """
    import torch
    from art.estimators.classification import PyTorchClassifier
    from torch import nn

    if outputs not in ("probabilities", "logits"):
        raise ValueError(f"outputs is {outputs!r}; expected 'probabilities' or 'logits'")
    first = next(model.parameters(), None)
    if first is None:
        raise ValueError("the model has no parameter: ART needs one to know its type")

    class Shown(nn.Module):
        """Casts records to the model's type, and shows what was asked for."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers = self.model(x.to(first.dtype))
            return answers.softmax(1) if outputs == "probabilities" else answers

    loss = LogOfProbabilities() if outputs == "probabilities" else nn.CrossEntropyLoss()
    settings = {"clip_values": bounds, "device_type": "cpu"} | options
    return PyTorchClassifier(Shown(), loss, shape, classes, **settings)


def LogOfProbabilities() -> nn.Module:  # noqa: N802 - stands where torch's losses stand
    """Return the cross-entropy of probabilities: torch's own would take their softmax once more."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812

    class Loss(nn.Module):
        reduction = "mean"  # ART reads and sets it

        def forward(self, probabilities: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            y = y.argmax(1) if y.ndim > 1 else y
            return F.nll_loss(probabilities.clamp_min(1e-30).log(), y, reduction=self.reduction)

    return Loss()


def art(seed: int = 0) -> Agreement:
    """Hand the small MNIST network to ART: its answers, its gradient step, and its label-only membership attack."""
    import torch
    from art.attacks.evasion import FastGradientMethod
    from art.attacks.inference.membership_inference import LabelOnlyGapAttack

    records, n = profiles.current().pick(smoke=(1000, 50), laptop=(4000, 100), full=(60_000, 1000))
    model, dataset = trained(records, seed)
    x, y, radius = dataset.test_x[:n], dataset.test_y[:n], 0.1
    classes = len(dataset.classes)
    shown = art_classifier(model, dataset.shape, classes)
    ours = training.logits(model, x).detach().softmax(1)
    moved = FastGradientMethod(shown, eps=radius).generate(x.numpy(), y.numpy())
    both = torch.cat([dataset.train_x[:n], x])
    labels = torch.cat([dataset.train_y[:n], y])
    guessed = np.ravel(LabelOnlyGapAttack(shown).infer(both.double().numpy(), labels.numpy()))
    correct = (training.logits(model, both).argmax(1) == labels).numpy()
    lines: tuple[Line, ...] = (
        largest("probabilities", ours, shown.predict(x.numpy()), 1e-5),
        largest("probabilities of records in doubles", ours, shown.predict(x.double().numpy()), 1e-5),
        largest(f"fast gradient step, radius {radius}, pixels", by_hand(model, x, y, radius), moved, 1e-6),
        largest("guesses of membership by right answers (gap attack)", correct, guessed, 0.0),
    )
    return Agreement(
        tool="ART",
        lines=lines,
        versions=versions(["adversarial-robustness-toolbox"]),
        command="labkit bridge art",
        source=dataset.source,
        profile=profiles.current().name,
        seeds=(seed,),
        notes=(
            "Its membership attacks on our arrays: labkit bridge attacks. Its extraction attacks, with our theft beside them: "
            "tests/watermark/test_art_extraction.py. Its speed: labkit bench membership.",
        ),
    )
