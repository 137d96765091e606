"""Checks of lab 09, third part: how many queries to plan for, what convicts, and a record that nobody can touch."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise


def reference_queries_for(rate: float, null_rate: float, alpha: float, power: float, most: int) -> int | None:
    """Return the fewest queries at which a mark of this rate is proven with this probability; None beyond ``most``."""
    from labkit.watermark.verification import binomial

    return next((n for n in range(1, most + 1) if binomial.power(rate, n, null_rate, alpha) >= power), None)


def _tails(n: int, rate: float) -> np.ndarray:
    """Return P[Binomial(n, rate) >= h] for h = 0 to n, summed term by term, smallest first."""
    law = [math.comb(n, h) * rate**h * (1 - rate) ** (n - h) for h in range(n + 1)]
    return np.cumsum(law[::-1])[::-1]


def _fewest(
    rate: float, null_rate: float, alpha: float, power: float, most: int, *, miss: int = 0
) -> int | None:
    """Return the same by brute force; ``miss`` asks for so many hits more than are needed."""
    for n in range(1, most + 1):
        enough = np.flatnonzero(_tails(n, null_rate) < alpha)
        first = enough[0] + miss if len(enough) else n + 1
        if first <= n and _tails(n, rate)[first] >= power:
            return n
    return None


@exercise(
    "09.queries_for",
    title="how many queries does the plan need?",
    reference=reference_queries_for,
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
)
def check_queries_for(attempt: Callable) -> None:
    """Against sums over the binomial law, every n from 1; the last mark is no stronger than the null models'."""
    for rate, null_rate, alpha, power in (
        (0.4, 0.1, 1e-3, 0.9),
        (0.9, 0.2, 5e-5, 0.95),
        (0.3, 0.12, 0.01, 0.8),
        (0.1, 0.1, 1e-3, 0.9),
    ):
        given = {"rate": rate, "null_rate": null_rate, "alpha": alpha, "power": power, "most": 150}
        expected = _fewest(rate, null_rate, alpha, power, 150)
        got = attempt(rate, null_rate, alpha, power, 150)
        if got == expected:
            continue
        causes = {
            _fewest(rate, null_rate, alpha, 0.5, 150): (
                "so many queries prove it in half of all trials; the plan asks for more: use `power`"
            ),
            _fewest(rate, null_rate, alpha, power, 150, miss=1): (
                "one hit too many is asked for: the library's tail is the chance of *more than*, and at least is wanted\nsf(h, n, p) is P[more than h], so P[at least h] is sf(h - 1, n, p)"
            ),
            _fewest(
                rate, 0.1, alpha, power, 150
            ): "1/10 is not the null rate: innocents decide, so use `null_rate`",
            _mean_is_enough(rate, null_rate, alpha): (
                "that takes the expected hits for granted; in half of all trials there are fewer: use the law at `rate`"
            ),
        }
        otherwise = "two laws are asked: how many hits prove it under innocence, and how likely are so many under the mark?\nfor each n: the fewest hits h with P[Bin(n, null_rate) >= h] < alpha, then P[Bin(n, rate) >= h]"
        if expected is None:
            otherwise = (
                "a mark as frequent as in innocent models is never proven: return None after `most` queries"
            )
        raise Wrong(given=given, got=got, expected=expected, because=causes.get(got, otherwise))


def _mean_is_enough(rate: float, null_rate: float, alpha: float) -> int | None:
    """Return the first n at which the expected number of hits, rounded down, would do."""
    return next((n for n in range(1, 151) if _tails(n, null_rate)[int(rate * n)] < alpha), None)


def reference_convict(
    p: np.ndarray, directional: np.ndarray, heard: np.ndarray, alpha: float, needed: int
) -> np.ndarray:
    """Return which suspects count as derived: enough lines, one of them with a direction, and a claim that is heard."""
    speaks = p <= alpha / (len(p) * directional.sum())  # NaN is at most nothing
    directed = speaks[:, directional].sum(axis=1)
    alike = speaks[:, ~directional].any(axis=1)
    return heard & (directed > 0) & (directed + alike >= needed)


NAN = float("nan")
ALPHA = 0.01
DIRECTIONAL = np.array([True, False, False, True])  # mark, shared mistakes, agreement, dataset inference
SHARE = ALPHA / 20  # ten suspects, two lines with a direction
P = np.array(
    [
        [0.4, 1e-9, 0.3, 2e-4],  # the mark died; likeness and records speak
        [2e-4, 0.02, 0.5, 0.2],  # one line speaks
        [0.3, 1e-9, 1e-9, 0.6],  # likeness alone speaks, twice
        [2e-3, 3e-3, 0.6, 4e-3],  # below alpha, above its share
        [2e-4, 1e-9, 1e-9, 2e-4],  # all speak, but the claim is dismissed
        [NAN, 1e-6, 0.7, 2e-4],  # the mark was not asked; likeness and records speak
        [2e-4, 1e-9, 1e-9, 0.9],  # mark and likeness speak: two lines, not three
        [9e-4, 1e-9, 0.1, 0.8],  # below alpha / suspects, above the share
        [4e-4, 1e-9, 0.4, 0.9],  # above alpha / all cells, below alpha / cells with a direction
        [SHARE, 1e-9, 0.6, 0.5],  # exactly the share
    ]
)
HEARD = np.array([True] * 4 + [False] + [True] * 5)
EXPECTED = {2: [1, 0, 0, 0, 0, 1, 1, 0, 1, 1], 1: [1, 1, 0, 0, 0, 1, 1, 0, 1, 1], 3: [0] * 10}


