"""Check of lab 04's last exercise on measuring: two attacks on the same records, compared record by record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labkit.course.checks.lab04.attacks import _expect
from labkit.course.exercises.exercise import exercise
from labkit.membership.reports.curves import tpr_at


def reference_differences(
    first: np.ndarray, second: np.ndarray, members: np.ndarray, fpr: float, draws: list[np.ndarray]
) -> np.ndarray:
    """Return, for each redrawn set of records, the TPR of ``first`` minus that of ``second`` at ``fpr``, (draws,)."""
    rates = np.array([fpr])
    return np.array(
        [
            float((tpr_at(first[d], members[d], rates) - tpr_at(second[d], members[d], rates))[0])
            for d in draws
        ]
    )


def _tpr(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    """Return the largest share of members at or above a threshold that at most ``fpr`` of the others reach."""
    best = 0.0
    for threshold in sorted(set(scores.tolist())):
        if (scores[~members] >= threshold).mean() <= fpr:
            best = max(best, float((scores[members] >= threshold).mean()))
    return best


def _caught(scores: np.ndarray, members: np.ndarray, fpr: float, draw: np.ndarray) -> float:
    """Return the TPR among redrawn members at the threshold of the original records: the mistake."""
    passing = [t for t in sorted(set(scores.tolist())) if (scores[~members] >= t).mean() <= fpr]
    return float((scores[draw][members[draw]] >= passing[0]).mean()) if passing else 0.0


@exercise(
    "04.paired_differences",
    title="is one attack better, or does it look so?",
    reference=reference_differences,
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
)
def check_paired_differences(attempt: Callable) -> None:
    """Against a search over all thresholds, draw by draw."""
    rng = np.random.default_rng(3)
    members = np.arange(90) % 2 == 0
    shared = rng.normal(size=90)
    first, second = shared + 1.5 * members, shared + rng.normal(size=90) + 0.8 * members
    draws = [
        np.concatenate([rng.choice(np.flatnonzero(side), 45) for side in (members, ~members)])
        for _ in range(8)
    ]
    fpr = 0.1

    def each(rate: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
        return np.array([rate(first, draw) - rate(second, draw) for draw in draws])

    expected = each(lambda scores, draw: _tpr(scores[draw], members[draw], fpr))
    apart = np.array(
        [
            _tpr(first[draw], members[draw], fpr) - _tpr(second[other], members[other], fpr)
            for draw, other in zip(draws, draws[1:] + draws[:1], strict=True)
        ]
    )
    whole = _tpr(first, members, fpr) - _tpr(second, members, fpr)
    causes = [
        (-expected, "the sign is turned: first minus second"),
        (
            each(lambda scores, draw: _caught(scores, members, fpr, draw)),
            "the threshold was kept from the original records: it was chosen on them too, so choose it anew in each draw",
        ),
        (
            np.full(len(draws), whole),
            "every draw gives the same number: use the records of the draw\nscores[draw] and members[draw]",
        ),
        (
            expected.mean(),
            "that is the mean over the draws: return one difference for each, their spread is what is wanted",
        ),
        (
            apart,
            "the two attacks were measured on different draws: what the records share cancels only on the same ones",
        ),
        (
            each(lambda scores, draw: float((scores[draw][members[draw]] > 0).mean())),
            "that is no rate at the given false-positive rate: choose each threshold by the others of the draw",
        ),
    ]
    got = attempt(first.copy(), second.copy(), members.copy(), fpr, [draw.copy() for draw in draws])
    given = "45 members, 45 others, 8 draws of 90 records, fpr = 0.1"
    otherwise = "each draw of the records gives one difference: both attacks measured on the records of that draw\ntpr(first[draw], members[draw]) - tpr(second[draw], members[draw])"
    _expect(got, expected, given, causes, otherwise)
