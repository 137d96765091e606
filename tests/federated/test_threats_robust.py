"""Rules of aggregation, what they let through, and what they show the server."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from labkit import federated, models, profiles
from labkit.federated import rounds
from labkit.federated.preprocessing import fixed
from labkit.federated.rounds import FederationError
from labkit.federated.secagg import Encoding, EncodingError
from labkit.federated.threats import System, aggregation, robust, wrapping
from labkit.federated.threats.poisoning import Reverse
from labkit.federated.threats.running import attacked

SMOKE = profiles.Profile("smoke")
NINE = 9


@pytest.fixture(scope="module")
def federation():
    clinics = federated.load_hospitals("breast_cancer", count=NINE, by="size", alpha=5.0, seed=0)
    return federated.Federation(
        fixed("breast_cancer").apply(clinics),
        partial(models.logistic_regression, 30, 2),
        federated.Training(rounds=3, kind="update", learning_rate=0.2),
        federated.Noise(hospitals=NINE),
    )


@pytest.fixture(scope="module")
def sent(federation):
    """Eight means near 1, one far away; each times its hospital's weight, on the grid."""
    random = np.random.default_rng(0)
    values = 1 + 0.01 * random.standard_normal((NINE, federation.dimension))
    values[4] = -100.0
    names = federation.hospitals.names
    grid = rounds.grid_of(federation)
    return {
        name: grid.round(value * federation.sizes[name]) for name, value in zip(names, values, strict=True)
    }


def mean(federation, rule, sent):
    total = rule(federation, sent, 0, 0)
    return rounds.grid_of(federation).value(total) / federation.divisor(federation.hospitals.names)


@pytest.mark.parametrize(
    "rule",
    [
        aggregation.Groups(3),
        aggregation.Median(),
        aggregation.TrimmedMean(1),
        aggregation.Krum(1),
        aggregation.NormBound(10.0),
        aggregation.RangeBound(1.1),
    ],
)
def test_a_rule_holds_against_one_far_away(federation, sent, rule):
    assert np.abs(mean(federation, aggregation.Sum(), sent) - 1).max() > 2
    assert np.abs(mean(federation, rule, sent) - 1).max() < 0.6


def test_the_sum_is_the_federations_own(federation):
    assert np.array_equal(
        attacked(federation, {}, seed=1, aggregate=aggregation.Sum()).weights,
        federated.federate(federation, seed=1, secure=False).weights,
    )


def test_bounds_leave_what_keeps_to_them(federation, sent):
    honest = {name: vector for name, vector in sent.items() if vector.min() > 0}
    wide = aggregation.NormBound(1e3)(federation, honest, 0, 0)
    assert np.abs(wide - sum(honest.values())).max() <= 1  # a grid step
    assert np.abs(aggregation.RangeBound(2.0)(federation, honest, 0, 0) - wide).max() <= 1


def test_secure_groups_give_the_same_whole_numbers(federation, sent):
    clear = aggregation.Groups(3)(federation, sent, 1, 7)
    assert np.array_equal(aggregation.Groups(3, secure=True)(federation, sent, 1, 7), clear)
    assert not np.array_equal(aggregation.Groups(3)(federation, sent, 2, 7), clear)  # drawn anew


def test_what_a_rule_shows_the_server():
    shown = {rule.title: rule.mixed(15) for rule in robust._rules(1.0, 1.0, 2)}
    assert shown["sum of all"] == shown["L2 bound, with proofs"] == 15
    assert shown["median of groups of 5"] == 5
    assert shown["median of groups of 3"] == 3
    assert shown["median"] == shown["trimmed mean"] == shown["Krum"] == 1


def test_rules_that_cannot_hold_are_refused(federation, sent):
    with pytest.raises(FederationError, match="at least 3"):
        aggregation.Groups(2)
    with pytest.raises(FederationError, match="a median needs at least 3"):
        aggregation.Groups(4)(federation, sent, 0, 0)
    with pytest.raises(FederationError, match="less than half"):
        aggregation.TrimmedMean(5)(federation, sent, 0, 0)
    with pytest.raises(FederationError, match="at least 11 hospitals"):
        aggregation.Krum(4)(federation, sent, 0, 0)


