"""White-box bits: what an independent key reads, what a pull does, and what it follows from."""

from __future__ import annotations

import numpy as np
import pytest
from marks_scenes import weights

from labkit.federated.marks import bits
from labkit.federated.marks.bits import BitMark
from labkit.watermark.marks.keys import Key

KEY = Key.from_phrase("hospital")
MARK = BitMark(KEY, "North", 2114)


def test_independent_keys_read_mean_0_and_variance_1_whatever_the_weights() -> None:
    few = np.zeros(2114)
    few[:3] = (5.0, -1.0, 2.0)
    for values in (weights(), 100 * weights() + 3, few):
        read = np.concatenate([BitMark(Key.from_phrase(str(n)), "", 2114).read(values) for n in range(20)])
        # 2,560 readings: 4.5 standard errors.
        assert abs(read.mean()) < 0.09
        assert read.std() == pytest.approx(1, abs=0.07)


def test_redrawn_keys_stay_below_the_bound() -> None:
    z = bits.redrawn(MARK, weights(), 1000, Key.from_phrase("judge"))
    for level in (1.0, 2.0, 3.0):
        assert (z >= level).mean() <= bits.chance(level) + 0.02
    assert len(np.unique(z)) == 1000


def test_pull_moves_every_missing_bit_by_its_strength_and_no_other() -> None:
    values = weights()
    before = MARK.word * MARK.read(values)
    change = MARK.pull(values, 0)
    after = MARK.word * (MARK.projection @ (values + change) / np.linalg.norm(values))
    wanted = np.clip(MARK.margin - before, 0, MARK.strength)
    # Projections of two bits overlap by about 1 / sqrt(d).
    assert np.corrcoef(after - before, wanted)[0, 1] > 0.8
    assert (after - before).mean() == pytest.approx(wanted.mean(), rel=0.25)


def test_pull_is_minus_the_gradient_of_a_loss_of_the_readings() -> None:
    """Against finite differences of the hinge with a round corner, at a fixed length of the weights."""
    values, length = weights(), np.linalg.norm(weights())

    def loss(at: np.ndarray) -> float:
        short = MARK.margin - MARK.word * (MARK.projection.astype(float) @ at / length)
        s = MARK.strength
        return float(np.where(short <= 0, 0, np.where(short < s, short**2 / 2, s * short - s**2 / 2)).sum())

    pull = MARK.pull(values, 0)
    for place in (0, 700, 2113):
        step = np.zeros(2114)
        step[place] = 1e-5
        slope = (loss(values + step) - loss(values - step)) / 2e-5
        assert pull[place] == pytest.approx(-slope * length**2 / 2114, rel=1e-3, abs=1e-6)


def test_pulling_embeds_the_message_and_then_stops() -> None:
    values = weights().copy()
    for round in range(60):
        values += MARK.pull(values, round)
    assert MARK.strength_in(values) > 5
    assert np.linalg.norm(MARK.pull(values, 60)) < 0.1 * np.linalg.norm(MARK.pull(weights(), 0))
    assert np.linalg.norm(values - weights()) < 0.3 * np.linalg.norm(values)


def test_the_same_key_in_anothers_name_is_another_mark() -> None:
    other = BitMark(KEY, "South", 2114)
    assert not np.array_equal(other.projection, MARK.projection)
    values = weights().copy()
    for round in range(60):
        values += MARK.pull(values, round)
    assert abs(other.strength_in(values)) < 4


def test_weights_that_start_at_0_can_be_marked() -> None:
    values = np.zeros(2114)
    assert MARK.strength_in(values) == 0
    assert MARK.strength_in(values + MARK.pull(values, 0)) > 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 100}, "multiple of 32"),
        ({"bits": 4096}, "at most as many bits as weights"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"strength": float("nan")}, "strength nan"),
    ],
)
def test_bits_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BitMark(KEY, "North", 2114, **settings)


@pytest.mark.parametrize("values", [np.zeros(3), np.full(2114, np.nan)])
def test_weights_that_are_none_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        MARK.read(values)
