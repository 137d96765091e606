"""Checks of lab 14, interview preparation: what ε means to a person, what a claim leaves out, and which ε to take."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labkit import dp
from labkit.course.exercises.exercise import Wrong, exercise, expect_close

FACTS = ("unit", "neighbouring", "delta", "accountant", "sampler", "sample_rate", "steps", "tuning_runs")


def reference_posterior_bound(prior: float, epsilon: float) -> float:
    """Return the most that an attacker of this prior may come to believe under pure ε-DP."""
    odds = math.exp(epsilon) * prior / (1 - prior)
    return odds / (1 + odds)


def _by_randomised_response(prior: float, epsilon: float) -> float:
    """Return the same from the mechanism that meets the bound: one answer, by Bayes' rule."""
    response = dp.RandomisedResponse(epsilon)
    yes, lie = prior * response.keep_probability, (1 - prior) * response.lie_probability
    return yes / (yes + lie)


@exercise(
    "14.posterior_bound",
    title="ε, said to a person",
    reference=reference_posterior_bound,
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
)
def check_posterior_bound(attempt: Callable) -> None:
    """Against Bayes' rule on randomised response, which meets the bound."""
    for prior, epsilon in ((0.01, 1.0), (0.5, 0.3), (0.2, 3.0), (0.9, 8.0)):
        given = {"prior": prior, "epsilon": epsilon}
        got = attempt(prior, epsilon)
        # No probability of the first case reaches 1, so cutting off there looks the same.
        wrong = {
            "a probability was multiplied; what ε multiplies is the *odds*\ne^ε times p / (1 - p)": math.exp(
                epsilon
            )
            * prior,
            "those are the odds after the release; a probability is wanted\nodds / (1 + odds)": (
                math.exp(epsilon) * prior / (1 - prior)
            ),
            "that is the belief for a prior of one half; use the prior": 1 / (1 + math.exp(-epsilon)),
        }
        because = "which quantity does ε bound the change of? Not the probability itself\nthe odds after are at most e^ε times the odds before"
        if isinstance(got, numbers.Real):
            because = next(
                (text for text, value in wrong.items() if math.isclose(got, value, rel_tol=1e-9)), because
            )
        expect_close(got, _by_randomised_response(prior, epsilon), given=given, because=because)


def reference_missing_facts(claim: Mapping[str, Any]) -> list[str]:
    """Return the facts that a claim leaves out, in the order of `FACTS`."""
    return [
        fact
        for fact in FACTS
        if claim.get(fact) is None and not (fact == "sample_rate" and claim.get("sampler") == "full")
    ]


WHOLE = {
    "epsilon": 3.0,
    "unit": "patient",
    "neighbouring": "add/remove",
    "delta": 1e-5,
    "accountant": "PLD",
    "sampler": "poisson",
    "sample_rate": 0.01,
    "steps": 1000,
    "tuning_runs": 0,
}
CLAIMS = (  # what is changed in the whole claim, and what a mistake here means
    (
        {},
        "nothing is left out here; a fact that is 0 is a fact: no run for tuning was charged, and that was said",
    ),
    ({"delta": 0.0}, "δ = 0 is a fact: it was said"),
    ({"delta": None, "steps": None}, "None is not a fact: nobody said it, whether the key is there or not"),
    (
        {"sampler": None, "sample_rate": None},
        "nobody said how batches were drawn, so the rate is missing, too",
    ),
    (
        {"sampler": "full", "sample_rate": None},
        "the sampler is 'full': every record is in every step, so there is no rate to say",
    ),
    ({"sampler": "fixed", "sample_rate": None}, "only the sampler 'full' needs no rate"),
)


@exercise(
    "14.missing_facts",
    title="three of what?",
    reference=reference_missing_facts,
    points=2,
    difficulty=1,
    importance=5,
    minutes=8,
)
def check_missing_facts(attempt: Callable) -> None:
    """Against claims with facts taken out, by None and by leaving the key out."""
    for changes, because in CLAIMS:
        for absent in (False, True):
            claim = {**WHOLE, **changes}
            if absent:
                claim = {fact: value for fact, value in claim.items() if value is not None}
            missing = {fact for fact in FACTS if claim.get(fact) is None}
            if claim.get("sampler") == "full":
                missing.discard("sample_rate")
            expected = sorted(missing, key=FACTS.index)
            got = attempt(dict(claim))
            if not isinstance(got, list):
                because = "return a list, empty where nothing is left out"
            elif sorted(map(str, got)) == sorted(expected):
                because = "the order is that of the list in the task"
            if got != expected:
                raise Wrong(given=claim, got=got, expected=expected, because=because)


