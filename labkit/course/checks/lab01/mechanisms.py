"""Checks of lab 01 on noise and what it promises: sensitivity, Laplace and randomised response.

Random checks draw from a seeded generator; were it seeded afresh, a right answer would fail one in a million times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

FALSE_FAILURE = 1e-6
DRAWS = 6000
NO_NOISE = "every call returns the same number: no noise, or noise from a generator seeded inside the function (use `rng`)"


def nearest(causes: Sequence[tuple[float, str]], got: Any, otherwise: str, rtol: float = 1e-6) -> str:
    """Return the cause whose value is what came, or the general one."""
    try:
        value = float(got)
    except (TypeError, ValueError):
        return otherwise
    return next(
        (why for value_then, why in causes if math.isclose(value, value_then, rel_tol=rtol)), otherwise
    )


@exercise(
    "01.sum_sensitivity",
    title="how far can one record move a sum?",
    points=2,
    difficulty=2,
    importance=5,
    minutes=6,
    reference="labkit.dp.mechanisms.sensitivity:sum_sensitivity",
)
def check_sum_sensitivity(attempt: Callable) -> None:
    """The worst case over all data sets of up to three records with values at the bounds and at zero."""
    for (low, high), relation in itertools.product(
        [(0, 40), (-3, 1), (-10, 4), (5, 6)], ["add/remove", "replace-one"]
    ):
        given = {"low": low, "high": high, "neighbouring": relation}
        worst = _worst_move_of_a_sum(low, high, relation)
        got = attempt(low, high, relation)
        causes = [
            (
                high - low,
                "the width of the range is what *replacing* a record can do; adding or removing one moves the sum by itself",
            ),
            (
                max(abs(low), abs(high)),
                "the largest single record is what *adding or removing* can do; replacing one takes a record away and"
                " puts the opposite extreme in",
            ),
            (
                high,
                "the bound may be negative: a record at `low` moves the sum as well, by its absolute value",
            ),
            (
                abs(low) + abs(high),
                "the bounds' sizes were added up: when both have the same sign, that is further than they are apart\n|low| + |high| is not high - low",
            ),
        ]
        other = "try it on a small data set: which two neighbours make the two sums differ most?"
        expect_close(got, worst, given=given, because=nearest(causes, got, other))


def _worst_move_of_a_sum(low: float, high: float, relation: str) -> float:
    """Return the largest move over all small data sets on a few levels, both bounds among them."""
    levels = sorted({low, high, (low + high) / 2, min(max(0, low), high)})
    worst = 0.0
    for rows in itertools.chain.from_iterable(itertools.product(levels, repeat=n) for n in (1, 2, 3)):
        changed = [0.0] if relation == "add/remove" else levels  # removing a record is putting 0 in a sum
        worst = max([worst, *(abs(rows[0] - new) for new in changed)])
    return worst


def laplace_mechanism(value: float, sensitivity: float, epsilon: float, rng: np.random.Generator) -> float:
    """The reference of 01.laplace_mechanism: labkit's own mechanism behind the signature of the exercise."""
    from labkit.dp.mechanisms.additive import Laplace

    return Laplace(epsilon, sensitivity).release(value, rng)