def test_the_pilot_bound_lets_every_honest_contribution_through(federation):
    bound = aggregation.pilot_bound(federation, seed=5)
    widest = aggregation.pilot_bound(federation, seed=5, order=np.inf)
    plain = attacked(federation, {}, seed=5).weights
    for rule in (aggregation.NormBound(bound), aggregation.RangeBound(widest)):
        assert attacked(federation, {}, seed=5, aggregate=rule).weights == pytest.approx(plain, abs=1e-4)


def test_a_median_in_the_clear_withstands_what_ruins_a_sum(federation):
    attacker = {federation.hospitals.names[0]: Reverse()}
    honest = attacked(federation, {}, seed=0).weights
    far = {
        rule.title: np.linalg.norm(attacked(federation, attacker, seed=0, aggregate=rule).weights - honest)
        for rule in (aggregation.Sum(), aggregation.Median())
    }
    assert far["median"] < 0.5 * far["sum of all"]


def test_the_range_of_an_encoding_binds_the_honest_alone():
    grid = Encoding(scale=1000, bits=32, parties=5, bound=1.0)
    with pytest.raises(EncodingError, match="expected at most 1"):
        grid.encode(np.array([5.0]))
    vectors = {name: np.array([100, -50]) for name in "abcde"}
    total = wrapping.tampered_sum(vectors, "c", np.array([4_500, 2**30]), grid)
    assert total.tolist() == [5_000, 2**30 - 250]
    assert wrapping.reach(grid) > 4


def test_smaller_sums_carry_a_weaker_promise():
    found = robust.promises([1, 3, robust.COUNT])
    assert found[1].epsilon > found[3].epsilon > found[robust.COUNT].epsilon
    assert found[robust.COUNT].epsilon <= robust.EPSILON


@pytest.fixture(scope="module")
def study(federation):
    return robust.study_robust(federation, seeds=(0, 1), profile=SMOKE)


def test_every_rule_meets_every_attack(study):
    assert set(study.arms) == set(study.mixed)
    for by_attack in study.arms.values():
        assert list(by_attack) == list(robust.ATTACKS)
        assert {len(arms) for arms in by_attack.values()} == {2}
    assert study.lost("sum of all", "none").estimate == 0


def test_a_study_says_where_its_numbers_come_from(study, tmp_path):
    numbers = study.numbers()
    assert "which hospitals attack" in numbers["intervals over"]
    assert "dealt anew to 15 hospitals" in study.source
    assert "δ = 1e-5" in numbers["rules"]["median"]["promise against the server"]
    assert len(study.table()) == len(study.arms)
    assert "anonymity set" in study.plot().alt_text
    assert robust.RobustStudy.load(study.save(tmp_path / "study.pt")).mixed == study.mixed


def test_findings_compare_the_sum_with_what_works_under_secure_aggregation(study, monkeypatch, federation):
    monkeypatch.setattr(robust, "study_robust", lambda *args, **settings: study)
    found = {f.title: f for f in robust.findings(System(federation), seeds=(0, 1), profile=SMOKE)}
    assert len(found) == 3
    assert found["The encoding's range binds no malicious hospital"].status == "open"
    assert found["Medians and Krum show the server every hospital"].status == "open"


def test_too_few_records_are_not_shown(federation):
    few = [
        replace(h.dataset, train_x=h.dataset.train_x[:8], train_y=h.dataset.train_y[:8], digest="")
        for h in federation.hospitals
    ]
    held = tuple(replace(h, dataset=d) for h, d in zip(federation.hospitals, few, strict=True))
    small = replace(federation, hospitals=replace(federation.hospitals, hospitals=held))
    assert [f.status for f in robust.findings(System(small), seeds=(0,), profile=SMOKE)] == ["not shown"]


def test_what_cannot_be_studied_is_refused_first(federation):
    with pytest.raises(FederationError, match="7 attackers"):
        robust.study_robust(federation, seeds=(0,), attackers=7)
    with pytest.raises(FederationError, match="0 seeds"):
        robust.study_robust(federation, seeds=())


def test_dealing_keeps_every_record_and_drops_noise(federation):
    private = replace(
        federation,
        training=federated.Training(rounds=3),
        noise=federated.Noise("distributed", noise_multiplier=1.0, hospitals=NINE, threshold=7),
        make_model=partial(copy.deepcopy, federation.make_model()),
    )
    many = robust.dealt(private, SMOKE)
    assert len(many.hospitals) == robust.COUNT
    assert sum(many.sizes.values()) == sum(federation.sizes.values())
    assert many.noise.placement == "none"
