"""Patch features: contrast, templates against planted directions, mirrors, independence of records, refusals."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from labkit.dp.utility import patches
from labkit.dp.utility.patches import Layer, learn, learn_layer, normalise, patch_features, spherical_kmeans

SMALL = (Layer(3, 8, 0.25, 2, 0.1), Layer(3, 12, 0.5, 2, 0.03))


def noise(n: int, seed: int = 0, side: int = 14, channels: int = 2) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_squares_are_cut_in_reading_order() -> None:
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    assert patches.cut(maps, 2).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


def test_normalised_squares_forget_brightness_and_contrast_and_survive_none() -> None:
    squares = noise(6, side=3).flatten(1)
    once = normalise(squares)
    torch.testing.assert_close(once.mean(1), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalise(3 * squares + 2), once, atol=5e-3, rtol=0)
    assert torch.equal(normalise(torch.ones(1, 8)), torch.zeros(1, 8))


def test_kmeans_finds_planted_directions() -> None:
    random = torch.Generator().manual_seed(0)
    planted = torch.eye(6)[:4]
    rows = planted[torch.randint(4, (400,), generator=random)] + 0.05 * torch.randn(400, 6, generator=random)
    centres = spherical_kmeans(rows, 8, random)
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(8))
    assert (centres @ planted.T).max(0).values.min() > 0.99


def test_responses_are_those_of_the_formula() -> None:
    """Whiten, compare, threshold, average, root: written out in float64 for one layer."""
    x = noise(5)
    (layer,) = learn(noise(20, 1), SMALL[:1], seed=0)
    squares = normalise(patches.cut(x, 3)).double()
    ones = torch.ones(len(squares), 1, dtype=torch.float64)
    excess = (torch.cat([squares, ones], 1) @ layer.weights.double()).clamp(min=0)
    expected = F.avg_pool2d(excess.view(5, 12, 12, 8).permute(0, 3, 1, 2), 2).sqrt()
    torch.testing.assert_close(layer(x).double(), expected, atol=0.05, rtol=0.02)  # bfloat16 where there is


def test_a_record_s_features_do_not_depend_on_the_other_records() -> None:
    layers = learn(noise(20, 1), SMALL, seed=0)
    x = noise(40)  # more than a chunk
    alone = torch.cat([patch_features(x[i : i + 1], layers) for i in (0, 35)])
    torch.testing.assert_close(patch_features(x, layers)[[0, 35]], alone, atol=0.02, rtol=0.02)


def test_mirrored_features_are_the_same_for_an_image_and_its_mirror() -> None:
    layers = learn(noise(20, 1), SMALL, seed=0)
    x = noise(3)
    mirrored = patch_features(x, layers, mirrored=True)
    torch.testing.assert_close(patch_features(x.flip(-1), layers, mirrored=True), mirrored)
    assert not torch.allclose(patch_features(x.flip(-1), layers), patch_features(x, layers), atol=0.05)


def test_the_same_seed_learns_the_same_templates() -> None:
    one, again, other = (learn_layer(noise(20), SMALL[0], seed=seed).weights for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_too_few_squares_are_refused() -> None:
    with pytest.raises(ValueError, match="need more images"):
        learn_layer(noise(1, side=4), SMALL[0], seed=0)
