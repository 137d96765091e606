"""Contributions: Shapley's axioms, validation records that are no test records, and a rider whose mark tells nothing."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import combinations

import numpy as np
import pytest
from marks_scenes import D, load, make_model

from labkit import federated, models
from labkit.federated import marks
from labkit.federated.marks import coalitions, tracking

NAMES = ("A", "B", "C", "D")
EVERY = [frozenset(c) for k in range(5) for c in combinations(NAMES, k)]


def test_shapley_values_sum_to_what_everybody_gains() -> None:
    random = np.random.default_rng(0)
    worth = {members: float(random.random()) for members in EVERY}
    found = coalitions.shapley(worth, NAMES)
    assert found.sum() == pytest.approx(worth[frozenset(NAMES)] - worth[frozenset()])


def test_in_an_additive_game_everybody_gets_their_own() -> None:
    own = dict(zip(NAMES, (3.0, 1.0, 0.0, -2.0), strict=True))
    worth = {members: 50 + sum(own[n] for n in members) for members in EVERY}
    np.testing.assert_allclose(coalitions.shapley(worth, NAMES), list(own.values()))
    np.testing.assert_allclose(coalitions.leave_one_out(worth, NAMES), list(own.values()))


def test_twins_are_worth_something_to_shapley_and_nothing_to_leave_one_out() -> None:
    worth = {members: float(bool(members & {"A", "B"})) for members in EVERY}
    np.testing.assert_allclose(coalitions.shapley(worth, NAMES), [0.5, 0.5, 0, 0], atol=1e-12)
    assert (coalitions.leave_one_out(worth, NAMES) == 0).all()


def test_shapley_wants_every_coalition() -> None:
    with pytest.raises(marks.MarkError, match="all 16 of 4 players"):
        coalitions.shapley({frozenset(): 0.0}, NAMES)


def test_validation_records_come_from_train_and_leave_it() -> None:
    whole = load(0)
    held = coalitions.held_out(whole, 0)
    for before, after in zip(whole, held, strict=True):
        train = {row.numpy().tobytes() for row in before.dataset.train_x}
        kept = {row.numpy().tobytes() for row in after.dataset.train_x}
        out = {row.numpy().tobytes() for row in after.dataset.test_x}
        assert kept | out == train
        assert not kept & out
        assert not out & {row.numpy().tobytes() for row in before.dataset.test_x}
    assert held.digest == coalitions.held_out(whole, 0).digest != coalitions.held_out(whole, 1).digest


@lru_cache
def report() -> marks.ContributionReport:
    few = federated.Training(3, "gradient", 2.0, momentum=0.9)
    marked = federated.Training(8, "update", 0.1, batch_size=64)
    return marks.contributions(
        load,
        partial(models.logistic_regression, 30, 2),
        marked_model=make_model,
        training=few,
        marked_training=marked,
        seeds=2,
    )


def test_marks_grow_over_rounds_for_a_free_rider_as_for_others() -> None:
    found = report()
    assert found.over_rounds.shape == (2, 9, 5)
    assert (found.over_rounds[:, -1] > found.over_rounds[:, 0] + 2).all()
    assert (found.rider[:, 0] > 3).all()
    assert np.abs(found.rider[:, 0] - found.honest[:, 0]).max() < 2


def test_a_rider_is_worth_little_to_shapley() -> None:
    found = report()
    # It moves the model by nothing but the mean's divisor; the others share tens of points.
    assert np.abs(found.rider[:, 1]).max() < np.abs(found.values["Shapley"]).max()
    assert found.values["Shapley"].sum(1).min() > 10


def test_a_report_of_contributions_shows_saves_and_loads_itself(tmp_path) -> None:
    found = report()
    assert list(found.table().columns) == list(tracking.MEASURES)
    assert "Hospital A" in found.plot().alt_text
    assert found.numbers()["seeds"] == 2
    assert marks.ContributionReport.load(found.save(tmp_path / "c.pt")).numbers() == found.numbers()
    assert (tmp_path / "c.json").name in found.save(tmp_path / "c.json").name


def test_an_idle_hospital_sends_its_pull_alone() -> None:
    """Its records are not in the model: other records, same weights."""
    from dataclasses import replace

    from labkit.federated.hospitals import Hospital, Hospitals

    hospitals = load(0)
    names = hospitals.names
    first = hospitals.hospitals[0]
    turned = replace(first.dataset, train_y=1 - first.dataset.train_y, digest="")
    other = Hospitals((Hospital(first.name, turned), *hospitals.hospitals[1:]), "turned")
    enrolled = marks.enrol(names, 0, D, colluders=0)
    terms = federated.Training(3, "update", 0.1, batch_size=64)
    paths = [
        tracking.strengths(
            federated.Federation(each, make_model, terms, marks=enrolled.marks), enrolled, 0, idle=names[0]
        )
        for each in (hospitals, other)
    ]
    np.testing.assert_allclose(*paths, atol=1e-3)


def test_too_many_hospitals_are_refused_before_any_training() -> None:
    def many(seed: int):
        return federated.load_hospitals("breast_cancer", count=9, by="site", seed=seed)

    with pytest.raises(marks.MarkError, match="512 coalitions"):
        marks.contributions(many, make_model)
