"""Ask a suspect, whatever it is: a model in hand, a marked model, or an interface that shows labels or probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import adapt, training
from labkit.watermark.marks.marked import MarkedModel

Suspect = nn.Module | MarkedModel | Callable[[Tensor], Tensor]
BATCH = 1000


def as_asked(suspect: Any) -> Any:
    """Return a suspect as it is asked: the model inside a MarkedModel, a module around an estimator, else itself."""
    if isinstance(suspect, MarkedModel):
        return suspect.model
    estimator = not isinstance(suspect, nn.Module) and hasattr(suspect, "predict_proba")
    return adapt.as_module(suspect) if estimator else suspect


def _shown(suspect: Suspect, x: Tensor) -> Tensor:
    """Return what a suspect shows for inputs (n, ...): labels (n,), or scores (n, classes)."""
    suspect = as_asked(suspect)
    if not callable(suspect):
        raise TypeError(
            f"the suspect is a {type(suspect).__name__}; expected a model, a MarkedModel, or a callable such as extraction.Api"
        )
    left = getattr(suspect, "left", None)
    if left is not None and left < len(x):
        raise ValueError(
            f"{len(x)} queries planned, the suspect answers only {left} more: fix a smaller number in advance, "
            f"queries={left}, or ask for a larger budget"
        )
    if isinstance(suspect, nn.Module):
        shown = training.logits(suspect, x).float()
    else:
        shown = torch.cat([torch.as_tensor(suspect(part)).cpu() for part in x.split(BATCH)])
    if shown.ndim not in (1, 2) or len(shown) != len(x):
        raise ValueError(
            f"the suspect answered {len(x)} inputs with shape {tuple(shown.shape)}; expected (n,) labels or (n, classes)"
        )
    if shown.ndim == 2 and not torch.isfinite(shown).all():
        raise ValueError("the suspect answers NaN or infinity: it is broken, or its inputs are")
    return shown


def answers(suspect: Suspect, x: Tensor) -> np.ndarray:
    """Return a suspect's labels for inputs (n, ...), int64 (n,), whatever it is and shows.

    Parameters
    ----------
    suspect : nn.Module, MarkedModel, scikit-learn estimator or callable
        A callable answers a batch with labels (n,) or with scores (n, classes). For a model that answers with a tuple or a dict
        see `labkit.adapt.as_module`.

    Raises
    ------
    TypeError
        If the suspect cannot be asked.
    ValueError
        If its budget (``suspect.left``) is too small, or an answer is NaN or of a wrong shape.
    """
    shown = _shown(suspect, x)
    if shown.ndim == 1 and shown.is_floating_point():
        raise ValueError(f"the suspect answered with {shown.dtype} of shape (n,); expected integer labels")
    return (shown.argmax(1) if shown.ndim == 2 else shown).numpy().astype(np.int64)


def probabilities(suspect: Suspect, x: Tensor) -> np.ndarray:
    """Return a suspect's probabilities for inputs (n, ...), float64 (n, classes).

    Rows of an interface that rounds or truncates may sum to less than one.

    Raises
    ------
    TypeError, ValueError
        As `answers`; and ``ValueError`` where the suspect shows labels only, or scores outside [0, 1].
    """
    shown = _shown(suspect, x)
    if isinstance(as_asked(suspect), nn.Module):
        return shown.double().softmax(1).numpy()
    if shown.ndim == 1:
        raise ValueError(
            "the suspect shows labels only: use a test on labels (verify.answers, verify.verify)"
        )
    if float(shown.min()) < 0 or float(shown.max()) > 1 + 1e-6:
        raise ValueError(
            f"the suspect's answers run from {float(shown.min()):.3g} to {float(shown.max()):.3g}; expected "
            "probabilities: apply softmax to logits first"
        )
    return shown.double().numpy()