def reference_choose_epsilon(
    steps: Sequence[Mapping[str, float | None]], threshold: float, cap: float, most_tpr: float
) -> float | None:
    """Return the ε to release, or None."""
    last = None
    for step in steps:
        if step["assured"] < threshold:
            break
        last = step
    if last is None or last["epsilon"] > cap or last["tpr_high"] is None or not last["tpr_high"] <= most_tpr:
        return None
    return last["epsilon"]


def _steps(*rows: tuple[float, float, float | None]) -> list[dict[str, float | None]]:
    return [{"epsilon": epsilon, "assured": assured, "tpr_high": tpr} for epsilon, assured, tpr in rows]


LADDER = ((8.0, 0.97, 0.08), (3.0, 0.96, 0.04), (1.0, 0.94, 0.02), (0.5, 0.91, 0.015))
CASES = (  # steps, threshold, cap, most TPR, the answer, what a mistake here means
    (LADDER, 0.93, 3.0, 0.05, 1.0, "lower ε as long as the threshold of the business is met, and stop there"),
    (LADDER, 0.94, 3.0, 0.05, 1.0, "an assured accuracy that equals the threshold meets it"),
    (LADDER, 0.9, 3.0, 0.05, 0.5, "every step meets the threshold here: the last one is the smallest ε"),
    (LADDER, 0.98, 3.0, 0.05, None, "no step meets the threshold: return None, which means no release yet"),
    (LADDER, 0.965, 3.0, 0.1, None, "the last step that is accurate enough lies above the cap: a threshold does not move a cap"),
    (LADDER, 0.955, 3.0, 0.03, None, "the audit's upper end is above what was agreed: no release, however accurate"),
    (LADDER, 0.955, 3.0, 0.04, 3.0, "a cap or an audit that is just met is met"),
    (((3.0, 0.96, None),), 0.95, 3.0, 0.05, None, "the audit was not run (None): that is no pass"),
    (((3.0, 0.96, float("nan")),), 0.95, 3.0, 0.05, None, "the audit gave no number (nan): that is no pass"),
    (
        ((8.0, 0.97, 0.08), (3.0, 0.92, 0.04), (1.0, 0.94, 0.02)),
        0.93,
        8.0,
        0.1,
        8.0,
        "stop at the first step below the threshold: going on and taking a lucky one later is a choice by noise",
    ),
    ((), 0.9, 3.0, 0.05, None, "there are no steps: return None"),
)  # fmt: skip


@exercise(
    "14.choose_epsilon",
    title="which ε?",
    reference=reference_choose_epsilon,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_choose_epsilon(attempt: Callable) -> None:
    """Against answers worked out by hand, then against a search over random ladders (seed 0)."""
    for rows, threshold, cap, most_tpr, expected, because in CASES:
        _compare(attempt, _steps(*rows), threshold, cap, most_tpr, expected, because)
    random = np.random.default_rng(0)
    for _ in range(50):
        levels = -np.sort(-random.choice(np.arange(1, 40) / 4, 5, replace=False))
        rows = [(float(e), float(random.uniform(0.85, 1)), float(random.uniform(0, 0.1))) for e in levels]
        met = [all(row[1] >= 0.9 for row in rows[: k + 1]) for k in range(len(rows))]
        fits = [row for row, ok in zip(rows, met, strict=True) if ok][-1:]
        expected = fits[0][0] if fits and fits[0][0] <= 5 and fits[0][2] <= 0.06 else None
        because = "go down while the threshold is met; then the last step has to meet the cap and the audit"
        _compare(attempt, _steps(*rows), 0.9, 5.0, 0.06, expected, because)


def _compare(
    attempt: Callable,
    steps: list[dict],
    threshold: float,
    cap: float,
    most_tpr: float,
    expected: float | None,
    because: str,
) -> None:
    got = attempt([dict(step) for step in steps], threshold, cap, most_tpr)
    if got is expected or (got is not None and expected is not None and got == expected):
        return
    given = {"steps": steps, "threshold": threshold, "cap": cap, "most_tpr": most_tpr}
    raise Wrong(given=given, got=repr(got), expected=repr(expected), because=because)
