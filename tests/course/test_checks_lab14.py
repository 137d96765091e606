"""Lab 14's checks, proven: stub, named mistakes with a cause that is true of them, right answers of another kind, twice."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from proofs import prove_mistake, prove_right, prove_second_press

FACTS = ["unit", "neighbouring", "delta", "accountant", "sampler", "sample_rate", "steps", "tuning_runs"]


def belief(prior: float, epsilon: float) -> float:
    return 1 / (1 + math.exp(-epsilon) * (1 - prior) / prior)


def missing(claim: dict) -> list[str]:
    needed = [fact for fact in FACTS if fact != "sample_rate" or claim.get("sampler") != "full"]
    return [fact for fact in needed if fact not in claim or claim[fact] is None]


def chosen(steps: list[dict], threshold: float, cap: float, most_tpr: float) -> float | None:
    """Recursively, from the top."""
    if not steps or steps[0]["assured"] < threshold:
        return None
    if len(steps) > 1 and steps[1]["assured"] >= threshold:
        return chosen(steps[1:], threshold, cap, most_tpr)
    tpr = math.nan if steps[0]["tpr_high"] is None else steps[0]["tpr_high"]
    return steps[0]["epsilon"] if steps[0]["epsilon"] <= cap and tpr <= most_tpr else None


def lucky_one_later(steps, threshold, cap, most_tpr):
    return chosen([s for s in steps if s["assured"] >= threshold], threshold, cap, most_tpr)


def ignores_the_cap(steps, threshold, cap, most_tpr):
    return chosen(steps, threshold, math.inf, most_tpr)


def ignores_the_audit(steps, threshold, cap, most_tpr):
    return chosen([{**s, "tpr_high": 0.0} for s in steps], threshold, cap, most_tpr)


def silence_passes(steps, threshold, cap, most_tpr):
    return chosen([{**s, "tpr_high": s["tpr_high"] or 0.0} for s in steps], threshold, cap, most_tpr)


def nan_passes(steps, threshold, cap, most_tpr):
    def tpr(s):
        return math.nan if s["tpr_high"] is None else 0.0 if math.isnan(s["tpr_high"]) else s["tpr_high"]

    return chosen([{**s, "tpr_high": tpr(s)} for s in steps], threshold, cap, most_tpr)


RIGHT = {"14.posterior_bound": belief, "14.missing_facts": missing, "14.choose_epsilon": chosen}
MISTAKES = [
    ("14.posterior_bound", lambda p, e: math.exp(e) * p, "what ε multiplies is the *odds*"),
    ("14.posterior_bound", lambda p, e: min(1.0, math.exp(e) * p), "what ε multiplies is the *odds*"),
    ("14.posterior_bound", lambda p, e: math.exp(e) * p / (1 - p), "a probability is wanted"),
    ("14.posterior_bound", lambda p, e: 1 / (1 + math.exp(-e)), "a prior of one half"),
    ("14.posterior_bound", lambda p, e: belief(p, -e), "at most e^ε times the odds before"),
    ("14.posterior_bound", lambda p, e: None, "nothing came back"),
    ("14.missing_facts", lambda c: [f for f in FACTS if not c.get(f)], "a fact that is 0 is a fact"),
    ("14.missing_facts", lambda c: [f for f in FACTS if f not in c], "nobody said it"),
    ("14.missing_facts", lambda c: [f for f in FACTS if c.get(f) is None], "every record is in every step"),
    ("14.missing_facts", lambda c: sorted(missing(c)), "the order is that of the list"),
    ("14.missing_facts", lambda c: set(missing(c)), "return a list"),
    (
        "14.missing_facts",
        lambda c: [f for f in missing(c) if f != "sample_rate" or c.get("sampler")],
        "so the rate is missing, too",
    ),
    (
        "14.missing_facts",
        lambda c: [f for f in missing(c) if f != "sample_rate" or c.get("sampler") != "fixed"],
        "only the sampler 'full'",
    ),
    ("14.choose_epsilon", lambda s, t, c, m: s[0]["epsilon"], "lower ε as long as"),
    ("14.choose_epsilon", ignores_the_cap, "does not move a cap"),
    ("14.choose_epsilon", ignores_the_audit, "however accurate"),
    ("14.choose_epsilon", silence_passes, "was not run (None)"),
    ("14.choose_epsilon", nan_passes, "gave no number"),
    (
        "14.choose_epsilon",
        lambda s, t, c, m: chosen(s, math.nextafter(t, 1), c, m),
        "equals the threshold meets it",
    ),
    ("14.choose_epsilon", lucky_one_later, "a choice by noise"),
    ("14.choose_epsilon", lambda s, t, c, m: chosen(s, t, c, m) or 0.0, "no release yet"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)


@pytest.mark.parametrize("name", RIGHT)
def test_a_second_press_changes_nothing(name: str) -> None:
    prove_second_press(name, next(attempt for id, attempt, _ in MISTAKES if id == name), RIGHT[name])
