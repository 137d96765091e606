"""Marks under noise: no ceiling for patients, one for hospitals, and a clip that no pull gets past."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from marks_scenes import D, load, make_model
from scipy.stats import norm

from labkit import federated
from labkit.federated import marks
from labkit.federated.rounds import begin, contribute, grid_of


@lru_cache
def curve(unit: str) -> marks.PrivacyCurve:
    kind = "gradient" if unit == "patient" else "update"
    rate = 0.5 if unit == "patient" else 0.1
    terms = federated.Training(4, kind, rate, average_from=0.5)
    return marks.privacy_curve(
        load, make_model, unit=unit, epsilons=(3.0,), training=terms, federations=2, redraws=99, fpr=0.05
    )


def test_hospital_level_ceilings_are_those_of_the_noise() -> None:
    point = next(p for p in curve("hospital").points if p.epsilon == 3.0)
    mu = 2 / point.statement.noise_multiplier  # sqrt(rounds) / multiplier: Gaussian differential privacy
    # A curve through finitely many (ε, δ) lies above the exact one, not far.
    assert point.ceiling == pytest.approx(norm.sf(norm.isf(0.05) - mu), rel=0.02)
    assert point.ceiling >= norm.sf(norm.isf(0.05) - mu) - 1e-9
    assert point.ceiling <= point.loose_ceiling
    assert all(p.ceiling is None for p in curve("patient").points)


def test_points_name_unit_promise_and_what_else_differs() -> None:
    for unit in ("patient", "hospital"):
        found = curve(unit)
        assert [p.epsilon for p in found.points] == [np.inf, np.inf, 3.0, 3.0]
        assert f"unit of privacy: {unit}" in found.summary()
        assert "clipped to 0.5" in found.differs
        assert all(unit in row for row in found.table().index)
        assert f"unit {unit}" in found.plot().alt_text


def test_marks_are_found_without_noise_and_under_patient_noise() -> None:
    for p in curve("patient").points:
        if p.strength == max(q.strength for q in curve("patient").points):
            assert p.ranks.shape == (2, 5)
            assert p.z.estimate > 1


def test_a_pull_of_any_strength_stays_within_the_hospitals_clip() -> None:
    noise = federated.Noise(
        "central", "hospital", 1.0, max_grad_norm=0.5
    )  # no noise in the contribution itself
    terms = federated.Training(4, "update", 0.1)
    for strength in (0.1, 1e6):
        enrolled = marks.enrol(load(0).names, 0, D, strength=strength, margin=1e6, colluders=0)
        loud = federated.Federation(load(0), make_model, terms, noise, enrolled.marks)
        sent = grid_of(loud).value(contribute(loud, "Hospital A", begin(loud), seed=0))
        assert np.linalg.norm(sent) <= 0.5 + 1e-3


def test_a_pull_follows_from_key_and_weights_whatever_the_records() -> None:
    """Post-processing: with and without a mark, two neighbours' contributions differ by the same vector."""
    from labkit.federated.hospitals import Hospital, Hospitals

    hospitals = load(0)
    first = hospitals.hospitals[0]
    less = replace(
        first.dataset, train_x=first.dataset.train_x[1:], train_y=first.dataset.train_y[1:], digest=""
    )
    more = replace(less, train_x=first.dataset.train_x[[0, *range(2, len(first.dataset.train_y))]], digest="")
    terms = federated.Training(4, "gradient", 0.5)
    enrolled = marks.enrol(hospitals.names, 0, D, colluders=0)
    pulls = []
    for data in (less, more):
        held = Hospitals((Hospital(first.name, data), *hospitals.hospitals[1:]), "neighbours")
        bare = federated.Federation(held, make_model, terms)
        state = begin(bare)
        marked = replace(bare, marks=enrolled.marks)
        pulls.append(contribute(marked, first.name, state) - contribute(bare, first.name, state))
    assert np.abs(pulls[0] - pulls[1]).max() <= 1  # grid steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"unit": "nobody"}, "unit is"), ({"fpr": 1e-6, "redraws": 99}, "ranks of 0.01")],
)
def test_curves_that_cannot_be_drawn_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(marks.MarkError, match=message):
        marks.privacy_curve(load, make_model, **settings)


def test_roc_is_drawn_under_its_ceiling_at_a_known_level_only() -> None:
    assert "at FPR 0.05" in curve("hospital").plot_roc(3.0).alt_text
    with pytest.raises(marks.MarkError, match="epsilon is 2"):
        curve("hospital").plot_roc(2.0)


def test_a_curve_saves_and_loads_itself(tmp_path) -> None:
    found = curve("hospital")
    assert marks.PrivacyCurve.load(found.save(tmp_path / "curve.pt")).numbers() == found.numbers()
