"""Checks of lab 03 on what accuracies say: in pairs, beside ε = 0, and of the one model that is deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

if TYPE_CHECKING:
    import numpy as np


def paired_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Return McNemar's exact two-sided p-value for two models on the same records."""
    from labkit import stats

    return stats.mcnemar(first, second).p_value


@exercise(
    "03.paired",
    title="is one model better than another on the same records?",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    reference=paired_p_value,
)
def check_paired(attempt: Callable) -> None:
    """On counts where the exact, the one-sided and the unpaired test differ, and where nothing differs at all."""
    import numpy as np
    from scipy import stats

    for both, first, second, neither in ((900, 30, 12, 58), (40, 3, 9, 8), (50, 5, 5, 0), (30, 0, 0, 10)):
        one = np.repeat([True, True, False, False], (both, first, second, neither))
        two = np.repeat([True, False, True, False], (both, first, second, neither))
        n = first + second
        wanted = stats.binomtest(first, n).pvalue if n else 1.0
        given = f"{both} records right by both, {first} by the first alone, {second} by the second alone, {neither} by none"
        got = float(attempt(one.copy(), two.copy()))
        share = [one.mean(), two.mean()]
        pooled = np.mean(share)
        error = np.sqrt(max(2 * pooled * (1 - pooled) / len(one), 1e-12))
        mistakes = {
            "that tests one side only: nobody said beforehand which model is better": stats.binom.sf(
                first - 1, n, 0.5
            ),
            "that tests the other side only": stats.binom.cdf(first, n, 0.5),
            "that is twice a tail, more than 1 where both models win as often: the middle is in both tails": 2
            * stats.binom.cdf(min(first, second), n, 0.5),
            "that compares two accuracies as if they came from different records: what both get right says nothing": (
                2 * stats.norm.sf(abs(share[0] - share[1]) / error)
            ),
            "records on which both agree are no coin flips: leave them out of n": stats.binomtest(
                first, len(one)
            ).pvalue,
        }
        because = "count the records that one model alone gets right, and ask how surprising that split is for a fair coin"
        if not n:
            because = "where the models never differ, nothing speaks against equality: p = 1"
        because = next(
            (why for why, p in mistakes.items() if n and abs(p - got) < 1e-9 < abs(p - wanted)), because
        )
        expect_close(got, wanted, given=given, because=because, rtol=1e-6)


def share_bought(accuracy: float, prior: float) -> float:
    """Return the share of the mistakes at ε = 0 that private records removed."""
    return (accuracy - prior) / (1 - prior)


@exercise(
    "03.share_bought",
    title="what did the private records buy?",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference=share_bought,
)
def check_share_bought(attempt: Callable) -> None:
    """By hand, where private records help, do nothing, and hurt."""
    for accuracy, prior, wanted in ((0.98, 0.9, 0.8), (0.6, 0.5, 0.2), (0.9, 0.9, 0.0), (0.4, 0.5, -0.2)):
        got = attempt(accuracy, prior)
        mistakes = {
            "these are points of accuracy; of how many mistakes that were left?": accuracy - prior,
            "that is relative to what was right already; the question is about what was still wrong": (
                (accuracy - prior) / prior
            ),
            "that is a ratio of accuracies: at 1 nothing was bought": accuracy / prior,
            "that counts what the prior knew as bought": accuracy,
        }
        because = "how many of the mistakes that the prior makes are gone?"
        because = next(
            (why for why, value in mistakes.items() if abs(value - got) < 1e-9 < abs(value - wanted)), because
        )
        given = f"accuracy {accuracy}, {prior} at ε = 0"
        expect_close(float(got), wanted, given=given, because=because, rtol=1e-9)


def smallest_epsilon(
    epsilons: Sequence[float], accuracies: Sequence[Sequence[float]], required: float
) -> float | None:
    """Return the smallest ε at which one more run reaches ``required`` with 95% confidence, or None."""
    import numpy as np
    from scipy.stats import t

    def bound(runs: Sequence[float]) -> float:
        k = len(runs)
        return float(np.mean(runs) - t.ppf(0.95, k - 1) * np.std(runs, ddof=1) * (1 + 1 / k) ** 0.5)

    pairs = zip(epsilons, accuracies, strict=True)
    return min((epsilon for epsilon, runs in pairs if bound(runs) >= required), default=None)