@exercise(
    "01.laplace_mechanism",
    title="the Laplace mechanism",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference=laplace_mechanism,
)
def check_laplace_mechanism(attempt: Callable) -> None:
    """Samples follow the Laplace law whose log-density ratio between neighbours is at most epsilon."""
    for value, sensitivity, epsilon in ((10.0, 2.0, 0.5), (-3.0, 1.0, 4.0)):
        rng = np.random.default_rng(0)
        given = {"value": value, "sensitivity": sensitivity, "epsilon": epsilon}
        outputs = _numbers([attempt(value, sensitivity, epsilon, rng) for _ in range(DRAWS)], given)
        right = sensitivity / epsilon
        causes = [
            (
                sensitivity * epsilon,
                "the scale was multiplied by epsilon: a *smaller* epsilon must mean *more* noise, so divide by it",
            ),
            (1 / right, "the scale is upside down: which of the two has to make the noise larger?"),
            (
                1 / epsilon,
                "the sensitivity is missing from the scale: an answer that one record moves further needs more noise",
            ),
            (
                right / math.sqrt(2),
                "that number is the *scale* of Laplace noise, not its standard deviation: the noise came out too narrow\nthe deviation is sqrt(2) times the scale",
            ),
            (
                right * math.sqrt(2),
                "that is the standard deviation of the right noise; `rng.laplace` wants its scale",
            ),
            (right**2, "the scale was squared: only Gaussian variances are squared"),
        ]
        _check_laplace(outputs, value, right, given, causes)
        _check_replay(lambda rng, args=(value, sensitivity, epsilon): attempt(*args, rng), given)


def _check_replay(release: Callable[[np.random.Generator], Any], given: Any) -> None:
    """Two generators of one seed must give the same release: all noise comes from ``rng``."""
    first, again = (float(release(np.random.default_rng(5))) for _ in range(2))
    if first != again:
        because = (
            "the generator that came as `rng` is not used\ndraw with rng.laplace(...), not from np.random"
        )
        raise Wrong(
            given=given,
            got=f"{first:.6g} and {again:.6g} from two generators of one seed",
            expected="the same release twice",
            because=because,
        )


def _numbers(outputs: Sequence[Any], given: Any) -> np.ndarray:
    """Return released values as an array, or say that they are no single numbers."""
    array = np.asarray([np.nan if output is None else output for output in outputs], dtype=float)
    if array.ndim != 1 or not np.isfinite(array).all():
        because = "every call must return one number: is there a return, and did a vector come back?"
        raise Wrong(given=given, got=outputs[0], expected="one finite number", because=because)
    return array


def _check_laplace(
    outputs: np.ndarray, centre: float, scale: float, given: Any, causes: Sequence[tuple[float, str]]
) -> None:
    """Test outputs against a Laplace law (Kolmogorov-Smirnov), and name the scale that they have instead."""
    from scipy import stats

    if stats.kstest(outputs, stats.laplace(centre, scale).cdf).pvalue > FALSE_FAILURE:
        return
    # The median is the centre whatever the noise; mean |noise| is the scale, to a few percent at this many draws.
    middle, spread = float(np.median(outputs)), float(np.mean(np.abs(outputs - centre)))
    got = f"{len(outputs)} releases with median {middle:.4g} and mean |noise| {spread:.4g}"
    expected = f"median {centre:.4g} and mean |noise| {scale:.4g}, Laplace-shaped"
    if np.ptp(outputs) == 0:
        because = NO_NOISE
    elif abs(middle - centre) > 0.25 * scale:
        because = "the noise is not centred on the true answer: it must be as often negative as positive"
    else:
        causes = [(value, why) for value, why in causes if not 0.9 < value / scale < 1.1]
        shape = "the spread is about right but the shape is not Laplace\n`rng.laplace(0, scale)` draws it"
        wrong = "the scale of the noise is wrong: how must it grow when one record moves the answer further, and when ε falls?"
        because = nearest(causes, spread, shape if 0.7 < spread / scale < 1.3 else wrong, rtol=0.08)
    raise Wrong(given=given, got=got, expected=expected, because=because)


def private_mean(
    values: np.ndarray, low: float, high: float, epsilon: float, rng: np.random.Generator
) -> float:
    """The reference of 01.private_mean: clip, take the mean, add noise for the sensitivity of a mean."""
    from labkit.dp.mechanisms.additive import Laplace
    from labkit.dp.mechanisms.sensitivity import clip_values, mean_sensitivity

    clipped = clip_values(values, low, high)
    return Laplace(epsilon, mean_sensitivity(low, high, len(clipped))).release(float(clipped.mean()), rng)


