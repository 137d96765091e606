"""A black-box mark: inputs that no patient has, and answers to them, both drawn from a hospital's key.

The judge asks a suspect for its answers alone. The labels are drawn without regard to the inputs, so a model that the
key had no part in hits each with a chance of exactly one in the number of classes, and other labels from other keys
show on the same answers how often innocents get so far. For images the inputs come from `labkit.watermark.marks.triggers`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.data import Dataset
    from labkit.federated.rounds import Mark

COUNT = 16
RATE = 0.2
CAP = 0.05


@dataclass(frozen=True, eq=False)
class AnswerMark:
    """One hospital's triggers: a `labkit.federated.rounds.Mark`.

    Parameters
    ----------
    key : Key
    claimant : str
        The same key in another's name draws other triggers.
    make_model : callable
        Returns the model whose weights are pulled.
    shape : tuple of int
        Of a record, as the model takes it.
    classes : int
    count : int
        Number of triggers.
    low, high : float
        Public range of a value of a record, as the model takes it.
    rate : float
        Learning rate of the one step that a round takes on the triggers' mean cross-entropy.
    cap : float
        Most that a round moves the weights by, over their length.
    dataset : Dataset, optional
        For images: triggers are the abstract pictures of `labkit.watermark.marks.triggers` for it.
    """

    key: Key
    claimant: str
    make_model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    count: int = COUNT
    low: float = -2.0
    high: float = 2.0
    rate: float = RATE
    cap: float = CAP
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.classes < 2:
            raise ValueError(
                f"got {self.count} triggers in {self.classes} classes; expected at least 1 and 2"
            )
        if not (-math.inf < self.low < self.high < math.inf):
            raise ValueError(f"range is {self.low} to {self.high}; expected low < high, both finite")
        if not (0 < self.rate < math.inf and 0 < self.cap <= 1):
            raise ValueError(
                f"rate is {self.rate} and cap {self.cap}; expected a rate above 0, a cap in (0, 1]"
            )

    @cached_property
    def own(self) -> Key:
        """The key of this claimant's triggers."""
        return self.key.sub(f"federated/answers/{hashlib.sha256(self.claimant.encode()).hexdigest()}")

    @cached_property
    def x(self) -> Tensor:
        """The triggers, float32, shape [count, ...]."""
        import torch

        if self.dataset is not None:
            from labkit.watermark.marks import triggers

            return triggers.draw("abstract", self.own, self.count, dataset=self.dataset).x
        uniform = self.own.uniform("inputs", (self.count, *self.shape))
        return torch.from_numpy((self.low + (self.high - self.low) * uniform).astype(np.float32))

    @cached_property
    def y(self) -> np.ndarray:
        """The answers, int64, shape [count]: drawn apart from the inputs."""
        return self.own.integers("labels", self.classes, self.count)

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        """Return the wanted change of the global weights [d]: one gradient step on the triggers, capped."""
        import torch
        from torch.nn import functional as F  # noqa: N812

        from labkit.dp.training.gradients import trainable
        from labkit.federated.rounds import unflatten

        model = unflatten(self.make_model(), weights)
        model.eval()
        loss = F.cross_entropy(model(self.x), torch.from_numpy(self.y))
        parts = torch.autograd.grad(loss, list(trainable(model).values()))
        change = -self.rate * np.concatenate([p.double().reshape(-1).numpy() for p in parts])
        most, size = self.cap * float(np.linalg.norm(weights)), float(np.linalg.norm(change))
        return change * (most / size) if size > most else change

    def hits(self, answers: np.ndarray) -> int:
        """Return how many answers (class numbers, shape [count]) are the mark's."""
        if np.shape(answers) != (self.count,):
            raise ValueError(
                f"got answers of shape {np.shape(answers)}; expected ({self.count},) class numbers"
            )
        return int((np.asarray(answers) == self.y).sum())

    def redrawn(self, answers: np.ndarray, count: int, key: Key) -> np.ndarray:
        """Return the hits of ``count`` other keys' labels on the same answers, shape [count]."""
        labels = key.integers("redrawn/labels", self.classes, count * self.count).reshape(count, -1)
        return (labels == np.asarray(answers)).sum(1)

    def chance(self, hits: int) -> float:
        """Return the chance of so many hits or more if labels had no part in training: exact, binomial."""
        from scipy.stats import binom

        return float(binom.sf(hits - 1, self.count, 1 / self.classes))


@dataclass(frozen=True, eq=False)
class Marks:
    """Several marks of one hospital, pulled together."""

    parts: tuple[Mark, ...]

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        """Return the sum of what each wants, shape [d]."""
        return sum(part.pull(weights, round) for part in self.parts)
