from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn import metrics

from labkit import stats


def test_clopper_pearson_matches_published_values() -> None:
    one = stats.clopper_pearson(1, 1000)  # "FPR in [.003, .56]%" for one false positive among 1,000
    assert (round(100 * one.low, 3), round(100 * one.high, 2)) == (0.003, 0.56)
    ten = stats.clopper_pearson(10, 10_000)
    assert (round(100 * ten.low, 3), round(100 * ten.high, 3)) == (0.048, 0.184)
    assert stats.clopper_pearson(0, 5).low == 0
    assert stats.clopper_pearson(5, 5).high == 1


@pytest.mark.parametrize("p", [0.02, 0.5])
def test_clopper_pearson_covers_at_least_as_promised(p: float) -> None:
    from scipy.stats import binom

    hits = np.arange(41)
    covered = [
        stats.clopper_pearson(int(h), 40).low <= p <= stats.clopper_pearson(int(h), 40).high for h in hits
    ]
    assert binom.pmf(hits, 40, p)[covered].sum() >= 0.95  # exact, no chance involved


def test_mean_interval_is_students() -> None:
    interval = stats.mean_interval([1.0, 2.0, 3.0])
    assert interval.estimate == 2
    assert interval.high - 2 == pytest.approx(
        4.302653 * 1 / np.sqrt(3), abs=1e-5
    )  # t table, 2 degrees of freedom
    assert stats.mean_interval([1.0]).high == np.inf


def test_the_mean_of_shares_stays_a_share() -> None:
    wide = stats.mean_share([0.5, 1.0])
    assert (wide.estimate, wide.low, wide.high) == (0.75, 0.0, 1.0)  # Student's half-width is 3.2
    assert stats.mean_share([0.4, 0.41, 0.42]) == stats.mean_interval([0.4, 0.41, 0.42])


def test_equal_runs_are_no_certainty() -> None:
    four = stats.mean_share([1.0] * 4)
    # Clopper-Pearson on no other run in four: 1 - 0.025 ** (1 / 4).
    assert (four.low, four.high) == (pytest.approx(0.025**0.25), 1.0)
    none = stats.mean_share([0.0] * 3)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 3)))
    half = stats.mean_share([0.5] * 3)
    assert half.low == pytest.approx(1 - half.high)
    assert half.low < 0.2
    assert "3 equal runs" in half.method
    assert stats.mean_share([0.5]).low == 0.0
    assert stats.mean_share([0.5]).high == 1.0


def test_bootstrap_brackets_the_mean_and_repeats() -> None:
    values = np.arange(100.0)
    interval = stats.bootstrap(values)
    # The percentile interval of a mean is close to the normal one: 1.96 x 28.9 / 10 = 5.7 on either side.
    assert interval.high - interval.low == pytest.approx(2 * 5.66, rel=0.1)
    assert interval == stats.bootstrap(values)


def test_roc_and_auc_agree_with_scikit_learn_under_ties() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 9, 200), rng.integers(0, 7, 300)
    labels, scores = np.repeat([1, 0], [200, 300]), np.concatenate([positive, negative])
    assert stats.auc(positive, negative) == pytest.approx(metrics.roc_auc_score(labels, scores))
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    ours = stats.roc(positive, negative)
    np.testing.assert_allclose(ours[0], false_positive_rate)
    np.testing.assert_allclose(ours[1], true_positive_rate)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.clopper_pearson(3, 2), "3 hits in 2 trials"),
        (lambda: stats.clopper_pearson(0, 0), "trials >= 1"),
        (lambda: stats.mean_interval([]), "at least one finite"),
        (lambda: stats.mean_interval([float("nan")]), "at least one finite"),
        (lambda: stats.mean_interval([1.0], confidence=95), "between 0 and 1"),
        (lambda: stats.bootstrap([1.0]), "at least 2"),
        (lambda: stats.roc([], [1.0]), "at least one score"),
        (lambda: stats.roc([float("nan")], [1.0]), "no NaN"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_p_value_that_underflows_is_not_shown_as_zero() -> None:
    first = np.r_[np.ones(7003, bool), np.zeros(293, bool)]
    paired = stats.mcnemar(first, ~first)
    assert paired.p_value < 1e-300
    assert "p < 1e-12 (7003 records to 293)" in str(paired)


def right_of(only_first: int, only_second: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    place = np.arange(n)
    return place >= only_second, (place < only_second) | (place >= only_first + only_second)


@pytest.mark.parametrize(("n", "share"), [(50, 0.02), (200, 0.02), (1000, 0.001)])
def test_few_records_that_differ_are_no_certainty(n: int, share: float) -> None:
    """Coverage by summing over all outcomes: where one model alone is ever right, few records or none differ."""
    outcomes = np.arange(n + 1)
    intervals = [stats.mcnemar(*right_of(int(b), 0, n)).difference for b in outcomes[:60]]
    inside = np.array([one.low <= share <= one.high for one in intervals])
    assert binom.pmf(outcomes[:60], n, share)[inside].sum() > 0.9  # without the halves: .64, .91 and .63
    assert all(one.low < one.high and one.low <= one.estimate <= one.high for one in intervals)


def test_a_p_value_is_shown_no_lower_than_its_method_supports() -> None:
    assert stats.p_words(1e-9) == "p = 1e-09"
    assert stats.p_words(1e-9, stats.SUPPORTED) == "p < 1e-06"


@pytest.mark.parametrize("runs", [2, 3, 5, 6, 7, 10])
def test_equal_runs_are_equal_whatever_their_mean_rounds_to(runs: int) -> None:
    for share in np.arange(0, 1.001, 0.001):
        assert stats.mean_share([float(share)] * runs).method == f"exact, {runs} equal runs"
