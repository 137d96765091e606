"""Mistakes of labs 11 to 14 whose causes no lab's own file proves, and mistakes that must not get a neighbour's cause."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake
from test_checks_lab12 import boost, clear, judged, layer, members, rest
from test_checks_lab13 import by_pattern, every_step, numbers
from test_checks_lab14 import chosen, missing
from test_further_causes import changed


def boost_with(change: Callable) -> Callable:
    """Return the update as ``change(wanted, others' sum by records, others' sum, all records, own records)`` has it."""

    def attempt(wanted, others, sizes, attacker):
        honest = sum(sizes[name] * update for name, update in others.items())
        return change(wanted, honest, sum(others.values()), sum(sizes.values()), sizes[attacker])

    return attempt


def middle_two_moved(rule, updates):
    """Move the two updates in the middle against each other, by so little that they stay there."""
    order = np.argsort(updates[:, 0])
    moved = updates.copy()
    moved[order[len(order) // 2 - 1], 0] -= 0.01
    moved[order[len(order) // 2], 0] += 0.01
    return not np.allclose(rule(moved), rule(updates), atol=1e-9)


def all_scaled_down(rule, updates):
    """Bring all updates far below any clipping norm first."""
    small = updates / 1000
    shift = np.random.default_rng(0).normal(size=updates.shape) / 1000
    return not np.allclose(rule(small + shift - shift.mean(0)), rule(small), atol=1e-9)


def but_krum(rule, updates):
    """Leave the one update alone that the rule picks."""
    same = np.isclose(updates, rule(updates)).all(1)
    return bool(not same.any() and clear(rule, updates))


def at_the_middle(attack, controlled, levels):
    left = attack if controlled is None else controlled
    status = judged(attack, controlled, levels)[1]
    middle = (attack[0] + min(attack[1], 1)) / 2 if status == "answered" else left[1]
    return judged((0, middle), None, levels)[0], status


def lower_end_without_control(attack, controlled, levels):
    return judged((attack[0], attack[0]) if controlled is None else attack, controlled, levels)


def always_open(attack, controlled, levels):
    return judged(attack, controlled, levels)[0], "open"


def open_without_control(attack, controlled, levels):
    severity, status = judged(attack, controlled, levels)
    return severity, "open" if controlled is None else status


def reached_is_below(attack, controlled, levels):
    left = attack if controlled is None else controlled
    severity, status = judged(attack, controlled, levels)
    return judged(attack, (0, 0), levels) if left[1] <= levels["low"] else (severity, status)


def unknown_is_none(attack, controlled, levels):
    return judged(attack, controlled, levels) if math.isfinite(attack[1]) else ("none", "open")


def by_control(attack, controlled, levels):
    severity, status = judged(attack, controlled, levels)
    return judged((0, controlled[1]), None, levels)[
        0
    ] if status == "answered" and controlled else severity, status


def people_once(text):
    found = {re.sub(r"\D", "", text[start:end]): (start, end) for start, end in reversed(numbers(text))}
    return sorted(found.values())


def falls_back(steps, threshold, cap, most_tpr):
    """Go back up to a step that fits, where the last one does not."""
    for count in range(len(steps), 0, -1):
        found = chosen(steps[:count], threshold, cap, most_tpr)
        met = all(step["assured"] >= threshold for step in steps[:count])
        if met and found is not None:
            return found
    return None


def before_the_first_failure(steps, threshold, cap, most_tpr):
    fails = [i for i, step in enumerate(steps) if step["assured"] < threshold]
    return chosen(steps, threshold, cap, most_tpr) if fails else None


def delta_by_its_truth(claim):
    return missing({**claim, "delta": claim.get("delta") or None})


FURTHER = [
    ("12.who_is_in", lambda g, s: "all of them", "return a NumPy array of numbers"),
    ("12.who_is_in", lambda g, s: np.full(g[0].shape[0], np.nan), "a division by zero?"),
    ("12.who_is_in", lambda g, s: members(g, s) + 1, "about them, weight by weight"),
    ("12.dense_leak", lambda w, b: 2 * np.array(layer(w, b)), "have in common"),
    ("12.left_over", lambda t, k, s, n: (rest(t, k, s, n)[0], "less"), "the second value is one number"),
    ("12.left_over", lambda t, k, s, n: (rest(t, k, s, n)[0], 0.123), "how do deviations add"),
    ("12.boosted_update", boost_with(lambda wanted, by_records, plain, total, own: (total * wanted - plain) / own), "count their records each"),
    ("12.boosted_update", boost_with(lambda wanted, by_records, plain, total, own: ((total - own) * wanted - by_records) / own), "your own included"),
    ("12.boosted_update", lambda wanted, others, sizes, attacker: len(sizes) * wanted, "the server weighs by records"),
    ("12.boosted_update", lambda *given: 2 * boost(*given), "write that mean with your update as the unknown"),
    ("12.median_needs_clear", lambda rule, updates: False, "did you try sets with the *same sum*"),
    ("12.median_needs_clear", middle_two_moved, "a trimmed mean drops"),
    ("12.median_needs_clear", all_scaled_down, "a server that clips"),
    ("12.median_needs_clear", but_krum, "distances between updates"),
    ("12.severity", always_open, "lies below the lowest level"),
    ("12.severity", by_control, "what the control averts"),
    ("12.severity", lambda attack, controlled, levels: (judged(attack, None, levels)[0], judged(attack, controlled, levels)[1]), "the worst that is left"),
    ("12.severity", at_the_middle, "what the control averts"),
    ("12.severity", lower_end_without_control, "a wide interval is no pass"),
    ("12.severity", open_without_control, "nothing to answer"),
    ("12.severity", reached_is_below, "an upper end of exactly 'low'"),
    ("12.severity", unknown_is_none, "one run gives an infinite interval"),
    ("13.recompute_epsilon", lambda noise, rate, steps, delta, batches: every_step(noise, rate, steps, delta, "full"), "Each joins with a small probability only"),
    ("13.recompute_epsilon", changed("13.recompute_epsilon", lambda right, *_: 1.3 * right), "account for the steps as they are described"),
    ("13.recompute_epsilon", changed("13.recompute_epsilon", lambda right, *given: right * (1 if given[-1] == "poisson" else 1.3)), "does anything hide in which"),
    ("13.recompute_epsilon", lambda *given: "about three", "return one number, the ε"),
    ("13.recompute_epsilon", lambda *given: math.inf, "the result is not finite"),
    ("13.named_patients", lambda scores, members, allowed: 10**6, "for each threshold count two things"),
    ("13.record_numbers", lambda text: [], "the plainest form"),
    ("13.record_numbers", by_pattern(r"(?<!\d)\d{4} ?\d{4}(?!\d)"), "a hyphen may stand"),
    ("13.record_numbers", by_pattern(r"(?<!\d)\d{4}-?\d{4}(?!\d)"), "a blank may stand"),
    ("13.record_numbers", by_pattern(r"(?<!\d)(?:\d[ -]?){7}\d(?!\d)"), "one mark at most, after the fourth"),
    ("13.record_numbers", by_pattern(r"(?<!\S)\d{4}[ -]?\d{4}(?!\d)"), "brackets and full stops may touch"),
    ("13.record_numbers", people_once, "every place counts"),
    ("13.record_numbers", lambda text: [start for start, _ in numbers(text)], "a pair of places"),
    ("13.record_numbers", lambda text: [(start, end - 1) for start, end in numbers(text)], "the last digit is missing"),
    ("14.missing_facts", delta_by_its_truth, "δ = 0 is a fact"),
    ("14.choose_epsilon", before_the_first_failure, "the last one is the smallest ε"),
    ("14.choose_epsilon", lambda steps, t, c, m: chosen(steps, t, math.nextafter(c, 0), m), "that is just met is met"),
    ("14.choose_epsilon", lambda steps, t, c, m: chosen(steps, t, c, math.nextafter(m, 0)), "that is just met is met"),
    ("14.choose_epsilon", lambda steps, t, c, m: chosen(steps, t, c, m) if steps else c, "there are no steps"),
    ("14.choose_epsilon", falls_back, "then the last step has to meet the cap and the audit"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "attempt", "cause"), FURTHER, ids=[f"{id}-{cause}" for id, _, cause in FURTHER]
)
def test_a_further_mistake_is_told_its_own_cause(id, attempt, cause):
    prove_mistake(id, attempt, cause)
