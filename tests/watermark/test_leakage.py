"""Paired leakage: the visible size against simulation, who is a neighbour, and the whole run on a tiny bank."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats as st

from labkit import membership, models
from labkit.stats import mean_interval
from labkit.training.recipe import Recipe
from labkit.watermark import Key
from labkit.watermark.privacy import leakage


@pytest.mark.parametrize("pairs", [3, 5, 20])
def test_the_visible_difference_is_found_in_four_of_five_simulated_studies(pairs: int) -> None:
    size = leakage.visible_difference(1.0, pairs)
    rng = np.random.default_rng(pairs)
    gaps = size + rng.normal(size=(4000, pairs))
    error = gaps.std(1, ddof=1) / np.sqrt(pairs)
    found = np.abs(gaps.mean(1) / error) > st.t.isf(0.025, pairs - 1)
    # The textbook sum of two t quantiles is an approximation to the noncentral t: exact power is .74 to .80 here, and
    # 4,000 runs stray by less than .025 except with probability 1e-3 (fixed seed: never).
    assert 0.70 < found.mean() < 0.83
    assert leakage.visible_difference(2.0, pairs) == pytest.approx(2 * size)
    assert leakage.visible_difference(1.0, pairs, power=0.9) > size


def test_one_pair_shows_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        leakage.visible_difference(1.0, 1)


def test_neighbours_are_the_images_that_look_like_a_trigger() -> None:
    generator = torch.Generator().manual_seed(0)
    pool = torch.rand(400, 3, 16, 16, generator=generator)
    chosen = torch.tensor([7, 99, 250])
    triggers = (pool[chosen] + 0.01).clamp(0, 1)
    triggers[:, :, -4:-1, -4:-1] = 1.0  # a patch weighs little
    near = leakage.neighbours(pool, triggers, share=0.1)
    assert set(chosen.tolist()) <= set(near.tolist())
    assert len(near) == 40
    assert (np.diff(near) > 0).all()
    assert len(leakage.neighbours(pool, triggers, share=0.001)) == 20  # fewer would make no AUC


def test_a_line_says_raised_lowered_or_what_would_have_shown() -> None:
    before = np.array([0.60, 0.62, 0.61, 0.63])
    noise = np.array([0.001, -0.001, 0.002, -0.002])
    assert leakage._line("loss", "all records", before, before + 0.05 + noise).verdict == "raised"
    assert leakage._line("loss", "all records", before, before - 0.05 + noise).verdict == "lowered"
    line = leakage._line("loss", "all records", before, before + noise)
    assert line.verdict.startswith("no difference found")
    assert f"{line.visible:.3f}" in line.verdict
    assert line.difference == mean_interval((before + noise) - before)


@pytest.fixture
def bank(bars):
    return membership.shadow_bank(
        bars,
        make_model=partial(models.fast_cnn, 8, classes=len(bars.classes)),
        recipe=Recipe(epochs=2, learning_rate=0.1, batch_size=50),
        shadow_models=4,
        pool=200,
        population=200,
    )


def test_pairs_are_attacked_alike_and_reported(bank, tmp_path) -> None:
    key = Key.from_phrase("pairs")
    found = leakage.leakage(bank, "patch", key, seeds=(1, 2), attacks=("loss",), marks=20, count=20)
    assert [(line.attack, line.records) for line in found.lines] == [
        ("loss", "all records"),
        ("loss", "near the marks"),
    ]
    for line in found.lines:
        gap = line.marked.estimate - line.unmarked.estimate
        assert line.difference.estimate == pytest.approx(gap, abs=1e-12)
        assert line.visible > 0
        assert 0 <= line.unmarked.estimate <= 1
    assert found.plot().alt_text
    assert len(found.table()) == 2
    written = json.loads(found.save(tmp_path / "leak.json").read_text())
    assert written["pairs"] == 2
    assert len(written["lines"]) == 2
    assert written["source"] == bank.source
    again = leakage.leakage(bank, "patch", key, seeds=(1, 2), attacks=("loss",), marks=20, count=20)
    assert again.lines == found.lines
    with pytest.raises(ValueError, match="at least 2 seeds"):
        leakage.leakage(bank, "patch", key, seeds=(1,))


def test_a_marked_target_has_the_members_of_its_unmarked_twin(bank) -> None:
    (target, strength, triggers), *_ = leakage.marked_targets(
        bank, "patch", Key.from_phrase("pairs"), (1, 2), marks=20, count=20
    )
    twin, _ = membership.train_targets(bank, seeds=(1, 2))
    assert np.array_equal(target.members, twin.members)
    assert not np.allclose(target.logits, twin.logits)
    assert len(triggers) == 20
    assert 0 <= strength.estimate <= 1
