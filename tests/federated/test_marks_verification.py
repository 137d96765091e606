"""Marks in the global model: found where they are, nowhere else, and by grounds that hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from marks_scenes import D, enrolment, federation, load, make_model, trained

from labkit.federated import marks
from labkit.federated.marks.verification import answers_of
from labkit.watermark.marks.keys import Key


def verify(weights: np.ndarray, **settings: object) -> marks.MarkReport:
    return marks.verify(weights, enrolment(), **({"redraws": 199} | settings))


def test_every_hospital_is_found_by_bits_and_by_answers() -> None:
    report = verify(trained())
    assert report.found("bits") == enrolment().names
    assert report.found("answers") == enrolment().names
    assert set(report.messages.values()) == {report.message_bits}


def test_nobody_is_found_in_a_model_without_marks() -> None:
    # Ten tests at 1e-3: a false find has a chance below 1%; the seeds are fixed.
    report = verify(trained(marked=False))
    assert report.found("bits") == report.found("answers") == ()


def test_a_hospital_without_a_mark_is_not_found_among_those_with_one() -> None:
    from labkit import federated

    absent = enrolment().names[0]
    weights = federated.federate(federation(0, enrolment().without(absent)), seed=0, secure=False).weights
    assert verify(weights).found("bits") == enrolment().names[1:]


def test_strangers_keys_are_not_found_in_a_marked_model() -> None:
    strangers = marks.enrol(enrolment().names, 99, D)
    assert marks.verify(trained(), strangers, redraws=199).found() == ()


def test_a_suspect_behind_an_interface_needs_to_answer_only() -> None:
    report = verify(np.ones(D), answer=lambda x: answers_of(make_model, trained(), x))
    assert report.found("answers") == enrolment().names
    assert report.found("bits") == ()


def test_null_federations_have_other_splits_and_strangers_marks() -> None:
    nulls = marks.null_federations(federation, enrolment(), 2)
    report = verify(trained(), nulls=nulls)
    assert report.found("bits") == enrolment().names
    assert all(
        line.null_rank == pytest.approx(1 / 3) for lines in report.lines.values() for line in lines[:1]
    )
    assert "rehearsal" in report.summary()


def test_null_federations_that_are_one_are_refused() -> None:
    with pytest.raises(marks.MarkError, match="earlier one gave"):
        marks.null_federations(lambda seed: federation(0), enrolment(), 2)
    with pytest.raises(marks.MarkError, match="a seed and a split of its own"):
        verify(trained(), nulls=[trained(marked=False)] * 3)
    with pytest.raises(marks.MarkError, match="other than the suspect"):
        verify(trained(), nulls=[trained()])


def test_a_null_that_reads_as_strong_stops_the_finding() -> None:
    report = verify(trained(), nulls=[trained() * 1.0001])
    assert report.found("bits") == ()


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_levels_out_of_range_are_refused(alpha: float) -> None:
    with pytest.raises(marks.MarkError, match="alpha is"):
        verify(trained(), alpha=alpha)


def test_a_report_shows_saves_and_loads_itself(tmp_path) -> None:
    report = verify(trained(), source="test")
    assert len(report.table()) == 10
    assert "Hospital A" in report.plot().alt_text
    assert json.loads(report.save(tmp_path / "r.json").read_text())["redrawn keys"] == {
        "bits": 199,
        "answers": 199,
    }
    assert marks.MarkReport.load(report.save(tmp_path / "r.pt")).numbers() == report.numbers()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["A"]}, "at least 2"),
        ({"names": ["A", "A"]}, "each once"),
        ({"seed_or_keys": True}, "whole number"),
        ({"seed_or_keys": {"A": Key.from_phrase("x")}}, "expected \\['A', 'B'\\]"),
        ({"seed_or_keys": {n: Key.from_phrase("x") for n in "AB"}}, "same key"),
        ({"dimension": 200, "bits": 64}, "does not fit 200 weights"),
        ({"triggers": 4}, "triggers need make_model"),
        ({"copy_strength": 0.0}, "copy_strength is 0.0"),
    ],
)
def test_enrolments_that_cannot_work_are_refused(change: dict, message: str) -> None:
    given = {"names": ["A", "B"], "seed_or_keys": 0, "dimension": 1000} | change
    with pytest.raises(marks.MarkError, match=message):
        marks.enrol(**given)


def test_keys_come_from_the_operating_system_unless_a_seed_is_given() -> None:
    one, two = (marks.enrol(["A", "B"], None, 1000) for _ in range(2))
    assert one.keys["A"] != two.keys["A"]
    assert one.tracer != two.tracer
    assert one.keys["A"].seed.hex() not in repr(one) + str(one.numbers())


def test_small_models_can_be_marked_without_a_code_for_copies() -> None:
    small = marks.enrol(["A", "B"], 0, 62, bits=32, colluders=0)
    assert set(small.marks) == {"A", "B"}
    with pytest.raises(marks.MarkError, match="no code for copies"):
        marks.fingerprint(np.ones(62), small)


def test_splits_of_the_scene_differ() -> None:
    assert load(0).digest != load(1).digest
