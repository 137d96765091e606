"""Membership attacks on arrays: every shadow federation in the role of the target once, its pair taken out.

The arithmetic is that of `labkit.membership` (LiRA: arXiv 2112.03570; RMIA: arXiv 2312.03262); the intervals are new
here, as a rate at a threshold is uncertain twice: in the members that pass and in the non-members that set it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labkit.federated.threats.shadows import Shadows
from labkit.membership.attacks import lira, rmia
from labkit.membership.shadows import signals
from labkit.stats import Interval, equal_shares

RESAMPLES = 400
NEEDED = 10  # non-members expected above the threshold: with fewer, the false-positive rate itself is unknown


def others(k: int, count: int) -> np.ndarray:
    """Return who rehearses for an attack on federation ``k``: all but it and its partner, bool [count]."""
    chosen = np.ones(count, dtype=bool)
    chosen[[k, k ^ 1]] = False
    return chosen


def lira_scores(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return LiRA's online score of every record on every target, shape [K, n].

    Parameters
    ----------
    values : ndarray of shape [K, n]
        A signal, larger for members: `labkit.membership.shadows.signals`, or what `shadows.posterior` makes of all rounds.
    masks : ndarray of bool, shape [K, n]
    """
    scores = np.empty(values.shape)
    for k in range(len(values)):
        rest = others(k, len(values))
        kind = lira.choose_variance("auto", int(rest.sum()))
        shown = values[k][:, None]
        inside, outside = (
            lira.log_density(shown, *lira.gaussians(values[rest][:, :, None], used, kind))
            for used in (masks[rest], ~masks[rest])
        )
        scores[k] = (inside - outside)[:, 0]
    return scores


def final_signal(shadows: Shadows) -> np.ndarray:
    """Return the final models' logit-scaled confidence in each record's label, shape [K, n]."""
    return np.stack([signals.logit_confidence(row, shadows.labels) for row in shadows.final])


def rmia_scores(shadows: Shadows, *, gamma: float = 1.0) -> np.ndarray:
    """Return RMIA's online score of every record on every target, shape [K, n]; the population are test records.

    Of the federations that rehearse, half hold a record, as pairs split the records between them: p(x) averages both
    halves. None ever trains on a test record, so p(z) is the plain mean over all of them; the line that offline RMIA
    draws would stand for models that had seen z (see `labkit.membership.attacks.rmia.online`).
    """
    own = np.stack([signals.confidence(row, shadows.labels) for row in shadows.final])
    population = np.stack([signals.confidence(row, shadows.population_labels) for row in shadows.population])
    scores = np.empty(own.shape)
    for k in range(len(own)):
        rest = others(k, len(own))
        masks = shadows.masks[rest]
        inside, outside = ((own[rest] * used).sum(0) / used.sum(0) for used in (masks, ~masks))
        ratio_x = own[k] / np.maximum((inside + outside) / 2, rmia.TINY)
        ratio_z = population[k] / np.maximum(population[rest].mean(0), rmia.TINY)
        scores[k] = rmia.untied(ratio_x, ratio_z, gamma)
    return scores


def tpr_at(scores: np.ndarray, members: np.ndarray, rate: float) -> float:
    """Return the share of members above the threshold that at most ``rate`` of the non-members pass.

    Parameters
    ----------
    scores, members : ndarray of shape [K, n]
    """
    outside = scores[~members]
    last = len(outside) - int(rate * len(outside) + 1e-9) - 1
    threshold = np.partition(outside, last)[last]
    return float((scores[members] > threshold).mean())


def tpr_interval(scores: np.ndarray, members: np.ndarray, rate: float, *, seed: int = 0) -> Interval:
    """Return `tpr_at` with the interval of `crossed`: over targets and records, threshold set anew each time.

    Raises
    ------
    ValueError
        If there are fewer than 10 / ``rate`` non-members in all.
    """
    outside = int((~members).sum())
    if outside < NEEDED / rate:
        raise ValueError(
            f"{outside} non-members; the rate at {100 * rate:g}% false positives needs {round(NEEDED / rate)}: train more "
            "shadow federations"
        )

    def statistic(targets: np.ndarray, records: np.ndarray) -> float:
        at = np.ix_(targets, records)
        return tpr_at(scores[at], members[at], rate)

    return crossed(statistic, *scores.shape, seed=seed)


def auc_interval(scores: np.ndarray, members: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the area under the ROC of all targets together, with the interval of `crossed`."""
    from labkit.stats import auc

    def statistic(targets: np.ndarray, records: np.ndarray) -> float:
        at = np.ix_(targets, records)
        return auc(scores[at][members[at]], scores[at][~members[at]])

    return crossed(statistic, *scores.shape, resamples=RESAMPLES // 4, seed=seed)


def crossed(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    targets: int,
    records: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a share or an area with its percentile bootstrap over targets and records, both drawn with replacement.

    Targets are drawn in pairs, as the two halves of a pair are one draw. The interval is a little wide rather than
    narrow: chance that targets and records share counts twice (Owen & Eckles 2012, arXiv 1106.2125, section 3).
    Where every draw gives the same, the pairs count as equal runs, or the records where they are fewer: see
    `labkit.stats.equal_shares`.
    """
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        pairs = random.integers(0, targets // 2, targets // 2)
        chosen = np.concatenate([2 * pairs, 2 * pairs + 1])
        draws.append(statistic(chosen, random.integers(0, records, records)))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    value = statistic(np.arange(targets), np.arange(records))
    if low == high:
        return equal_shares(value, min(targets // 2, records))
    method = (
        f"bootstrap over {targets} target federations (in pairs) and {records} records, {resamples} resamples"
    )
    return Interval(value, min(float(low), value), max(float(high), value), 0.95, method)


def roc(scores: np.ndarray, members: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the true-positive rate of all targets together at each of ``rates``."""
    from labkit.membership.reports.curves import tpr_at as on_curve

    return on_curve(scores.ravel(), members.ravel(), rates)
