"""Checks of lab 01 on one release and many: Gaussian noise, composition, groups of people and parts of the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from labkit.course.checks.lab01.mechanisms import nearest
from labkit.course.exercises.exercise import Wrong, exercise, expect_close


@exercise(
    "01.gaussian_delta",
    title="what δ does Gaussian noise buy?",
    points=3,
    difficulty=4,
    importance=4,
    minutes=10,
    reference="labkit.dp.mechanisms.additive:gaussian_delta",
)
def check_gaussian_delta(attempt: Callable) -> None:
    """The definition, integrated on a fine grid: how much mass lies above e^epsilon times the neighbour's."""
    from scipy.stats import norm

    for epsilon, sigma, sensitivity in ((1.0, 2.0, 1.0), (0.5, 3.0, 2.0), (0.0, 1.5, 1.0), (3.0, 0.7, 1.0)):
        given = {"epsilon": epsilon, "sigma": sigma, "sensitivity": sensitivity}
        y = np.linspace(-30 * sigma, 30 * sigma, 400_001)
        excess = norm.pdf(y, 0, sigma) - math.exp(epsilon) * norm.pdf(y, sensitivity, sigma)
        exact = float(np.trapezoid(np.maximum(excess, 0), y))
        causes = _gaussian_mistakes(epsilon, sigma, sensitivity)
        got = attempt(epsilon, sigma, sensitivity)
        other = "no slip that is known here: try ε = 0 first, where δ is how far apart the two Gaussians are, then compare the two terms one by one"
        expect_close(
            got, exact, given=given, because=nearest(causes, got, other, rtol=1e-4), rtol=1e-4, atol=1e-9
        )


def _gaussian_mistakes(epsilon: float, sigma: float, sensitivity: float) -> list[tuple[float, str]]:
    """Return what the usual slips come to, with their causes; values that coincide with the right one are kept out."""
    from scipy.stats import norm

    def formula(eps: float, s: float, d: float, weight: float) -> float:
        a, b = d / (2 * s) - eps * s / d, -d / (2 * s) - eps * s / d
        return float(norm.cdf(a) - weight * norm.cdf(b))

    growth = math.exp(epsilon)
    slips = [
        (
            formula(epsilon, sigma**2, sensitivity, growth),
            "the variance was used where the standard deviation belongs",
        ),
        (
            formula(epsilon, math.sqrt(sigma), sensitivity, growth),
            "sigma is the standard deviation already: no square root",
        ),
        (
            formula(epsilon, sigma, 1.0, growth),
            "the sensitivity is missing: noise is large or small only against what one record moves\nonly the ratio sigma / sensitivity matters",
        ),
        (
            formula(epsilon, sigma, sensitivity, 1.0),
            "the second term is missing its factor: likelihoods may differ as far as ε allows before it counts\nthe factor is e^ε",
        ),
        (
            formula(epsilon, sigma, sensitivity, 0.0),
            "only the first term: what the neighbour may have as well must be taken off\nthe neighbour's mass, times e^ε, must be taken off",
        ),
        (
            formula(epsilon, sigma, sensitivity, 2**epsilon),
            "ε is a natural logarithm, and powers of 2 were taken\nuse e^ε, not 2^ε",
        ),
    ]
    right = formula(epsilon, sigma, sensitivity, growth)
    return [(value, why) for value, why in slips if not math.isclose(value, right, rel_tol=1e-3)]


