"""Lab 12's checks, proven: stub, at least two named mistakes each, a right answer that is not the shipped one, twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake, prove_right, prove_second_press


def members(gradients: list, sums: list) -> np.ndarray:
    """By normal equations instead of least squares of the stack."""
    gram = sum(rows @ rows.T for rows in gradients)
    return np.linalg.pinv(gram) @ sum(rows @ total for rows, total in zip(gradients, sums, strict=True))


def layer(weight: np.ndarray, bias: np.ndarray) -> list:
    return [row / b for row, b in zip(weight, bias, strict=True) if b != 0]


def rest(total: np.ndarray, known: list, share: float, survivors: int) -> tuple:
    left = np.array(total)
    for one in known:
        left = left - one
    return left, (share**2 * (survivors - len(known))) ** 0.5


def boost(wanted: np.ndarray, others: dict, sizes: dict, attacker: str) -> np.ndarray:
    missing = wanted * sum(sizes.values())
    for name in others:
        missing = missing - sizes[name] * others[name]
    return missing / sizes[attacker]


def clear(rule: Callable, updates: np.ndarray) -> bool:
    """Move the first up and the last down by as much."""
    for size in (0.5, 5.0, 50.0):
        moved = updates.copy()
        moved[0] += size
        moved[-1] -= size
        if not np.allclose(rule(moved), rule(updates), atol=1e-6):
            return True
    return False


def shuffled(rule: Callable, updates: np.ndarray) -> bool:
    return not np.allclose(rule(updates[::-1]), rule(updates))


def moved_alone(rule: Callable, updates: np.ndarray) -> bool:
    return not np.allclose(rule(updates + np.eye(len(updates), 3)), rule(updates))


def exactly_equal(rule: Callable, updates: np.ndarray) -> bool:
    shift = np.random.default_rng(0).normal(size=updates.shape) * 30
    return not np.array_equal(rule(updates + shift - shift.mean(0)), rule(updates))


def judged(attack: tuple, controlled: tuple | None, levels: dict, *, end: int = 1, averted: int = 0) -> tuple:
    """The rule, with the ends of the intervals that it looks at as arguments."""

    def level(value: float) -> str:
        reached = [name for name in ("low", "medium", "high", "critical") if value >= levels[name]]
        return reached[-1] if reached else "none"

    left = controlled if controlled is not None else attack
    if left[end] < levels["low"]:
        return level(attack[averted]), "answered"
    return level(left[end]), "open"


def trusting(attack: tuple, controlled: tuple | None, levels: dict) -> tuple:
    return judged(attack, (0.0, 0.0) if controlled is None else controlled, levels)


def strictly_above(attack: tuple, controlled: tuple | None, levels: dict) -> tuple:
    return judged(attack, controlled, {name: start + 1e-9 for name, start in levels.items()})


RIGHT = {
    "12.who_is_in": members,
    "12.dense_leak": layer,
    "12.left_over": rest,
    "12.boosted_update": boost,
    "12.median_needs_clear": clear,
    "12.severity": judged,
}
MISTAKES = [
    ("12.who_is_in", lambda g, s: members(g[:1], s[:1]), "one round alone"),
    ("12.who_is_in", lambda g, s: members([np.mean(g, 0)], [np.mean(s, 0)]), "averaging the rounds first"),
    ("12.who_is_in", lambda g, s: sum(a @ b for a, b in zip(g, s, strict=True)), "a hint, no solution"),
    ("12.who_is_in", lambda g, s: 1 - members(g, s), "swapped"),
    ("12.who_is_in", lambda g, s: members(g, s)[:3], "the shape is"),
    ("12.dense_leak", lambda w, b: w / b[:, None], "0 / 0 is no record"),
    ("12.dense_leak", lambda w, b: (w * b[:, None])[b != 0], "dW divided by db"),
    ("12.dense_leak", lambda w, b: w[b != 0], "dW itself"),
    ("12.dense_leak", lambda w, b: w.sum(0) / b.sum(), "one row came"),
    ("12.dense_leak", lambda w, b: -w[b != 0] / b[b != 0, None], "the sign is turned"),
    (
        "12.dense_leak",
        lambda w, b: np.divide(w, b[:, None], where=b[:, None] != 0, out=0 * w),
        "leave them out",
    ),
    ("12.left_over", lambda t, k, s, n: (rest(t, k, s, n)[0], s * n**0.5), "subtracts its noise, too"),
    ("12.left_over", lambda t, k, s, n: (rest(t, k, s, n)[0], s * (n - len(k))), "variances do"),
    ("12.left_over", lambda t, k, s, n: (t, rest(t, k, s, n)[1]), "off the sum"),
    ("12.left_over", lambda t, k, s, n: (rest(t, k, s, n)[0], s), "that is one share"),
    ("12.left_over", lambda t, k, s, n: rest(t, k, s, n)[0], "two values"),
    ("12.boosted_update", lambda w, o, n, a: w, "the wanted change itself"),
    ("12.boosted_update", lambda w, o, n, a: w * sum(n.values()) / n[a], "the others pull"),
    (
        "12.boosted_update",
        lambda w, o, n, a: w * len(n) - sum(o.values()),
        "heads were counted on both sides",
    ),
    ("12.boosted_update", lambda w, o, n, a: boost(w, o, n, a) * n[a], "divide by your own records"),
    ("12.boosted_update", lambda w, o, n, a: boost(w, {k: -v for k, v in o.items()}, n, a), "not added"),
    ("12.median_needs_clear", shuffled, "reordering the updates changes no median"),
    ("12.median_needs_clear", moved_alone, "the *same* sum"),
    ("12.median_needs_clear", exactly_equal, "up to rounding"),
    ("12.median_needs_clear", lambda r, u: r(u), "return True or False"),
    ("12.severity", trusting, "whatever one believes"),
    ("12.severity", lambda a, c, n: judged(a, c, n, end=0), "the upper end"),
    ("12.severity", lambda a, c, n: judged(a, c, n, averted=1), "by the *lower* end"),
    ("12.severity", strictly_above, "a level begins at its number"),
    (
        "12.severity",
        lambda a, c, n: judged(a, c, {"low": 0.02, "medium": 0.05, "high": 0.1, "critical": 0.5}),
        "an argument",
    ),
    ("12.severity", lambda a, c, n: judged(a, c, n)[0], "two words"),
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
