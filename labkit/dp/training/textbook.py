"""DP-SGD said in a screenful: the version to read, and the yardstick the fast engines are tested against.

Abadi et al., "Deep learning with differential privacy", arXiv 1607.00133, algorithm 1, with Poisson sampling.
Gradients are rows of one matrix (records x parameters) here; `labkit.dp.training.train_private` does the same for any module.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def poisson_batch(n: int, sample_rate: float, generator: torch.Generator) -> Tensor:
    """Return the indices of a Poisson batch: each of ``n`` records joins on its own coin flip.

    Returns
    -------
    Tensor of shape (b,), int64
        ``b`` is random, with mean ``sample_rate * n``; it can be 0, and an empty batch is a step like any other.
    """
    return (torch.rand(n, generator=generator) < sample_rate).nonzero().flatten()


def clip_per_sample(grads: Tensor, max_grad_norm: float) -> Tensor:
    """Scale every row of ``grads`` (b, d) down to Euclidean norm ``max_grad_norm``; shorter rows stay as they are."""
    norms = grads.norm(dim=1, keepdim=True)
    return grads * (max_grad_norm / norms.clamp(min=max_grad_norm))


def noisy_mean(
    clipped: Tensor,
    *,
    max_grad_norm: float,
    noise_multiplier: float,
    expected_batch_size: float,
    generator: torch.Generator,
) -> Tensor:
    """Return (sum of the rows of ``clipped`` (b, d) + Gaussian noise) / ``expected_batch_size``, of shape (d,).

    The noise has standard deviation ``noise_multiplier * max_grad_norm`` in every coordinate. The divisor is the
    expected size of a batch, a public constant: the size that happened is private information.
    """
    noise = torch.randn(clipped.shape[1], generator=generator, dtype=clipped.dtype)
    return (clipped.sum(dim=0) + noise_multiplier * max_grad_norm * noise) / expected_batch_size


def softmax_gradients(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy gradient of softmax regression for each record.

    Parameters
    ----------
    weights : Tensor of shape (d, classes)
    x : Tensor of shape (b, d)
    y : Tensor of shape (b,), int64

    Returns
    -------
    Tensor of shape (b, d * classes)
        Row i is the flattened outer product of ``x[i]`` and (predicted probabilities - one-hot label).
    """
    residual = F.softmax(x @ weights, dim=1) - F.one_hot(y, weights.shape[1])
    return (x[:, :, None] * residual[:, None, :]).flatten(1)


def dp_sgd(
    x: Tensor,
    y: Tensor,
    *,
    sample_rate: float,
    steps: int,
    learning_rate: float,
    max_grad_norm: float,
    noise_multiplier: float,
    classes: int = 10,
    seed: int = 0,
) -> Tensor:
    """Train softmax regression with differential privacy and return its weights, shape (d, classes).

    Parameters
    ----------
    x : Tensor of shape (n, d)
    y : Tensor of shape (n,), int64
    sample_rate : float
        Probability with which each record joins each step.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(x.shape[1], classes, dtype=x.dtype)
    for _ in range(steps):
        batch = poisson_batch(len(x), sample_rate, generator)
        grads = clip_per_sample(softmax_gradients(weights, x[batch], y[batch]), max_grad_norm)
        step = noisy_mean(
            grads,
            max_grad_norm=max_grad_norm,
            noise_multiplier=noise_multiplier,
            expected_batch_size=sample_rate * len(x),
            generator=generator,
        )
        weights -= learning_rate * step.view_as(weights)
    return weights