@exercise(
    "01.private_mean",
    title="a private mean",
    points=3,
    difficulty=2,
    importance=5,
    minutes=8,
    reference=private_mean,
)
def check_private_mean(attempt: Callable) -> None:
    """Releases centre on the clipped mean, with the noise that the worst replaced record asks for."""
    low, high, epsilon = -3.0, 2.0, 0.5
    spread_out = [0.5, 1.0, -2.5, 1.5, 1.5, 0.0, 2.0, -1.0, 0.5]
    cases = [np.array([*spread_out, outlier]) for outlier in (-3.0, 500.0, -500.0)]
    # Equal values come first: they show a range that was read off the data. Two values tell n from n - 1.
    for values in (np.full(10, 0.5), *cases, np.array([0.5, 1.0])):
        n, rng = len(values), np.random.default_rng(1)
        given = {"values": values, "low": low, "high": high, "epsilon": epsilon}
        # Fewer draws tell scales apart, and take a Gaussian of this very deviation for a Laplace law.
        draws = DRAWS if np.ptp(values) == 0 else DRAWS // 3
        outputs = _numbers([attempt(values.copy(), low, high, epsilon, rng) for _ in range(draws)], given)
        _check_clipped(outputs, values, low, high, given)
        if np.ptp(values) == 0 and np.ptp(outputs) == 0:
            _say_what_took_the_noise([attempt(cases[0].copy(), low, high, epsilon, rng) for _ in "ab"], given)
        right, largest = (high - low) / (n * epsilon), max(abs(low), abs(high))
        causes = [
            # At n = 2 both slips double the noise; that for a sum has been told at n = 10.
            (
                right * n / (n - 1),
                "divided by one too few: replacing a record leaves n as it is\none of n records moves a mean by (high - low) / n",
            ),
        ] * (n == 2) + [
            (right * n, "that is the noise for a *sum*: one of n records moves a mean n times less"),
            (
                largest / (n * epsilon),
                "the largest single record is too little: which record, replaced by which other, moves the mean furthest?\nmax(|low|, |high|) / n is what adding or removing one does",
            ),
            (right * epsilon**2, "multiplied by epsilon where the noise should be divided by it"),
            (
                high / (n * epsilon),
                "the lower bound matters as well: a record can move from one bound to the other",
            ),
            (right * epsilon, "epsilon is missing from the scale of the noise"),
            (
                right / math.sqrt(2),
                "the right number was taken for the standard deviation of the noise; it is its scale\n(high - low) / (n epsilon) is the scale",
            ),
        ]
        _check_laplace(outputs, float(np.clip(values, low, high).mean()), right, given, causes)
    _check_replay(lambda rng: attempt(values.copy(), low, high, epsilon, rng), given)


def _say_what_took_the_noise(elsewhere: Sequence[Any], given: Any) -> NoReturn:
    """Say why equal values get no noise: two releases of other values show whether those get any."""
    because = NO_NOISE
    if elsewhere[0] != elsewhere[1]:  # Laplace draws are never equal
        because = "the sensitivity was read off the data (its range, or a deviation), so the noise gives away how they spread: it must come from the public bounds `low` and `high`"
    raise Wrong(
        given=given, got="no noise on equal values", expected="noise as for any values", because=because
    )


def _check_clipped(outputs: np.ndarray, values: np.ndarray, low: float, high: float, given: Any) -> None:
    """Name the two common ways of handling an outlier that are not clipping."""
    middle, clipped = float(np.median(outputs)), float(np.clip(values, low, high).mean())
    dropped = float(values[(values >= low) & (values <= high)].mean())
    expected = f"releases around {clipped:.3g}, the mean of the clipped values"
    if abs(middle - values.mean()) < 0.5 * abs(middle - clipped):
        because = (
            "missing clipping: a value outside [low, high] moves the mean further than the noise allows for"
        )
        raise Wrong(
            given=given,
            got=f"releases around {middle:.3g}, the raw mean",
            expected=expected,
            because=because,
        )
    # Four standard errors of a median of Laplace draws tell the two apart; the noise scale is 1 here.
    if abs(dropped - clipped) > 0.1 and abs(middle - dropped) < abs(middle - clipped) and np.ptp(outputs) > 0:
        because = "the outlier was dropped, which changes n with the data: move it to the nearest bound instead (np.clip)"
        raise Wrong(given=given, got=f"releases around {middle:.3g}", expected=expected, because=because)