@exercise(
    "01.composed_delta",
    title="compose exactly",
    points=3,
    difficulty=4,
    importance=4,
    minutes=10,
    reference="labkit.dp.accounting.composition:composed_delta",
)
def check_composed_delta(attempt: Callable) -> None:
    """The definition of δ, over all 2^k outcomes of k-fold randomised response, one by one."""
    for epsilon, releases, part in itertools.product((0.3, 1.0), (1, 2, 6), (0.4, 0.9, 0.0)):
        total = part * releases * epsilon
        given = {"epsilon": epsilon, "releases": releases, "total_epsilon": total}
        exact, no_floor, uncounted, base2 = _compose_by_enumeration(epsilon, releases, total)
        causes = [
            (
                no_floor,
                "outcomes that favour the *other* world came in with a minus: count a difference only where it is positive",
            ),
            (uncounted, "each number of lies can come about in many orders\nmultiply by `math.comb(k, i)`"),
            (base2, "ε is a natural logarithm, and powers of 2 were taken\nuse e^ε, not 2^ε"),
            (
                0.0,
                "δ is 0 only from the total on that basic composition gives\nthat is from total_epsilon = releases * epsilon on",
            ),
        ]
        causes = [(value, why) for value, why in causes if not math.isclose(value, exact, abs_tol=1e-9)]
        got = attempt(epsilon, releases, total)
        other = "an outcome's probabilities in the two worlds are to be compared; only what is too much counts, over all outcomes\nsum max(0, P - e^total Q) over the outcomes, P and Q being an outcome's probability in the two worlds"
        expect_close(got, exact, given=given, because=nearest(causes, got, other), rtol=1e-7, atol=1e-12)


def _compose_by_enumeration(epsilon: float, k: int, total: float) -> tuple[float, float, float, float]:
    """Return δ, and what it becomes without the floor at 0, without counting orders, and in base 2."""

    def differences(growth: float, total_growth: float) -> dict[tuple[int, ...], float]:
        keep = growth / (1 + growth)
        return {
            flips: keep ** (k - sum(flips)) * (1 - keep) ** sum(flips)
            - total_growth * keep ** sum(flips) * (1 - keep) ** (k - sum(flips))
            for flips in itertools.product((0, 1), repeat=k)
        }

    natural = differences(math.exp(epsilon), math.exp(total))
    one_order = {sum(flips): value for flips, value in natural.items()}
    return (
        sum(max(0.0, value) for value in natural.values()),
        sum(natural.values()),
        sum(max(0.0, value) for value in one_order.values()),
        sum(max(0.0, value) for value in differences(2**epsilon, 2**total).values()),
    )


@exercise(
    "01.group_privacy",
    title="what a whole family is promised",
    points=2,
    difficulty=3,
    importance=5,
    minutes=8,
    reference="labkit.dp.accounting.composition:group_privacy",
)
def check_group_privacy(attempt: Callable) -> None:
    """The promise applied from neighbour to neighbour, ``size`` times, as the definition of δ says."""
    for epsilon, size, delta in ((1.0, 3, 1e-4), (0.5, 4, 0.0), (0.2, 6, 1e-6), (0.5, 1, 1e-5)):
        given = {"epsilon": epsilon, "size": size, "delta": delta}
        excess = 0.0
        for _ in range(
            size
        ):  # P(S) <= e^ε Q(S) + δ, and Q(S) is bounded by the next neighbour in the same way
            excess = math.exp(epsilon) * excess + delta
        got = attempt(epsilon, size, delta)
        try:
            total, slack = got
        except (TypeError, ValueError):
            because = "return two numbers, the group's ε and its δ"
            raise Wrong(given=given, got=got, expected=(size * epsilon, excess), because=because) from None
        factors = [
            (
                epsilon,
                "that is the promise to one person: each further one weakens it again\neach further one multiplies by e^ε again",
            ),
            (epsilon * math.sqrt(size), "no root here: it belongs to many *releases*, not to many people"),
            (epsilon / size, "a group is promised less, not more: its ε is larger"),
        ]
        other = "from one world to the other, `size` records change, one after the other: each change has its price\ne^ε each time, so the ε of the group is a multiple"
        expect_close(total, size * epsilon, given=given, because=nearest(factors, total, other))
        slips = [
            (delta, "δ grows as well: every step adds its own"),
            (
                size * delta,
                "the δ of an early step is carried, and grows, through every later one\nmultiplied by e^ε in every later step: δ (1 + e^ε + e^2ε + ...)",
            ),
            (
                size * math.exp((size - 1) * epsilon) * delta,
                "that common bound takes the last term for every term: the earlier ones are smaller\nadd up δ (1 + e^ε + e^2ε + ...) instead",
            ),
            *[
                (
                    math.exp(steps * epsilon) * delta,
                    "that is δ times a single power: every step adds a term of its own\nδ (1 + e^ε + ... + e^((size - 1) ε))",
                )
                for steps in (size - 1, size)
            ],
        ]
        slips = [(value, why) for value, why in slips if not math.isclose(value, excess, rel_tol=1e-6)]
        other = "chain the promise: change one record after the other, and see what each step does to the δ so far\nwith δ after i steps, after i + 1 it is e^ε times that, plus δ"
        expect_close(slack, excess, given=given, because=nearest(slips, slack, other), atol=1e-15)


