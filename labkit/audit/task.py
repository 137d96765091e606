"""What a white-box audit trains on: softmax regression whose records may be gradients of the auditor's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True)
class Settings:
    """Settings of DP-SGD: what the training function is told, and what its ε is computed from.

    Attributes
    ----------
    noise_multiplier, max_grad_norm : float
    sample_rate : float
        Probability with which each record joins a step.
    steps : int
    learning_rate : float
    """

    noise_multiplier: float = 2.0
    max_grad_norm: float = 1.0
    sample_rate: float = 0.1
    steps: int = 50
    learning_rate: float = 0.5


@dataclass(frozen=True)
class Task:
    """Softmax regression with bias on ordinary records, and canaries that are given by their gradients.

    Attributes
    ----------
    x, y : Tensor
        Ordinary records, shapes (n, d) and (n,); n may be 0.
    canaries : Tensor of shape (k, (d + 1) * classes)
        Gradients of the canaries that are in, before clipping; the same at every step.
    classes : int
    """

    x: Tensor
    y: Tensor
    canaries: Tensor
    classes: int = 10

    @property
    def n(self) -> int:
        """Number of records, canaries included."""
        return len(self.x) + len(self.canaries)

    @property
    def layers(self) -> dict[str, slice]:
        """Where each layer's parameters lie in the flat vector of parameters."""
        split = self.x.shape[1] * self.classes
        return {"weight": slice(0, split), "bias": slice(split, split + self.classes)}

    @property
    def dimension(self) -> int:
        return (self.x.shape[1] + 1) * self.classes

    def model(self) -> nn.Linear:
        """Return the model that is trained, its weights at zero."""
        layer = nn.utils.skip_init(nn.Linear, self.x.shape[1], self.classes)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    def dataset(self) -> Dataset:
        """Return the ordinary records as a data set; the test records are the train records again.

        Raises
        ------
        ValueError
            If the task has canaries: a gradient is no record.
        """
        from labkit.data import Dataset

        if len(self.canaries):
            raise ValueError(
                f"{len(self.canaries)} canaries are gradients, not records: no data set can hold them"
            )
        names = tuple(str(label) for label in range(self.classes))
        return Dataset("audit", "records made for an audit", False, self.x, self.y, self.x, self.y, names)

    def gradients(self, weights: Tensor, batch: Tensor) -> Tensor:
        """Return the gradient of each record of ``batch`` (record numbers, canaries last), shape (b, dimension)."""
        ordinary, special = batch[batch < len(self.x)], batch[batch >= len(self.x)] - len(self.x)
        rows = self.canaries[special]
        if len(ordinary) == 0:
            return rows
        x = F.pad(self.x[ordinary], (0, 1), value=1.0)  # the bias is the weight of a constant feature
        residual = F.softmax(x @ weights.view(-1, self.classes), 1)
        residual = residual - F.one_hot(self.y[ordinary], self.classes)
        return torch.cat([(x[:, :, None] * residual[:, None, :]).flatten(1), rows])


def blank_task(features: int, classes: int = 10) -> Task:
    """Return a task without ordinary records: the auditor's worst case, in which nobody else moves the model."""
    empty = torch.zeros(0, features)
    return Task(empty, torch.zeros(0, dtype=torch.int64), torch.zeros(0, (features + 1) * classes), classes)


@dataclass(frozen=True)
class Transcript:
    """What a white-box adversary sees of a run.

    Attributes
    ----------
    updates : Tensor of shape (steps, dimension)
        The noisy mean gradients that moved the weights, one a step.
    weights : Tensor of shape (dimension,)
        The final model.
    """

    updates: Tensor
    weights: Tensor


TrainingFunction = Callable[[Task, Settings, int], Any]
