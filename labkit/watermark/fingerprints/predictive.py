"""Is a suspect's number one that independent models could score? Two tests against their values.

Both are one-sided and test the same null hypothesis: the suspect was trained independently, as the null models were.

- `predictive_p`: is the suspect's value a further draw from a normal distribution whose mean and spread were estimated
  from k null models? Student t with k - 1 degrees of freedom, scale s * sqrt(1 + 1/k). Small p-values rest on the
  normal tail, which k models cannot show.
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
            "(watermark.null_models), or pass a smaller minimum= for a rehearsal that proves nothing"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"null model {int(np.flatnonzero(~np.isfinite(array))[0])} has no finite value")
    return array


def scale(nulls: np.ndarray, resolution: float) -> float:
    """Return the spread of one further value; never below the statistic's smallest step, so never zero."""
    spread = max(float(nulls.std(ddof=1)) if np.ptp(nulls) else 0.0, resolution)
    if spread == 0:
        raise ValueError(
            f"all {len(nulls)} null models score {nulls[0]:g}: they look like copies of one model; train them on "
            "other seeds, or ask more queries"
        )
    return spread * float(np.sqrt(1 + 1 / len(nulls)))


def predictive_p(value: float, nulls: Sequence[float], *, resolution: float = 0.0) -> float:
    """Return the one-sided predictive t-test's p-value: a further null model at ``value`` or above.

    Null hypothesis: the suspect's value is one more draw from the distribution of the null models' values.
    Assumption: that distribution is normal, and suspect and null models are exchangeable.

    Parameters
    ----------
    nulls : array-like of shape (k,)
    resolution : float
        The statistic's smallest step (1/n for a share of n records): a floor for the standard deviation.

    Raises
    ------
    ValueError
        If there are fewer than two null models, or they do not vary and ``resolution`` is 0.
    """
    from scipy import stats

    nulls = check_values(nulls, 2)
    return float(stats.t.sf((value - nulls.mean()) / scale(nulls, resolution), len(nulls) - 1))


def rank_p(value: float, nulls: Sequence[float]) -> float:
    """Return (1 + null models at or above ``value``) / (1 + k).

    Null hypothesis: suspect and null models are exchangeable. No other assumption; ties count for the suspect.
    """
    nulls = check_values(nulls, 2)
    return float((1 + (nulls >= value).sum()) / (1 + len(nulls)))
