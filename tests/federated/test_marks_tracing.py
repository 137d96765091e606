"""Copies: whose turned up, alone or mixed, and nobody else's."""

from __future__ import annotations

import numpy as np
import pytest
from marks_scenes import enrolment, federation, make_model, trained, weights

from labkit.federated import marks
from labkit.federated.marks import tracing
from labkit.federated.marks.leaks import LEAKS, Leak, averaged, permuted
from labkit.watermark.keys import Key

NAMES = ("A", "B", "C", "D", "E")
MODEL = weights()


def scene(seed: int) -> tuple[marks.Enrolment, dict[str, np.ndarray]]:
    found = marks.enrol(NAMES, seed, len(MODEL))
    return found, marks.fingerprint(MODEL, found)


def test_every_copy_is_traced_to_its_hospital_alone() -> None:
    enrolled, copies = scene(0)
    for name, copy in copies.items():
        report = marks.trace(copy, enrolled, MODEL)
        assert report.accused == (name,)
        assert report.bounds[name] < 1e-6
        assert report.ranks[name] == 1 / 1000


def test_a_copy_lies_within_the_step_of_the_model() -> None:
    enrolled, copies = scene(0)
    step = enrolled.copy_strength * np.sqrt(np.mean(MODEL**2))
    for copy in copies.values():
        assert np.abs(copy - MODEL).max() == pytest.approx(step)
    assert len({copy.tobytes() for copy in copies.values()}) == len(NAMES)


@pytest.mark.parametrize("name", ["two averaged", "two, min or max", "two interleaved"])
def test_two_who_mix_their_copies_are_both_found_and_nobody_else(name: str) -> None:
    leak = LEAKS[name]
    for seed in range(10):
        enrolled, copies = scene(seed)
        random = np.random.default_rng(seed)
        who = tuple(random.choice(NAMES, 2, replace=False))
        mixed = leak.change(np.stack([copies[n] for n in who]), None, who, random)
        assert set(marks.trace(mixed, enrolled, MODEL).accused) == set(who)


def test_innocents_are_accused_in_less_than_one_copy_in_a_thousand() -> None:
    """60 leaks by two, 180 innocents, then 6,000 words that nobody holds on one copy; the seeds are fixed.

    By the bound, a wrong accusation has a chance of 0.001 a copy: two or more in 60 copies have one below 0.002.
    """
    wrong = 0
    for seed in range(60):
        enrolled, copies = scene(seed)
        mixed = (copies["A"] + copies["B"]) / 2
        wrong += len(set(marks.trace(mixed, enrolled, MODEL).accused) - {"A", "B"})
    assert wrong <= 1
    code, readings = enrolled.code, tracing.read(mixed, enrolled, MODEL)
    words = code.innocents(Key.from_phrase("others"), 6000)
    # At most 1.2 expected at 0.001 / 5; eight or more have a chance below 1e-4.
    assert (code.scores(readings, words) >= code.threshold(readings, 2e-4)).sum() < 8


def test_nobody_is_accused_for_the_model_itself_or_for_anothers() -> None:
    enrolled, _ = scene(0)
    random = np.random.default_rng(0)
    for suspect in (MODEL, MODEL + 0.01 * random.standard_normal(len(MODEL)), weights(1)):
        report = marks.trace(suspect, enrolled, MODEL)
        assert report.accused == ()
        assert "nobody" in report.summary()


def test_a_copy_scaled_as_a_whole_is_traced() -> None:
    enrolled, copies = scene(0)
    assert marks.trace(1.7 * copies["C"], enrolled, MODEL).accused == ("C",)


def test_weights_that_were_cut_speak_no_louder_than_others() -> None:
    enrolled, copies = scene(0)
    cut = copies["D"].copy()
    cut[np.argsort(-np.abs(cut))[:50]] = 0
    assert marks.trace(cut, enrolled, MODEL).accused == ("D",)


def test_permuted_and_rescaled_units_hide_a_leak_until_they_are_put_back() -> None:
    copies = marks.fingerprint(trained(), enrolment())
    name = enrolment().names[1]
    leaked = permuted(copies[name][None], federation(0), (name,), np.random.default_rng(0))
    from labkit.federated.marks.verification import answers_of

    x = federation(0).hospitals.pooled().test_x
    assert (answers_of(make_model, leaked, x) == answers_of(make_model, copies[name], x)).all()
    assert marks.trace(leaked, enrolment(), trained()).accused == ()
    assert marks.trace(leaked, enrolment(), trained(), make_model=make_model).accused == (name,)


def test_without_the_model_the_bound_still_protects_innocents() -> None:
    wrong = 0
    for seed in range(30):
        enrolled, copies = scene(seed)
        wrong += len(set(marks.trace(copies["A"], enrolled).accused) - {"A"})
    assert wrong <= 1  # expected at most 0.03


@pytest.mark.parametrize("suspect", [np.zeros(3), np.full(len(MODEL), np.inf)])
def test_suspects_of_another_shape_are_refused(suspect: np.ndarray) -> None:
    with pytest.raises(marks.MarkError, match="as enrolled"):
        marks.trace(suspect, scene(0)[0], MODEL)


def test_putting_units_back_needs_the_original() -> None:
    with pytest.raises(marks.MarkError, match="pass original="):
        marks.trace(MODEL, scene(0)[0], make_model=make_model)


def test_a_study_counts_leakers_and_innocents(tmp_path) -> None:
    leaks = {
        "whole": LEAKS["as handed out"],
        "mixed": LEAKS["two averaged"],
        "tuned": LEAKS["fine-tuned, 2 epochs"],
    }
    report = marks.study_leaks([(federation(0), trained())], enrolment(), leaks=leaks, trials=4)
    assert report.traced["whole"].each.estimate == report.traced["mixed"].all.estimate == 1
    assert report.innocents.method == "Clopper-Pearson, 44 trials"  # 4 x (4 + 3 + 4)
    assert report.innocents.estimate == 0
    assert marks.LeakReport.load(report.save(tmp_path / "leaks.pt")).numbers() == report.numbers()
    assert len(report.table()) == 3
    assert "mixed" in report.plot().alt_text


def test_a_study_without_innocents_is_refused() -> None:
    with pytest.raises(marks.MarkError, match="nobody would be innocent"):
        marks.study_leaks(
            [(federation(0), trained())], enrolment(), leaks={"all": Leak(5, averaged)}, trials=1
        )
