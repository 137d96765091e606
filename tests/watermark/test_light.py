"""A keyed light: scores, what raises them, and what training does to pictures that must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.data import Dataset
from labkit.watermark import Key
from labkit.watermark.marks.light import light_of

KEY = Key.from_phrase("tests")


@pytest.fixture(scope="module")
def skies() -> Dataset:
    """Pictures whose light differs: a random slope of brightness and a random tint on noise."""
    generator = torch.Generator().manual_seed(0)
    slope = torch.linspace(-0.15, 0.15, 24)[None, None, :, None] * torch.randn(
        800, 1, 1, 1, generator=generator
    )
    tint = 0.05 * torch.randn(800, 3, 1, 1, generator=generator)
    x = (0.4 + 0.2 * torch.rand(800, 3, 24, 24, generator=generator) + slope + tint).clamp(0, 1)
    y = torch.arange(800) % 4
    return Dataset("skies", "made", False, x[:600], y[:600], x[600:], y[600:], tuple("abcd"))


def test_scores_of_natural_pictures_have_mean_zero_and_deviation_one(skies):
    scores = light_of(KEY, skies).scores(skies.train_x)
    assert abs(float(scores.mean())) < 1e-3
    assert float(scores.std(unbiased=False)) == pytest.approx(1, abs=1e-3)


def test_the_shine_raises_a_score_by_one(skies):
    light = light_of(KEY, skies)
    raised = light.scores(skies.test_x + light.shine) - light.scores(skies.test_x)
    assert torch.allclose(raised, torch.ones(200), atol=1e-4)


def test_a_mirror_image_has_the_same_score(skies):
    light = light_of(KEY, skies)
    assert torch.allclose(light.scores(skies.test_x), light.scores(skies.test_x.flip(-1)), atol=1e-3)


def test_lit_pictures_reach_their_level_and_brighter_ones_are_left_alone(skies):
    light, x = light_of(KEY, skies), skies.test_x
    lit = light.lit(x, 2.0)
    assert lit.min() >= 0
    assert lit.max() <= 1
    reached = light.scores(lit)
    assert float((reached - 2).abs().median()) < 0.05
    above = light.scores(x) > 2
    assert torch.equal(light.lit(x, -9.0), x)
    assert torch.equal(lit[above], x[above])


def test_lights_of_two_keys_have_little_to_do_with_each_other(skies):
    slopes = [light_of(Key.from_phrase(str(k)), skies).slope.flatten() for k in range(12)]
    cosines = np.corrcoef(torch.stack(slopes).numpy())[np.triu_indices(12, 1)]
    assert np.abs(cosines).mean() < 0.45  # of 12 keys; they are fixed


def test_pictures_without_light_of_their_own_are_refused(skies):
    with pytest.raises(ValueError, match="the same light"):
        light_of(KEY, replace(skies, train_x=torch.full((600, 3, 24, 24), 0.5), digest=""))
    flat = replace(skies, train_x=skies.train_x.flatten(1), test_x=skies.test_x.flatten(1), digest="")
    with pytest.raises(ValueError, match="needs images"):
        light_of(KEY, flat)
