"""Every number of every answer is computed twice: by labkit, and here in another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as law
from scipy.optimize import brentq

from labkit.course.interview import bank, numbers
from labkit.watermark import Plan

DELTA = 1e-5


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def bayes(prior: float, epsilon: float) -> float:
    return 1 / (1 + math.exp(-epsilon - log_odds(prior)))


def ceiling(epsilon: float, fpr: float = 0.01) -> float:
    return min(math.exp(epsilon) * fpr + DELTA, 1 - math.exp(-epsilon) * (1 - DELTA - fpr))


def bell_delta(epsilon: float, sigma: float) -> float:
    """δ of one Gaussian release of sensitivity 1, by integrating where one density exceeds e^ε times the other."""
    cut = sigma**2 * epsilon + 0.5  # p(x) > e^ε q(x) for x above
    return law.norm.sf(cut, 1, sigma) - math.exp(epsilon) * law.norm.sf(cut, 0, sigma)


def bell_epsilon(sigma: float) -> float:
    return brentq(lambda epsilon: bell_delta(epsilon, sigma) - DELTA, 0, 60)


def bell_sigma(epsilon: float) -> float:
    return brentq(lambda sigma: bell_delta(epsilon, sigma) - DELTA, 0.1, 50)


def coins(epsilon: float, releases: int, total: float) -> float:
    """δ of randomised responses: Σ P[k right] (1 - e^(total - loss)) over outcomes whose loss exceeds the total."""
    right = np.arange(releases + 1)
    loss = (2 * right - releases) * epsilon
    p = law.binom.pmf(right, releases, 1 / (1 + math.exp(-epsilon)))
    return float((p * -np.expm1(np.minimum(0, total - loss))).sum())


def library(noise: float = 1.0, steps: int = 1000, *, replace: bool = False, runs: int = 1) -> float:
    """ε by dp-accounting's own PLD on a coarse grid."""
    import dp_accounting
    from dp_accounting.pld import privacy_loss_distribution as pld

    relation = dp_accounting.NeighboringRelation
    one = pld.from_gaussian_mechanism(
        noise,
        sampling_prob=0.01,
        value_discretization_interval=1e-3,
        neighboring_relation=relation.REPLACE_ONE if replace else relation.ADD_OR_REMOVE_ONE,
    )
    return one.self_compose(steps * runs).get_epsilon_for_delta(DELTA)


def renyi(best_of: float = 0) -> float:
    import dp_accounting

    step = dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.0))
    event = dp_accounting.SelfComposedDpEvent(step, 1000)
    if best_of:
        event = dp_accounting.dp_event.RepeatAndSelectDpEvent(event, best_of, 1)
    return dp_accounting.rdp.RdpAccountant().compose(event).get_epsilon(DELTA)


def guesses_bound(right: int, guesses: int) -> float:
    """The largest ε under which so many right guesses have probability 5% or less, through the beta law."""
    return log_odds(law.beta.ppf(0.05, right, guesses - right + 1)) if right else 0.0


def further_run_below(runs: int) -> float:
    """By simulation: 400,000 studies; standard error below 0.0008."""
    drawn = np.random.default_rng(0).normal(size=(400_000, runs + 1))
    mean, spread = drawn[:, :-1].mean(1), drawn[:, :-1].std(1, ddof=1)
    return float((drawn[:, -1] < mean - law.t.ppf(0.975, runs - 1) * spread / math.sqrt(runs)).mean())


def fewest_queries(rate: float) -> int:
    for n in range(1, 1000):
        tails = law.binom.sf(np.arange(n + 1) - 1, n, 0.25)
        enough = np.flatnonzero(tails < 0.001)
        if len(enough) and law.binom.sf(enough[0] - 1, n, rate) >= 0.9:
            return n
    raise AssertionError(rate)


def fewest_hits(null: float) -> int:
    return next(h for h in range(101) if 1 - law.binom.cdf(h - 1, 100, null) < 0.001)


def never(n: int) -> float:
    return 1 - 0.025 ** (1 / n)


def ends(hits: int, n: int) -> tuple[float, float]:
    return law.beta.ppf(0.025, hits, n - hits + 1), law.beta.ppf(0.975, hits + 1, n - hits)


def fewest_guesses() -> int:
    return next(r for r in range(10, 2000, 10) if guesses_bound(math.floor(0.9 * r + 1e-9), r) >= 2.0)


