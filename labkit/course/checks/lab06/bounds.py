"""Checks of lab 06: epsilon from below."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from labkit.course.checks.lab06.expecting import expect_array, expect_number
from labkit.course.exercises.exercise import Wrong, exercise, expect_close

BOUNDS = "labkit.audit.bounds"


@exercise(
    "06.roc_to_epsilon",
    title="from a point of the ROC curve to ε",
    reference=f"{BOUNDS}:many_run_epsilon",
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_roc_to_epsilon(attempt: Callable) -> None:
    """Against Clopper-Pearson ends found by brute force on the binomial law."""
    for tp, positives, fp, negatives in ((50, 1000, 1, 1000), (1000, 1000, 0, 1000), (30, 60, 2, 80)):
        given = f"{tp} of {positives} caught, {fp} of {negatives} false alarms"
        low, high = _lower_end(tp, positives), 1 - _lower_end(negatives - fp, negatives)
        expected = math.log(low / high)
        got = attempt(tp, positives, fp, negatives)
        causes = {
            math.log(
                (tp / positives) / max(fp / negatives, 1e-12)
            ): "that is an estimate without intervals: it takes "
            "the luck of the sample for a leak (and is infinite without false alarms)",
            math.log(
                (1 - _lower_end(positives - tp, positives)) / max(_lower_end(fp, negatives), 1e-12)
            ): "the ends are swapped: a bound from below needs the least TPR and the largest FPR",
        }
        expect_number(
            got,
            expected,
            given,
            causes,
            "a bound from below holds at the least favourable ends of both intervals: which ends are those?",
            tolerance=2e-3,
        )
    nothing = attempt(5, 1000, 5, 1000)
    if not (isinstance(nothing, (int, float)) and nothing == 0):
        raise Wrong(
            given="5 of 1000 caught, 5 of 1000 false alarms",
            got=nothing,
            expected="0",
            because="ε is never negative: a test that shows nothing certifies 0",
        )


def _lower_end(hits: int, trials: int) -> float:
    """Return the rate at which ``hits`` or more of ``trials`` come with probability 2.5%, by bisection."""
    from scipy.stats import binom

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binom.sf(hits - 1, trials, middle) < 0.025 else (low, middle)
    return low


def reference_guesses(scores: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Return +1 for the ``top`` highest scores, -1 for the ``bottom`` lowest, 0 for the rest; shape of ``scores``."""
    from labkit.audit.guessing import Share, guess

    return guess(scores, Share(top / len(scores), bottom / len(scores)))


@exercise(
    "06.guesses",
    title="guess where you are sure, abstain elsewhere",
    reference=reference_guesses,
    points=2,
    difficulty=1,
    importance=4,
    minutes=8,
)
def check_guesses(attempt: Callable) -> None:
    """On scores without ties, where the right marks are unique."""
    scores = np.array([0.3, -2.0, 5.0, 1.0, -0.5, 4.0, 0.0, 2.0])
    for top, bottom in ((2, 1), (3, 0), (4, 4)):
        given = f"scores {scores.tolist()}, top={top}, bottom={bottom}"
        order = sorted(range(len(scores)), key=lambda i: scores[i])
        expected = np.zeros(len(scores))
        expected[order[len(scores) - top :]] = 1
        expected[order[:bottom]] = -1
        got = expect_array(attempt(scores.copy(), top, bottom), given)
        because = "+1 for the highest scores, -1 for the lowest, 0 for all others, in the order of the scores"
        if got.shape == expected.shape and np.array_equal(got, -expected):
            because = "the signs are turned: a high score speaks for 'in', +1"
        elif got.shape == expected.shape and bottom == 0 and (got == -1).any():
            because = (
                "with bottom=0 nobody is called 'out': beware of the slice [-0:], which takes everything"
            )
        elif got.shape == expected.shape and not (got == 0).any() and top + bottom < len(scores):
            because = "guesses were made about all: between top and bottom one abstains, 0"
        expect_close(got, expected, given=given, because=because)


@exercise(
    "06.p_value",
    title="how lucky is that, under the claim?",
    reference=f"{BOUNDS}:one_run_p_value",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_p_value(attempt: Callable) -> None:
    """Against the binomial sum, term by term."""
    for correct, guesses, epsilon in ((20, 20, 1.0), (90, 100, 1.5), (6, 10, 0.0)):
        given = f"{correct} of {guesses} right, claim ε = {epsilon}"
        rate = math.exp(epsilon) / (1 + math.exp(epsilon))
        law = [math.comb(guesses, k) * rate**k * (1 - rate) ** (guesses - k) for k in range(guesses + 1)]
        fair = sum(math.comb(guesses, k) for k in range(correct, guesses + 1)) / 2**guesses
        causes = {
            sum(
                law[correct + 1 :]
            ): "that is the chance of *more* right guesses: what was seen counts too\nsf(correct - 1), not sf(correct)",
            law[
                correct
            ]: "that is the probability of exactly so many; a p-value adds all that is at least as extreme",
            sum(law[:correct]): "that is the other tail",
            1 - sum(law[:correct]) + law[correct]: "one term is counted twice",
            fair: "that tests a fair coin (ε = 0): under the claim a guess may be right more often than half of the time\nwith probability 1 / (1 + e^-ε)",
        }
        otherwise = "how often may one guess be right under ε, and which numbers of right guesses are at least as extreme?"
        expect_number(
            attempt(correct, guesses, epsilon), sum(law[correct:]), given, causes, otherwise, tolerance=1e-6
        )


@exercise(
    "06.one_run_epsilon",
    title="the largest ε that the guesses refute",
    reference=f"{BOUNDS}:one_run_epsilon",
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_one_run_epsilon(attempt: Callable) -> None:
    """What comes back must have a p-value of 5%; all right guesses have a closed form besides."""
    for correct, guesses in ((20, 20), (500, 500), (180, 200), (700, 1000)):
        given = f"{correct} of {guesses} right, confidence 95%"
        expected = _p_value_root(correct, guesses, 0.05)
        causes = {
            math.log(
                correct / max(guesses - correct, 1e-9)
            ): "that is the log odds of the guesses themselves: an estimate, without room for luck",
            _p_value_root(
                correct, guesses, 0.95
            ): "the search ended at the confidence instead of at the risk that is left\nit must end at p = 1 - confidence",
            _p_value_root(
                correct, guesses, 0.025
            ): "one side only: a bound from below needs no second tail, so the whole 5% may go into it",
        }
        expect_number(
            attempt(correct, guesses),
            expected,
            given,
            causes,
            "the ε at which the p-value is 0.05",
            tolerance=5e-3,
        )
    nothing = attempt(50, 100)
    if not abs(float(nothing)) < 1e-3:
        raise Wrong(
            given="50 of 100 right",
            got=nothing,
            expected="0",
            because="half of all guesses are right by luck: ε = 0 is not refuted, so nothing is certified",
        )


def _p_value_root(correct: int, guesses: int, level: float) -> float:
    """Return the ε whose p-value is ``level``, from the quantile of the beta law (exact)."""
    from scipy.stats import beta

    rate = float(beta.ppf(level, correct, guesses - correct + 1))
    return math.log(rate / (1 - rate))
