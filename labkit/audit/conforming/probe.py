"""What a conformance audit lets a training function train on: records whose clipped gradients are known at every step.

Softmax regression. Each record has a feature of its own, so what it pushes can be told from what all others push, and
some features belong to nobody: there a step can show noise only. All gradients are several times longer than the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.audit.task import Settings, Task

RECORDS = 40
UNUSED = 10  # features that no record has
CLASSES = 10
LENGTHS = (
    2.0,
    4.0,
)  # of the records, in turn: weights then take 80% or 94% of a squared gradient, the bias the rest

# Noise of a tenth of one push leaves no doubt who was in a batch, and accountants still give a finite ε for it.
QUIET = Settings(noise_multiplier=0.1, max_grad_norm=0.1, sample_rate=0.1, steps=60, learning_rate=1e-3)


def probe_task() -> Task:
    """Return the records of the audit: row i is its length times the unit vector of feature i; labels go round."""
    x = torch.zeros(RECORDS, RECORDS + UNUSED)
    numbers = torch.arange(RECORDS)
    x[numbers, numbers] = torch.tensor(LENGTHS).repeat(RECORDS // len(LENGTHS))
    empty = torch.zeros(0, (x.shape[1] + 1) * CLASSES)
    return Task(x, numbers % CLASSES, empty, CLASSES)


def loud(noise_multiplier: float) -> Settings:
    """Return the settings of the runs whose noise is as claimed; another bound, so that one that is ignored shows."""
    return replace(QUIET, noise_multiplier=noise_multiplier, max_grad_norm=0.25)


@dataclass(frozen=True)
class Reading:
    """What one run released, in units of the claim.

    Attributes
    ----------
    settings : Settings
    sums : ndarray of shape (steps, dimension)
        Sums of clipped gradients plus noise, divided by ``max_grad_norm``: noise then has the standard deviation
        ``noise_multiplier``, and nobody pushes further than 1.
    pushes : ndarray of shape (steps, n, dimension)
        What each record pushes if it takes part and is clipped rightly, in the same unit.
    layers : dict of slice
    outside : float or None
        Largest movement of a weight between two steps, or after the last; ``None`` where weights were not seen.
    caveats : tuple of str
        What happened beside the steps, and was not looked into.
    """

    settings: Settings
    sums: np.ndarray
    pushes: np.ndarray
    layers: dict[str, slice]
    outside: float | None
    caveats: tuple[str, ...] = ()

    @property
    def unused(self) -> np.ndarray:
        """Which coordinates no record pushes, bool, shape (dimension,)."""
        return ~self.pushes.any(axis=(0, 1))

    def estimated_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how often each record took part in each step, by least squares, and its standard error: (steps, n)."""
        gram = self.pushes @ self.pushes.transpose(0, 2, 1)
        inverse = np.linalg.inv(gram)
        parts = np.einsum("tij,tjd,td->ti", inverse, self.pushes, self.sums, optimize=True)
        errors = self.settings.noise_multiplier * np.sqrt(np.einsum("tii->ti", inverse))
        return parts, errors


def read(
    task: Task,
    settings: Settings,
    updates: Tensor,
    weights: Tensor,
    outside: float | None,
    caveats: tuple[str, ...] = (),
) -> Reading:
    """Return the reading of a run from its updates and the weights before each, both (steps, dimension).

    Raises
    ------
    ValueError
        If an update is NaN or infinite.
    """
    if not bool(torch.isfinite(updates).all()):
        raise ValueError(
            "an update of the run under audit is NaN or infinite (0 / 0 on an empty batch?): nothing can be read from it"
        )
    task = replace(task, x=task.x.double(), canaries=task.canaries.double())
    everyone = torch.arange(task.n)
    bound = settings.max_grad_norm
    pushes = []
    for before in weights.double():
        rows = task.gradients(before, everyone)
        pushes.append(rows / rows.norm(dim=1, keepdim=True).clamp(min=bound))
    scale = settings.sample_rate * task.n / bound
    sums = scale * updates.double().numpy()
    return Reading(settings, sums, torch.stack(pushes).numpy(), task.layers, outside, caveats)
