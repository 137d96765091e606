"""Checks of lab 10, third part: a secret from its shares, and which secret may be opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from labkit.course.checks.lab10.masks import refuses
from labkit.course.exercises.exercise import Wrong, exercise


def reference_recover(shares: dict[int, int], prime: int) -> int:
    """Return the value at 0 of the polynomial through ``shares`` (number of the holder: value), modulo ``prime``."""
    total = 0
    for i, value in shares.items():
        top = bottom = 1
        for j in shares:
            if j != i:
                top, bottom = top * j % prime, bottom * (j - i) % prime
        total += value * top * pow(bottom, -1, prime)
    return total % prime


@exercise(
    "10.recover",
    title="a secret from any three of five shares",
    reference=reference_recover,
    points=3,
    difficulty=4,
    importance=4,
    minutes=18,
)
def check_recover(attempt: Callable) -> None:
    """Every group of holders, small primes and a large one, against the polynomial that the shares were made of."""
    rng = np.random.default_rng(0)
    for prime, threshold in ((101, 2), (101, 3), (2**127 - 1, 3)):
        coefficients = [int(c) for c in rng.integers(1, min(prime, 2**62), threshold)]
        if prime > 2**62:
            coefficients = [c * 2**60 + 7 for c in coefficients]
        shares = {
            x: sum(c * x**power for power, c in enumerate(coefficients)) % prime for x in (1, 2, 3, 5, 8)
        }
        for group in combinations(shares, threshold):
            held = {x: shares[x] for x in group}
            _expect_secret(attempt(dict(held), prime), coefficients[0] % prime, held, prime)


def _expect_secret(got: Any, secret: int, held: dict[int, int], prime: int) -> None:
    """Raise `Wrong` unless the secret came, with the cause whose value came instead."""
    given = {"shares": held, "prime": prime}
    if isinstance(got, int | np.integer) and not isinstance(got, bool) and got == secret:
        return
    if isinstance(got, float):
        because = "a float came back: modulo a prime nothing is divided with /, one multiplies by an inverse\npow(x, -1, prime) is the inverse"
    elif not isinstance(got, int | np.integer):
        because = "return one whole number"
    elif got % prime == secret:
        because = "right but for the last step: return it modulo the prime"
    elif got % prime == _weighted(held, prime, lambda i, j: (j, i - j)):
        because = "a sign is turned: which of the two holders' numbers is subtracted from which?\nthe weight of holder i is the product of j / (j - i), not j / (i - j)"
    elif got % prime == _weighted(held, prime, lambda i, j: (1, j - i)):
        because = "the numerators are missing: the polynomial is wanted at 0, and they say how far away 0 is\nat 0 the weight of i is the product of j / (j - i)"
    elif got == reference_recover(dict(enumerate(held.values(), 1)), prime):
        because = "holders were counted 1, 2, 3 in order; their numbers are the keys of the dictionary"
    elif got % prime == sum(held.values()) % prime:
        because = "that is the sum of the shares: each needs its weight"
    else:
        because = "the polynomial's value at 0 is a weighted sum of the shares, modulo the prime: a share's weight depends on the numbers of all holders"
    raise Wrong(given=given, got=got, expected=secret, because=because)


def _weighted(held: dict[int, int], prime: int, factor: Callable[[int, int], tuple[int, int]]) -> int:
    """Return the weighted sum of shares with other weights: numerator and denominator for each pair."""
    total = 0
    for i, value in held.items():
        for j in held:
            if j != i:
                top, bottom = factor(i, j)
                value = value * top * pow(bottom, -1, prime) % prime
        total += value
    return total % prime


def reference_reveal(survivors: Sequence[str], dropped: Sequence[str], threshold: int) -> dict[str, str]:
    """Return of which peer to reveal which share, "seed" or "key"; refuses what would open both or too few."""
    if set(survivors) & set(dropped):
        raise ValueError("a peer is listed as both alive and dropped")
    if len(set(survivors)) < threshold:
        raise ValueError("too few are left")
    return dict.fromkeys(survivors, "seed") | dict.fromkeys(dropped, "key")


@exercise(
    "10.reveal",
    title="one secret of each peer, never both",
    reference=reference_reveal,
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_reveal(attempt: Callable) -> None:
    """Every way to split five hospitals into survivors and dropped, then the requests that must be refused."""
    names = ["Ash", "Birch", "Cedar", "Doum", "Elm"]
    for size in (5, 4, 3):
        for alive in combinations(names, size):
            gone = [name for name in names if name not in alive]
            given = {"survivors": list(alive), "dropped": gone, "threshold": 3}
            try:
                got = attempt(list(alive), gone, 3)
            except ValueError as error:
                because = f"{size} of five are left and the threshold is 3: this is an honest request"
                raise Wrong(
                    given=given, got=f"ValueError: {error}", expected="an answer", because=because
                ) from error
            _expect_answer(got, given, {name: "seed" if name in alive else "key" for name in names})
    for alive, gone, because in (
        (
            names,
            ["Ash"],
            "Ash is listed twice: with both secrets the server takes all masks off Ash's vector",
        ),
        (names[:4], ["Elm", "Birch"], "Birch is listed twice: refuse, whatever else is in the lists"),
        (names[:2], names[2:], "two are left and the threshold is 3: a sum of few tells too much"),
        ([], names, "nobody is left: below the threshold nothing may be opened"),
        (["Ash", "Ash", "Birch"], names[2:], "Ash, twice, counts once: two hospitals are left"),
    ):
        given = {"survivors": alive, "dropped": gone, "threshold": 3}
        refuses(lambda alive=alive, gone=gone: attempt(list(alive), list(gone), 3), given, because)
    given = {"survivors": names[:3], "dropped": names[3:], "threshold": 4}
    refuses(lambda: attempt(names[:3], names[3:], 4), given, "the threshold is an argument: here it is 4")


def _expect_answer(got: Any, given: dict[str, Any], expected: dict[str, str]) -> None:
    """Raise `Wrong` unless each peer has the right secret and only that."""
    if not isinstance(got, dict):
        raise Wrong(given=given, got=got, expected=expected, because='return a dict: name to "seed" or "key"')
    if got == expected:
        return
    because = '"seed" for each survivor, "key" for each dropped peer'
    if got == {name: "key" if what == "seed" else "seed" for name, what in expected.items()}:
        because = "turned around: the key of a *survivor* opens all of its pair masks, now and for ever in this round"
    elif got == {name: what for name, what in expected.items() if what == "seed"}:
        because = "without the keys of the dropped their pair masks stay in the sum: it is noise"
    elif got == {name: what for name, what in expected.items() if what == "key"}:
        because = "without the seeds of the survivors their self-masks stay in the sum: it is noise"
    elif any(not isinstance(what, str) or what not in ("seed", "key") for what in got.values()):
        because = 'each peer gets one word, "seed" or "key": both together open its vector'
    raise Wrong(given=given, got=got, expected=expected, because=because)
