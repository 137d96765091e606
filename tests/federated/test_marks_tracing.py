"""Copies: whose turned up, alone or mixed, and nobody else's."""

from __future__ import annotations

import numpy as np
import pytest
from marks_scenes import enrolment, federation, make_model, opened, trained, weights

from labkit.federated import marks
from labkit.federated.marks import tracing
from labkit.federated.marks.innocents import accuse_innocents
from labkit.federated.marks.leaks import FOLLOWED, LEAKS, Leak, averaged, permuted, rebuilt
from labkit.watermark.marks.keys import Key

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


def test_whoever_took_part_rebuilds_the_model_from_the_rounds_and_is_not_traced() -> None:
    estimate = rebuilt(opened(), federation(0), (), np.random.default_rng(0))
    missed = np.sqrt(np.mean((estimate - trained()) ** 2))
    assert missed < 0.5 * tracing.step_of(trained(), enrolment())
    assert marks.trace(estimate, enrolment(), trained(), make_model=make_model).accused == ()


def test_the_estimate_is_exact_where_training_has_come_to_rest() -> None:
    """All weights after the rounds that count are one vector then: so is their mean."""
    still = np.tile(weights(), (federation(0).training.rounds, 1))
    still[:16] = 0  # rounds 1 to 16 of 20 open with something else; 17 to 20 count
    estimate = rebuilt(still, federation(0), (), np.random.default_rng(0))
    np.testing.assert_allclose(estimate, weights())


def study(**settings: object) -> marks.LeakReport:
    return marks.study_leaks([(federation(0), trained())], enrolment(), trials=4, draws=20, **settings)


def test_a_study_counts_draws_not_hospitals(tmp_path) -> None:
    names = {"whole": "as handed out", "mixed": "two averaged", "tuned": "fine-tuned, 2 epochs"}
    report = study(leaks={new: LEAKS[old] for new, old in names.items()})
    assert report.traced["whole"].any.estimate == report.traced["mixed"].all.estimate == 1
    # Four innocents and three leaks a draw are one trial: they share words and places.
    assert report.innocents.method == "Clopper-Pearson, 4 trials"
    assert report.traced["mixed"].innocents.method == "Clopper-Pearson, 4 trials"
    assert report.fresh.method == "Clopper-Pearson, 20 trials"
    assert report.innocents.estimate == 0
    assert "independent draws of code words, places and leakers" in report.summary()
    assert marks.LeakReport.load(report.save(tmp_path / "leaks.pt")).numbers() == report.numbers()
    assert len(report.table()) == 3
    assert "mixed" in report.plot().alt_text


def test_a_study_counts_a_draw_with_several_wrong_accusations_once() -> None:
    def frame(copies, federation, names, random):  # whoever leaks, everybody's copy is in it
        return everyone.pop(0)

    everyone: list[np.ndarray] = []
    original = marks.leak_study.fingerprint

    def spy(weights: np.ndarray, fresh: marks.Enrolment) -> dict[str, np.ndarray]:
        copies = original(weights, fresh)
        everyone.append(np.mean(list(copies.values())[:3], axis=0))
        return copies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks.leak_study, "fingerprint", spy)
        report = study(leaks={"framed": Leak(1, frame)})
    assert report.innocents.estimate == report.traced["framed"].innocents.estimate == 1


def test_a_study_shows_that_a_hospitals_view_of_the_rounds_is_not_traced() -> None:
    leaks = {name: LEAKS[name] for name in ("as handed out", FOLLOWED)}
    report = study(leaks=leaks, handed=[opened()])
    assert report.traced[FOLLOWED].any.estimate == 0
    assert report.table().loc[FOLLOWED, "made from"] == "the rounds"
    assert "only from recipients who did not follow the training" in report.summary()
    without = study(leaks=leaks)
    assert FOLLOWED not in without.traced
    assert "not tried: hospitals that rebuild the model" in without.summary()


def test_rounds_of_another_federation_are_refused() -> None:
    with pytest.raises(marks.MarkError, match="weights that opened each round"):
        study(handed=[opened()[:-1]])


def test_fresh_draws_accuse_nobody_innocent_beyond_the_bound() -> None:
    """2,000 draws at 0.001 each at most: 9 or more wrong ones have a chance below 3e-4; the seed is fixed."""
    found = accuse_innocents([MODEL], marks.enrol(NAMES, 0, len(MODEL)), 2000)
    assert found.estimate * 2000 < 9
    assert found.method == "Clopper-Pearson, 2000 trials"


def test_fresh_draws_would_show_a_threshold_that_is_too_low() -> None:
    lax = marks.enrol(NAMES, 0, len(MODEL), false_accusation=0.4, places=340)
    assert accuse_innocents([MODEL], lax, 300).low > 0.01


def test_a_study_without_innocents_is_refused() -> None:
    with pytest.raises(marks.MarkError, match="nobody would be innocent"):
        marks.study_leaks(
            [(federation(0), trained())], enrolment(), leaks={"all": Leak(5, averaged)}, trials=1
        )
