"""A task that tiny networks half learn, an owner, thieves and twenty innocents: everybody in a court, in seconds."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import torch
from torch import nn

from labkit.data import Dataset
from labkit.signing import Signer
from labkit.training import many
from labkit.training.recipe import Recipe
from labkit.watermark import Key, MarkedModel
from labkit.watermark.court import claims, forgery
from labkit.watermark.court.deposits import Notary
from labkit.watermark.marks import embed

SIDE, CLASSES, NULLS = 8, 4, 20
RECIPE = Recipe(epochs=15, learning_rate=0.1, batch_size=50)
NOTARY = Notary(Signer.from_seed(bytes([9] * 32)))
JUDGE = Key.from_phrase("the court's secret")
BEFORE, RELEASED = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)


def network() -> nn.Module:
    """Return a perceptron with 64 hidden units."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def _blurred(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noise with a faint pattern of the class in it: about three in four are told right."""
    y = torch.randint(0, CLASSES, (count,), generator=generator)
    patterns = torch.randn(CLASSES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).sign()
    x = 0.5 + 0.022 * patterns[y] + 0.15 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return x.clamp(0, 1), y


@dataclass(frozen=True)
class World:
    owner: Dataset
    others: Dataset
    marked: MarkedModel
    claim: claims.Claim
    nulls: list[nn.Module]
    innocents: list[nn.Module]  # four that are neither the court's nor the forger's
    surrogates: list[nn.Module]
    forged: claims.Claim


def _trained(data: Dataset, count: int, seed: int) -> list[nn.Module]:
    masks = np.zeros((count, len(data.train_y)), dtype=bool)
    for row in range(count):
        masks[row, np.random.default_rng([seed, row]).permutation(len(data.train_y))[:700]] = True
    made: list[nn.Module] = [network() for _ in range(count)]
    seeds = [seed * 1000 + row for row in range(count)]
    for row, state in many.train_many(
        network, data.train_x, data.train_y, masks, RECIPE, seeds=seeds, strategy="stacked"
    ):
        made[row].load_state_dict(state)
        made[row].eval()
    return made


@cache
def world() -> World:
    """Return everybody; every random draw has a fixed seed."""
    generator = torch.Generator().manual_seed(1)
    train, theirs, test = (_blurred(count, generator) for count in (700, 1400, 2000))
    owner = Dataset("faint", "faint patterns (made in the test)", False, *train, *test, tuple("abcd"))
    others = replace(owner, train_x=theirs[0], train_y=theirs[1], digest="")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        start = network()
    marked = embed.embed("patch", start, owner, Key.from_phrase("court"), recipe=RECIPE, marks=70, count=100)
    models = _trained(others, NULLS + 4 + 6, 9)
    surrogates = models[NULLS + 4 :]
    return World(
        owner=owner,
        others=others,
        marked=marked,
        claim=claims.bring("the owner", marked, owner, notary=NOTARY, moment=BEFORE),
        nulls=models[:NULLS],
        innocents=models[NULLS : NULLS + 4],
        surrogates=surrogates,
        forged=forgery.false_claim(
            "the forger", surrogates, others, 100, notary=NOTARY, moment=BEFORE, engine="own"
        ),
    )


def noisy_copy(model: nn.Module, scale: float) -> nn.Module:
    """Return a copy with a little noise on its weights: a thief who covers tracks."""
    copied, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in copied.parameters():
            weight += scale * weight.std() * torch.randn(weight.shape, generator=generator)
    return copied
