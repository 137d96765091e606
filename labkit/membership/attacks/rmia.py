"""RMIA: Zarifzadeh, Liu, Shokri, "Low-cost high-power membership inference attacks" (arXiv 2312.03262).

A record x is a member when its likelihood ratio p(x | target) / p(x) dominates that of most population records z:
score(x) = share of z with [p(x | target) / p(x)] / [p(z | target) / p(z)] >= gamma (eq. 2 to 4).
"""

from __future__ import annotations

import numpy as np

from labkit.membership.attacks.thresholds import out_mean, target_signal
from labkit.membership.shadows.bank import ShadowBank, Target

OFFLINE_A = (
    0.33  # the paper's value for CIFAR-10 (its appendix on offline RMIA); `tune_offline_a` finds another
)
TINY = 1e-30


def marginal_offline(out: np.ndarray, a: float) -> np.ndarray:
    """Return p(x) when only models that never saw x are at hand: the line p_in = a p_out + 1 - a, averaged with p_out.

    ((1 + a) p_out + (1 - a)) / 2: the paper's appendix on offline RMIA.
    """
    return ((1 + a) * out + (1 - a)) / 2


def dominance(ratio_x: np.ndarray, ratio_z: np.ndarray, gamma: float) -> np.ndarray:
    """Return the share of z that each x dominates: ratio_x / ratio_z >= gamma, by sorting instead of all pairs."""
    return np.searchsorted(np.sort(ratio_z), ratio_x / gamma, side="right") / len(ratio_z)


def _scores(target: Target, bank: ShadowBank, p_x: np.ndarray, p_z: np.ndarray, gamma: float) -> np.ndarray:
    """Compare all x with all z, query by query, and average over queries; see `untied` for what decides ties."""
    ratio_x = target_signal("confidence", target, bank) / np.maximum(p_x, TINY)
    ratio_z = target_signal("confidence", target, bank, part="population") / np.maximum(p_z, TINY)
    per_query = [untied(ratio_x[:, q], ratio_z[:, q], gamma) for q in range(ratio_x.shape[1])]
    return np.mean(per_query, axis=0)


def untied(ratio_x: np.ndarray, ratio_z: np.ndarray, gamma: float) -> np.ndarray:
    """Return `dominance`, with records that dominate equally many z told apart by their own ratio.

    With m population records the paper's score takes m + 1 values, and the surest records, those that dominate every z,
    all take the last: at a false-positive rate below their share no threshold tells them apart. The ratio moves no
    record past one with a larger share, as r / (1 + r) < 1 is worth less than one z.
    """
    m = len(ratio_z)
    return (m * dominance(ratio_x, ratio_z, gamma) + ratio_x / (1 + ratio_x)) / (m + 1)


def _check(a: float, gamma: float) -> None:
    if not 0 <= a <= 1 or not 0 < gamma < np.inf:
        raise ValueError(f"got offline_a={a}, gamma={gamma}; expected a in [0, 1] and gamma > 0")


def online(target: Target, bank: ShadowBank, *, gamma: float = 1.0) -> np.ndarray:
    """Score with p(x) = (mean over models with x + mean over models without x) / 2 (the paper's eq. 5).

    p(z) is a plain mean over models as well, and no shadow model saw a population record: so it is the mean over all of
    them. The offline line would stand for models that had seen z, raise p(z) alone, and let most x dominate every z.
    """
    _check(OFFLINE_A, gamma)
    values = bank.signal("confidence")
    p_x = (out_mean(values, bank.masks) + out_mean(values, ~bank.masks)) / 2
    return _scores(target, bank, p_x, bank.signal("confidence", part="population").mean(0), gamma)


def offline(
    target: Target, bank: ShadowBank, *, gamma: float = 1.0, offline_a: float = OFFLINE_A
) -> np.ndarray:
    """Score with p(x) and p(z) from models that never saw them and the line of `marginal_offline`."""
    _check(offline_a, gamma)
    p_x = marginal_offline(out_mean(bank.signal("confidence"), bank.masks), offline_a)
    p_z = marginal_offline(bank.signal("confidence", part="population").mean(0), offline_a)
    return _scores(target, bank, p_x, p_z, gamma)


def tune_offline_a(
    bank: ShadowBank, candidates: tuple[float, ...] = (0.0, 0.2, 0.33, 0.5, 0.7, 0.9)
) -> float:
    """Return the ``a`` with the best AUC against one shadow model in the target's role: no target is touched.

    Raises
    ------
    ValueError
        If taking out that model and its partner leaves no shadow model.
    """
    from labkit import stats

    rest = bank.without(0)
    target = bank.target(0)

    def quality(a: float) -> float:
        scores = offline(target, rest, offline_a=a)
        return stats.auc(scores[target.members], scores[~target.members])

    return max(candidates, key=quality)
