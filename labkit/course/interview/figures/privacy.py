"""Numbers about differential privacy: what an ε promises, composition, groups, and a run of DP-SGD."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from labkit import dp
from labkit.course.interview.numbers import given, number

for _name, _epsilon in (("eps_one", 1), ("eps_two", 2), ("eps_three", 3), ("eps_eight", 8)):
    given(_name, _epsilon, "{:d}", f"ε = {_epsilon}, in examples")
DELTA = given("delta", 1e-5, "{:g}", "the δ of all examples")
RATE = given("fpr_low", 0.01, "{:.0%}", "a false positive rate that an accuser could defend")
FAMILY = given("family", 5, "{:d}", "people in the family of the example")
RARE = given("prior_rare", 0.01, "{:.0%}", "an attacker's prior: one patient in so many")
PEOPLE = given("people", 10_000, "{:,d}", "records in the examples of means and shares")
OLDEST = given("oldest", 100, "{:d}", "upper bound on an age, in years")
SMALL = given("eps_each", 0.1, "{:g}", "ε of each of many small releases")
MANY = given("releases", 100, "{:d}", "number of small releases")
SIGMA = given("sgd_noise", 1.0, "{:g}", "noise multiplier of the example of DP-SGD")
Q = given("sgd_rate", 0.01, "{:g}", "sampling rate q of the example of DP-SGD")
STEPS = given("sgd_steps", 1000, "{:,d}", "steps of the example of DP-SGD")
TRIALS = given("trials", 20, "{:d}", "settings that were tried before one was chosen")


def posterior(epsilon: float, prior: float) -> float:
    """Return the most that an attacker of this prior can come to believe under pure ε-DP."""
    odds = math.exp(epsilon) * prior / (1 - prior)
    return odds / (1 + odds)


@number("{:.2f}")
def odds_at_1() -> float:
    """e^ε at ε = 1: the factor by which one record may move the odds"""
    return math.exp(1)


@number("{:,.0f}")
def odds_at_8() -> float:
    """e^ε at ε = 8"""
    return math.exp(8)


@number("{:.1%}")
def believe_rare_1() -> float:
    """belief after the release, from a prior of 1%, at ε = 1"""
    return posterior(1, RARE)


@number("{:.0%}")
def believe_rare_3() -> float:
    """belief after the release, from a prior of 1%, at ε = 3"""
    return posterior(3, RARE)


@number("{:.0%}")
def believe_rare_8() -> float:
    """belief after the release, from a prior of 1%, at ε = 8"""
    return posterior(8, RARE)


def _ceiling(epsilon: float) -> float:
    return float(dp.roc_ceiling(np.array([RATE]), epsilon, DELTA)[0])


@number("{:.1%}")
def ceiling_1() -> float:
    """highest TPR at 1% FPR under (1, δ)-DP: dp.roc_ceiling"""
    return _ceiling(1)


@number("{:.0%}")
def ceiling_3() -> float:
    """highest TPR at 1% FPR under (3, δ)-DP: dp.roc_ceiling"""
    return _ceiling(3)


@number("{:.2%}")
def ceiling_8() -> float:
    """highest TPR at 1% FPR under (8, δ)-DP: dp.roc_ceiling"""
    return _ceiling(8)


@number("{:g}")
def eps_family() -> float:
    """ε of the whole family when each member has ε = 1: dp.group_privacy"""
    return dp.group_privacy(1, FAMILY, DELTA)[0]


@number("{:.1e}")
def delta_family() -> float:
    """δ of the whole family when each member has ε = 1: dp.group_privacy"""
    return dp.group_privacy(1, FAMILY, DELTA)[1]


@number("{:.0f}")
def delta_growth() -> float:
    """by how much δ grew for the family, as a factor: dp.group_privacy"""
    return dp.group_privacy(1, FAMILY, DELTA)[1] / DELTA


@number("{:g}")
def one_in_the_clear() -> float:
    """δ of publishing one record at random in the clear: 1 over the number of records"""
    return 1 / PEOPLE


@number("{:.2g}")
def mean_moves() -> float:
    """how far one age moves the mean of all, in years: dp.mean_sensitivity"""
    return dp.mean_sensitivity(0, OLDEST, PEOPLE)


@number("{:.3f}")
def mean_noise() -> float:
    """standard deviation of the Laplace noise on the mean age at ε = 1, in years: dp.Laplace"""
    return math.sqrt(2) * dp.Laplace(1.0, dp.mean_sensitivity(0, OLDEST, PEOPLE)).scale


@number("{:.2f}")
def sigma_exact() -> float:
    """Gaussian σ for ε = 1, exactly calibrated: dp.gaussian_sigma"""
    return dp.gaussian_sigma(1, DELTA)


@number("{:.2f}")
def sigma_classic() -> float:
    """Gaussian σ for ε = 1 by the textbook's sufficient formula, sqrt(2 ln(1.25/δ))/ε"""
    return math.sqrt(2 * math.log(1.25 / DELTA))


