"""Exact binomial arithmetic of a mark's test: p-value, hits needed, power, queries needed, and the rate under H0."""

from __future__ import annotations

import numpy as np

from labkit import stats

ALPHA = 1e-3


def tail(hits: int, trials: int, rate: float) -> float:
    """Return P(at least ``hits`` of ``trials``) when each hits with probability ``rate``: the exact p-value.

    It stands, and errs on the side of the suspect, when triggers differ in their chance and ``rate`` is its mean: the
    number of hits then strays less from its mean (Hoeffding, "On the distribution of the number of successes in
    independent trials", 1956, theorem 4; beyond one hit above the mean).
    """
    from scipy.stats import binom

    return float(binom.sf(hits - 1, trials, rate))


def _needed(trials: np.ndarray, null_rate: float, alpha: float) -> np.ndarray:
    """Return the fewest hits with a p-value below alpha, for each number of trials; trials + 1 where there is none."""
    from scipy.stats import binom

    hits = binom.isf(alpha, trials, null_rate).astype(int) + 1  # the first whose p-value is at most alpha
    return hits + (binom.sf(hits - 1, trials, null_rate) >= alpha)


def hits_needed(trials: int, null_rate: float, alpha: float = ALPHA) -> int | None:
    """Return the fewest hits with a p-value below ``alpha``, or None if even all would not do.

    Raises
    ------
    ValueError
        If a value is out of range.
    """
    if trials < 1 or not 0 <= null_rate <= 1 or not 0 < alpha < 1:
        raise ValueError(
            f"got trials={trials}, null_rate={null_rate}, alpha={alpha}; expected at least 1 trial, a rate in [0, 1] "
            "and alpha between 0 and 1"
        )
    hits = int(_needed(np.array([trials]), null_rate, alpha)[0])
    return hits if hits <= trials else None


def power(rate: float, trials: int, null_rate: float, alpha: float = ALPHA) -> float:
    """Return the probability to reach a p-value below ``alpha`` when triggers hit with probability ``rate``."""
    needed = hits_needed(trials, null_rate, alpha)
    return 0.0 if needed is None else tail(needed, trials, rate)


def queries_needed(
    rate: float, null_rate: float, alpha: float = ALPHA, *, power_wanted: float = 0.9, most: int = 100_000
) -> int:
    """Return the smallest number of queries that proves a mark with the power wanted.

    Parameters
    ----------
    rate, null_rate : float
        Share of triggers that hit, on the suspect and on the likeliest null model.
    alpha : float
        The p-value to stay below.
    power_wanted : float
        Probability of success.
    most : int
        Where to stop looking.

    Raises
    ------
    ValueError
        If the rate does not exceed the null's, or more than ``most`` queries would be needed.
    """
    if not 0 <= null_rate < rate <= 1 or not (0 < power_wanted < 1 and 0 < alpha < 1):
        raise ValueError(
            f"got rate={rate}, null_rate={null_rate}, alpha={alpha}, power_wanted={power_wanted}; a mark shows only "
            "above the null's rate: expected 0 <= null_rate < rate <= 1, alpha and power between 0 and 1"
        )
    from scipy.stats import binom

    # All numbers below a limit at once, the limit doubled until one will do: power does not rise at every step.
    limit = 64
    while limit <= 2 * most:
        trials = np.arange(1, min(limit, most) + 1)
        enough = binom.sf(_needed(trials, null_rate, alpha) - 1, trials, rate) >= power_wanted
        if enough.any():
            return int(trials[enough][0])
        limit *= 2
    raise ValueError(f"more than {most:,} queries needed: the rates {rate:g} and {null_rate:g} are too close")


def null_rate_of(null_hits: np.ndarray, trials: int, confidence: float = 0.95) -> float:
    """Return the rate that H0 is tested at: the highest among null models, and never one that chance alone made 0.

    Its floor is the upper end of the pooled rate's Clopper-Pearson interval: hits may be so rare that k models show
    none, which does not make one hit a proof.

    Parameters
    ----------
    null_hits : int array of shape (k,)
        Hits of each null model, out of ``trials`` each.
    """
    pooled = stats.clopper_pearson(int(null_hits.sum()), trials * len(null_hits), confidence)
    return max(float(null_hits.max()) / trials, pooled.high)
