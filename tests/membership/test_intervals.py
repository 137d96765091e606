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
    assert intervals.balanced_accuracy(scores, members).estimate == pytest.approx(0.5)
    assert not intervals.permutation_control(scores, members).alarm


def test_a_paired_difference_is_that_of_the_areas_and_narrower_than_their_intervals() -> None:
    rng = np.random.default_rng(0)
    members = np.arange(800) < 400
    base = rng.normal(size=800) + 0.5 * members
    better, worse = base + 0.1 * members, base + 0.3 * rng.normal(size=800)
    one, two = intervals.auc(better, members), intervals.auc(worse, members)
    found = intervals.auc_difference(better, worse, members)
    assert found.estimate == pytest.approx(one.estimate - two.estimate)
    assert one.low < two.high, "read one by one, the intervals overlap"
    assert found.low > 0, "and the difference is certain all the same"
    assert intervals.auc_difference(better, better, members).high == 0


def test_paired_differences_cover() -> None:
    from scipy.stats import norm

    truth, covered = norm.cdf(0.8 / np.sqrt(2)) - norm.cdf(0.5 / np.sqrt(2)), 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        members, shared = np.arange(250) < 100, rng.normal(size=250)
        one, two = (np.sqrt(0.5) * (shared + rng.normal(size=250)) + shift * members for shift in (0.8, 0.5))
        found = intervals.auc_difference(one, two, members)
        covered += found.low <= truth <= found.high
    # Binomial(400, .95) is below 362 or above 397 with p < 1e-3.
    assert 362 <= covered <= 397


@pytest.mark.parametrize(
    "measure", [intervals.auc, intervals.balanced_accuracy, intervals.permutation_control]
)
def test_masks_of_numbers_and_nan_scores_are_refused(measure) -> None:
    scores, members = drawn(50, 50)
    with pytest.raises(ValueError, match="expected one bool for each score"):
        measure(scores, members.astype(int))
    with pytest.raises(ValueError, match="1 scores are NaN, first that of record 7"):
        measure(np.where(np.arange(100) == 7, np.nan, scores), members)


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
        (lambda s, m: intervals.permutation_control(s, m, permutations=10), "at least 40"),
    ],
)
def test_bad_calls_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(*drawn(20, 20))
