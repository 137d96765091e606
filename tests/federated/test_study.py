"""Recipes keep their promise, and a curve compares placements on the same hospitals and seeds."""

import pytest

from labkit import federated
from labkit.federated import FederationError, recipes
from labkit.federated.study import placement_curve

CLINICS = federated.load_hospitals("breast_cancer", seed=0)


@pytest.mark.parametrize("placement", ["central", "distributed", "local", "record"])
def test_a_plan_spends_its_epsilon_and_no_more_statistics_included(placement):
    _, noise, training = recipes.plan(CLINICS, placement, 3.0, seed=0)
    observer = "everyone who gets the model" if placement == "central" else "the server"
    survivors = 5 if placement == "central" else 4
    found = noise.statement(training.rounds, observer=observer, survivors=survivors)
    assert 2.99 < found.epsilon <= 3.0
    assert len(found.events) == 2, "the statistics' release is missing"


@pytest.mark.parametrize(
    ("placement", "full_at"), [("central", 5), ("distributed", 4), ("local", 1), ("record", 1)]
)
def test_statistics_are_noised_where_the_training_is(placement, full_at, monkeypatch):
    asked, real = [], recipes.private_statistics

    def asks(*arguments, **settings):
        asked.append(settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(recipes, "private_statistics", asks)
    _, noise, _ = recipes.plan(CLINICS, placement, 3.0, seed=0)
    assert asked[0]["threshold"] == full_at  # so many hospitals' shares make up the full noise
    assert asked[0]["noise_multiplier"] == noise.statistics_multiplier


def test_a_whole_hospital_is_hidden_without_any_statistics_of_its_patients():
    hospitals, noise, training = recipes.plan(CLINICS, "distributed", 8.0, unit="hospital")
    assert noise.unit == "hospital"
    assert noise.statistics_multiplier == 0
    assert "public bands" in hospitals.source
    assert noise.statement(training.rounds, observer="the server").epsilon <= 8.0


def test_plans_that_cannot_be_made_say_why():
    with pytest.raises(FederationError, match="needs an epsilon"):
        recipes.plan(CLINICS, "local", None)
    with pytest.raises(FederationError, match="no settings for placement 'everywhere'"):
        recipes.plan(CLINICS, "everywhere", 1.0)
    with pytest.raises(FederationError, match="hides a patient"):
        recipes.plan(CLINICS, "record", 1.0, unit="hospital")


@pytest.fixture(scope="module")
def curve():
    return placement_curve(placements=("distributed", "local"), epsilons=(3.0,), seeds=(0, 1))


def test_a_curve_has_every_point_with_its_statement_and_interval(curve):
    assert [(p.placement, p.epsilon) for p in curve.points] == [
        ("none", None),
        ("distributed", 3.0),
        ("local", 3.0),
    ]
    point = curve.point("distributed", 3.0)
    assert "ε = 3.00 (PLD)" in point.statement
    assert "unit patient; against the server" in point.statement
    assert len(point.accuracies) == 2
    assert "over 2 seeds" in curve.numbers()["points"][1]["interval of"]
    assert "no noise 9" in curve.plot().alt_text
    with pytest.raises(LookupError, match="measured: none"):
        curve.point("central", 3.0)


def test_learning_beats_guessing_even_at_the_full_noise(curve):
    # The majority class is 63% of the test records.
    assert min(curve.point("local", 3.0).accuracies) > 0.8