EPSILONS = (8.0, 1.0, 2.0, 4.0, 0.5)
RUNS = (
    (0.990, 0.991, 0.990),
    (0.950, 0.998, 0.960),  # its mean is below .98, its luckiest seed above
    (0.970, 0.985, 0.998),  # its mean is above .98, its bound below
    (0.985, 0.986, 0.985),
    (0.902, 0.912, 0.907),  # for targets just below .9, every rule but the right one says something else
)
# The last runs' bound is .8901; with ddof=0 .8932, by the mean's 95% interval .8946, by the normal law .8975, by a
# one-sided bound of the mean .8986, and with t at .975 .8822.
TARGETS = (0.98, 0.9, 0.898, 0.896, 0.894, 0.8925, 0.885, 0.9999)


def _rules() -> dict[str, Callable[[Sequence[float]], float]]:
    """Return rules that look right, by what is wrong with them."""
    import numpy as np
    from scipy.stats import t

    def below(p: float, reach: Callable[[int], float], ddof: int = 1, normal: bool = False) -> Callable:
        quantile = (lambda k: 1.645) if normal else (lambda k: t.ppf(p, k - 1))
        return lambda r: np.mean(r) - quantile(len(r)) * np.std(r, ddof=ddof) * reach(len(r)) ** 0.5

    one_more, of_mean = (lambda k: 1 + 1 / k), (lambda k: 1 / k)
    return {
        "that bounds the mean of many runs; one deployed model strays as far as single runs do": below(
            0.95, of_mean
        ),
        "that is the lower end of an interval of the mean: a third of all deployed models lie below it": below(
            0.975, of_mean
        ),
        "that is the normal quantile; with few seeds Student's t reaches further": below(
            0.95, one_more, normal=True
        ),
        "with few runs the standard deviation of a whole population is too small: the mean was estimated from the same runs\nuse the sample standard deviation, with n - 1 in it (ddof=1)": below(
            0.95, one_more, ddof=0
        ),
        "t is taken for two sides; a promise has one, below: 5% of it": below(0.975, one_more),
        "one lucky seed decided: take all seeds together": np.max,
        "the mean decided: half the time the next run falls short of it": np.mean,
    }


@exercise(
    "03.smallest_epsilon",
    title="the smallest ε that one deployed model is accurate enough at",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    reference=smallest_epsilon,
)
def check_smallest_epsilon(attempt: Callable) -> None:
    """On runs where mean, luckiest seed, interval of the mean and prediction bound each give another answer."""
    found = [attempt(list(EPSILONS), [list(r) for r in RUNS], required) for required in TARGETS]
    right = [smallest_epsilon(EPSILONS, RUNS, required) for required in TARGETS]
    for required, got, wanted in zip(TARGETS, found, right, strict=True):
        if got == wanted and (got is None) == (wanted is None):
            continue
        given = {"epsilons": list(EPSILONS), "accuracies": [list(r) for r in RUNS], "required": required}
        if wanted is None:
            raise Wrong(given, got, None, "no ε is accurate enough: return None rather than the next best")
        raise Wrong(given, got, wanted, _why(found, got, wanted))


def _why(found: Sequence[float | None], got: float | None, wanted: float) -> str:
    """Return what is wrong with a rule that gave all these answers."""
    pairs = list(zip(EPSILONS, RUNS, strict=True))
    for why, rule in _rules().items():
        said = [min((e for e, r in pairs if rule(r) >= required), default=None) for required in TARGETS]
        if list(found) == said:
            return why
    if got is not None and got > wanted:
        return "this ε is enough but not the smallest: privacy was given away for nothing"
    return "among the ε whose prediction bound reaches the target, return the smallest (they are not sorted)"
