"""Which arithmetic trains faster: measured once, kept, overruled, and part of every key through the recipe."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from labkit import cache, models
from labkit.training import precision
from labkit.training.recipe import Recipe, train_one

CPU = torch.device("cpu")


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list[bool]:
    """Neither process nor cache knows the answer; the list tells which steps were timed."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    precision.share.cache_clear()
    timed: list[bool] = []
    monkeypatch.setattr(
        precision,
        "_step_seconds",
        lambda device, bfloat16: timed.append(bfloat16) or (0.5 if bfloat16 else 1.0),
    )
    yield timed
    precision.share.cache_clear()


def test_the_quicker_one_is_measured_once_per_machine(unmeasured) -> None:
    assert Recipe(epochs=1, precision="auto").precision == "bfloat16"
    assert precision.quickest(CPU) == "bfloat16"
    precision.share.cache_clear()  # another process
    assert precision.quickest(CPU) == "bfloat16"
    assert unmeasured == [True, False]
    assert "takes 50% of a float32 one" in precision.described(CPU)


def test_where_bfloat16_is_slower_or_missing_float32_is_taken(unmeasured, monkeypatch) -> None:
    monkeypatch.setattr(precision, "_step_seconds", lambda device, bfloat16: 0.9 if bfloat16 else 1.0)
    assert Recipe(epochs=1, precision="auto").precision == "float32"

    def no_kernel(device, bfloat16):
        raise RuntimeError("not implemented for BFloat16")

    precision.share.cache_clear()
    monkeypatch.setenv("LABKIT_CACHE", str(cache.directory() / "another"))
    monkeypatch.setattr(precision, "_step_seconds", no_kernel)
    assert precision.quickest(CPU) == "float32"


def test_the_environment_overrules_the_measurement(unmeasured, monkeypatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, "float32")
    assert Recipe(epochs=1, precision="auto") == Recipe(epochs=1)
    monkeypatch.setenv(precision.VARIABLE, "float8")
    with pytest.raises(ValueError, match="LABKIT_PRECISION is 'float8'"):
        precision.quickest(CPU)
    assert unmeasured == []


def test_a_recipe_names_what_it_uses_and_its_key_differs() -> None:
    one, other = (Recipe(epochs=1, precision=name) for name in precision.PRECISIONS)
    assert "precision='bfloat16'" in repr(other)
    assert cache.digest(one) != cache.digest(other)
    with pytest.raises(ValueError, match="precision is 'half'"):
        Recipe(epochs=1, precision="half")


def test_a_step_can_be_timed_in_both() -> None:
    assert all(precision._step_seconds(CPU, bfloat16, steps=1) > 0 for bfloat16 in (True, False))


def test_bfloat16_trains_to_about_the_same_weights_and_keeps_them_in_float32() -> None:
    x = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    y, make = torch.arange(40) % 3, partial(models.strided_cnn, 8, size=8, classes=3, norm="batch")
    recipes = [
        Recipe(epochs=1, learning_rate=0.02, batch_size=20, precision=name) for name in precision.PRECISIONS
    ]
    exact, rounded = (train_one(make, x, y, recipe, 0, CPU) for recipe in recipes)
    assert torch.equal(rounded["1.weight"], train_one(make, x, y, recipes[1], 0, CPU)["1.weight"])
    assert not torch.equal(exact["1.weight"], rounded["1.weight"])
    for name, value in exact.items():
        assert rounded[name].dtype == value.dtype
        # 8 bits of precision: two steps at a rate of .02 move weights by less than their rounding would tell apart at .05
        torch.testing.assert_close(rounded[name], value, rtol=0.05, atol=0.05)