Plan = Sequence[tuple[float, Any]]
PLANS: tuple[Plan, ...] = (
    [(0.5, "everyone"), (0.2, "everyone")],
    [(0.5, "Hall A"), (0.9, "Hall B"), (0.3, "Hall C")],
    [(0.3, "Hall A"), (0.4, "Hall A"), (0.6, "Hall B")],
    [(1.0, "everyone"), (0.5, "Hall A"), (2.0, "an earlier output")],
    [(0.1, "everyone"), (0.7, "Hall A"), (0.2, "Hall B"), (0.6, "Hall B"), (3.0, "an earlier output")],
    [(2.0, "an earlier output")],
)


def plan_epsilon(plan: Plan) -> float:
    """The reference of 01.plan_epsilon: releases on everyone add up, halls count once, outputs are free."""
    halls: dict[str, float] = {}
    for epsilon, reads in plan:
        if reads not in ("everyone", "an earlier output"):
            halls[reads] = halls.get(reads, 0.0) + epsilon
    return sum(e for e, reads in plan if reads == "everyone") + max(halls.values(), default=0.0)


@exercise(
    "01.plan_epsilon",
    title="what a plan of releases costs",
    points=2,
    difficulty=3,
    importance=5,
    minutes=8,
    reference=plan_epsilon,
)
def check_plan_epsilon(attempt: Callable) -> None:
    """Patient by patient: the sum over what reads that one's record, for the patient whom it costs the most."""
    for plan in PLANS:
        halls = {reads for _, reads in plan if reads != "an earlier output"} | {"a hall that nothing reads"}
        worst = max(sum(e for e, reads in plan if reads in ("everyone", hall)) for hall in halls)
        private = [(e, reads) for e, reads in plan if reads != "an earlier output"]
        local = [e for e, reads in private if reads != "everyone"]
        shared = sum(e for e, reads in private if reads == "everyone")
        leftover = shared + max((e for e, reads in plan if reads != "everyone"), default=0.0)
        free = "post-processing is free: what only reads an earlier output never sees a record"
        causes = [
            (
                sum(e for e, _ in private),
                "everything was added up, but no patient is in two halls: of the halls, only the dearest one counts",
            ),
            *[(value, free) for value in (sum(e for e, _ in plan), leftover) if len(private) < len(plan)],
            (
                shared + max(local, default=0.0),
                "two releases on the same hall read the same patients: add those up before taking the maximum",
            ),
            (
                max((e for e, _ in private), default=0.0),
                "a release on everyone and one on a hall read the same patient twice: add",
            ),
        ]
        causes = [(value, why) for value, why in causes if not math.isclose(value, worst, abs_tol=1e-9)]
        got = attempt([tuple(step) for step in plan])
        other = "follow one patient through the plan: which releases read that record? Then take the unluckiest patient"
        expect_close(got, worst, given={"plan": plan}, because=nearest(causes, got, other))