@exercise(
    "09.convict",
    title="what convicts",
    reference=reference_convict,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_convict(attempt: Callable) -> None:
    """Ten suspects and four lines, each suspect a trap; then plans that need one line, and three."""
    traps = [
        "two lines speak, one of them with a direction: a dead mark does not acquit",
        "one line convicts here; `needed` asks for more, so that one line's broken assumptions convict nobody",
        "likeness alone convicts here: a thief who committed early could have the owner convicted; at least one line with "
        "a direction must speak",
        "alpha was not shared out: so many questions raise a false alarm far too often",
        "the claim was dismissed (`heard`): then no p-value counts",
        "a line that could not be asked is nan: it does not speak, and does not stop the others",
        "shared mistakes and agreement were counted as two: they rest on the same likeness, so together they are one line",
        f"alpha is shared out over suspects *and* lines with a direction: {SHARE:.2g} is left for each",
        f"alpha is shared among lines with a direction alone, {SHARE:.2g} for each: the others cannot convict",
        "a line speaks if p is *at most* its share: redrawn keys reach exactly their least p-value, and no less\n1 / (keys + 1)",
    ]
    for needed, expected in EXPECTED.items():
        given = {"p": P, "directional": DIRECTIONAL, "heard": HEARD, "alpha": ALPHA, "needed": needed}
        got = np.asarray(attempt(P.copy(), DIRECTIONAL.copy(), HEARD.copy(), ALPHA, needed))
        if got.shape != (len(P),):
            because = "return one True or False for each suspect (row)"
            raise Wrong(given=given, got=got, expected=f"shape ({len(P)},)", because=because)
        for row, because in enumerate(traps):
            if bool(got[row]) != bool(expected[row]):
                because = (
                    because
                    if needed == 2 or row in (2, 5, 6)
                    else f"`needed` lines must speak, here {needed}"
                )
                raise Wrong(
                    given=given, got=got.astype(bool), expected=np.array(expected, bool), because=because
                )


def reference_chain(entries: list[str]) -> list[str]:
    """Return one SHA-256 digest an entry, each over the digest before it and the entry."""
    digests, previous = [], "0" * 64
    for entry in entries:
        previous = hashlib.sha256((previous + entry).encode()).hexdigest()
        digests.append(previous)
    return digests


ENTRIES = ["commit", "plan: alpha 0.001", "ask", "find: 97 of 100", "sign"]


@exercise(
    "09.chain",
    title="a chain that shows where it was touched",
    reference=reference_chain,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_chain(attempt: Callable) -> None:
    """By what a chain is for: a changed, dropped, moved or glued entry shows in all digests from there on."""
    before = _digests(attempt, ENTRIES)
    if _digests(attempt, ENTRIES) != before:
        because = "two calls gave two chains: nobody can check it then; no chance and no clock in a digest"
        raise Wrong(given=ENTRIES, got="digests that change", expected="the same digests", because=because)
    for place in range(len(ENTRIES)):
        changed = [*ENTRIES]
        changed[place] += "!"
        after = _digests(attempt, changed)
        moved = [a != b for a, b in zip(before, after, strict=True)]
        if moved != [k >= place for k in range(len(ENTRIES))]:
            because = "a change must show in its own digest and in all later ones, and in none before"
            if not moved[place]:
                because = "the entry itself is not in its digest"
            elif not any(moved[place + 1 :]) and place + 1 < len(ENTRIES):
                because = "each entry is hashed alone: the digest before it belongs in, too"
            elif any(moved[:place]):
                because = "an earlier digest changed: an entry can only know those before it"
            raise Wrong(
                given=f"entry {place + 1} of {len(ENTRIES)} changed",
                got=f"changed digests: {[k + 1 for k, m in enumerate(moved) if m]}",
                expected=f"changed digests: {list(range(place + 1, len(ENTRIES) + 1))}",
                because=because,
            )
    _notices(attempt, ["a", "b", "c"], ["b", "a", "c"], "two entries swapped", "the order does not count")
    _notices(
        attempt,
        ["ab", "c"],
        ["a", "bc"],
        "one letter moved from the first entry to the second",
        "all entries are hashed as one text, so they run together: hash the digest before, and the entry",
    )
    _notices(attempt, ["a", "a"], ["a"], "an entry said twice, and once", "a repeated entry changes nothing")


def _digests(attempt: Callable, entries: list[str]) -> list[str]:
    got = attempt([*entries])
    if not isinstance(got, list | tuple) or len(got) != len(entries):
        because = "return a list with one digest for each entry"
        raise Wrong(given=entries, got=got, expected=f"{len(entries)} digests", because=because)
    if not all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in got):
        because = "each digest is text: 64 hexadecimal digits\nhashlib.sha256(...).hexdigest()"
        raise Wrong(given=entries, got=got, expected="64 hexadecimal digits each", because=because)
    return list(got)


def _notices(attempt: Callable, one: list[str], other: list[str], words: str, because: str) -> None:
    if _digests(attempt, one)[-1] == _digests(attempt, other)[-1]:
        raise Wrong(
            given=f"{one} and {other}: {words}",
            got="the same last digest",
            expected="two different ones",
            because=because,
        )
