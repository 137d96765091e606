"""LiRA, the likelihood-ratio attack: Carlini et al., "Membership inference attacks from first principles".

arXiv 2112.03570, algorithm 1: for each record, fit a Gaussian to the logit-scaled confidence of models that were
trained on it and one to that of models that were not, and ask which explains the target better.
"""

from __future__ import annotations

import numpy as np

from labkit.membership.attacks.thresholds import target_signal
from labkit.membership.shadows.bank import ShadowBank, Target

GLOBAL_BELOW = 64  # shadow models; with fewer, a record's own variance is too noisy (the paper's figure 9)
TINY = 1e-12  # keeps a variance positive when all models agree


def choose_variance(variance: str, models: int) -> str:
    """Return "global" or "per-example": "auto" takes global below 64 shadow models.

    Raises
    ------
    ValueError
        If ``variance`` is neither of the three.
    """
    if variance not in ("auto", "global", "per-example"):
        raise ValueError(f"variance is {variance!r}; expected 'auto', 'global' or 'per-example'")
    if variance == "auto":
        return "global" if models < GLOBAL_BELOW else "per-example"
    return variance


def gaussians(values: np.ndarray, used: np.ndarray, variance: str) -> tuple[np.ndarray, np.ndarray]:
    """Return each record's mean and variance over the models that ``used`` marks.

    Parameters
    ----------
    values : array of shape (K, n, queries)
    used : bool array of shape (K, n)
    variance : {"global", "per-example"}
        "global" pools the squared deviations from each record's own mean over all records, query by query.

    Returns
    -------
    mean, variance : arrays of shape (n, queries)

    Raises
    ------
    ValueError
        If a record has fewer than two such models.
    """
    count = used.sum(0)
    if count.min() < 2:
        raise ValueError(
            f"record {int(count.argmin())} has {count.min()} shadow models on one side; "
            "LiRA needs at least 2 in and 2 out of each record (online), or 2 out (offline): use more models"
        )
    weights = used[:, :, None]
    mean = (values * weights).sum(0) / count[:, None]
    squares = (np.square(values - mean) * weights).sum(0)
    if variance == "per-example":
        spread = squares / count[:, None]
    else:
        spread = np.broadcast_to(squares.sum(0) / (count - 1).sum(), mean.shape)
    return mean, np.maximum(spread, TINY)


def log_density(value: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the log density of a Gaussian."""
    return -0.5 * (np.log(2 * np.pi * variance) + np.square(value - mean) / variance)


def online(
    target: Target, bank: ShadowBank, *, variance: str = "auto", signal: str = "logit-confidence"
) -> np.ndarray:
    """Score by log N(s; in) - log N(s; out), added up over queries (algorithm 1, online; queries: section VI-C).

    Parameters
    ----------
    variance : {"auto", "global", "per-example"}
        "auto": global below 64 shadow models.
    signal : str
        Logit-scaled confidence (eq. 6), or "hinge".
    """
    kind = choose_variance(variance, len(bank))
    values, shown = bank.signal(signal), target_signal(signal, target, bank)
    inside = log_density(shown, *gaussians(values, bank.masks, kind))
    outside = log_density(shown, *gaussians(values, ~bank.masks, kind))
    return (inside - outside).sum(1)


def offline(
    target: Target, bank: ShadowBank, *, variance: str = "auto", signal: str = "logit-confidence"
) -> np.ndarray:
    """Score by how far the target lies above models that never saw the record (algorithm 1, offline).

    The paper's 1 - Pr[N(out) > s] on the scale of standard deviations, where values that round to 1 stay apart;
    the mean over queries.
    """
    kind = choose_variance(variance, len(bank))
    mean, spread = gaussians(bank.signal(signal), ~bank.masks, kind)
    return ((target_signal(signal, target, bank) - mean) / np.sqrt(spread)).mean(1)
