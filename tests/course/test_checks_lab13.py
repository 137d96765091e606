"""Lab 13's checks, proven: stub, named mistakes with a cause that is true of them, right answers of another kind, twice."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake, prove_right, prove_second_press

from labkit import dp
from labkit.governance.notes import check_digit


def epsilon(noise: float, rate: float, steps: int, delta: float, batches: str) -> float:
    """Epochs as one Gaussian release of less noise."""
    epochs = round(steps * rate)
    event = (
        dp.SampledGaussian(noise, steps, rate)
        if batches == "poisson"
        else dp.SampledGaussian(noise / math.sqrt(epochs))
    )
    return dp.privacy_statement(event, delta=delta).epsilon


def sampled(noise: float, rate: float, steps: int, delta: float, sampler: str) -> dp.PrivacyStatement:
    event = dp.SampledGaussian(noise, steps, 1.0 if sampler == "full" else rate, sampler)
    return dp.privacy_statement(event, delta=delta)


def always_poisson(noise, rate, steps, delta, batches):
    return epsilon(noise, rate, steps, delta, "poisson")


def always_epochs(noise, rate, steps, delta, batches):
    return epsilon(noise, rate, steps, delta, "epochs")


def every_step(noise, rate, steps, delta, batches):
    return sampled(noise, rate, steps, delta, "poisson" if batches == "poisson" else "full").epsilon


def one_epoch(noise, rate, steps, delta, batches):
    return epsilon(noise, rate, steps if batches == "poisson" else round(1 / rate), delta, batches)


def added_up(noise, rate, steps, delta, batches):
    one = epsilon(noise, rate, round(1 / rate), delta, "epochs")
    return epsilon(noise, rate, steps, delta, "poisson") if batches == "poisson" else steps * rate * one


def always_1e_5(noise, rate, steps, delta, batches):
    return epsilon(noise, rate, steps, 1e-5, batches)


def by_rdp(noise, rate, steps, delta, batches):
    sampler = "poisson" if batches == "poisson" else "fixed"
    return sampled(noise, rate, steps, delta, sampler).epsilons["RDP"]


def sampler(batches: list, n: int) -> str:
    """By the order in which records come: in epochs, each run of n is a permutation."""
    order, sizes = np.concatenate(batches), {len(batch) for batch in batches}
    whole = [order[i : i + n] for i in range(0, len(order) - n + 1, n)]
    if all(len(set(part.tolist())) == n for part in whole):
        return "epochs"
    return "poisson" if len(sizes) > 1 else "fixed size"


def by_size(batches: list, n: int) -> str:
    return "poisson" if len({len(batch) for batch in batches}) > 1 else "epochs"


def size_is_all(batches: list, n: int) -> str:
    return "poisson" if len({len(batch) for batch in batches}) > 1 else "fixed size"


def short_batch_fools(batches: list, n: int) -> str:
    return sampler(batches, n) if len({len(batch) for batch in batches}) == 1 else "poisson"


def named(scores: np.ndarray, members: np.ndarray, allowed: int) -> int:
    """Walk down the scores, tie by tie."""
    best = people = wrong = 0
    for value in np.unique(scores)[::-1]:
        here = scores == value
        people, wrong = people + int((here & members).sum()), wrong + int((here & ~members).sum())
        if wrong > allowed:
            break
        best = people
    return best


def tied_named(scores, members, allowed):
    others = np.sort(scores[~members])[::-1]
    return int((scores[members] >= others[min(allowed, len(others) - 1)]).sum())


def one_less(scores, members, allowed):
    return named(scores, members, max(0, allowed - 1))


def middle(scores, members, allowed):
    return int((scores[members] > np.median(scores)).sum())


def first_few(scores, members, allowed):
    return int(members[np.argsort(-scores)[: max(1, allowed)]].sum())


def numbers(text: str) -> list[tuple[int, int]]:
    """Try every place."""
    found = []
    for start in range(len(text)):
        for length in (8, 9):
            piece = text[start : start + length]
            digits = re.sub(r"\D", "", piece)
            fits = re.fullmatch(r"\d{4}[ -]?\d{4}", piece) is not None
            free = (
                not text[start - 1 : start].isdigit()
                and not text[start + length : start + length + 1].isdigit()
            )
            if fits and free and check_digit(digits[:7]) == int(digits[7]):
                found.append((start, start + length))
    return found


def by_pattern(pattern: str, *, checked: bool = True) -> Callable[[str], list]:
    def find(text: str) -> list:
        matches = list(re.finditer(pattern, text))
        digits = [re.sub(r"\D", "", match[0]) for match in matches]
        return [
            match.span()
            for match, number in zip(matches, digits, strict=True)
            if not checked or check_digit(number[:7]) == int(number[7])
        ]

    return find


PATTERN = r"(?<!\d)\d{4}[ -]?\d{4}(?!\d)"


def verdict(severities: list, not_run: list) -> str:
    order = {"note": 0, "low": 0, "medium": 1, "high": 1, "critical": 2}
    weight = max([order[one] for one in severities] + [2 if one else 1 for one in not_run] + [0])
    return ("approve", "approve with conditions", "reject")[weight]


RIGHT = {
    "13.recompute_epsilon": epsilon,
    "13.sampler_of": sampler,
    "13.named_patients": named,
    "13.record_numbers": numbers,
    "13.decide": verdict,
}
MISTAKES = [
    ("13.recompute_epsilon", always_poisson, "figure of coin flips again"),
    ("13.recompute_epsilon", always_epochs, "coin flips hide who is in a batch"),
    ("13.recompute_epsilon", every_step, "in one step of each epoch"),
    ("13.recompute_epsilon", one_epoch, "one epoch alone"),
    ("13.recompute_epsilon", added_up, "does not simply add up"),
    ("13.recompute_epsilon", always_1e_5, "the δ of this claim is"),
    ("13.recompute_epsilon", by_rdp, "RDP's bound"),
    (
        "13.recompute_epsilon",
        lambda *facts: sampled(*facts[:4], "poisson"),
        "not the whole statement",
    ),
    ("13.sampler_of", by_size, "equal sizes do not make epochs"),
    ("13.sampler_of", size_is_all, "in each epoch every record comes exactly once"),
    ("13.sampler_of", short_batch_fools, "the last batch of an epoch is short"),
    ("13.sampler_of", lambda b, n: "poisson", "these are all alike"),
    ("13.sampler_of", lambda b, n: "epochs", "sizes of coin flips scatter"),
    ("13.sampler_of", lambda b, n: "shuffled", "return one of"),
    ("13.named_patients", lambda s, m, k: named(-s, m, k), "at the wrong end"),
    ("13.named_patients", tied_named, "scores tie"),
    ("13.named_patients", one_less, "one non-member too few"),
    ("13.named_patients", middle, "as accuracy has it"),
    ("13.named_patients", first_few, "is the number of *mistakes*"),
    ("13.named_patients", lambda s, m, k: int(m.sum()), "who is accused wrongly"),
    ("13.named_patients", lambda s, m, k: named(s, m, k) / m.sum(), "a number of people"),
    ("13.record_numbers", by_pattern(PATTERN, checked=False), "wrong check digit"),
    ("13.record_numbers", by_pattern(r"(?<!\d)\d{8}(?!\d)"), "a hyphen may stand"),
    ("13.record_numbers", by_pattern(r"\d{4}[ -]?\d{4}"), "part of a longer number"),
    ("13.record_numbers", by_pattern(rf"\s?{PATTERN}"), "the span holds more than the number"),
    ("13.record_numbers", lambda t: numbers(t)[:1], "every place counts"),
    ("13.record_numbers", lambda t: [t[a:b] for a, b in numbers(t)], "*where* they stand"),
    ("13.record_numbers", lambda t: numbers(t)[::-1], "in the order of the text"),
    ("13.record_numbers", lambda t: None, "return a list"),
    ("13.decide", lambda s, r: verdict(s, []), "that is no finding, and no pass either"),
    (
        "13.decide",
        lambda s, r: verdict(["critical" if x == "high" else x for x in s], r),
        "are conditions to meet",
    ),
    (
        "13.decide",
        lambda s, r: verdict(["medium" if x == "low" else x for x in s], r),
        "worth knowing is no condition",
    ),
    ("13.decide", lambda s, r: verdict(s, [False for _ in r]), "an essential check"),
    ("13.decide", lambda s, r: verdict(s, [True for _ in r]), "becomes a condition"),
    (
        "13.decide",
        lambda s, r: verdict(["high" if x == "critical" else x for x in s], r),
        "no condition mends that",
    ),
    (
        "13.decide",
        lambda s, r: verdict(["low" if x == "medium" else x for x in s], r),
        "somebody has to meet",
    ),
    ("13.decide", lambda s, r: "yes", "return one of"),
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
