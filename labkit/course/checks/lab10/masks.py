"""Checks of lab 10, first part: values on a grid modulo 2^32, and masks that cancel there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise

WORDS = 2**32


def words_of(got: Any, shape: tuple[int, ...], given: Any) -> np.ndarray:
    """Return an attempt's answer if it is an array of uint32 of this shape."""
    if not isinstance(got, np.ndarray):
        raise Wrong(given=given, got=got, expected="an array of uint32", because="return the array of words")
    if got.shape != shape:
        raise Wrong(
            given=given,
            got=f"shape {got.shape}",
            expected=f"shape {shape}",
            because="one word for each value: the shape of the input",
        )
    if got.dtype != np.uint32:
        raise Wrong(
            given=given,
            got=got.dtype,
            expected="uint32",
            because="only unsigned words of 32 bits wrap around by themselves\nend with astype(np.uint32)",
        )
    return got


def refuses(call: Callable[[], Any], given: Any, because: str) -> None:
    """Raise `Wrong` unless the call raises ValueError."""
    try:
        got = call()
    except ValueError:
        return
    except NotImplementedError:
        raise
    except Exception as error:
        raise Wrong(
            given=given,
            got=f"{type(error).__name__}: {error}",
            expected="ValueError",
            because="refuse with a ValueError, which stops the round\nraise ValueError(...)",
        ) from error
    raise Wrong(given=given, got=got, expected="ValueError", because=because)


def reference_encode(values: np.ndarray, scale: float, bound: float, parties: int) -> np.ndarray:
    """Return ``values`` (d,) on the grid, as words modulo 2^32; refuses what does not fit."""
    if parties * round(scale * bound) >= WORDS // 2:
        raise ValueError("a sum could wrap")
    if not (np.abs(values) <= bound).all():
        raise ValueError("a value is beyond the bound, or no number")
    return np.rint(values * scale).astype(np.int64).astype(np.uint32)


@exercise(
    "10.encode",
    title="real values on a grid that refuses overflow",
    reference=reference_encode,
    points=3,
    difficulty=2,
    importance=4,
    minutes=15,
)
def check_encode(attempt: Callable) -> None:
    """Against Python's integers, which never overflow; then each thing that must be refused."""
    few = np.array([0.0, 1.0, -1.0, 0.2996, -0.2996, 1.9999, -2.0])
    fine = np.random.default_rng(0).uniform(-1, 1, 8)
    for values, scale, bound in ((few, 1000.0, 2.0), (few, 65_536.0, 2.0), (fine, 2.0**28, 1.0)):
        given = {"values": values, "scale": scale, "bound": bound, "parties": 3}
        exact = [round(float(value) * scale) for value in values]
        expected = np.array([number % WORDS for number in exact], dtype=np.uint32)
        got = words_of(attempt(values.copy(), scale, bound, 3), values.shape, given)
        because = "these are not the values in grid steps on the ring: scale, round, and wrap negative numbers around\nround(value * scale), negative numbers as 2^32 minus their size"
        if np.array_equal(got, [int(float(value) * scale) % WORDS for value in values]):
            because = "astype cuts off toward zero, so every sum is pulled to zero: np.rint first"
        elif np.array_equal(got, [(number + round(bound * scale)) % WORDS for number in exact]):
            because = "the values were shifted by the bound: wrap-around needs no shift, and numbers below zero come from the upper end\n-1 is the word 2^32 - 1"
        elif np.array_equal(got, [max(number, 0) for number in exact]):
            because = "negative numbers became 0: cast to np.int64 first, and only then to np.uint32"
        elif np.array_equal(got, _in_single_precision(values, scale)):
            because = (
                "float32 keeps 24 bits, and this grid has 29: stay in float64 until the values are rounded"
            )
        if not np.array_equal(got, expected):
            raise Wrong(given=given, got=got, expected=expected, because=because)
    _check_refusals(attempt)


def _in_single_precision(values: np.ndarray, scale: float) -> np.ndarray:
    """Return the words that come out if the product is made in float32."""
    return np.rint(values.astype(np.float32) * np.float32(scale)).astype(np.int64).astype(np.uint32)


