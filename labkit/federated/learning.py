"""A model as one vector, and what a hospital learns from its own records: gradients, local training, local DP-SGD."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.data import Dataset
    from labkit.federated.rounds import Federation, Training


class FederationError(ValueError):
    """A federation that cannot be run, or whose promise would be false; the message says why and what to do."""


def flatten(model: nn.Module) -> np.ndarray:
    """Return a model's trainable parameters as one float64 vector [d], in the model's own order."""
    from labkit.dp.training.gradients import trainable

    parts = [p.detach().cpu().double().reshape(-1).numpy() for p in trainable(model).values()]
    return np.concatenate(parts)


def unflatten(model: nn.Module, weights: np.ndarray) -> nn.Module:
    """Put a vector [d] into a model's trainable parameters, in place, and return the model.

    Raises
    ------
    FederationError
        If the length differs or a weight is not finite.
    """
    import torch

    from labkit.dp.training.gradients import trainable

    parameters = trainable(model)
    expected = sum(p.numel() for p in parameters.values())
    if np.shape(weights) != (expected,) or not np.isfinite(weights).all():
        raise FederationError(
            f"weights have shape {np.shape(weights)}; expected ({expected},) finite numbers"
        )
    start = 0
    with torch.no_grad():
        for p in parameters.values():
            part = torch.from_numpy(np.asarray(weights[start : start + p.numel()], dtype=np.float64))
            p.copy_(part.view_as(p))
            start += p.numel()
    return model


def gradient_sum(model: nn.Module, x: Tensor, y: Tensor, max_grad_norm: float | None) -> np.ndarray:
    """Return the sum over records of cross-entropy gradients, each clipped to ``max_grad_norm`` unless None.

    In double precision, in which ``model`` is afterwards: rounding in a long float32 sum would move it by more than the
    grid counts.

    Parameters
    ----------
    x : Tensor of shape (b, ...)
    y : Tensor of shape (b,), int64

    Returns
    -------
    ndarray of shape [d], float64
    """
    from labkit.dp.training import gradients, linear
    from labkit.models import LogisticRegression

    clipped = linear.clipped_sum if isinstance(model, LogisticRegression) else gradients.clipped_sum
    bound = math.inf if max_grad_norm is None else max_grad_norm
    sums, _ = clipped(model.double(), x.double(), y, bound)
    return np.concatenate([part.detach().double().reshape(-1).numpy() for part in sums.values()])


def train_locally(
    model: nn.Module, dataset: Dataset, training: Training, round: int, random: np.random.Generator | None
) -> None:
    """Train ``model`` in place on one hospital's records by plain SGD, for ``local_epochs``."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    random = random or np.random.default_rng()
    weights = class_weights(dataset) if training.balanced else None
    optimizer = torch.optim.SGD(
        model.parameters(), lr=training.rate(round), weight_decay=training.weight_decay
    )
    for _ in range(training.local_epochs):
        order = torch.from_numpy(random.permutation(len(dataset.train_y)))
        for batch in order.split(training.batch_size):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(dataset.train_x[batch]), dataset.train_y[batch], weight=weights).backward()
            optimizer.step()


def class_weights(dataset: Dataset) -> Tensor:
    """Return a weight for each class, inverse to its records in this hospital; 0 where it has none. Shape [classes]."""
    import torch

    counts = torch.bincount(dataset.train_y, minlength=len(dataset.classes)).float()
    return torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0.0)


def train_privately(
    model: nn.Module,
    dataset: Dataset,
    federation: Federation,
    declared: int,
    round: int,
    random: np.random.Generator | None,
) -> None:
    """Take the round's local DP-SGD steps on one hospital's records, in place: Poisson batches, full noise in each.

    The noise is a float64 Gaussian, as in Opacus: the promise is that of real numbers. Means are over *declared* records.
    """
    import torch

    from labkit.dp.training.textbook import poisson_batch

    noise, training = federation.noise, federation.training
    n = len(dataset.train_y)
    word = secrets.randbits(63) if random is None else int(random.integers(2**63))
    draws = torch.Generator().manual_seed(word)
    for _ in range(noise.local_steps):
        batch = poisson_batch(n, noise.sample_rate, draws)  # an empty batch is a step like any other
        total = np.zeros(federation.dimension)
        if len(batch):
            total = gradient_sum(model, dataset.train_x[batch], dataset.train_y[batch], noise.max_grad_norm)
        scale = noise.noise_multiplier * noise.max_grad_norm
        noisy = total + scale * torch.randn(len(total), generator=draws, dtype=torch.float64).numpy()
        mean = noisy / (noise.sample_rate * declared)  # expected: neither batch nor record count may show
        unflatten(model, flatten(model) - training.rate(round) * mean)
