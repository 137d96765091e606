from __future__ import annotations

import numpy as np
import pytest

from labkit import stats
from labkit.membership.reports import intervals
from labkit.membership.reports.intervals import Operating, Refused


def drawn(m: int, n: int, effect: float = 0.5, seed: int = 0, ties: bool = False):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(effect, 1, m), rng.normal(0, 1, n)])
    return (np.round(scores) if ties else scores), np.arange(m + n) < m


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_the_share_of_pairs_in_order(ties: bool) -> None:
    scores, members = drawn(60, 80, ties=ties)
    pairs = scores[members][:, None] - scores[~members][None]
    found = intervals.auc(scores, members)
    assert found.estimate == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert found.estimate == pytest.approx(stats.auc(scores[members], scores[~members]))


def test_delong_interval_covers() -> None:
    from scipy.stats import norm

    truth = norm.cdf(0.5 / np.sqrt(2))
    found = [intervals.auc(*drawn(100, 150, seed=s)) for s in range(400)]
    covered = sum(i.low <= truth <= i.high for i in found)
    # Binomial(400, .95) is below 362 or above 397 with p < 1e-3.
    assert 362 <= covered <= 397


def test_constant_scores_are_worth_one_half() -> None:
    scores, members = np.zeros(3000), np.arange(3000) < 1500
    assert intervals.auc(scores, members).estimate == 0.5
    point = intervals.operating_point(scores, members, 0.01)
    assert point.tpr.estimate == point.fpr.estimate == 0  # ties go to nobody: no threshold singles anyone out
    assert intervals.balanced_accuracy(scores, members).estimate == pytest.approx(0.5)
    assert not intervals.permutation_control(scores, members).alarm


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 1000), (0.001, 10_000), (0.0001, 100_000)])
def test_low_rates_are_refused_below_ten_expected_false_alarms(rate: float, needed: int) -> None:
    scores, members = drawn(100, needed - 1)
    refused = intervals.operating_point(scores, members, rate)
    assert isinstance(refused, Refused)
    assert f"needs {needed:,} non-member scores; there are {needed - 1:,}" in str(refused)
    assert isinstance(intervals.operating_point(*drawn(100, needed), rate), Operating)


@pytest.mark.parametrize("ties", [False, True])
def test_operating_point_equals_a_search(ties: bool) -> None:
    scores, members = drawn(500, 1000, effect=1.5, ties=ties)
    point = intervals.operating_point(scores, members, 0.01)
    best = max(
        (scores[members] > t).mean() for t in [*scores, -np.inf] if (scores[~members] > t).mean() <= 0.01
    )
    assert point.tpr.estimate == best
    assert point.fpr.estimate <= 0.01
    assert point.tpr.low < best < point.tpr.high
    hits = int((scores[members] > point.threshold).sum())
    assert point.tpr == stats.clopper_pearson(hits, 500)


def test_balanced_accuracy_of_noise_is_not_above_one_half() -> None:
    # Mean of 200 runs: standard error .0025; choosing and measuring on the same scores would give about .56.
    found = [
        intervals.balanced_accuracy(*drawn(50, 50, effect=0.0, seed=s), seed=s).estimate for s in range(200)
    ]
    assert abs(np.mean(found) - 0.5) < 0.012


def test_balanced_accuracy_finds_a_separation() -> None:
    assert intervals.balanced_accuracy(*drawn(500, 500, effect=3.0)).estimate == pytest.approx(
        0.933, abs=0.03
    )


def test_precision_follows_bayes() -> None:
    point = Operating(0.0, stats.clopper_pearson(500, 1000), stats.clopper_pearson(10, 1000))
    assert intervals.precision(point, 0.5).estimate == pytest.approx(0.5 / 0.51)
    rare = intervals.precision(point, 0.01)
    assert rare.estimate == pytest.approx(0.01 * 0.5 / (0.01 * 0.5 + 0.99 * 0.01))
    assert rare.low < rare.estimate < rare.high
    assert isinstance(intervals.precision(Refused("few"), 0.5), Refused)
    with pytest.raises(ValueError, match="prior is 0"):
        intervals.precision(point, 0)


def test_null_scores_raise_no_more_than_five_percent_alarms() -> None:
    alarms = sum(
        intervals.permutation_control(*drawn(60, 60, effect=0.0, seed=s), permutations=200, seed=s).alarm
        for s in range(200)
    )
    # The level is 2.5% by construction: more than 10 alarms in 200 come with p = 1.3% (the seeds are fixed).
    assert alarms <= 10


def test_the_control_lies_around_one_half_and_a_real_effect_raises_the_alarm() -> None:
    control = intervals.permutation_control(*drawn(300, 300, effect=0.5))
    assert control.alarm
    assert control.auc.low < 0.5 < control.auc.high
    assert abs(control.auc.estimate - 0.5) < 0.01
    assert control.p_value == pytest.approx(1 / 201)


def test_the_control_catches_an_effect_as_often_as_the_exact_test() -> None:
    from scipy.stats import mannwhitneyu

    scores, members = drawn(80, 80, effect=0.3, seed=5)
    exact = mannwhitneyu(scores[members], scores[~members], alternative="greater").pvalue
    found = intervals.permutation_control(scores, members, permutations=4000).p_value
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 4000) + 1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, m: intervals.auc(s[:1], m[:1]), "at least 2 of each"),
        (lambda s, m: intervals.operating_point(s, m, 0), "false_positive_rate is 0"),
        (lambda s, m: intervals.permutation_control(s, m, permutations=10), "at least 40"),
    ],
)
def test_bad_calls_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(*drawn(20, 20))
