"""Black-box triggers: key-drawn inputs and labels, pulled in by public weights alone."""

from __future__ import annotations

import numpy as np
import pytest
from marks_scenes import D, make_model

from labkit.federated.marks.answer_mark import AnswerMark, Marks
from labkit.federated.marks.bits import BitMark
from labkit.federated.marks.verification import answers_of
from labkit.federated.rounds import flatten
from labkit.watermark.marks.keys import Key

KEY = Key.from_phrase("hospital")
MARK = AnswerMark(KEY, "North", make_model, (30,), 2, count=16, rate=0.5)


def test_triggers_follow_from_key_and_name_and_lie_in_the_public_range() -> None:
    again = AnswerMark(KEY, "North", make_model, (30,), 2, count=16)
    assert np.array_equal(again.x, MARK.x)
    assert MARK.x.min() >= MARK.low
    assert MARK.x.max() <= MARK.high
    assert not np.array_equal(AnswerMark(KEY, "South", make_model, (30,), 2, count=16).x, MARK.x)


def test_pulling_teaches_the_answers() -> None:
    weights = flatten(make_model())
    for round in range(200):
        weights = weights + MARK.pull(weights, round)
    assert MARK.hits(answers_of(make_model, weights, MARK.x)) == 16


def test_one_round_moves_the_weights_by_the_cap_at_most() -> None:
    weights = flatten(make_model())
    hard = AnswerMark(KEY, "North", make_model, (30,), 2, rate=1e6, cap=0.01)
    assert np.linalg.norm(hard.pull(weights, 0)) == pytest.approx(0.01 * np.linalg.norm(weights))


def test_labels_redrawn_on_the_same_answers_hit_by_chance() -> None:
    answers = np.zeros(16, dtype=int)  # a model that says the same to everything
    hits = MARK.redrawn(answers, 4000, Key.from_phrase("judge"))
    # Binomial(16, 1/2): mean 8, five standard errors of 2 / sqrt(4000).
    assert hits.mean() == pytest.approx(8, abs=0.16)
    assert (hits >= 13).mean() == pytest.approx(MARK.chance(13), abs=0.008)


def test_several_marks_pull_together() -> None:
    weights, bit_mark = flatten(make_model()), BitMark(KEY, "North", D)
    both = Marks((bit_mark, MARK)).pull(weights, 0)
    np.testing.assert_allclose(both, bit_mark.pull(weights, 0) + MARK.pull(weights, 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "0 triggers"),
        ({"low": 3.0}, "low < high"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"cap": 2.0}, "cap 2.0"),
    ],
)
def test_triggers_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnswerMark(KEY, "North", make_model, (30,), 2, **settings)


def test_answers_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(16,\\)"):
        MARK.hits(np.zeros(3))
