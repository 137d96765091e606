from __future__ import annotations

import pytest

from labkit import data
from labkit.data import Dataset
from labkit.dp.utility import cnn_pipeline


def test_the_cnn_recipe_trains_on_images(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    x, y = data.strokes(1100, seed=4)
    classes = tuple("0123456789")
    digits = Dataset("strokes", "synthetic strokes", False, x[:1000], y[:1000], x[1000:], y[1000:], classes)
    result = cnn_pipeline.cnn_pipeline(digits, target_epsilon=8.0, steps=2, epochs=None, seed=1)
    assert result.settings["engine"] == "layers"  # the recipe itself names Opacus, for the lesson
    assert 7.9 < result.privacy.epsilon <= 8.0
    assert result.seed == 1


def test_recipes_follow_the_profile_and_say_where_they_were_tuned(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "laptop")
    laptop = cnn_pipeline.recipe("cnn", target_epsilon=3.0)
    assert laptop == cnn_pipeline.RECIPES["cnn"].settings
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    assert cnn_pipeline.recipe("cnn", target_epsilon=3.0)["epochs"] < laptop["epochs"]
    assert "held out" in cnn_pipeline.RECIPES["cnn"].tuned_on


def test_unknown_recipes_are_named() -> None:
    with pytest.raises(ValueError, match="'mlp' is unknown; expected one of cnn"):
        cnn_pipeline.recipe("mlp", target_epsilon=1.0)
    with pytest.raises(ValueError, match="target_epsilon=0"):
        cnn_pipeline.recipe("cnn", target_epsilon=0.0)
