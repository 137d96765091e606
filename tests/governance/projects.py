"""Small submissions with a known outcome: a private softmax regression on made-up tables, and variations of it."""

from __future__ import annotations

import torch
from torch import nn

from labkit.audit import planted_bugs
from labkit.data import Dataset
from labkit.governance import Claim, Project, Shadows, Submitted, checklist
from labkit.training import Recipe

STEPS, RATE, DELTA = 60, 0.1, 1e-5
EPSILON = 2.0
NOISE = 1.86065  # at which so many steps cost this ε, by PLD: a test of the accounting check holds it so


def table(n: int = 240, *, features: int = 6, seed: int = 0) -> Dataset:
    """Return two classes of Gaussian rows that a linear model separates well, train and test drawn alike."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (2 * n,), generator=draw)
    x = torch.randn(2 * n, features, generator=draw) + 1.5 * (y[:, None] - 0.5)
    return Dataset("table", "made for a test", True, x[:n], y[:n], x[n:], y[n:], ("no", "yes"))


def regression() -> nn.Module:
    layer = nn.Linear(6, 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def train_private(dataset: Dataset, *, noise: float, seed: int = 0) -> nn.Module:
    """DP-SGD by the book: Poisson batches, per-record clipping at 1, Gaussian noise, the expected batch size."""
    draw, model, n = torch.Generator().manual_seed(seed), regression(), len(dataset.train_y)
    for _ in range(STEPS):
        chosen = torch.rand(n, generator=draw) < RATE
        x, y = dataset.train_x[chosen], dataset.train_y[chosen]
        residual = model(x).softmax(1).detach() - nn.functional.one_hot(y, 2)
        rows = torch.cat([residual[:, :, None] * x[:, None, :], residual[:, :, None]], 2).flatten(1)
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1)
        step = (rows.sum(0) + noise * torch.randn(rows.shape[1], generator=draw)).view(2, 7) / (RATE * n)
        with torch.no_grad():
            model.weight -= step[:, :6]
            model.bias -= step[:, 6]
    return model


def claim(**changes) -> Claim:
    facts = {
        "epsilon": EPSILON,
        "delta": DELTA,
        "accountant": "PLD",
        "sampler": "poisson",
        "batches": "poisson",
        "noise_multiplier": NOISE,
        "sample_rate": RATE,
        "steps": STEPS,
        "neighbouring": "add/remove",
        "unit": "a record",
        "tuning_runs": 1,
    }
    return Claim(**{**facts, **changes})


def answers() -> dict[str, str]:
    """Return an answer to every item that a person has to answer."""
    return {item.id: "looked at, and so it is" for item in checklist.load() if not item.automatic}


def sound(**changes) -> Project:
    """Return a submission that nothing speaks against."""
    data = table()
    given = {
        "title": "a sound model",
        "owner": "Ana Perez",
        "model": train_private(data, noise=NOISE),
        "dataset": data,
        "claim": claim(),
        "train_step": planted_bugs.correct,
        "trainer": lambda dataset: train_private(dataset, noise=NOISE, seed=1),
        "shadows": Shadows(
            make_model=regression,
            recipe=Recipe(5, learning_rate=0.1, batch_size=32),
            models=4,
            knows_defence=True,
        ),
        "evidence": [
            Submitted(
                attack="lira",
                metric="tpr",
                value=0.01,
                interval=(0.0, 0.03),
                false_positive_rate=0.01,
                shadow_models=16,
                knows_defence=True,
            )
        ],
        "promises": {"auc": 0.65},
        "answers": answers(),
    }
    return Project(**{**given, **changes})
