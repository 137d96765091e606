"""Drift: devices that age, policies of marking, and what a study says of them."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from labkit import federated, models, profiles
from labkit.federated import marks
from labkit.federated.preprocessing import fixed
from labkit.federated.rounds import FederationError
from labkit.federated.threats import System, drift
from labkit.federated.threats.drift_result import Year
from labkit.models import perceptron

SMOKE = profiles.Profile("smoke")


def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perceptron(30, 64)


@pytest.fixture(scope="module")
def clinics():
    return federated.load_hospitals("breast_cancer", by="site", seed=0)


@pytest.fixture(scope="module")
def study():
    return drift.study_drift(model, seeds=(0, 1), years=2, profile=SMOKE)


def far(clinics, ageing, years):
    aged = ageing.apply(clinics, years)
    return sum(
        float((a.dataset.test_x - b.dataset.test_x).abs().mean()) for a, b in zip(aged, clinics, strict=True)
    )


def test_devices_move_further_every_year_within_the_public_range(clinics):
    ageing = drift.Ageing.drawn(clinics, 3)
    assert far(clinics, ageing, 0) == 0 < far(clinics, ageing, 1) < far(clinics, ageing, 4)
    for one in ageing.apply(clinics, 4):
        assert 0 <= float(one.dataset.train_x.min()) <= float(one.dataset.train_x.max()) <= 1
    assert far(clinics, drift.Ageing.drawn(clinics, 3), 2) == far(clinics, ageing, 2)


@pytest.mark.parametrize(
    ("policy", "first", "after_strong", "after_weak"),
    [
        ("never", False, False, False),
        ("frozen", True, False, False),
        ("once", True, False, False),
        ("re-mark", True, False, True),
        ("always", True, True, True),
    ],
)
def test_a_policy_marks_in_the_years_that_it_names(policy, first, after_strong, after_weak):
    strong, weak = (Year(0.9, {"A": 0.9}, {"A": z, "B": 9.0}, True) for z in (7.0, 3.8))
    assert strong.margin > drift.LEAST_MARGIN > weak.margin > 0
    assert drift._pulls(policy, 0, []) is first
    assert drift._pulls(policy, 1, [weak, strong]) is after_strong
    assert drift._pulls(policy, 1, [strong, weak]) is after_weak


def test_policies_differ_in_marks_alone(study):
    for seed in range(2):
        years = {policy: study.runs[policy][seed] for policy in study.runs}
        assert [y.marked for y in years["always"]] == [True] * 3
        assert [y.marked for y in years["never"]] == [False] * 3
        assert years["once"][0] == years["always"][0] == years["frozen"][0]
        assert years["frozen"][0].strengths == years["frozen"][2].strengths
        assert years["frozen"][0].accuracy != years["frozen"][2].accuracy
        assert years["always"][2].margin > years["once"][2].margin
        assert years["never"][2].margin < 0  # false failure: below 1e-20, for five marks at once


def test_a_study_says_where_its_numbers_come_from(study, tmp_path):
    assert "devices age by 0.5 site deviations a year" in study.source
    assert study.numbers()["seeds"] == [0, 1]
    assert len(study.numbers()["policies"]["once"]["weakest margin by year"]) == 3
    assert list(study.table()["later years with marks"])[-1] == "2.0 of 2"
    assert study.table()["points lost to never marking"].iloc[1] == ""  # frozen: more differs than marks
    assert "Accuracy and margin of marks over 2 years" in study.plot().alt_text
    assert drift.DriftStudy.load(study.save(tmp_path / "study.pt")).years == 2


def test_findings_follow_the_study(study, monkeypatch, clinics):
    monkeypatch.setattr(drift, "study_drift", lambda *args, **settings: study)
    here = federated.Federation(
        fixed("breast_cancer").apply(clinics), partial(models.logistic_regression, 30, 2), drift.TERMS
    )
    enrolment = marks.enrol(clinics.names, 0, here.dimension, bits=32, places=62)
    found = drift.findings(System(here, enrolment), seeds=(0, 1), profile=SMOKE)
    assert [f.number for f in found] == [drift.LOST.what, drift.WORN.what, drift.COST.what]
    assert all(f.interval_of == drift.OVER for f in found)
    like = drift._like(enrolment, clinics.names, 1, here.dimension)
    assert like.terms == enrolment.terms
    assert like.keys != enrolment.keys
    weak = replace(study, runs={**study.runs, "once": study.runs["never"]})
    monkeypatch.setattr(drift, "study_drift", lambda *args, **settings: weak)
    found = drift.findings(System(here, enrolment), seeds=(0, 1), profile=SMOKE)
    assert [f.status for f in found if f.title == drift.WEAR] == ["not shown"]
    unmarked = drift.findings(System(here), seeds=(0,), profile=SMOKE)
    assert [f.status for f in unmarked] == ["not shown"]


def test_what_cannot_be_studied_is_refused_first():
    with pytest.raises(FederationError, match="0 seeds"):
        drift.study_drift(model, seeds=())
    with pytest.raises(FederationError, match="0 years"):
        drift.study_drift(model, seeds=(0,), years=0)