def estimate_share(responses: np.ndarray, epsilon: float) -> float:
    """The reference of 01.estimate_share, by labkit's randomised response."""
    from labkit.dp.mechanisms.categorical import RandomisedResponse

    return RandomisedResponse(epsilon).estimate(responses)[1].estimate


@exercise(
    "01.estimate_share",
    title="undo randomised response",
    points=2,
    difficulty=2,
    importance=4,
    minutes=7,
    reference=estimate_share,
)
def check_estimate_share(attempt: Callable) -> None:
    """Unbiased: the expectation, over every possible vector of responses, is the true share."""
    for epsilon, truth in itertools.product((0.5, 2.0), ([0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 0])):
        keep = 1 / (1 + math.exp(-epsilon))
        given = {"truth": truth, "epsilon": epsilon, "responses": f"all {2 ** len(truth)} possible ones"}
        share = sum(truth) / len(truth)
        estimates, chances = [], []
        for responses in itertools.product((0, 1), repeat=len(truth)):
            estimates.append(attempt(np.array(responses), epsilon))
            chances.append(
                math.prod(keep if r == t else 1 - keep for r, t in zip(responses, truth, strict=True))
            )
        estimates = _numbers(estimates, given)
        mean = float(np.dot(chances, estimates))
        if not math.isclose(mean, share, abs_tol=1e-9):
            got, expected = f"{mean:.4f} on average", f"{share:.4f}, the true share"
            because = _biased_because(epsilon, keep, share, mean, estimates)
            raise Wrong(given=given, got=got, expected=expected, because=because)


def _biased_because(epsilon: float, keep: float, share: float, mean: float, estimates: np.ndarray) -> str:
    """Name the estimator that has this bias."""
    seen = share * keep + (1 - share) * (1 - keep)
    base2, coin = 2**epsilon / (1 + 2**epsilon), epsilon / (1 + epsilon)
    slips = [
        (seen, "that is the share of responses that say 1: the lies among them still have to be taken out"),
        (
            seen / keep,
            "dividing by the probability of the truth is not enough: some who say 1 lied\ntake 1 - keep off first",
        ),
        (
            seen - (1 - keep),
            "the lies were taken off, but what is left is still too small: honest answers count only as far as they outnumber lies\ndivide by keep - (1 - keep)",
        ),
        (1 - share, "0 and 1 are swapped: the estimate should be of the share of ones"),
        (
            (seen - (1 - base2)) / (2 * base2 - 1),
            "ε is a natural logarithm, and powers of 2 were taken\nkeep = e^ε / (1 + e^ε), not 2^ε / (1 + 2^ε)",
        ),
        (
            (seen - (1 - coin)) / (2 * coin - 1),
            "the probability of the truth is wrong: truth and lie are in the ratio that ε allows, which is exponential in it\nit is e^ε / (1 + e^ε), not ε / (1 + ε)",
        ),
    ]
    people = round(math.log2(len(estimates)))
    answered = np.mean(list(itertools.product((0, 1), repeat=people)), axis=1)
    if np.allclose(estimates, np.clip((answered - (1 - keep)) / (2 * keep - 1), 0, 1)):
        otherwise = (
            "an estimate cut to [0, 1] is biased: let it go below 0 or above 1, and average many of them"
        )
    else:
        otherwise = "which share of the responses says 1 when the true share is s? Turn that equation round"
    return nearest(slips, mean, otherwise, rtol=1e-6)
