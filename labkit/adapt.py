"""Models that were not made for this kit: estimators, models that answer with tuples or dicts, and what fits which records.

Everything here takes a module from records (n, ...) to logits (n, classes). `as_module` makes one of what you have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Output = int | str | Callable[[Any], Tensor]
TINY = 1e-30  # stands for a probability of 0, whose logarithm no attack could use
REFUSALS = (RuntimeError, TypeError, IndexError, ValueError, KeyError, NotImplementedError)


def as_module(model: Any, *, output: Output | None = None, classes: int | None = None) -> nn.Module:
    """Return a module that answers records (n, ...) with logits (n, classes), made of whatever ``model`` is.

    Parameters
    ----------
    model : nn.Module, or an estimator with ``predict_proba``
        A scikit-learn estimator (or pipeline) was fitted on flat records and class indices; its logits are the logarithms
        of its probabilities, a probability of 0 counting as 1e-30.
    output : int, str or callable, optional
        Where the logits are in what a module returns: a position in its tuple, a key of its dict (or name of an attribute),
        or a function of it.
    classes : int, optional
        Number of classes, where an estimator may have met fewer of them.

    Raises
    ------
    TypeError
        If ``model`` is neither.

    Examples
    --------
    >>> class Two(nn.Module):
    ...     def forward(self, x):
    ...         return {"logits": x, "hidden": 2 * x}
    >>> as_module(Two(), output="logits")(torch.tensor([[1.0, 2.0]]))
    tensor([[1., 2.]])
    """
    if isinstance(model, nn.Module):
        return model if output is None else Answering(model, output)
    if hasattr(model, "predict_proba"):
        if output is not None:
            raise TypeError(
                f"output={output!r} names a part of a module's answer; an estimator has one answer"
            )
        return Estimator(model, classes)
    hint = (
        ": it has predict() alone; wrap it in sklearn.calibration.CalibratedClassifierCV, or ask it as a callable where labels do"
        if hasattr(model, "predict")
        else ""
    )
    raise TypeError(
        f"the model is a {type(model).__name__}; expected a torch module, or an estimator with predict_proba{hint}"
    )


def model_of(outcome: Any) -> Any:
    """Return the model of a result that holds one, such as that of `labkit.training.fit`; a model itself as it is.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model_of(SimpleNamespace(model=nn.Linear(3, 2), seconds=1.5))
    Linear(in_features=3, out_features=2, bias=True)
    """
    held = None if isinstance(outcome, nn.Module) else getattr(outcome, "model", None)
    return held if isinstance(held, nn.Module) else outcome


class Answering(nn.Module):
    """A module that hands out one part of another module's answer: see `as_module`."""

    def __init__(self, model: nn.Module, output: Output) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, x: Tensor) -> Tensor:
        return chosen(self.model(x), self.output)


class Estimator(nn.Module):
    """A fitted estimator asked like a module: logarithms of its probabilities, float32 (n, classes), for records (n, ...).

    Raises
    ------
    ValueError
        If it is not fitted, or on labels other than class indices.
    """

    def __init__(self, estimator: Any, classes: int | None = None) -> None:
        super().__init__()
        known = getattr(estimator, "classes_", None)
        if known is None:
            raise ValueError(
                f"{type(estimator).__name__} is not fitted (it has no classes_): fit it on flat records and class indices"
            )
        known = np.asarray(known)
        if known.dtype.kind not in "iub" or known.min() < 0:
            raise ValueError(
                f"{type(estimator).__name__} was fitted on labels {known[:4].tolist()}; expected class indices from 0: fit it on "
                "dataset.train_y"
            )
        self.estimator, self.known = estimator, known.astype(np.int64)
        self.classes = max(classes or 0, int(self.known.max()) + 1)

    def forward(self, x: Tensor) -> Tensor:
        found = self.estimator.predict_proba(x.detach().cpu().flatten(1).numpy())
        probabilities = np.zeros((len(x), self.classes))
        probabilities[:, self.known] = found
        return torch.from_numpy(np.log(np.maximum(probabilities, TINY)).astype(np.float32))


def chosen(answer: Any, output: Output) -> Tensor:
    """Return the part of a module's answer that ``output`` names.

    Raises
    ------
    ValueError
        If there is no such part; the message lists those that there are.
    """
    if callable(output):
        return output(answer)
    try:
        part = (
            getattr(answer, output) if isinstance(output, str) and hasattr(answer, output) else answer[output]
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the model's answer has no part {output!r}: it is {described(answer)}") from error
    return part


def logits_of(answer: Any) -> Tensor:
    """Return a module's answer if it is a tensor.

    Raises
    ------
    ValueError
        If it is a tuple, a dict or anything else, with the way to name the part that holds the logits.
    """
    if isinstance(answer, Tensor):
        return answer
    part = next(iter(answer), 0) if isinstance(answer, Mapping) else 0
    raise ValueError(
        f"the model answers with {described(answer)}; expected a tensor of logits (n, classes): name the part that holds them "
        f"with output=, as in labkit.adapt.as_module(model, output={part!r})"
    )


def described(answer: Any) -> str:
    """Return in words what a model answered with."""
    if isinstance(answer, Mapping):
        return f"a dict of {', '.join(map(repr, answer))}"
    if isinstance(answer, tuple | list):
        parts = [
            f"{tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__ for part in answer
        ]
        return f"a {type(answer).__name__} of {len(parts)}: {', '.join(parts)}"
    return f"a {type(answer).__name__}"


def why_not(model: nn.Module, x: Tensor, error: Exception) -> str:
    """Return what is wrong between a model and the records (n, ...) that it failed on, and the fix."""
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()}
    records, text = str(x.dtype).removeprefix("torch."), str(error).splitlines()[0] if str(error) else ""
    lookup = any(isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in model.modules())
    if isinstance(error, ValueError) and "output=" in text:
        return text
    if x.is_floating_point() and len(kinds) == 1 and records not in kinds:
        (kind,) = kinds
        cure = {"float64": "model.double()", "float32": "model.float()"}.get(records, "the other type")
        return (
            f"the model's weights are {kind} and the records {records}: make them alike, by {cure} or by "
            f"Dataset.from_numpy(..., dtype={kind!r})"
        )
    if x.is_floating_point() and lookup and "ndices" in text:
        return f"the model looks tokens up and the records are {records}: make them int64, by Dataset.from_numpy(..., dtype='int64')"
    if not x.is_floating_point() and not lookup:
        return (
            f"the records are {records} (tokens) and the model has no embedding to look them up: make them float, by "
            f"Dataset.from_numpy(..., dtype='float32') ({text})"
        )
    return f"the model cannot take records of shape {tuple(x.shape[1:])}: {text}"
