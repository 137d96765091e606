"""Shadow federations by the system's own code, attacks that find members, and intervals over targets and records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from threat_scenes import small, system
from tracing import uncovered

from labkit import cache, stats
from labkit.federated.loop import federate
from labkit.federated.rounds import Federation, begin, contribute, grid_of
from labkit.federated.threats import keys, scoring, shadows, study_membership
from labkit.federated.threats.membership_result import (
    ALL,
    BARE,
    BUILT,
    EXPOSED,
    INFORMED,
    INSIDER,
    ROUNDS,
    MembershipStudy,
)

COUNT = 8
GROUND = {"cache.py", "progress.py", "profiles.py", "__init__.py"}


@pytest.fixture(scope="module")
def bare() -> shadows.Shadows:
    federation = small("none", rounds=20)
    return shadows.train(federation, COUNT, shadows.views_of(federation), seed=0)


def test_pairs_share_the_records_by_coins() -> None:
    owner = np.repeat([0, 1, 2], 40)
    masks = shadows.pair_masks(owner, 8, seed=3)
    assert (masks[::2] ^ masks[1::2]).all()
    assert len({int(row.sum()) for row in masks}) > 2  # coins, not a fixed half: add/remove neighbours
    with pytest.raises(ValueError, match="even number of at least 8"):
        shadows.pair_masks(owner, 6, seed=0)


def test_no_hospital_is_left_without_records() -> None:
    owner = np.array([0, 0, 1, 1])  # a coin each leaves an empty hospital in half of all draws
    for mask in shadows.pair_masks(owner, 20, seed=0):
        assert np.bincount(owner[mask], minlength=2).min() == 1


def test_a_shadow_federation_declares_the_same_records_whoever_is_in() -> None:
    federation = small()
    masks = shadows.pair_masks(shadows.owners(federation), 8, seed=0)
    halves = [shadows.subset(federation, mask) for mask in masks[:2]]
    assert halves[0].sizes == halves[1].sizes == dict.fromkeys(federation.hospitals.names, 10)
    assert [sum(len(h.dataset.train_y) for h in half.hospitals) for half in halves] == masks[:2].sum(
        1
    ).tolist()
    one = masks[0].copy()
    one[np.flatnonzero(one)[0]] = False
    assert shadows.subset(federation, one).divisor(federation.hospitals.names) == halves[0].divisor(
        federation.hospitals.names
    )


def test_a_full_shadow_is_the_system_itself() -> None:
    """Every record in, the declared numbers the true ones: the same model, bit for bit, as `federate` gives."""
    federation = small()
    everybody = np.ones(len(shadows.owners(federation)), dtype=bool)
    own = replace(shadows.subset(federation, everybody), declared=federation.sizes)
    expected = federate(federation, seed=5, secure=False).weights
    assert np.array_equal(federate(own, seed=5, secure=False).weights, expected)


def test_the_opened_sum_is_what_the_hospitals_sent() -> None:
    from labkit.federated.rounds import step

    federation = small()
    state = begin(federation)
    for _ in range(2):
        names = federation.hospitals.names
        total = sum(contribute(federation, name, state, seed=0) for name in names)
        after = step(federation, state, total, names, seed=0)
        opened = shadows.opened_sum(federation, state, after)
        assert np.allclose(opened, grid_of(federation).value(total), rtol=0, atol=1e-9)
        state = after


def test_the_stated_noise_variance_is_that_of_the_sums() -> None:
    federation = small(noise_multiplier=5.0)
    grid = grid_of(federation)
    draws = np.concatenate([grid.value(grid.noise(np.random.default_rng(seed))) for seed in range(60)])
    for known in (0, 2):
        one = shadows.noise_variance(federation, known) / (4 - known)
        # 3,720 draws: the variance is known to 2.3%; 10% is more than four standard deviations.
        assert draws.var() == pytest.approx(one, rel=0.1)


def test_without_noise_the_sums_of_all_rounds_name_the_members(bare: shadows.Shadows) -> None:
    scores, masks = bare.seen[()], bare.masks
    assert stats.auc(scores[masks], scores[~masks]) > 0.95
    final = scoring.final_signal(bare)
    assert stats.auc(final[masks], final[~masks]) < 0.75  # the final model alone tells far less


def test_a_hospital_sees_no_posterior_of_its_own_records(bare: shadows.Shadows) -> None:
    for at, name in enumerate(bare.names):
        assert np.array_equal(np.isnan(bare.seen[(name,)][0]), bare.owner == at)


def test_more_noise_hides_more() -> None:
    found = []
    for multiplier in (1e-3, 30.0):
        federation = small(rounds=5, noise_multiplier=multiplier)
        shown = shadows.train(federation, COUNT, ((),), seed=0)
        found.append(stats.auc(shown.seen[()][shown.masks], shown.seen[()][~shown.masks]))
    assert found[0] > 0.8
    assert abs(found[1] - 0.5) < 0.12


def test_the_posterior_is_the_least_squares_solution_where_noise_vanishes() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(6, 40))
    coins = np.array([1.0, 0, 1, 1, 0, 0])
    found = shadows.posterior(rows @ rows.T, rows @ (rows.T @ coins), 1e-9)
    assert np.allclose(found, coins, atol=1e-6)
    blind = shadows.posterior(rows @ rows.T, rows @ (rows.T @ coins), 1e9)
    assert np.allclose(blind, 0.5, atol=1e-6)


def test_who_knows_all_others_reaches_the_promise_and_not_more() -> None:
    """The likelihood ratio of the sums is Gaussian with the mean and variance that the accounting assumes."""
    random = np.random.default_rng(0)
    gradient, sigma, rounds = np.array([1.0, 0, 0]), 4.0, 25
    found = {}
    for inside in (True, False):
        moments = [
            sum(gradient @ (gradient * inside + sigma * random.normal(size=3)) for _ in range(rounds))
            for _ in range(4000)
        ]
        gram, mask = np.array([[rounds * 1.0]]), np.array([inside])
        found[inside] = np.array(
            [shadows.likelihood(gram, np.array([m]), mask, sigma**2)[0] for m in moments]
        )
    mu = np.sqrt(rounds) / sigma
    # 4,000 draws each: a mean is known to 1.6% of the deviation mu, and 0.1 is more than four of that.
    assert found[True].mean() == pytest.approx(mu**2 / 2, abs=0.1 * mu)
    assert found[False].mean() == pytest.approx(-(mu**2) / 2, abs=0.1 * mu)
    assert found[True].std() == pytest.approx(mu, rel=0.08)


def test_lira_finds_members_that_stand_out_and_nothing_in_noise() -> None:
    random = np.random.default_rng(0)
    masks = shadows.pair_masks(np.zeros(60, dtype=int), 16, seed=0)
    hard = random.normal(size=60) * 3
    values = hard + random.normal(size=masks.shape)
    assert abs(scoring.auc_interval(scoring.lira_scores(values, masks), masks).estimate - 0.5) < 0.06
    found = scoring.lira_scores(values + 2 * masks, masks)
    assert stats.auc(found[masks], found[~masks]) > stats.auc(
        (values + 2 * masks)[masks], (values + 2 * masks)[~masks]
    )


def test_the_target_and_its_partner_do_not_rehearse() -> None:
    assert np.flatnonzero(~scoring.others(4, 8)).tolist() == [4, 5]
    assert np.flatnonzero(~scoring.others(7, 8)).tolist() == [6, 7]


def test_the_interval_counts_the_threshold_too() -> None:
    """Perfectly separated but for one non-member: whether it is drawn decides the threshold, and so the whole rate."""
    masks = np.tile(np.arange(200) < 100, (20, 1))
    scores = masks * 2.0 + np.random.default_rng(0).random(masks.shape)
    scores[:, 199] = 5.0  # one record in a hundred of those outside, above every member
    found = scoring.tpr_interval(scores, masks, 0.01)
    assert found.estimate == 1.0
    assert found.low == 0.0
    assert "20 target federations (in pairs) and 200 records" in found.method


def test_a_rate_that_never_varies_is_no_certainty() -> None:
    masks = np.tile(np.arange(200) < 100, (20, 1))
    for found in (scoring.tpr_interval(masks * 1.0, masks, 0.01), scoring.auc_interval(masks * 1.0, masks)):
        # Ten pairs of federations, none of which gave another share: 1 - 0.025 ** (1 / 10) of pairs may.
        assert (found.low, found.high) == (pytest.approx(0.025**0.1), 1.0)


def test_few_non_members_are_refused() -> None:
    masks = shadows.pair_masks(np.zeros(60, dtype=int), 8, seed=0)
    with pytest.raises(ValueError, match="needs 1000"):
        scoring.tpr_interval(masks * 1.0, masks, 0.01)


def test_tied_scores_are_nobodys_gain() -> None:
    masks = np.tile(np.arange(100) < 50, (4, 1))
    assert scoring.tpr_at(np.zeros(masks.shape), masks, 0.1) == 0.0


def code_of(federation: Federation) -> list:
    """What the key of a federation's shadows covers; of the function that makes the model, all that it makes."""
    return [shadows.train, keys.identity(federation), federation.make_model]