SGD = {  # within 1%: the grids differ
    "sgd_eps": lambda: library(),
    "sgd_eps_longer": lambda: library(steps=4000),
    "longer_over_sgd": lambda: library(steps=4000) / library(),
    "sgd_eps_half_noise": lambda: library(0.5),
    "half_noise_factor": lambda: library(0.5) / library(),
    "sgd_eps_replace": lambda: library(replace=True),
    "sgd_eps_all_trials": lambda: library(runs=20),
    "sgd_eps_kept": lambda: library(0.7),
    "epochs_over_poisson": lambda: bell_epsilon(1 / math.sqrt(10)) / library(),
}
EXACT: dict[str, Callable[[], float]] = {
    "odds_at_1": lambda: math.e,
    "odds_at_8": lambda: math.e**8,
    "believe_rare_1": lambda: bayes(0.01, 1),
    "believe_rare_3": lambda: bayes(0.01, 3),
    "believe_rare_8": lambda: bayes(0.01, 8),
    "ceiling_1": lambda: ceiling(1),
    "ceiling_3": lambda: ceiling(3),
    "ceiling_8": lambda: ceiling(8),
    "eps_family": lambda: 5.0,
    "delta_family": lambda: DELTA * sum(math.exp(k) for k in range(5)),
    "delta_growth": lambda: sum(math.exp(k) for k in range(5)),
    "one_in_the_clear": lambda: 1e-4,
    "mean_moves": lambda: 100 / 10_000,
    "mean_noise": lambda: law.laplace.std(scale=0.01),
    "sigma_exact": lambda: bell_sigma(1.0),
    "sigma_classic": lambda: math.sqrt(2 * (math.log(1.25) - math.log(DELTA))),
    "eps_basic": lambda: sum([0.1] * 100),
    "eps_advanced": lambda: 0.1 * math.sqrt(200 * math.log(1e5)) + 10 * (math.exp(0.1) - 1),
    "eps_optimal": lambda: brentq(lambda total: coins(0.1, 100, total) - DELTA, 0, 10),
    "local_error": lambda: 0.5 / 100 / math.tanh(0.5),
    "central_error": lambda: law.laplace.std(scale=1e-4),
    "local_over_central": lambda: 0.5 / 100 / math.tanh(0.5) / law.laplace.std(scale=1e-4),
    "sgd_eps_epochs": lambda: bell_epsilon(1 / math.sqrt(10)),
    "sgd_eps_rdp": lambda: renyi(),
    "sgd_eps_random_trials": lambda: renyi(best_of=20),
    "below_few": lambda: further_run_below(5),
    "below_many": lambda: further_run_below(30),
    "wider_few": lambda: math.sqrt(1 + 1 / 5) / math.sqrt(1 / 5),
    "wider_many": lambda: math.sqrt(1 + 1 / 30) / math.sqrt(1 / 30),
    "a_right": lambda: (9820 + 10) / 10_000,
    "b_right": lambda: (9820 + 40) / 10_000,
    "a_high": lambda: ends(9830, 10_000)[1],
    "b_low": lambda: ends(9860, 10_000)[0],
    "paired_p": lambda: 2 * law.binom.cdf(10, 50, 0.5),
    "noise_length_few": lambda: law.chi.mean(1000),
    "noise_length_many": lambda: law.chi.mean(1_000_000),
    "never_fraud": lambda: 95 / 100,
    "false_find": lambda: law.binom.sf(0, 50, 0.05),
    "shared_level": lambda: 0.001,
    "sure_share": lambda: brentq(lambda share: share + (1 - share) / 2 - 0.6, 0, 1),
    "tpr_sure": lambda: 0.2 + 0.8 * 0.01,
    "tpr_vague": lambda: law.norm.sf(law.norm.isf(0.01) - brentq(lambda d: law.norm.cdf(d, 0, 2**0.5) - 0.6, 0, 3)),
    "precision_rare": lambda: 10 / (10 + 99),
    "precision_even": lambda: 10 / 11,
    "others_for_low": lambda: 1000,
    "others_for_lower": lambda: 10_000,
    "guess_at_1": lambda: bayes(0.5, 1),
    "eps_by_tpr": lambda: math.log(10),
    "rate_low": lambda: ends(100, 1000)[0],
    "rate_high": lambda: ends(100, 1000)[1],
    "certify_few": lambda: guesses_bound(100, 100),
    "certify_many": lambda: guesses_bound(1000, 1000),
    "certify_share": lambda: guesses_bound(700, 1000),
    "limit_share": lambda: log_odds(0.7),
    "needed_sharp": fewest_guesses,
    "certify_runs": lambda: math.log(ends(50, 1000)[0] / ends(1, 1000)[1]),
    "best_runs": lambda: math.log((0.025 ** (1 / 1000)) / never(1000)),
    "alarms_high": lambda: never(1000),
    "claim_p": lambda: law.binom.sf(69, 100, bayes(0.5, 0.5)),
    "p_by_chance": lambda: law.binom.sf(29, 100, 0.1),
    "p_by_innocents": lambda: law.binom.sf(29, 100, 0.25),
    "hits_by_chance": lambda: fewest_hits(0.1),
    "hits_by_innocents": lambda: fewest_hits(0.25),
    "queries_strong": lambda: fewest_queries(0.9),
    "queries_weak": lambda: fewest_queries(0.4),
    "rank_nulls": lambda: 1 / 21,
    "rank_keys": lambda: 1 / 1000,
    "level_each": lambda: 0.01 / 5 / 2,
    "keys_for_level": lambda: next(k for k in range(2000) if 1 / (1 + k) <= 0.001),
    "lines_needed": lambda: 2,
    "nulls_needed": lambda: 20,
    "none_of_nulls": lambda: never(20),
    "none_of_trials": lambda: never(1000),
    "grinding": lambda: law.binom.sf(0, 10_000, 0.001),
    "lucky_keys": lambda: 10,
    "pairs": lambda: 4 + 3 + 2 + 1,
    "pairs_many": lambda: sum(range(100)),
    "threshold_honest": lambda: 3,
    "threshold_colluding": lambda: 4,
    "share_each": lambda: 1 / math.sqrt(3),
    "noise_all_there": lambda: math.sqrt(5 / 3),
    "noise_to_hospital": lambda: math.sqrt(2 / 3),
    "noise_local": lambda: math.sqrt(5),
    "seed_minutes": lambda: 4294967296 / 6e8,
    "eps_hospital": lambda: 50,
    "boost": lambda: 5,
    "grid_step": lambda: 2.0**-28,
    "missed_high": lambda: never(300),
    "missed_in_archive": lambda: 10_000 * never(300),
    "year_added": lambda: 12,
    "year_gaussian": lambda: bell_epsilon(bell_sigma(1.0) / math.sqrt(12)),
}  # fmt: skip
WORDS = {
    "plan_lines": lambda: ", ".join(f"{line} ({n:,})" for line, n in Plan().queries.items()),
    "plan_directional": lambda: "mark and inference",
    "plan_faults": lambda: "; ".join(Plan(needed=1).faults()),
}


