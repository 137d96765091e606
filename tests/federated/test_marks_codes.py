"""The two codes: flipped bits are put right, and innocents are rarely accused, whatever the copy."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from labkit.federated.marks import block_code, tardos
from labkit.watermark.marks.keys import Key

MESSAGES = np.array([[n >> i & 1 for i in range(6)] for n in range(64)])
CODE = tardos.TardosCode.draw(Key.from_phrase("code"), 5, 341, 2)


def test_words_of_a_block_differ_in_16_places_or_more() -> None:
    words = [block_code.encode(message) for message in MESSAGES]
    assert min(int((a != b).sum()) for a, b in combinations(words, 2)) == 16


def test_seven_flips_in_every_block_are_put_right() -> None:
    random = np.random.default_rng(0)
    for message in random.integers(0, 2, (50, 24)):
        word = block_code.encode(message).astype(float)
        for block in range(4):
            word[32 * block + random.choice(32, 7, replace=False)] *= -1
        assert (block_code.decode(word) == message).all()


def test_bits_that_read_near_zero_harm_less_than_flipped_ones() -> None:
    word = block_code.encode(MESSAGES[37]).astype(float)
    word[:15] *= -0.05  # 15 flips are too many for a hard decision
    assert (block_code.decode(word) == MESSAGES[37]).all()


@pytest.mark.parametrize("bits", [0, 31, 100])
def test_lengths_that_are_no_blocks_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        block_code.message_length(bits)


def test_length_follows_the_gaussian_approximation() -> None:
    # Two colluders: sqrt(m) = pi (z(2e-4) + z(.01)).
    assert tardos.length(5, 2, 1e-3) == math.ceil((math.pi * (norm.isf(2e-4) + norm.isf(0.01))) ** 2)
    assert tardos.length(5, 3, 1e-3) > 2 * tardos.length(5, 2, 1e-3)


@pytest.mark.parametrize(
    "readings",
    [
        np.random.default_rng(0).choice([-1.0, 1.0], 341),
        np.random.default_rng(1).standard_normal(341),
        np.where(np.arange(341) < 12, 50.0, 0.01),  # a copy that speaks at few places
        np.sign(CODE.biases - 0.5),  # the strategy of whoever has guessed the biases
    ],
)
def test_innocents_reach_the_threshold_no_more_often_than_promised(readings: np.ndarray) -> None:
    threshold = CODE.threshold(readings, 0.01)
    scores = CODE.scores(readings, CODE.innocents(Key.from_phrase("innocents"), 4000))
    # At most 40 expected by the bound; 70 or more has a chance below 1e-5 if the bound holds.
    assert (scores >= threshold).sum() < 70


def test_chance_and_threshold_are_each_others_inverse() -> None:
    readings = np.random.default_rng(2).standard_normal(341)
    for level in (0.1, 1e-3, 1e-8):
        assert CODE.chance(CODE.threshold(readings, level), readings) == pytest.approx(level, rel=1e-6)


def test_the_bound_is_close_to_the_normal_tail_where_the_score_is_normal() -> None:
    readings = np.random.default_rng(3).choice([-1.0, 1.0], 341)
    threshold = CODE.threshold(readings, 1e-3) / np.linalg.norm(readings)
    assert norm.isf(1e-3) < threshold < norm.isf(1e-3) + 1


def test_a_copy_that_says_nothing_accuses_nobody() -> None:
    assert CODE.threshold(np.zeros(341), 1e-3) == math.inf
    assert CODE.chance(5.0, np.zeros(341)) == 1.0
    few = np.where(np.arange(341) < 2, 1.0, 0.0)
    assert CODE.threshold(few, 1e-9) == math.inf
    best = float(CODE.scores(few, (few > 0).astype(int)[None])[0])
    both = float(np.prod(CODE.biases[:2]))
    assert CODE.chance(best, few) == pytest.approx(both, rel=1e-3)  # only a perfect match: its exact chance


def test_scores_of_a_leaker_and_of_innocents_are_what_the_theory_says() -> None:
    """Own copy: mean E[2 sqrt(p(1-p))] = 2/pi a place (arcsine biases); innocents 0 with variance 1."""
    code = tardos.TardosCode.draw(Key.from_phrase("long"), 200, 4000, 2)
    readings = 2.0 * code.words[0] - 1
    scores = code.scores(readings)
    assert scores[0] / 4000 == pytest.approx(2 / math.pi, abs=0.06)
    # 199 scores: the mean lies within 4 standard errors, the deviation within 20%.
    assert abs(scores[1:].mean()) < 4 * math.sqrt(4000 / 199)
    assert scores[1:].std() == pytest.approx(math.sqrt(4000), rel=0.2)