@pytest.mark.parametrize("placement", ["none", "central", "local", "distributed"])
def test_every_function_that_runs_is_in_the_cache_key(placement: str) -> None:
    """What `compute` runs must be in the key, or an old result outlives the code that made it."""
    federation = small(placement, rounds=1)
    views = shadows.views_of(federation)
    shadows.train(federation, COUNT, views, seed=0)  # imports and lazy façades run here, outside of the trace
    work = partial(shadows.train, federation, COUNT, views, seed=0)
    assert not uncovered(work, *code_of(federation))
    assert uncovered(work)  # the trace works


def test_local_training_is_covered_too() -> None:
    federation = small("none", rounds=1)
    federation = replace(federation, training=replace(federation.training, kind="update"))
    private = replace(
        federation, noise=replace(small().noise, placement="record", sample_rate=0.5, local_steps=1)
    )
    for each in (federation, private):
        shadows.train(each, COUNT, (), seed=0)
        assert not uncovered(partial(shadows.train, each, COUNT, (), seed=0), *code_of(each))


@dataclass(frozen=True)
class Plain:
    """A mark that can be keyed."""

    strength: float

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        return self.strength * np.ones_like(weights)


class Opaque:
    """A mark that cannot."""

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        return np.zeros_like(weights)


def marked(mark) -> Federation:
    federation = small()
    return replace(federation, marks={federation.hospitals.names[0]: mark})


