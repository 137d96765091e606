"""Models as they come: what they answer is turned into logits (n, classes), or refused with the way out.

A model may return a tuple, a dictionary or an object (name the part), probabilities, or a single logit; its weights may
be float64; it may be scikit-learn's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labkit import adapt
from labkit.governance.findings import ReviewError

ANSWERS = ("logits", "probabilities", "one logit")


class Answering(nn.Module):
    """A model whose answers are logits, whatever it gave before.

    Parameters
    ----------
    inner : nn.Module
    part : int, str or None
        Of a tuple, a dictionary or an object: where the answer stands.
    answers : {"logits", "probabilities", "one logit"}
        "one logit" is z of the second of two classes: (0, z) are the logits.
    """

    def __init__(self, inner: nn.Module, part: int | str | None, answers: str) -> None:
        super().__init__()
        self.inner, self.part, self.answers = inner, part, answers

    def forward(self, x: Tensor) -> Tensor:
        given = _part(self.inner(_as_model_has_it(self.inner, x)), self.part)
        if self.answers == "probabilities":
            return given.clamp_min(adapt.TINY).log()
        if self.answers == "one logit":
            z = given.reshape(len(x))
            return torch.stack([torch.zeros_like(z), z], 1)
        return given


def as_answering(
    model: Any, x: Tensor, classes: int, *, part: int | str | None = None, answers: str = "logits"
) -> nn.Module:
    """Return a module that gives logits (n, classes), tried on two records.

    Parameters
    ----------
    model : nn.Module, or scikit-learn classifier
    x : Tensor of shape (n, ...)
        Records to try it on.

    Raises
    ------
    ReviewError
        If it cannot be asked, or its answers are no logits; the message says which setting helps.
    """
    if isinstance(model, Answering) and part is None:
        _try(model.eval(), x[:2], classes)
        return model
    if answers not in ANSWERS:
        raise ReviewError(f"model: answers is {answers!r}; expected one of {', '.join(ANSWERS)}")
    if not isinstance(model, nn.Module):
        if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
            raise ReviewError(
                f"the model is a {type(model).__name__}; expected a torch module, or a fitted scikit-learn classifier with "
                "predict_proba"
            )
        try:
            asked: nn.Module = adapt.Estimator(model, classes)
        except ValueError as error:
            raise ReviewError(str(error)) from error
    else:
        asked = Answering(model, part, answers)
    _try(asked.eval(), x[:2], classes)
    plain = isinstance(model, nn.Module) and part is None and answers == "logits"
    return model.eval() if plain and _same_type(model, x) else asked


def _try(model: nn.Module, x: Tensor, classes: int) -> None:
    try:
        with torch.no_grad():
            given = model(x)
    except ReviewError:
        raise
    except Exception as error:  # whatever a foreign model raises, the reviewer needs to know what was tried
        raise ReviewError(
            f"the model cannot be asked about records of shape {tuple(x.shape[1:])}, {x.dtype} "
            f"({type(error).__name__}: {error})"
        ) from error
    if given.shape != (len(x), classes):
        hint = (
            " (a single logit of two classes: answers: one logit)"
            if given.numel() == len(x) and classes == 2
            else ""
        )
        raise ReviewError(
            f"the model answers {len(x)} records with shape {tuple(given.shape)}; expected ({len(x)}, {classes}), one logit "
            f"for each class{hint}"
        )
    if not torch.isfinite(given).all():
        raise ReviewError("the model answers NaN or infinity: it is broken, or its inputs are")
    rows = given.double().sum(1)
    if bool((given >= 0).all()) and bool(((rows - 1).abs() < 1e-3).all()):
        raise ReviewError(
            "the model answers with probabilities (none negative, each row sums to 1): every attack would be weakened. Say "
            "answers: probabilities"
        )


def _part(given: Any, part: int | str | None) -> Tensor:
    if part is None:
        if isinstance(given, Tensor):
            return given
        raise ReviewError(
            f"the model answers with {_described(given)}: say which part holds the logits (output: {_first(given)})"
        )
    try:
        found = adapt.chosen(given, part)
    except ValueError as error:
        raise ReviewError(f"output is {part!r}, and the model answers with {_described(given)}") from error
    if not isinstance(found, Tensor):
        raise ReviewError(
            f"output {part!r} of the model is a {type(found).__name__}; expected a tensor of logits"
        )
    return found


def _described(given: Any) -> str:
    if isinstance(given, dict):
        return "a dictionary of " + ", ".join(map(str, given))
    if isinstance(given, tuple | list):
        return f"a {type(given).__name__} of " + ", ".join(
            str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in given
        )
    return f"a {type(given).__name__}"


def _first(given: Any) -> Any:
    return (
        next(iter(given))
        if isinstance(given, dict) and given
        else 0
        if isinstance(given, tuple | list)
        else "logits"
    )


def _same_type(model: nn.Module, x: Tensor) -> bool:
    return _as_model_has_it(model, x[:0]).dtype == x.dtype


def _as_model_has_it(model: nn.Module, x: Tensor) -> Tensor:
    """Return records in the float type of the model's weights; tokens stay what they are."""
    kept = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
    return x.to(kept) if x.is_floating_point() else x
