"""A small network that is taught synthetic images, with their labels: its layers are features for private learning.

In the spirit of DP-RandP (arXiv 2306.06076), which learns them from noise. No private record is read.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from labkit import cache, profiles
from labkit.dp.utility.public import PUBLIC_SEED, public_images
from labkit.training.recipe import Recipe, train_one


def lessons() -> tuple[int, int]:
    """Return how many synthetic images the network is taught, and for how many epochs."""
    return profiles.current().pick(smoke=(1000, 2), laptop=(30_000, 4), full=(60_000, 8))


def taught_network(shape: tuple[int, ...], count: int, epochs: int) -> nn.Sequential:
    """Return the network without its last layer, trained on synthetic images, or from the cache."""
    settings = {"shape": list(shape), "count": count, "epochs": epochs}
    compute = functools.partial(_train_network, shape, count, epochs)
    return cache.cached("public-network", settings, compute, code=[_train_network])


def _train_network(shape: tuple[int, ...], count: int, epochs: int) -> nn.Sequential:
    """Train a small CNN to tell synthetic images apart; return it without its last layer."""
    x, y = public_images(shape).labelled(count, PUBLIC_SEED + 1)
    make = functools.partial(_network, shape, int(y.max()) + 1)
    recipe = Recipe(epochs, batch_size=256, weight_decay=5e-4, label_smoothing=0.1, shift=1, precision="auto")
    network = make()
    network.load_state_dict(train_one(make, x, y, recipe, PUBLIC_SEED, torch.device("cpu")))
    return network.eval()[:-1]


def _network(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return three convolutions with BatchNorm, a hidden layer of 256, and a last layer."""

    def stage(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    channels, height, width = shape
    return nn.Sequential(
        *stage(channels, 32, 5, 2),
        *stage(32, 64, 3, 1),
        nn.MaxPool2d(2),
        *stage(64, 64, 3, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 8) * (width // 8), 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )
