"""The loss of one record in private training: cross-entropy, weighted by class where that is asked for, or the caller's own.

Whatever it is, the gradient of each record's own loss is clipped to C before the sum, so the sum moves by at most C for one
record more or less: noise and accounting stay as they are. The weight comes *before* the bound: where gradients are longer than C
anyway, as they are in most private training, a weight above 1 is cut off again and changes nothing. So write weights with the
largest at 1, (0.05, 1) instead of (1, 20): they then shorten the common class's gradients, which stays.
The weights themselves have to come from elsewhere than the private labels: counting those is a query of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Each = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """The loss of each record, from its logits alone.

    Attributes
    ----------
    class_weights : tuple of float or None
        One for each class; multiplies the loss of its records.
    each : callable or None
        ``each(logits, y)`` with logits (b, classes) and labels (b,) returns (b,) losses; default: cross-entropy.
    """

    class_weights: tuple[float, ...] | None = None
    each: Each | None = None

    @property
    def plain(self) -> bool:
        """Whether it is cross-entropy as it is."""
        return self.class_weights is None and self.each is None

    def of_each(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each record, (b,), from logits (b, classes)."""
        losses = F.cross_entropy(logits, y, reduction="none") if self.each is None else self.each(logits, y)
        return losses if self.class_weights is None else losses * self.weights(losses)[y]

    def weights(self, like: Tensor) -> Tensor:
        """Return the class weights as a tensor (classes,)."""
        return torch.tensor(self.class_weights, dtype=like.dtype, device=like.device)

    def total(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the sum over records."""
        return F.cross_entropy(logits, y, reduction="sum") if self.plain else self.of_each(logits, y).sum()

    def mean(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the mean over records: not torch's weighted mean, whose divisor depends on the other records."""
        return F.cross_entropy(logits, y) if self.plain else self.of_each(logits, y).mean()


PLAIN = Loss()


def loss_of(loss: Any, class_weights: Sequence[float] | None, classes: int) -> Loss:
    """Return the loss that `labkit.dp.train_private` was asked for.

    Raises
    ------
    ValueError
        If there is no such loss, it does not give one number a record, or weights are not one positive number a class.
    """
    if loss != "cross-entropy" and not callable(loss):
        raise ValueError(
            f"loss is {loss!r}; expected 'cross-entropy', or a function of logits (b, classes) and labels (b,) that returns the "
            "loss of each record, (b,)"
        )
    weights = None if class_weights is None else tuple(float(w) for w in class_weights)
    if weights is not None and (
        len(weights) != classes or not all(math.isfinite(w) and w > 0 for w in weights)
    ):
        raise ValueError(
            f"class_weights is {list(weights)}; expected {classes} positive numbers, one for each class"
        )
    made = Loss(weights, loss if callable(loss) else None)
    if made.each is not None:
        shown = made.each(torch.zeros(3, classes), torch.zeros(3, dtype=torch.int64))
        if not isinstance(shown, Tensor) or shown.shape != (3,):
            found = tuple(shown.shape) if isinstance(shown, Tensor) else type(shown).__name__
            raise ValueError(
                f"loss gives {found} for three records; expected (3,), the loss of each: a mean over the batch lets no record be "
                "clipped on its own (reduction='none')"
            )
    return made
