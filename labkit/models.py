"""The small networks that the labs share.

All take float images in [0, 1] and normalise them inside by constants that do not depend on the data. Unless told
otherwise they use GroupNorm rather than BatchNorm (a batch statistic mixes records, which per-record clipping cannot
bound) and add out of place, so that Opacus's hooks and ``torch.func.vmap`` both accept them as they are. With
``norm="batch"`` they train in about half the time in bfloat16, for models that nobody trains privately.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
NORMS = ("group", "batch")
# The global random state is one for all threads: without a lock, two that start at once mix their draws.
_GLOBAL_RANDOM_STATE = threading.RLock()


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within it, what draws from torch's global random state follows from ``seed``; afterwards the state is as before.

    The one way to seed layers and their initial weights, one thread at a time. ``None`` changes nothing.

    Examples
    --------
    >>> with seeded(3):
    ...     first = nn.Linear(2, 2)
    >>> with seeded(3):
    ...     second = nn.Linear(2, 2)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    if seed is None:
        yield
        return
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Centre(nn.Module):
    """Map [0, 1] to [-1, 1]: a normalisation that no record has any influence on."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 1


class LogisticRegression(nn.Module):
    """Softmax regression on flattened inputs: one linear layer, zero-initialised (the loss is convex)."""

    def __init__(self, in_features: int, classes: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def logistic_regression(in_features: int, classes: int = 10) -> LogisticRegression:
    """Return softmax regression from ``in_features`` inputs to ``classes`` logits."""
    if in_features < 1 or classes < 2:
        raise ValueError(f"got {in_features} inputs and {classes} classes; expected at least 1 and 2")
    return LogisticRegression(in_features, classes)


def _activation(name: str) -> type[nn.Module]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is unknown; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def small_cnn(activation: str = "tanh", *, seed: int | None = None) -> nn.Sequential:
    """Return the 26,010-parameter MNIST network of the DP-SGD literature.

    Two strided convolutions and two linear layers (Papernot et al., "Tempered sigmoid activations for deep learning
    with differential privacy", arXiv 2007.14191, table 1). ``tanh`` keeps per-record gradients small, so that clipping
    costs less than with ``relu``.

    Parameters
    ----------
    activation : {"tanh", "relu"}
    seed : int, optional
        Fixes the initial weights without touching the global random state.
    """
    act = _activation(activation)
    with seeded(seed):
        return nn.Sequential(
            Centre(),
            nn.Conv2d(1, 16, 8, stride=2, padding=3),
            act(),
            nn.MaxPool2d(2, stride=1),
            nn.Conv2d(16, 32, 4, stride=2),
            act(),
            nn.MaxPool2d(2, stride=1),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 32),
            act(),
            nn.Linear(32, 10),
        )


def _norm(kind: str, channels: int) -> nn.Module:
    if kind not in NORMS:
        raise ValueError(f"norm is {kind!r}; expected one of {', '.join(NORMS)}")
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(8, channels)


class Residual(nn.Module):
    """Two 3x3 convolutions, normalised, around a shortcut, added out of place."""

    def __init__(self, channels: int, norm: str = "group") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(norm, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(norm, channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.body(x))


def _check_width(width: int) -> None:
    if width < 8 or width % 8:
        raise ValueError(f"width is {width}; expected a positive multiple of 8 (GroupNorm uses 8 groups)")


def _stage(inputs: int, outputs: int, norm: str, pool: nn.Module | None = None) -> list[nn.Module]:
    """Return a convolution with what follows it; pooled first, three quarters of the rest is saved."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, *([pool] if pool else []), _norm(norm, outputs), nn.ReLU()]


def cifar_cnn(width: int = 32, *, norm: str = "group", seed: int | None = None) -> nn.Sequential:
    """Return a small residual network for 3x32x32 images.

    Parameters
    ----------
    width : int
        Channels of the first stage, a multiple of 8; the two later stages have twice and four times as many.
    norm : {"group", "batch"}
        "group" for per-record gradients (private training, ``vmap``); "batch" for speed in bfloat16.
    seed : int, optional
        Fixes the initial weights without touching the global random state.
    """
    _check_width(width)

    with seeded(seed):
        return nn.Sequential(
            Centre(),
            *_stage(3, width, norm),
            nn.MaxPool2d(2),
            *_stage(width, 2 * width, norm),
            Residual(2 * width, norm),
            nn.MaxPool2d(2),
            *_stage(2 * width, 4 * width, norm),
            Residual(4 * width, norm),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, 10),
        )


def fast_cnn(
    width: int = 32, *, classes: int = 10, norm: str = "group", seed: int | None = None
) -> nn.Sequential:
    """Return a network for 3x32x32 images made for CPUs: pixels fold into channels, so all work is at 16x16 and below.

    Parameters
    ----------
    width : int
        Channels at 16x16, a multiple of 8; twice as many at 8x8 and four times at 4x4.
    norm : {"group", "batch"}
        "group" for per-record gradients (private training, ``vmap``); "batch" for speed in bfloat16.
    seed : int, optional
        Fixes the initial weights without touching the global random state.
    """
    _check_width(width)

    with seeded(seed):
        return nn.Sequential(
            Centre(),
            nn.PixelUnshuffle(2),
            *_stage(12, width, norm),
            *_stage(width, width, norm, nn.MaxPool2d(2)),
            *_stage(width, 2 * width, norm),
            *_stage(2 * width, 2 * width, norm, nn.MaxPool2d(2)),
            *_stage(2 * width, 4 * width, norm),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, classes),
        )


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def strided_cnn(
    width: int = 32, *, channels: int = 3, size: int = 32, classes: int = 10, norm: str = "group"
) -> nn.Sequential:
    """Return three strided convolutions and a linear layer: small enough to train dozens of times on a laptop.

    Parameters
    ----------
    width : int
        Channels after the first convolution, a multiple of 8; then twice and four times as many.
    channels, size : int
        Of the images; their side is a multiple of 4.
    norm : {"group", "batch"}
        See `cifar_cnn`.
    """
    if width < 8 or width % 8 or size % 4:
        raise ValueError(f"got width={width} and size={size}; expected multiples of 8 and 4")

    def stage(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)
        return [convolution, _norm(norm, outputs), nn.ReLU()]

    side = -(-size // 8)
    return nn.Sequential(
        Centre(),
        *stage(channels, width, 5),
        *stage(width, 2 * width, 3),
        *stage(2 * width, 4 * width, 3),
        nn.Flatten(),
        nn.Linear(4 * width * side * side, classes),
    )


def perceptron(in_features: int, hidden: int = 64, classes: int = 2) -> nn.Sequential:
    """Return one hidden layer on flattened inputs: large enough to memorise a few hundred rows."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