def test_the_key_follows_noise_training_records_and_marks() -> None:
    federation = small()
    data = federation.hospitals.hospitals[0].dataset
    flipped = replace(data, train_y=1 - data.train_y, digest="")
    first = replace(federation.hospitals.hospitals[0], dataset=flipped)
    others = [
        replace(federation, noise=replace(federation.noise, noise_multiplier=9.0)),
        replace(federation, training=replace(federation.training, rounds=5)),
        replace(
            federation,
            hospitals=replace(federation.hospitals, hospitals=(first, *federation.hospitals.hospitals[1:])),
        ),
        marked(Plain(0.1)),
        marked(Plain(0.2)),
    ]
    found = [cache.digest(keys.identity(each)) for each in (federation, *others)]
    assert len(set(found)) == len(found)
    assert cache.digest(keys.identity(small())) == found[0]


def test_a_mark_without_a_key_is_said_and_not_cached() -> None:
    with pytest.warns(cache.CacheWarning, match="are not kept"):
        assert keys.identity(marked(Opaque())) is None


def test_the_second_call_trains_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    federation = small(rounds=2)
    first = shadows.shadow_federations(federation, COUNT, ((),), seed=0)
    monkeypatch.setattr("joblib.Parallel", lambda *_, **__: pytest.fail("trained again"))
    again = shadows.shadow_federations(federation, COUNT, ((),), seed=0)
    assert np.array_equal(first.final, again.final)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MembershipStudy:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_PROFILE", "smoke")
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(scoring, "RESAMPLES", 20)
        patch.setattr(
            scoring, "NEEDED", 1
        )  # 320 non-members here: the rate is rough, and tests compare no rates
        return study_membership(system(rounds=6))