def test_every_number_that_is_computed_is_computed_here_too() -> None:
    computed = {one.name for one in numbers.everything().values() if not one.given}
    assert computed == set(SGD) | set(EXACT) | set(WORDS)


@pytest.mark.parametrize("name", EXACT)
def test_a_number_is_what_another_way_gives(name: str) -> None:
    tolerance = 0.015 if name.startswith(("below_", "noise_length", "sgd_eps_random")) else 2e-3
    assert numbers.value(name) == pytest.approx(EXACT[name](), rel=tolerance)


@pytest.mark.parametrize("name", SGD)
def test_epsilon_of_a_run_is_what_the_library_gives(name: str) -> None:
    assert numbers.value(name) == pytest.approx(SGD[name](), rel=0.01)


@pytest.mark.parametrize("name", WORDS)
def test_words_come_from_the_plan(name: str) -> None:
    assert numbers.value(name) == WORDS[name]()


def test_every_number_is_used_and_every_use_is_known() -> None:
    used = {name for one in bank.questions() for text in one.texts().values() for name in numbers.used(text)}
    assert used <= set(numbers.everything())
    assert not {one.name for one in numbers.everything().values() if not one.given} - used


@pytest.mark.parametrize("one", bank.questions(), ids=lambda one: one.id)
def test_no_number_is_typed(one: bank.Question) -> None:
    for place, text in one.texts().items():
        assert not numbers.typed(text), f"{one.id}, {place}: {numbers.typed(text)}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It costs 3 points.", ["3"]),
        ("A TPR of {fpr} at lab 05, SHA-256, in 2021.", []),
        ("see arXiv 2305.08846 and article 35", []),
        ("about twenty models", ["twenty"]),
        ("the line at ε = 0; but ε = 0.5", ["0.5"]),
    ],
)
def test_a_typed_number_is_seen(text: str, found: list[str]) -> None:
    assert numbers.typed(text) == found


def test_an_unknown_number_says_where_to_add_it() -> None:
    with pytest.raises(numbers.UnknownNumberError, match="add a function of that name"):
        numbers.filled("{nobody_computes_this}")
