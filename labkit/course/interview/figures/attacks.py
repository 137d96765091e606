"""Numbers about membership inference: rates, priors, and how much an average hides."""

from __future__ import annotations

import math

from labkit import stats
from labkit.course.interview.numbers import given, number
from labkit.membership.reports import intervals
from labkit.membership.reports.operating import Operating

AUC = given("auc_both", 0.6, "{:g}", "AUC that two very different attacks share")
LOW = given("fpr", 0.01, "{:.0%}", "false positive rate of the examples")
LOWER = given("fpr_lower", 0.001, "{:.1%}", "a stricter false positive rate")
CAUGHT = given("tpr", 0.1, "{:.0%}", "true positive rate of the examples")
RARE = given("prior_members", 0.01, "{:.0%}", "share of members among all who could be accused")
ABOVE = given("above", 10, "{:d}", "non-members wanted above the threshold, so that a rate is a rate")
ASKED = given("records_asked", 1000, "{:,d}", "members asked, and as many others")


@number("{:.0%}")
def sure_share() -> float:
    """share of members an attack must be certain of for that AUC if it guesses about all others: 2 AUC - 1"""
    return 2 * AUC - 1


@number("{:.0%}")
def tpr_sure() -> float:
    """TPR at 1% FPR of the attack that is certain about a few"""
    return sure_share() + (1 - sure_share()) * LOW


@number("{:.1%}")
def tpr_vague() -> float:
    """TPR at 1% FPR of the attack whose scores are one shifted bell, of the same AUC"""
    from scipy.stats import norm

    shift = math.sqrt(2) * norm.ppf(AUC)
    return float(norm.cdf(norm.ppf(LOW) + shift))


def _point(tpr: float, fpr: float) -> Operating:
    n = 100_000
    return Operating(0.0, stats.clopper_pearson(round(tpr * n), n), stats.clopper_pearson(round(fpr * n), n))


@number("{:.0%}")
def precision_rare() -> float:
    """share of members among the accused at a prior of 1%: membership's intervals.precision"""
    return intervals.precision(_point(CAUGHT, LOW), RARE).estimate


@number("{:.0%}")
def precision_even() -> float:
    """the same on a balanced set: intervals.precision"""
    return intervals.precision(_point(CAUGHT, LOW), 0.5).estimate


@number("{:,.0f}")
def others_for_low() -> float:
    """non-members for a TPR at 1% FPR: ten above the threshold"""
    return ABOVE / LOW


@number("{:,.0f}")
def others_for_lower() -> float:
    """non-members for a TPR at 0.1% FPR"""
    return ABOVE / LOWER


@number("{:.0%}")
def guess_at_1() -> float:
    """highest balanced accuracy of any attack at pure ε = 1: e^ε / (1 + e^ε)"""
    return 1 / (1 + math.exp(-1))


@number("{:.1f}")
def eps_by_tpr() -> float:
    """ε that a TPR of 10% at an FPR of 1% would mean if both were exact: ln(TPR/FPR)"""
    return math.log(CAUGHT / LOW)


@number("{:.1%}")
def rate_low() -> float:
    """lower end of the 95% interval of a TPR of 10% over the members asked: stats.clopper_pearson"""
    return stats.clopper_pearson(round(CAUGHT * ASKED), ASKED).low


@number("{:.1%}")
def rate_high() -> float:
    """upper end of the same"""
    return stats.clopper_pearson(round(CAUGHT * ASKED), ASKED).high
