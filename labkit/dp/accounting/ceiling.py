"""The most that any membership attack can reach against a private release: ceilings on its ROC curve."""

from __future__ import annotations

import numpy as np

from labkit.dp.limits import check_delta


def roc_ceiling(fpr: np.ndarray, epsilon: float, delta: float = 0.0) -> np.ndarray:
    """Largest true positive rate at each false positive rate under (ε, δ)-DP.

    Both lines of Kairouz, Oh & Viswanath (arXiv 1311.0776, Theorem 2.1) hold, so the lower one is the ceiling:
    ``tpr <= e^ε fpr + δ`` and ``1 - fpr >= ...``, that is ``tpr <= 1 - e^-ε (1 - δ - fpr)``.

    Parameters
    ----------
    fpr : array, shape [k]
        False positive rates in [0, 1].
    epsilon : float
        At least 0; infinity gives a ceiling of 1.
    delta : float
        In [0, 1).

    Returns
    -------
    array, shape [k]

    Raises
    ------
    ValueError
        For a rate outside [0, 1], a negative ε or a δ outside [0, 1).
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon={epsilon}: expected a number >= 0")
    if delta != 0:
        check_delta(delta)
    return tradeoff_ceiling(fpr, np.array([epsilon]), np.array([delta]))


def tradeoff_ceiling(fpr: np.ndarray, epsilons: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """The lowest `roc_ceiling` over many (ε, δ) pairs that one release satisfies all at once.

    With pairs along δ(ε) this tends to the exact f-DP curve (Dong, Roth & Su, arXiv 1905.02383, Proposition 2.12).

    Parameters
    ----------
    fpr : array, shape [k]
    epsilons, deltas : array, shape [m]

    Returns
    -------
    array, shape [k]
    """
    rates = np.asarray(fpr, dtype=float)
    if rates.size and not (np.min(rates) >= 0 and np.max(rates) <= 1):
        raise ValueError(f"fpr runs from {np.min(rates)} to {np.max(rates)}: expected rates in [0, 1]")
    rates = rates[..., None]
    with np.errstate(over="ignore"):
        growth = np.exp(
            np.minimum(epsilons, 700.0)
        )  # beyond 700 a double overflows; the line is vertical anyway
    steep = growth * rates + deltas
    flat = 1 - (1 - deltas - rates) / growth
    return np.clip(np.minimum(steep, flat).min(axis=-1), 0.0, 1.0)