@number("{:g}")
def eps_basic() -> float:
    """total ε of the small releases, added up: dp.basic_composition"""
    return dp.basic_composition(SMALL, MANY)


@number("{:.1f}")
def eps_advanced() -> float:
    """total ε of the small releases by the advanced theorem: dp.advanced_composition"""
    return dp.advanced_composition(SMALL, MANY, DELTA)


@number("{:.1f}")
def eps_optimal() -> float:
    """total ε of the small releases, the least that holds for all mechanisms: dp.optimal_composition"""
    return dp.optimal_composition(SMALL, MANY, DELTA)


@number("{:.1%}")
def local_error() -> float:
    """standard error of a share among all people by randomised response at ε = 1: dp.RandomisedResponse"""
    keep = dp.RandomisedResponse(1.0).keep_probability
    return math.sqrt(0.25 / PEOPLE) / (2 * keep - 1)


@number("{:.3%}")
def central_error() -> float:
    """standard deviation of Laplace noise on the same share with a curator at ε = 1: dp.Laplace"""
    return math.sqrt(2) * dp.Laplace(1.0, 1 / PEOPLE).scale


@number("{:.0f}")
def local_over_central() -> float:
    """the first error over the second"""
    return local_error() / central_error()


@lru_cache(maxsize=32)
def pld(
    noise: float = SIGMA,
    steps: int = STEPS,
    sampler: str = "poisson",
    neighbouring: str = "add/remove",
    runs: int = 1,
) -> float:
    """Return ε of the example of DP-SGD by PLD alone: a statement asks two more accountants, which takes longer."""
    from labkit.dp.accounting.accountants import pld_epsilon

    return pld_epsilon((dp.SampledGaussian(noise, steps, Q, sampler),), DELTA, neighbouring, runs)


@number("{:.2f}")
def sgd_eps() -> float:
    """ε of the example of DP-SGD, Poisson batches, add/remove, by PLD: dp.privacy_statement"""
    return pld()


@number("{:.2f}")
def sgd_eps_rdp() -> float:
    """ε of the same run by RDP: dp.privacy_statement"""
    return dp.privacy_statement(dp.SampledGaussian(SIGMA, STEPS, Q), delta=DELTA).epsilons["RDP"]


@number("{:.1f}")
def sgd_eps_epochs() -> float:
    """ε that may be claimed for the same run when batches are cut from epochs: no amplification"""
    return pld(sampler="fixed")


@number("{:.1f}")
def epochs_over_poisson() -> float:
    """what may be claimed for epochs over what may be claimed for coin flips"""
    return pld(sampler="fixed") / pld()


@number("{:.2f}")
def sgd_eps_longer() -> float:
    """ε of four times the steps"""
    return pld(steps=4 * STEPS)


@number("{:.1f}")
def longer_over_sgd() -> float:
    """ε of four times the steps over that of the run"""
    return pld(steps=4 * STEPS) / pld()


@number("{:.2f}")
def sgd_eps_half_noise() -> float:
    """ε of the same run with half the noise"""
    return pld(noise=SIGMA / 2)


@number("{:.1f}")
def half_noise_factor() -> float:
    """by how much half the noise raises ε, as a factor"""
    return pld(noise=SIGMA / 2) / pld()


@number("{:.2f}")
def sgd_eps_replace() -> float:
    """ε of the same run if a neighbour replaces a record, by PLD"""
    return pld(neighbouring="replace-one")


@number("{:.1f}")
def sgd_eps_all_trials() -> float:
    """ε when all trials are charged by plain composition, by PLD"""
    return pld(runs=TRIALS)


@number("{:.1f}")
def sgd_eps_random_trials() -> float:
    """ε when the number of trials is geometric with that mean, by RDP: dp.TuningCost"""
    event = dp.SampledGaussian(SIGMA, STEPS, Q)
    tuning = dp.TuningCost(TRIALS, "geometric")
    return dp.privacy_statement(event, delta=DELTA, tuning=tuning).epsilon
