"""Foreign data and foreign models: what a user brings along, made small."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from labkit import data, models


def rows(dtype: str = "float32") -> data.Dataset:
    """160 rows of 5 numbers in two classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160)
    x = rng.normal(size=(160, 5)) + y[:, None]
    return data.Dataset.from_numpy(x, y, test_share=0.25, dtype=dtype, name="rows", real=False)


def tokens() -> data.Dataset:
    """160 sequences of 6 tokens out of 9."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160)
    x = np.where(rng.random((160, 6)) < 0.4, y[:, None], rng.integers(0, 9, (160, 6)))
    return data.Dataset.from_numpy(x, y, test_share=0.25, dtype="int64", name="tokens", real=False)


def pictures(side: int) -> data.Dataset:
    """160 grey images, bright or dark."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160)
    x = 0.6 * rng.random((160, 1, side, side)) + 0.4 * y[:, None, None, None]
    return data.Dataset.from_numpy(x, y, test_share=0.25, name=f"{side}x{side}", real=False)


class Recurrent(nn.Module):
    """Embedding, LSTM (torch's, or Opacus's DPLSTM), linear."""

    def __init__(self, layer: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.lstm = layer(8, 12, batch_first=True)
        self.out = nn.Linear(12, 2)

    def forward(self, x):
        return self.out(self.lstm(self.embedding(x))[0][:, -1])


class Tied(nn.Module):
    """One weight used twice: to look tokens up, and to score them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.out = nn.Linear(8, 9, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(self.embedding(x).mean(1))[:, :2]


class Parts(nn.Module):
    """Answers with a tuple, or with a dict."""

    def __init__(self, kind: type = dict) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(5, 2), kind

    def forward(self, x):
        logits = self.linear(x)
        return {"logits": logits, "features": x} if self.kind is dict else (logits, x)


def dp_lstm() -> Recurrent:
    from opacus.layers import DPLSTM

    return Recurrent(DPLSTM)


def half_frozen() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    model[0].requires_grad_(False)
    return model


def double() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)).double()


def small_cnn(side: int) -> nn.Module:
    return models.strided_cnn(8, channels=1, size=side, classes=2)


def seeded(make):
    torch.manual_seed(0)
    return make()
