"""Trained models on disk: trained once, made again when their code changes, never lost to a disk that is full."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from labkit import cache
from labkit.training import Recipe, recipe, shelf

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
MASKS = np.ones((2, 40), bool)


class Scaled(nn.Module):
    """A model whose structure says nothing of its slope."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 2)
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * self.linear(x)


class Bent(Scaled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).tanh()


class Cold(Enum):
    A, B = 1, 2


Bent.__qualname__ = Bent.__name__ = "Scaled"  # as if the class had been edited


def train(folder: Path, seeds: tuple[int, ...] = (1, 2)) -> list[dict]:
    paths = [folder / f"model-{seed}.pt" for seed in seeds]
    masks = MASKS[: len(seeds)]
    return shelf.train_missing(paths, Scaled, X, Y, masks, Recipe(epochs=1), seeds=seeds, what="models")


def test_only_what_is_missing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(tmp_path, (1,))
    asked: list[int] = []
    whole = shelf.many.train_many

    def counted(*args: object, seeds: list[int], **options: object) -> object:
        asked.extend(seeds)
        return whole(*args, seeds=seeds, **options)

    monkeypatch.setattr(shelf.many, "train_many", counted)
    again = train(tmp_path, (1, 2))
    assert asked == [2]
    assert torch.equal(again[0]["linear.weight"], first[0]["linear.weight"])


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    first = train(tmp_path)
    (tmp_path / "model-1.pt").write_bytes(b"half")
    again = train(tmp_path)
    assert torch.equal(again[0]["linear.weight"], first[0]["linear.weight"])
    assert shelf.read(tmp_path / "model-1.pt") is not None


def test_a_disk_that_is_full_costs_the_copy_and_not_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.warns(cache.CacheWarning, match="models: kept in memory only .*disk full"):
        states = train(tmp_path)
    assert len(states) == 2
    assert not list(tmp_path.iterdir())


def test_identity_sees_structure_weights_code_and_settings() -> None:
    makers = [
        Scaled,
        Bent,
        partial(Scaled, 2.0),
        lambda: Scaled(3.0),
        partial(nn.Linear, 5, 2),
        partial(nn.Linear, 5, 3),
    ]
    makers += [  # two of a class in one model, and settings that are no plain numbers
        lambda: nn.Sequential(Scaled(2.0), nn.Linear(2, 5), Scaled(1.0)),
        lambda: nn.Sequential(Scaled(9.0), nn.Linear(2, 5), Scaled(1.0)),
        lambda: Scaled(torch.tensor(2.0)),
        lambda: Scaled((2.0,)),
        lambda: Scaled((9.0,)),
    ]
    held = (
        SimpleNamespace(t=1),
        SimpleNamespace(t=2),
        {1},
        {2},
        torch.float32,
        torch.float64,
        Cold.A,
        Cold.B,
    )
    makers += [partial(Scaled, each) for each in held]
    assert repr(Scaled()) == repr(Bent())
    assert len({cache.digest(*shelf.model_identity(maker)) for maker in makers}) == len(makers)
    assert cache.digest(*shelf.model_identity(Scaled)) == cache.digest(
        *shelf.model_identity(lambda: Scaled())
    )


def test_frozen_tied_hooked_and_unsaved_are_told_apart() -> None:
    def plain() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def frozen() -> nn.Module:
        model = plain()
        model[0].requires_grad_(False)
        return model

    def tied() -> nn.Module:
        model = plain()
        model[1].weight = model[0].weight
        return model

    def untied() -> nn.Module:
        model = plain()
        model[1].weight = nn.Parameter(model[0].weight.detach().clone())
        return model

    def hooked() -> nn.Module:
        model = plain()
        model.register_forward_hook(lambda module, given, answer: answer / 9)
        return model

    def unsaved(by: float) -> nn.Module:
        model = plain()
        model.register_buffer("by", torch.tensor(by), persistent=False)
        return model

    makers = (plain, frozen, tied, untied, hooked, lambda: unsaved(1.0), lambda: unsaved(9.0))
    assert len({cache.digest(*shelf.model_identity(maker)) for maker in makers}) == len(makers)


def test_a_changed_optimiser_makes_kept_models_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.digest(list(shelf.CODE))

    def optimizer_of(parameters: object, recipe: Recipe) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, recipe.learning_rate)

    monkeypatch.setattr(recipe, "optimizer_of", optimizer_of)
    assert cache.digest(list(shelf.CODE)) != before
