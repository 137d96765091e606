"""Personal models: a hospital's own choice by its own train records; four real hospitals compared over splits."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from labkit import data, models, stats
from labkit.federated import Hospital, Hospitals, four_hospitals, personal
from labkit.federated.four_hospitals import HeartStudy, arm, heart_study
from labkit.federated.personal import ALONE, GLOBAL, PULLED, Personal, paired_auc, personalise
from labkit.results import as_json

MAKE = partial(models.logistic_regression, 5, 2)
TRUE = np.array([1.5, -1.0, 0.5, 0.0, 0.0])


def weights(direction, intercept=0.0):
    """Return softmax regression whose logits differ by x @ direction + intercept, as a flat vector."""
    return np.concatenate([-direction / 2, direction / 2, [-intercept / 2, intercept / 2]])


def clinic(name, n, direction, seed):
    """Return a hospital whose patients fall ill by a logistic model in ``direction``."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n + 60, 5))
    y = random.random(n + 60) < 1 / (1 + np.exp(-x @ direction))
    x, y = torch.from_numpy(x).float(), torch.from_numpy(y.astype(np.int64))
    return Hospital(name, data.Dataset("t", "t", True, x[:n], y[:n], x[n:], y[n:], ("well", "ill")))


@pytest.fixture(scope="module")
def clinics():
    """Small is few patients who are as elsewhere; Contrary has many who are the opposite."""
    return Hospitals((clinic("Small", 24, TRUE, 1), clinic("Contrary", 200, -TRUE, 2)), "a table")


@pytest.fixture(scope="module")
def own(clinics):
    return personalise(clinics, weights(TRUE), MAKE, seed=0)


@pytest.mark.parametrize("pull", personal.GRID)
def test_a_fit_minimises_loss_plus_pull(clinics, pull):
    held = clinics.hospitals[0].dataset
    centre, n = weights(TRUE), len(held.train_y)
    fitted, losses = personal._fit(
        MAKE, held.train_x, held.train_y, centre[None], np.array([pull]), np.ones((1, n), dtype=bool)
    )
    vector = fitted[0].clone().requires_grad_()
    rows, intercepts = vector[:10].reshape(2, 5), vector[10:]
    logits = held.train_x.double() @ rows.T + intercepts
    loss = torch.nn.functional.cross_entropy(logits, held.train_y)
    (loss + pull * (vector - torch.from_numpy(centre)).square().sum()).backward()
    assert float(vector.grad.abs().max()) < 2e-3
    assert float(losses.mean()) == pytest.approx(loss.item(), abs=1e-9)


def test_a_fit_sees_only_the_records_it_keeps(clinics):
    held = clinics.hospitals[1].dataset
    kept = np.arange(len(held.train_y)) < 150
    terms = (weights(TRUE)[None], np.array([0.1]))
    part, _ = personal._fit(MAKE, held.train_x, held.train_y, *terms, kept[None])
    other, _ = personal._fit(
        MAKE, held.train_x[:150], held.train_y[:150], *terms, np.ones((1, 150), dtype=bool)
    )
    np.testing.assert_allclose(part, other, atol=1e-12)


def test_a_few_patients_take_the_federation_and_others_do_not(own):
    assert own["Small"].chosen.kind in (PULLED, GLOBAL)
    assert own["Small"].auc("personalised") > own["Small"].auc("alone")
    assert own["Contrary"].chosen.kind == ALONE
    assert own["Contrary"].auc("personalised") == own["Contrary"].auc("alone") > 0.8
    assert own["Contrary"].auc("federated") < 0.2


def test_the_least_loss_wins_and_alone_has_the_same_grid(own):
    for choice in own.choices:
        assert choice.chosen.loss == min(c.loss for c in choice.candidates)
        pulls = {kind: [c.pull for c in choice.candidates if c.kind == kind] for kind in (ALONE, PULLED)}
        assert pulls[ALONE] == pulls[PULLED] == list(personal.GRID)
        assert [c.kind for c in choice.candidates if math.isinf(c.pull)] == [GLOBAL]


def test_the_federation_as_it_is_loses_what_it_loses(clinics, own):
    held = clinics.hospitals[0].dataset
    logits = held.train_x.double() @ torch.from_numpy(weights(TRUE)[:10].reshape(2, 5)).T
    loss = torch.nn.functional.cross_entropy(logits, held.train_y)
    assert own["Small"].candidates[-1].loss == pytest.approx(float(loss))


def test_test_records_and_other_hospitals_have_no_say(clinics, own):
    first = clinics.hospitals[0]
    turned = replace(first.dataset, test_y=1 - first.dataset.test_y, digest="")
    other = Hospitals((Hospital("Small", turned), clinic("Contrary", 30, TRUE, 9)), "a table")
    again = personalise(other, weights(TRUE), MAKE, seed=0)
    assert again["Small"].chosen == own["Small"].chosen
    np.testing.assert_array_equal(again["Small"].weights, own["Small"].weights)
    assert again["Small"].auc("alone") == pytest.approx(1 - own["Small"].auc("alone"))


def test_each_repeat_holds_out_each_record_once_and_both_classes():
    y = np.array([0] * 40 + [1] * 10)
    rows = personal._folds(y, np.random.default_rng(0))
    assert rows.shape == (personal.FOLDS * personal.REPEATS, 50)
    for start in range(0, len(rows), personal.FOLDS):
        np.testing.assert_array_equal(rows[start : start + personal.FOLDS].sum(0), 1)
    assert {int(row[y == 1].sum()) for row in rows} == {2}
    assert not np.array_equal(rows[: personal.FOLDS], rows[personal.FOLDS : 2 * personal.FOLDS])


