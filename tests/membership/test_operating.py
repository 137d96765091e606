"""True positives at few false ones: intervals that hold, and rates that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from labkit import stats
from labkit.membership.reports import curves, operating
from labkit.membership.reports.operating import Operating, Refused, Tied, operating_point


def drawn(m: int, n: int, effect: float = 0.5, seed: int = 0, ties: bool = False):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(effect, 1, m), rng.normal(0, 1, n)])
    return (np.round(scores, 1) if ties else scores), np.arange(m + n) < m


@pytest.mark.parametrize(("effect", "rate"), [(0.5, 0.01), (2.0, 0.01), (2.0, 0.05)])
def test_intervals_of_a_rate_cover_and_those_of_a_threshold_do_not(effect: float, rate: float) -> None:
    truth, covered, naive = norm.sf(norm.isf(rate) - effect), 0, 0
    for seed in range(200):
        point = operating_point(*drawn(1000, 1000, effect, seed), rate)
        covered += point.tpr.low <= truth <= point.tpr.high
        naive += point.found.low <= truth <= point.found.high
    # Binomial(200, .95) is below 180 with p = 1.5e-3 (measured: 96% and more). At a rate of 77% or less, as the
    # binomial interval has it (measured: 49 to 77%), 174 and more come with p < 1e-3.
    assert covered >= 180
    assert naive < 174


def test_the_binomial_interval_is_right_for_the_threshold_itself() -> None:
    covered = 0
    for seed in range(300):
        point = operating_point(*drawn(500, 1000, 2.0, seed), 0.01)
        covered += point.found.low <= norm.sf(point.threshold - 2.0) <= point.found.high
    assert covered >= 272  # Binomial(300, .95): p < 1e-3 below


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 1000), (0.001, 10_000), (0.0001, 100_000)])
def test_low_rates_are_refused_below_ten_expected_false_alarms(rate: float, needed: int) -> None:
    refused = operating_point(*drawn(100, needed - 1), rate)
    assert isinstance(refused, Refused)
    assert f"needs {needed:,} non-member scores; there are {needed - 1:,}" in str(refused)
    assert isinstance(operating_point(*drawn(100, needed), rate), Operating)


@pytest.mark.parametrize("ties", [False, True])
def test_operating_point_equals_a_search(ties: bool) -> None:
    scores, members = drawn(500, 1000, effect=1.5, ties=ties)
    point = operating_point(scores, members, 0.01)
    best = max(
        (scores[members] > t).mean() for t in [*scores, -np.inf] if (scores[~members] > t).mean() <= 0.01
    )
    assert point.tpr.estimate == point.found.estimate == best
    assert point.fpr.estimate <= 0.01
    hits = int((scores[members] > point.threshold).sum())
    assert point.found == stats.clopper_pearson(hits, 500)
    assert point.tpr.low < point.found.low < best < point.found.high < point.tpr.high


def test_the_interval_is_that_of_a_bootstrap_of_both_sides() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(2, 1, 2000), rng.normal(0, 1, 2000)
    found = operating.rate_interval(inside, outside, 0.05)
    draws = []
    for _ in range(2000):
        threshold = np.sort(rng.choice(outside, 2000))[-101]
        draws.append((rng.choice(inside, 2000) > threshold).mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    # A quantile of 2,000 draws has a standard error of about .001 here; the exact ends are a little wider.
    assert found.low == pytest.approx(low, abs=0.008)
    assert found.high == pytest.approx(high, abs=0.008)


def test_a_band_is_the_interval_at_each_rate() -> None:
    scores, members = drawn(400, 1200)
    curve = curves.of_one("drawn", scores, members)
    at = 120
    alone = operating.rate_interval(scores[members], scores[~members], float(curve.fpr[at]))
    assert (curve.tpr[at], curve.low[at], curve.high[at]) == pytest.approx(
        (alone.estimate, alone.low, alone.high), abs=1e-9
    )
    assert (curve.low <= curve.tpr).all()
    assert (curve.tpr <= curve.high).all()


def test_tied_scores_find_nobody_and_say_why() -> None:
    """LeakPro issue 393: an attack whose scores tie at the top gave a rate that is no number."""
    members = np.arange(4000) % 2 == 0
    point = operating_point(np.zeros(4000), members, 0.01)
    assert isinstance(point, Tied)
    assert point.tpr.estimate == 0 < point.tpr.high < 0.01
    assert "0 or 2,000 of 2,000 pass" in str(point)


def test_a_rate_between_two_ties_is_refused_and_one_at_a_tie_is_not() -> None:
    members = np.arange(4000) < 2000
    scores = np.where(members, 1.0, 0.0)
    scores[2000:2100] = 1.0  # 5% of the non-members stand with the members, at the top
    assert isinstance(operating_point(scores, members, 0.01), Tied)
    at = operating_point(scores, members, 0.05)
    assert isinstance(at, Operating)
    assert at.tpr.estimate == 1.0
    assert at.fpr.estimate == 0.05


def test_masks_of_numbers_and_bad_rates_are_refused() -> None:
    scores, members = drawn(1000, 1000)
    with pytest.raises(ValueError, match="expected one bool"):
        operating_point(scores, members.astype(int), 0.01)
    with pytest.raises(ValueError, match="false_positive_rate is 0"):
        operating_point(scores, members, 0)
    with pytest.raises(ValueError, match="NaN"):
        operating_point(np.where(members, np.nan, scores), members, 0.01)
