"""Checks of lab 07: mark, steal, verify, and measure what the mark did."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit.course.exercises import Wrong, exercise, expect_close
from labkit.watermark.keys import Key


def _numbers(got: object, count: int, given: str, names: str) -> np.ndarray:
    """Return ``count`` finite numbers out of an attempt's answer."""
    try:
        values = np.asarray([float(value) for value in got], dtype=float)  # type: ignore[union-attr]
    except TypeError:
        values = np.empty(0)
    if len(values) != count:
        raise Wrong(given=given, got=got, expected=names, because=f"return {count} numbers: {names}")
    return values


def _cause(got: np.ndarray, causes: dict[str, Any], otherwise: str) -> str:
    """Return the cause whose values came instead."""
    for text, wrong in causes.items():
        if np.allclose(got, wrong, rtol=1e-4, atol=1e-9, equal_nan=True):
            return text
    return otherwise


def reference_stamp(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    """Return images (n, C, H, W) with a keyed patch, one pixel off the lower right corner."""
    from labkit.watermark.patterns import Patch

    return Patch(size=size, key=key).stamp(x)


@exercise(
    "07.stamp",
    title="stamp a keyed patch",
    reference=reference_stamp,
    points=2,
    difficulty=2,
    importance=4,
    minutes=10,
)
def check_stamp(attempt: Callable) -> None:
    """Against a loop over pixels; on images that are not square, for two keys."""
    x = torch.rand(3, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    for phrase, size in (("one", 4), ("two", 3)):
        key = Key.from_phrase(phrase)
        given = f"images of shape (3, 3, 10, 12), Key.from_phrase({phrase!r}), size={size}"
        expected, got = _stamped(x, key, size, 1), attempt(x, key, size)
        if not isinstance(got, torch.Tensor) or got.shape != x.shape:
            raise Wrong(
                given=given,
                got=f"shape {tuple(getattr(got, 'shape', ()))}",
                expected=f"shape {tuple(x.shape)}",
                because="return images of the same shape, as a tensor: is there a return?",
            )
        if torch.allclose(got, expected):
            continue
        raise Wrong(given=given, got=got[0, 0], expected=expected[0, 0], because=_why(got, x, key, size))


def _stamped(x: torch.Tensor, key: Key, size: int, margin: int, *, turned: bool = False) -> torch.Tensor:
    """Return images with the patch, pixel by pixel."""
    bits = key.uniform("patch", (x.shape[1], size, size)) < 0.5
    out = x.clone()
    for channel in range(x.shape[1]):
        for i in range(size):
            for j in range(size):
                bit = bits[channel, j, i] if turned else bits[channel, i, j]
                out[:, channel, x.shape[2] - size - margin + i, x.shape[3] - size - margin + j] = float(bit)
    return out


def _why(got: torch.Tensor, x: torch.Tensor, key: Key, size: int) -> str:
    """Return the likely cause of a wrong stamp."""
    changed = (got != x).any(0)
    if not changed.any():
        return "nothing was stamped"
    if torch.allclose(got, _stamped(x, key, size, 0)):
        return "the patch touches the border: leave one pixel, or random shifts in training cut it off"
    if torch.allclose(got, _stamped(x, key, size, 1, turned=True)):
        return "rows and columns of the pattern are swapped"
    if changed[..., : x.shape[2] // 2, : x.shape[3] // 2].any():
        return "pixels far from the lower right corner changed: rows are axis 2, columns axis 3"
    window = (..., slice(-size - 1, -1), slice(-size - 1, -1))
    rest = got.clone()
    rest[window] = x[window]
    if torch.equal(rest, x):
        return (
            "the place is right, the pattern is not the key's: a pixel and colour is 1 where "
            "key.uniform('patch', (C, size, size)) < 0.5, and 0 elsewhere; a judge has to draw the same"
        )
    return "the patch covers rows and columns H - size - 1 up to H - 1 (not included), the same in W"


class _Victim:
    """Logits from a fixed matrix; counts what it is asked."""

    def __init__(self) -> None:
        self.weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
        self.seen = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return x @ self.weights


def reference_metered(model: Callable, budget: int) -> Callable:
    """Return a function that answers ``budget`` records with probabilities, whole batches only."""
    left = budget

    def ask(x: torch.Tensor) -> torch.Tensor:
        nonlocal left
        if len(x) > left:
            raise RuntimeError(f"{len(x)} records asked, {left} left")
        left -= len(x)
        return model(x).softmax(1)

    return ask


@exercise(
    "07.metered",
    title="sell answers, and count them",
    reference=reference_metered,
    points=2,
    difficulty=2,
    importance=4,
    minutes=12,
)
def check_metered(attempt: Callable) -> None:
    """Batches of several sizes; the limit is met exactly, passed, and met again after a refusal."""
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    victim = _Victim()
    ask = attempt(victim, 10)
    if not callable(ask):
        raise Wrong(
            given="a model and budget=10",
            got=ask,
            expected="a function",
            because="return the function ask(x)",
        )
    _answers(ask, x[:4], victim, "the first 4 of 10 records")
    seen = victim.seen
    _refuses(ask, x[:7], "7 more records when 6 are left", "it counts calls, or not at all: count len(x)")
    if victim.seen > seen:
        raise Wrong(
            given="7 more records when 6 are left",
            got="the model was asked before the refusal",
            expected="a refusal first",
            because="check the budget before the model answers",
        )
    try:
        _answers(ask, x[4:], victim, "6 records when 6 are left, after a refusal")
    except RuntimeError as error:
        raise Wrong(
            given="6 records when 6 are left, after a batch of 7 was refused",
            got=f"RuntimeError: {error}",
            expected="6 answers",
            because="a refused batch costs nothing, and a budget may be used up to the last record",
        ) from None
    _refuses(
        ask, x[:1], "1 record when none is left", "the budget is spent: an answer more is free for the thief"
    )
    other = attempt(_Victim(), 1)
    other(x[:1])


def _answers(ask: Callable, x: torch.Tensor, victim: _Victim, given: str) -> None:
    got, logits = ask(x), x @ victim.weights
    expected = torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True)
    because = "soft labels: the softmax of the logits over classes"
    if np.ndim(got) == 1:
        because = "those are hard labels; this interface shows all probabilities, (n, classes)"
        raise Wrong(given=given, got=got, expected=expected, because=because)
    if isinstance(got, torch.Tensor) and got.shape == expected.shape:
        if torch.allclose(got, logits):
            because = "those are logits; the interface shows probabilities: softmax over classes"
        elif torch.allclose(got, logits.softmax(0)):
            because = (
                "the softmax ran over the records (axis 0); each record's row has to sum to one (axis 1)"
            )
    expect_close(got, expected, given=given, because=because, rtol=1e-5, atol=1e-6)


def _refuses(ask: Callable, x: torch.Tensor, given: str, because: str) -> None:
    try:
        got = ask(x)
    except RuntimeError:
        return
    if isinstance(got, torch.Tensor) and 0 < len(got) < len(x):
        because = "part of a batch was answered: all or nothing"
    raise Wrong(
        given=given, got=f"an answer of {type(got).__name__}", expected="RuntimeError", because=because
    )


def reference_agreement(victim: np.ndarray, thief: np.ndarray) -> tuple[float, float, float]:
    """Return the share of records with the same label, and its 95% Clopper-Pearson interval."""
    from labkit import stats

    hits = int((victim.argmax(1) == thief.argmax(1)).sum())
    found = stats.clopper_pearson(hits, len(victim))
    return found.estimate, found.low, found.high


@exercise(
    "07.agreement",
    title="how like the victim is the thief?",
    reference=reference_agreement,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_agreement(attempt: Callable) -> None:
    """Interval ends by bisection on the binomial law; the last case agrees on everything."""
    rng = np.random.default_rng(0)
    for noise, n in ((1.0, 60), (0.5, 200), (0.0, 40)):
        victim = rng.normal(size=(n, 5))
        thief = 2 * victim + noise * rng.normal(size=(n, 5))
        given = f"logits of victim and thief on {n} records, 5 classes, noise {noise:g}"
        hits = sum(int(a.argmax() == b.argmax()) for a, b in zip(victim, thief, strict=True))
        low = _lower_end(hits, n)
        expected = np.array([hits / n, low, 1 - _lower_end(n - hits, n)])
        got = _numbers(attempt(victim.copy(), thief.copy()), 3, given, "share, low, high")
        if np.allclose(got, expected, rtol=1e-4, atol=1e-6):
            continue
        half = 1.959964 * math.sqrt(hits / n * (1 - hits / n) / n)
        causes = {
            "that is the normal approximation: with all hits its interval has no width, which cannot be": [
                hits / n,
                hits / n - half,
                hits / n + half,
            ],
            "those are numbers of records, not shares": [hits, *(n * expected[1:])],
            "that is in percent; return shares between 0 and 1": 100 * expected,
            "the order is share, low, high": expected[[1, 0, 2]],
        }
        because = _cause(
            got, causes, "the same label: argmax of both; stats.clopper_pearson(hits, n) has the ends"
        )
        if np.isclose(got[0], (np.abs(victim - thief) < 1e-9).mean()):
            because = "compare labels (argmax), not logits: no two models give equal numbers"
        raise Wrong(given=given, got=got, expected=expected, because=because)


def _lower_end(hits: int, trials: int) -> float:
    """Return the rate at which ``hits`` or more of ``trials`` come with probability 2.5%, by bisection."""
    from scipy.stats import binom

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binom.sf(hits - 1, trials, middle) < 0.025 else (low, middle)
    return low


def reference_mark_p_value(hits: int, n: int, null_hits: np.ndarray) -> float:
    """Return the binomial tail of ``hits`` of ``n`` at the highest rate among null models."""
    from labkit.watermark.binomial import tail

    return tail(hits, n, max(null_hits) / n)


@exercise(
    "07.mark_p_value",
    title="could an innocent model do that?",
    reference=reference_mark_p_value,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_mark_p_value(attempt: Callable) -> None:
    """Against the binomial sum, term by term."""
    for hits, n, null in ((28, 100, [4, 10, 7]), (9, 20, [3, 0, 8, 5]), (18, 50, [5, 1, 2])):
        given = f"{hits} of {n} triggers hit; null models hit {null}"
        law = _law(n, max(null) / n)
        expected = sum(law[hits:])
        (got,) = _numbers([attempt(hits, n, np.array(null))], 1, given, "a p-value")
        if math.isclose(got, expected, rel_tol=1e-4):
            continue
        because = "P[Binomial(n, highest null rate) >= hits]"
        causes = {
            sum(_law(n, 0.1)[hits:]): (
                "that tests against 1/10, one over the number of classes; how often an innocent model hits is an "
                "observation, and null models are the only witnesses"
            ),
            sum(_law(n, float(np.mean(null)) / n)[hits:]): (
                "that is the average null model: half of all innocents hit more often than it; take the highest rate"
            ),
            sum(
                law[hits + 1 :]
            ): "that is P[more than]: what was seen counts too; sf(hits - 1), not sf(hits)",
            law[
                hits
            ]: "that is the probability of exactly so many; a p-value adds all that is at least as extreme",
            (1 + sum(h >= hits for h in null)) / (1 + len(null)): (
                "that is the rank p-value: valid, but with so few null models it can never be small"
            ),
        }
        # The case with null hits of 10 in 100 cannot tell 1/10 from the highest rate: the others do.
        because = next(
            (text for wrong, text in causes.items() if math.isclose(got, wrong, rel_tol=1e-4)), because
        )
        raise Wrong(given=given, got=f"{got:.3g}", expected=f"{expected:.3g}", because=because)


def _law(n: int, rate: float) -> list[float]:
    return [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]


def reference_paired(marked: np.ndarray, unmarked: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean difference, its 95% interval over pairs, and the difference that 80% of such studies would see."""
    from labkit import stats
    from labkit.watermark.leakage import visible_difference

    gaps = marked - unmarked
    found = stats.mean_interval(gaps)
    return found.estimate, found.low, found.high, visible_difference(float(gaps.std(ddof=1)), len(gaps))


@exercise(
    "07.paired",
    title="did it change anything, and could you have seen it?",
    reference=reference_paired,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_paired(attempt: Callable) -> None:
    """Against textbook quantiles of Student's t (two-sided 5%, and one-sided 20%) for 4 and 2 degrees of freedom."""
    quantiles = {5: (2.7764451, 0.9409646), 3: (4.3026527, 1.0606602)}
    rng = np.random.default_rng(0)
    for pairs in (5, 3):
        unmarked = rng.normal(0.7, 0.05, pairs)
        marked = unmarked + rng.normal(0.004, 0.003, pairs)
        given = f"{pairs} pairs of values, marked {marked.round(4)} and unmarked {unmarked.round(4)}"
        gaps = marked - unmarked
        error = math.sqrt(sum((gaps - gaps.mean()) ** 2) / (pairs - 1) / pairs)
        outer, inner = quantiles[pairs]

        def made(mean: float, width: float, seen: float) -> np.ndarray:
            return np.array([mean, mean - width, mean + width, seen])

        expected = made(gaps.mean(), outer * error, (outer + inner) * error)
        got = _numbers(
            attempt(marked.copy(), unmarked.copy()),
            4,
            given,
            "mean difference, low, high, smallest visible difference",
        )
        if np.allclose(got, expected, rtol=1e-4):
            continue
        because = _why_not_paired(got, expected, error, outer, pairs)
        raise Wrong(given=given, got=got, expected=expected, because=because)


def _why_not_paired(got: np.ndarray, expected: np.ndarray, error: float, outer: float, pairs: int) -> str:
    """Return the likely cause of four wrong numbers."""
    width = (got[2] - got[1]) / 2
    if math.isclose(got[0], -expected[0], rel_tol=1e-6):
        return "the sign is turned: marked minus unmarked"
    if math.isclose(width, outer * error * math.sqrt((pairs - 1) / pairs), rel_tol=1e-3):
        return "the standard deviation divides by n here; a sample's divides by n - 1 (ddof=1)"
    if math.isclose(width, 1.959964 * error, rel_tol=1e-3):
        return "that takes the normal law's 1.96: with so few pairs use Student's t, n - 1 degrees of freedom"
    if math.isclose(width, outer * error * math.sqrt(pairs), rel_tol=1e-3):
        return "that is the spread of single pairs: the mean's standard error divides by the root of n"
    if math.isclose(got[0], expected[0], rel_tol=1e-6) and width > 2 * outer * error:
        return (
            "that treats the two groups as unrelated, and drowns the effect in the spread between seeds: take the "
            "differences first"
        )
    if math.isclose(got[3], outer * error, rel_tol=1e-3):
        return (
            "visible is only the interval's half-width: a true difference of that size would be found in half of all "
            "studies; for 80% add the t quantile at 80%"
        )
    return "t interval of the differences; visible = (t at 97.5% + t at 80%) * their standard error"


def reference_commitment(seed: bytes, model: str, generator: str) -> str:
    """Return SHA-256 over all parts, each with its length in front, in hexadecimal digits."""
    parts = (seed, model.encode(), generator.encode())
    return hashlib.sha256(b"".join(f"{len(part)}:".encode() + part for part in parts)).hexdigest()


@exercise(
    "07.commitment",
    title="commit before release",
    reference=reference_commitment,
    points=2,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_commitment(attempt: Callable) -> None:
    """By what a commitment has to do: bind each part, keep parts apart, repeat, and hide the seed."""
    seed, model, generator = Key.from_phrase("owner").seed, "ab" * 32, "generator/1"
    given = {"seed": "32 secret bytes", "model": f"{model[:8]}…", "generator": generator}
    first = attempt(seed, model, generator)
    if not isinstance(first, str) or len(first) != 64 or set(first) - set("0123456789abcdef"):
        because = "64 hexadecimal digits: hashlib.sha256(...).hexdigest()"
        raise Wrong(given=given, got=first, expected="64 hexadecimal digits", because=because)
    if attempt(seed, model, generator) != first:
        raise Wrong(
            given=given,
            got="another digest at the second call",
            expected="the same",
            because="a judge must be able to compute it again: no time, no chance",
        )
    others = {
        "the seed": (Key.from_phrase("other").seed, model, generator),
        "the model": (seed, "cd" * 32, generator),
        "the generator": (seed, model, "generator/2"),
    }
    for what, changed in others.items():
        if attempt(*changed) == first:
            because = f"{what} can be exchanged after the fact: it must go into the digest"
            raise Wrong(
                given=f"another value of {what}", got="the same digest", expected="another", because=because
            )
    pairs = (((b"k" * 32, "ab", "c"), (b"k" * 32, "a", "bc")), ((b"k|", "b", "c"), (b"k", "|b", "c")))
    for one, two in (
        *pairs,
        ((b"k", "a|b", "c"), (b"k", "a", "b|c")),
        ((b"k", "a:b", "c"), (b"k", "a", "b:c")),
    ):
        if attempt(*one) == attempt(*two):
            raise Wrong(
                given=f"{one} and {two}",
                got="the same digest for both",
                expected="two digests",
                because="the parts run together, so one commitment opens in two ways: put each part's length before it",
            )
    if first in (hashlib.sha256(model.encode()).hexdigest(), seed.hex()):
        raise Wrong(
            given=given, got=first, expected="a digest of all parts", because="the seed has to stay hidden"
        )