def test_a_paired_difference_of_auc_against_brute_force():
    random = np.random.default_rng(0)
    y = (np.arange(80) < 30).astype(int)
    ours = np.round(y + random.normal(size=80), 1)  # with ties
    theirs = np.round(ours / 2 + random.normal(size=80), 1)
    found = paired_auc(y, ours, theirs)

    def difference(i, j):
        return stats.auc(ours[i], ours[j]) - stats.auc(theirs[i], theirs[j])

    ill, well = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    assert found.estimate == pytest.approx(difference(ill, well))
    draws = [difference(random.choice(ill, 30), random.choice(well, 50)) for _ in range(2000)]
    # The ends of two percentile bootstraps of 2,000 draws; each end has a standard error of about 0.003.
    np.testing.assert_allclose([found.low, found.high], np.quantile(draws, [0.025, 0.975]), atol=0.02)
    same = paired_auc(y, ours, ours)
    assert (same.low, same.estimate, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(3)}, r"weights have shape \(3,\); expected \(12,\)"),
        ({"weights": np.full(12, np.nan)}, "all finite"),
        ({"grid": ()}, "grid is empty"),
        ({"grid": (0.1, 0.0)}, "a pull of the grid is 0.0"),
        ({"grid": (math.inf,)}, "a pull of the grid is inf"),
    ],
)
def test_wrong_settings_are_refused(clinics, change, message):
    terms = {"weights": weights(TRUE), "make_model": MAKE} | change
    with pytest.raises(ValueError, match=message):
        personalise(clinics, **terms)


def test_records_that_cannot_be_judged_are_refused(clinics):
    first, second = clinics.hospitals
    one = replace(first.dataset, test_y=first.dataset.test_y * 0, digest="")
    with pytest.raises(ValueError, match="all test records of Small are of one class"):
        personalise(Hospitals((Hospital("Small", one), second), "t"), weights(TRUE), MAKE)
    with pytest.raises(TypeError, match="pooled Dataset"):
        personalise(clinics.pooled(), weights(TRUE), MAKE)


def test_personal_models_are_said_to_stay_at_home_and_their_weights_are_in_no_figure(own, tmp_path):
    numbers = own.numbers()
    assert "not released" in numbers["privacy of personal models"]
    assert "weights" not in json.dumps(as_json(numbers))
    assert "Small" in own.plot().alt_text
    assert list(own.table().index) == ["Small", "Contrary"]
    assert "same model" in own.table().iloc[1, -1]
    again = Personal.load(own.save(tmp_path / "own.pt"))
    assert again.numbers() == numbers


@pytest.fixture(scope="module")
def study():
    return heart_study((0, 1), (None, 3.0))


def test_the_study_pairs_what_it_compares(study):
    assert set(study.aucs) == {
        "alone",
        "pooled",
        *(arm(k, e) for k in ("federated", "personalised") for e in (None, 3.0)),
    }
    assert {found.shape for found in study.aucs.values()} == {(2, 4)}
    gaps = study.aucs["personalised, ε = 3"][:, 3] - study.aucs["alone"][:, 3]
    assert study.difference("personalised, ε = 3", "Long Beach").estimate == pytest.approx(gaps.mean())
    for name, own in study.deployed.items():
        np.testing.assert_array_equal([c.auc("federated") for c in own.choices], study.aucs[name][0])
        np.testing.assert_array_equal([c.auc("alone") for c in own.choices], study.aucs["alone"][0])


def test_the_study_says_what_is_promised_and_to_whom(study):
    promise = study.statements["federated, ε = 3"]
    assert promise.startswith(("ε = 3.00 (PLD)", "ε = 2.99 (PLD)"))
    for words in ("unit patient", "covers the global model", "not released"):
        assert words in promise
    assert study.statements["federated"].startswith("no promise")
    assert study.numbers()["privacy"] == study.statements


def test_the_study_shows_the_base_rate_and_what_its_intervals_are_of(study, tmp_path):
    assert study.majority[2] == pytest.approx(39 / 42)
    table = study.table()
    assert list(table["larger class"]) == ["54%", "64%", "93%", "75%"]
    assert "same 920 patients" in study.numbers()["interval of AUC and of differences"]
    assert "Long Beach: alone" in study.plot().alt_text
    json.dumps(as_json(study.numbers()))
    again = HeartStudy.load(study.save(tmp_path / "study.pt"))
    assert str(again) == str(study)


def test_worse_off_needs_an_interval_below_zero(study):
    low = study.aucs["alone"] - [[0.1], [0.11]]
    worse = replace(study, aucs=study.aucs | {"personalised": low})
    assert worse.worse_off() == study.hospitals
    assert "Cleveland" in str(worse)
    even = replace(study, aucs=study.aucs | {"personalised": study.aucs["alone"] + [[0.1], [-0.11]]})
    assert even.worse_off() == ()


def test_the_settings_fit_the_promise():
    noise = four_hospitals._noise(3.0)
    assert noise.statement(four_hospitals.TRAINING.rounds, observer="the server").epsilon <= 3.0
    assert (noise.placement, noise.unit, noise.hospitals, noise.threshold) == ("distributed", "patient", 4, 3)


@pytest.mark.parametrize("terms", [((0,), (None,)), ((0, 0), (None,)), ((0, 1), ()), ((0, 1), (3.0, 3.0))])
def test_studies_that_compare_nothing_are_refused(terms):
    with pytest.raises(ValueError, match="each once"):
        heart_study(*terms)


def test_an_arm_that_was_not_measured_is_named(study):
    with pytest.raises(LookupError, match="no arm 'federated, ε = 8'"):
        study.auc(arm("federated", 8.0), "Long Beach")
