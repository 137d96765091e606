"""A victim behind an interface that counts queries: what a thief sees of a model that is sold by the answer.

What the interface gives away (all probabilities, the best few, labels alone), how coarsely, and how often it answers
are the owner's defences of Tramer et al., "Stealing machine learning models via prediction APIs" (arXiv 1609.02943,
sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labkit import adapt, training
from labkit.watermark.marks.marked import MarkedModel

ANSWERS = ("probabilities", "top-k", "labels")
Marker = Callable[[Tensor, Tensor], Tensor]


class BudgetSpent(RuntimeError):  # noqa: N818 (says what happened)
    """More records were sent than the budget has left; nothing was answered."""


class Api:
    """A model that can be asked, and nothing else.

    Parameters
    ----------
    model : nn.Module, MarkedModel, or estimator with ``predict_proba``
        Maps inputs (n, ...) to logits (n, classes). An estimator that met fewer classes than there are, and a module that
        answers with a tuple or a dict: see `labkit.adapt.as_module`.
    answers : {"probabilities", "top-k", "labels"}
        What a caller gets: the softmax (n, classes); the same with all but the ``k`` largest set to zero; or the
        label, int64 (n,).
    k : int, optional
        For "top-k" only.
    decimals : int, optional
        Digits that probabilities are rounded to; all by default.
    budget : int, optional
        Records answered before `BudgetSpent` is raised; no end by default.
    marker : callable, optional
        The owner's hook on the answers, ``marker(x, probabilities) -> probabilities``, both (n, classes), applied
        before truncation and rounding: a mark at the interface (DAWN, for example) goes here.

    Attributes
    ----------
    queries : int
        Records answered so far.

    Raises
    ------
    TypeError
        If ``model`` is none of these.
    ValueError
        If a setting is unknown, out of range, or without effect on these answers; if an estimator is not fitted.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> forest = RandomForestClassifier(random_state=0).fit([[0.0], [0.1], [0.9], [1.0]], [0, 0, 1, 1])
    >>> Api(forest, answers="labels")(torch.tensor([[0.05], [0.95]]))
    tensor([0, 1])
    """

    def __init__(
        self,
        model: Any,
        *,
        answers: str = "probabilities",
        k: int | None = None,
        decimals: int | None = None,
        budget: int | None = None,
        marker: Marker | None = None,
    ) -> None:
        if answers not in ANSWERS:
            raise ValueError(f"answers is {answers!r}; expected one of {', '.join(ANSWERS)}")
        if (k is not None) != (answers == "top-k") or (k is not None and k < 1):
            raise ValueError(f"got k={k} with answers={answers!r}; 'top-k' needs k >= 1, the others none")
        if decimals is not None and (answers == "labels" or decimals < 1):
            raise ValueError(
                f"got decimals={decimals} with answers={answers!r}; expected at least 1, and no rounding of labels"
            )
        if budget is not None and budget < 1:
            raise ValueError(f"budget is {budget}; expected at least 1 record, or None for no end")
        self.model = adapt.as_module(model.model if isinstance(model, MarkedModel) else model)
        self.answers, self.k, self.decimals = answers, k, decimals
        self.budget, self.marker, self.queries = budget, marker, 0

    def __repr__(self) -> str:
        return f"Api({self.describe()}; {self.queries:,} queries answered)"

    def describe(self) -> str:
        """Return what this interface gives away, in a few words for titles."""
        text = f"top {self.k}" if self.answers == "top-k" else self.answers
        text += f" to {self.decimals} digits" if self.decimals is not None else ""
        text += f", at most {self.budget:,} queries" if self.budget is not None else ""
        return text + (", marked answers" if self.marker is not None else "")

    @property
    def left(self) -> int | None:
        """Records that will still be answered; None where there is no budget."""
        return None if self.budget is None else self.budget - self.queries

    def __call__(self, x: Tensor) -> Tensor:
        """Answer a batch, whole or not at all, and count its records.

        Parameters
        ----------
        x : float Tensor of shape (n, ...), or int64 for tokens

        Returns
        -------
        Tensor
            Float (n, classes), or int64 (n,) for "labels".

        Raises
        ------
        BudgetSpent
            If the batch holds more records than are left.
        ValueError
            If there is no record, one holds NaN or infinity, they are neither floats nor int64, or the model cannot take them.
        """
        if x.ndim == 0 or len(x) == 0 or not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"got a query of {x.dtype} {tuple(x.shape)}; expected at least one record, and neither NaN nor infinity"
            )
        if not (x.is_floating_point() or x.dtype == torch.int64):
            raise ValueError(
                f"got a query of {x.dtype}; expected a float type, or torch.int64 for tokens: convert it with .float() or .long()"
            )
        if self.left is not None and len(x) > self.left:
            raise BudgetSpent(
                f"{len(x):,} records asked, {self.left:,} of {self.budget:,} left: send fewer, or raise budget="
            )
        shown = self._shown(x)
        self.queries += len(x)
        return shown

    def _shown(self, x: Tensor) -> Tensor:
        probabilities = training.logits(self.model, x).softmax(1)
        if self.marker is not None:
            probabilities = self.marker(x, probabilities)
        if self.answers == "labels":
            return probabilities.argmax(1)
        if self.k is not None:
            best = probabilities.topk(min(self.k, probabilities.shape[1]), dim=1).indices
            probabilities = torch.zeros_like(probabilities).scatter(1, best, probabilities.gather(1, best))
        return probabilities if self.decimals is None else probabilities.round(decimals=self.decimals)


def as_targets(shown: Tensor) -> Tensor:
    """Return answers as training targets: labels as they are, probabilities scaled so that each row sums to one.

    Truncation and rounding leave rows that sum to less; a row rounded away altogether becomes uniform.
    """
    if shown.ndim == 1:
        return shown
    total = shown.sum(1, keepdim=True)
    return torch.where(total > 0, shown / total.clamp_min(1e-12), torch.full_like(shown, 1 / shown.shape[1]))
