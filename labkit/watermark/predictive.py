"""Is a suspect's number one that independent models could score? Two tests against their values.

Both are one-sided and test the same null hypothesis: the suspect was trained independently, as the null models were.

- `predictive_p`: is the suspect's value a further draw from a normal distribution whose mean and spread were estimated
  from k null models? Student t with k - 1 degrees of freedom, scale s * sqrt(1 + 1/k). Small p-values rest on the
  normal tail, which k models cannot show.
  Null models of several *kinds* (other networks, fewer records) differ in their means: each kind keeps its own, the
  spread within kinds is pooled, and the kind that speaks most for the suspect counts. Mixed up as one sample, weak
  models widen the null until it hides a thief, or lower it until a good innocent looks like one.
- `rank_p`: (1 + null models at or above the suspect) / (1 + k). Assumes exchangeability alone, so it is valid at every
  k, and it never falls below 1 / (1 + k).

A verdict needs both: the first below alpha, and no null model at or above the suspect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def check_values(nulls: Sequence[float], minimum: int) -> np.ndarray:
    """Return the null models' values as an array, float64 (k,).

    Raises
    ------
    ValueError
        If there are fewer than ``minimum`` (or than 2), or one is not finite.
    """
    array = np.asarray(nulls, dtype=float).ravel()
    if len(array) < max(2, minimum):
        raise ValueError(
            f"got {len(array)} null models; expected at least {max(2, minimum)}: train more "
            "(watermark.nulls.null_models), or pass a smaller minimum= for a rehearsal that proves nothing"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"null model {int(np.flatnonzero(~np.isfinite(array))[0])} has no finite value")
    return array


def bells(
    nulls: np.ndarray, kinds: Sequence[str] | None, resolution: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return what one more null model of each kind may score: means, scales (both one a kind), degrees of freedom.

    The spread within kinds is pooled, and never below the statistic's smallest step, so never zero.

    Raises
    ------
    ValueError
        If there is not one kind a null model, each kind has one model only, or nothing varies and ``resolution`` is 0.
    """
    labels = np.array(["one kind"] * len(nulls) if kinds is None else list(kinds))
    if len(labels) != len(nulls):
        raise ValueError(f"got {len(labels)} kinds of {len(nulls)} null models; expected one each")
    groups = [nulls[labels == kind] for kind in dict.fromkeys(labels.tolist())]
    freedom = len(nulls) - len(groups)
    if freedom < 1:
        raise ValueError(
            f"all {len(groups)} kinds of null models have one member: nothing says how they spread"
        )
    # The spread of equal numbers is zero exactly: a sum of squares would leave rounding errors.
    squares = sum(float(((group - group.mean()) ** 2).sum()) if np.ptp(group) else 0.0 for group in groups)
    spread = max(float(np.sqrt(squares / freedom)), resolution)
    if spread == 0:
        raise ValueError(
            f"all {len(nulls)} null models score {nulls[0]:g}: they look like copies of one model; train them on "
            "other seeds, or ask more queries"
        )
    means = np.array([group.mean() for group in groups])
    return means, spread * np.sqrt([1 + 1 / len(group) for group in groups]), freedom


def predictive_p(
    value: float, nulls: Sequence[float], *, kinds: Sequence[str] | None = None, resolution: float = 0.0
) -> float:
    """Return the one-sided predictive t-test's p-value: a further null model at ``value`` or above.

    Null hypothesis: the suspect's value is one more draw from the distribution of the null models' values, of one of
    their kinds; the largest p-value over kinds is returned.
    Assumption: that distribution is normal within each kind, with one spread for all, and the suspect is exchangeable
    with the null models of some kind.

    Parameters
    ----------
    nulls : array-like of shape (k,)
    kinds : sequence of k str, optional
        Of what kind each null model is (default: all alike).
    resolution : float
        The statistic's smallest step (1/n for a share of n records): a floor for the standard deviation.

    Raises
    ------
    ValueError
        If there are fewer than two null models, they do not vary and ``resolution`` is 0, or see `bells`.
    """
    from scipy import stats

    means, scales, freedom = bells(check_values(nulls, 2), kinds, resolution)
    return float(stats.t.sf((value - means) / scales, freedom).max())


def rank_p(value: float, nulls: Sequence[float]) -> float:
    """Return (1 + null models at or above ``value``) / (1 + k).

    Null hypothesis: suspect and null models are exchangeable. No other assumption; ties count for the suspect.
    """
    nulls = check_values(nulls, 2)
    return float((1 + (nulls >= value).sum()) / (1 + len(nulls)))


def accuses(
    value: float, nulls: np.ndarray, alpha: float, resolution: float, kinds: Sequence[str] | None = None
) -> bool:
    """Say whether the rule of this module speaks against a model with this value."""
    p = predictive_p(value, nulls, kinds=kinds, resolution=resolution)
    return p < alpha and bool((nulls < value).all())
