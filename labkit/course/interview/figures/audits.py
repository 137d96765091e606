"""Numbers about audits: what guesses and runs certify, and what a bug costs."""

from __future__ import annotations

import math
from itertools import count

from labkit import audit, stats
from labkit.course.interview.figures import privacy
from labkit.course.interview.numbers import given, number

FEW = given("canaries_few", 100, "{:d}", "guesses of a small audit")
MANY = given("canaries_many", 1000, "{:,d}", "guesses of a larger audit")
SHARE = given("guessed_right", 0.7, "{:.0%}", "share of guesses that are right")
SHARP = given("guessed_well", 0.9, "{:.0%}", "share of guesses that are right, for a sharp attacker")
RUNS = given("runs", 1000, "{:,d}", "training runs with the canary, and as many without")
HITS = given("run_hits", 50, "{:d}", "runs with the canary in which it was seen")
ALARMS = given("run_alarms", 1, "{:d}", "runs without it in which it was seen")
CLAIM = given("claimed", 0.5, "{:g}", "an ε that an audit tests")
CONFIDENCE = given("confidence", 0.95, "{:.0%}", "confidence with which an audit certifies")
KEPT = given("noise_kept", 0.7, "{:g}", "share of the promised noise that buggy code adds")


@number("{:.2f}")
def certify_few() -> float:
    """ε certified by the small audit when every guess is right: audit.certifiable"""
    return audit.certifiable(FEW, confidence=CONFIDENCE)


@number("{:.2f}")
def certify_many() -> float:
    """ε certified by the larger audit when every guess is right: audit.certifiable"""
    return audit.certifiable(MANY, confidence=CONFIDENCE)


@number("{:.2f}")
def certify_share() -> float:
    """ε certified by the larger audit at that share of right guesses: audit.one_run_epsilon"""
    return audit.one_run_epsilon(round(SHARE * MANY), MANY, confidence=CONFIDENCE)


@number("{:.2f}")
def limit_share() -> float:
    """ε that guesses of that accuracy approach, however many there are: ln(p / (1 - p))"""
    return math.log(SHARE / (1 - SHARE))


@number("{:,d}")
def needed_sharp() -> int:
    """guesses of the sharp attacker that certify ε = 2, in tens, so that the share is exact: audit.certifiable"""
    return next(
        guesses for guesses in count(10, 10) if audit.certifiable(guesses, SHARP, confidence=CONFIDENCE) >= 2
    )


@number("{:.1f}")
def certify_runs() -> float:
    """ε certified by many runs at one threshold fixed before: audit.many_run_epsilon"""
    return audit.many_run_epsilon(HITS, RUNS, ALARMS, RUNS, confidence=CONFIDENCE)


@number("{:.1f}")
def best_runs() -> float:
    """ε certified by as many runs when the attack is perfect: audit.many_run_epsilon"""
    return audit.many_run_epsilon(RUNS, RUNS, 0, RUNS, confidence=CONFIDENCE)


@number("{:.2%}")
def alarms_high() -> float:
    """upper 95% end of a false alarm rate of none in all runs: stats.clopper_pearson"""
    return stats.clopper_pearson(0, RUNS).high


@number("{:.1e}")
def claim_p() -> float:
    """p-value of that share of right guesses, few canaries, under the claim: audit.one_run_p_value"""
    return audit.one_run_p_value(round(SHARE * FEW), FEW, CLAIM)


@number("{:.2f}")
def sgd_eps_kept() -> float:
    """true ε of the example of DP-SGD when only that share of the noise is added, by PLD"""
    return privacy.pld(noise=KEPT * privacy.SIGMA)