def test_both_arms_and_all_observers_are_in_the_study(study: MembershipStudy) -> None:
    for arm in (BUILT, BARE):
        for attack in ("LiRA, final model", "RMIA, final model", ROUNDS, INSIDER, INFORMED):
            assert study.row(arm, attack).tpr.low <= study.row(arm, attack).tpr.high
        assert study.row(arm, INFORMED, EXPOSED).auc.estimate > 0.5
        for part in small().hospitals.names:
            assert study.row(arm, ROUNDS, part).tpr is None
    assert study.row(BARE, ROUNDS).auc.estimate > study.row(BUILT, ROUNDS).auc.estimate + 0.1


def test_another_hospital_is_held_to_its_own_promise(study: MembershipStudy) -> None:
    outsider, insider = study.row(BUILT, ROUNDS), study.row(BUILT, INSIDER)
    assert insider.ceiling > outsider.ceiling  # it subtracts its share
    assert study.row(BARE, ROUNDS).ceiling is None
    assert 0.5 < outsider.area < insider.area < 1


def test_a_promise_that_is_broken_is_critical_and_one_that_is_met_is_answered(study: MembershipStudy) -> None:
    def judged(low: float, high: float) -> tuple[str, str]:
        over = stats.Interval((low + high) / 2, low, high)
        rows = [replace(row, ceiling=None) for row in study.rows if row.arm == BUILT]
        rows[0] = replace(rows[0], tpr=over, ceiling=0.046)
        one = replace(study, rows=tuple(rows)).findings()[-1]
        return one.severity, one.status

    assert judged(0.05, 0.06) == ("critical", "open")  # the whole interval is beyond, if by little
    assert judged(0.03, 0.055) == ("none", "answered")
    assert judged(0.03, 0.3) == ("critical", "open")  # too wide to tell


def test_findings_say_what_else_differs(study: MembershipStudy) -> None:
    found = {one.title: one for one in study.findings()}
    assert len(found) == 7
    for one in found.values():
        assert "target federations" in one.interval_of
    assert "clipping and noise" in found["Membership from every round's sum"].differs
    assert found["Membership from every round's sum"].figure.alt_text
    assert "which it subtracts" in found["Membership at one hospital, found by another"].knowledge
    assert study.row(BUILT, ROUNDS, ALL).promise in found["Membership from the final model"].control


def test_a_system_that_sends_updates_gets_no_verdict_on_sums(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(scoring, "NEEDED", 1)
    monkeypatch.setattr(scoring, "RESAMPLES", 20)
    plain = system("none", rounds=2)
    updates = replace(
        plain.federation, training=replace(plain.federation.training, kind="update", learning_rate=0.1)
    )
    found = study_membership(replace(plain, federation=updates)).findings()
    by_title = {one.title: one for one in found}
    assert by_title["Membership from every round's sum"].status == "not shown"
    assert by_title["More leaks than the promise allows"].status == "not shown"
    assert "nothing was compared" in by_title["Membership from the final model"].differs


def test_rmia_orders_the_records_that_a_small_population_ties(bare: shadows.Shadows) -> None:
    scores = scoring.rmia_scores(bare)
    assert len(np.unique(scores[0])) == scores.shape[1]
    dominated = scores * (
        bare.population.shape[1] + 1
    )  # the published score, in population records, and below one more
    assert (dominated - np.floor(dominated + 1e-9) < 1).all()


def test_rmia_finds_records_no_surer_than_the_population_where_nothing_is_learned_by_heart() -> None:
    """Records and population are exchangeable: a record dominates half of the population, whoever holds it."""
    random, count, n = np.random.default_rng(0), 8, 400
    owner = np.repeat([0, 1], n // 2)
    blank = np.zeros(n)
    shown = shadows.Shadows(
        masks=shadows.pair_masks(owner, count, seed=0),
        owner=owner,
        labels=np.zeros(n, dtype=int),
        population_labels=np.zeros(n, dtype=int),
        final=random.normal(size=(count, n, 2)),
        population=random.normal(size=(count, n, 2)),
        seen={},
        informed=blank,
        weight=blank,
        names=("north", "south"),
    )
    # The seed is fixed; 8 means of 400 shares vary by .01 about a half. With the offline line for p(z) it is .63.
    assert scoring.rmia_scores(shown).mean() == pytest.approx(0.5, abs=0.03)
