"""Numbers about utility: seeds, intervals, paired records, and noise in many dimensions."""

from __future__ import annotations

import math

import numpy as np

from labkit import stats
from labkit.course.interview.numbers import given, number

FEW = given("seeds_few", 5, "{:d}", "training runs of a cautious study")
MANY = given("seeds_many", 30, "{:d}", "training runs of a generous study")
TESTED = given("tested", 10_000, "{:,d}", "test records that two models share")
BOTH = given("both_right", 9_820, "{:,d}", "records that both models get right")
ONLY_A = given("only_a", 10, "{:d}", "records that model A alone gets right")
ONLY_B = given("only_b", 40, "{:d}", "records that model B alone gets right")
FEW_WEIGHTS = given("weights_few", 1_000, "{:,d}", "parameters of a small model")
MANY_WEIGHTS = given("weights_many", 1_000_000, "{:,d}", "parameters of a larger model")
BASE = given("fraud_rate", 0.05, "{:.0%}", "share of fraud in a table")
USUAL = given("usual_level", 0.05, "{:g}", "the usual level of a test")
LOOKS = given("looks", 50, "{:d}", "comparisons that were looked at")


def _below_lower_end(runs: int) -> float:
    """Return P[one further run lies below the lower end of the 95% interval of the mean of so many]."""
    from scipy.stats import t

    reach = float(t.ppf(0.975, runs - 1)) / math.sqrt(runs)
    return float(t.cdf(-reach / math.sqrt(1 + 1 / runs), runs - 1))


@number("{:.0%}")
def below_few() -> float:
    """chance that a deployed run lies below the lower end of the interval of the mean of few runs (Student t)"""
    return _below_lower_end(FEW)


@number("{:.0%}")
def below_many() -> float:
    """the same for many runs: more seeds make the mean surer, and the promise for one run worse"""
    return _below_lower_end(MANY)


@number("{:.1f}")
def wider_few() -> float:
    """reach of a two-sided prediction interval over that of the mean's interval, few runs: sqrt(k + 1)"""
    return math.sqrt(FEW + 1)


@number("{:.1f}")
def wider_many() -> float:
    """the same for many runs"""
    return math.sqrt(MANY + 1)


def _shared() -> tuple[np.ndarray, np.ndarray]:
    """Return which shared records A and B get right."""
    neither = TESTED - BOTH - ONLY_A - ONLY_B
    counts = (BOTH, ONLY_A, ONLY_B, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


@number("{:.2%}")
def a_right() -> float:
    """accuracy of model A on the shared records"""
    return float(_shared()[0].mean())


@number("{:.2%}")
def b_right() -> float:
    """accuracy of model B on the shared records"""
    return float(_shared()[1].mean())


@number("{:.2%}")
def a_high() -> float:
    """upper end of A's own 95% interval: stats.clopper_pearson"""
    return stats.clopper_pearson(int(_shared()[0].sum()), TESTED).high


@number("{:.2%}")
def b_low() -> float:
    """lower end of B's own 95% interval: stats.clopper_pearson"""
    return stats.clopper_pearson(int(_shared()[1].sum()), TESTED).low


@number("{:.1e}")
def paired_p() -> float:
    """p-value of A against B on the shared records, exact: stats.mcnemar"""
    return stats.mcnemar(*_shared()).p_value


@number("{:.0f}")
def noise_length_few() -> float:
    """expected length of unit Gaussian noise on few weights, about sqrt(d)"""
    return math.sqrt(FEW_WEIGHTS)


@number("{:,.0f}")
def noise_length_many() -> float:
    """expected length of unit Gaussian noise on many weights, about sqrt(d)"""
    return math.sqrt(MANY_WEIGHTS)


@number("{:.0%}")
def never_fraud() -> float:
    """accuracy of a model that never says fraud"""
    return 1 - BASE


@number("{:.0%}")
def false_find() -> float:
    """chance of at least one finding at 5% among so many independent looks at nothing"""
    return 1 - (1 - USUAL) ** LOOKS


@number("{:.1e}")
def shared_level() -> float:
    """level of each look when 5% is shared among all (Bonferroni)"""
    return USUAL / LOOKS