def _check_refusals(attempt: Callable) -> None:
    """Raise `Wrong` unless what does not fit is refused, and what just fits is not."""
    for bad, cause in (
        (2.1, "a value beyond the bound must stop the round; clipping it would change the sum in silence"),
        (-2.1, "values below -bound do not fit either: look at the absolute value"),
        (np.inf, "infinity fits no grid"),
        (
            np.nan,
            "NaN slips through: every comparison with it is False, so ask for what must hold of all, not for what must not\nask for `abs(x) <= bound` of all",
        ),
    ):
        values = np.array([0.5, bad])
        refuses(
            lambda values=values: attempt(values, 1000.0, 2.0, 5), {"values": values, "bound": 2.0}, cause
        )
    values = np.array([0.5, 1 + 2.0**-26])
    refuses(
        lambda: attempt(values, 2.0**28, 1.0, 3),
        {"values": values, "scale": 2.0**28, "bound": 1.0},
        "beyond the bound by four steps of this grid, which float32 or a tolerance does not see: compare in float64, with none",
    )
    small = np.array([0.5])
    for parties, bound in ((2, 2.0**30), (2**20, 2.0**11), (1, 2.0**31)):
        refuses(
            lambda parties=parties, bound=bound: attempt(small, 1.0, bound, parties),
            {"values": small, "scale": 1.0, "bound": bound, "parties": parties},
            "each value fits, but the sum of so many at the bound would be read as a negative number\nit reaches 2^31",
        )
    fits = {"values": small, "scale": 1.0, "bound": 2.0**30 - 1, "parties": 2}
    try:
        attempt(small, 1.0, 2.0**30 - 1, 2)
    except ValueError as error:
        because = (
            "this fits, if narrowly, and refusing it wastes half of the grid\n2 * (2^30 - 1) is below 2^31"
        )
        raise Wrong(given=fits, got=f"ValueError: {error}", expected="words", because=because) from error


def reference_mask_pairwise(words: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return ``words`` (n, d) with each hospital's pair masks (n, n, d) on: added for higher peers, subtracted for lower."""
    masked = words.copy()
    for i in range(len(words)):
        for j in range(i + 1, len(words)):
            masked[i] += masks[i, j]
            masked[j] -= masks[i, j]
    return masked


@exercise(
    "10.mask_pairwise",
    title="masks that cancel in the sum",
    reference=reference_mask_pairwise,
    points=2,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_mask_pairwise(attempt: Callable) -> None:
    """Against sums of Python's integers modulo 2^32; the sum over hospitals must be that of the bare words."""
    rng = np.random.default_rng(0)
    for n, d in ((2, 3), (5, 4)):
        words = rng.integers(0, WORDS, (n, d), dtype=np.uint32)
        masks = rng.integers(0, WORDS, (n, n, d), dtype=np.uint32)
        lower = np.tril_indices(n, -1)
        masks[lower] = masks.transpose(1, 0, 2)[lower]  # i and j share one mask; the diagonal is nobody's
        given = f"words of {n} hospitals, {d} values each, and masks of shape {masks.shape}"
        expected = np.array(
            [
                [_masked(words, masks, i, k, lambda i, j: 1 if j > i else -1) for k in range(d)]
                for i in range(n)
            ]
        )
        got = words_of(attempt(words.copy(), masks.copy()), words.shape, given)
        if np.array_equal(got, expected):
            continue
        raise Wrong(given=given, got=got, expected=expected, because=_why(got, words, masks))


def _masked(words: np.ndarray, masks: np.ndarray, i: int, k: int, sign: Callable[[int, int], int]) -> int:
    """Return word k of hospital i under its masks, by Python's integers."""
    peers = (j for j in range(len(words)) if j != i)
    return (int(words[i, k]) + sum(sign(i, j) * int(masks[i, j, k]) for j in peers)) % WORDS


def _why(got: np.ndarray, words: np.ndarray, masks: np.ndarray) -> str:
    """Return the likely cause of wrongly masked words."""
    n, d = words.shape

    def is_with(sign: Callable[[int, int], int]) -> bool:
        return all(int(got[i, k]) == _masked(words, masks, i, k, sign) for i in range(n) for k in range(d))

    if is_with(lambda i, j: 1):
        return (
            "both ends of a pair add its mask, so it stands twice in the sum: one adds, the other subtracts"
        )
    if is_with(lambda i, j: 1 if j < i else -1):
        return "the signs are turned: hospital i adds the mask shared with a *higher* number"
    if np.array_equal(got, words):
        return "nothing was masked"
    total, bare = (rows.sum(axis=0, dtype=np.uint32) for rows in (got, words))
    if not np.array_equal(total, bare):
        return "the masks do not cancel: the sum over hospitals differs from the sum of the bare words"
    return "the sum is right, but not every hospital wears the masks of all of its pairs"
