"""Checks of lab 07 on what owner and thief do: stamp a mark, commit to it, sell answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch

from labkit.course.exercises.exercise import Wrong, exercise, expect_close
from labkit.watermark.marks.keys import Key


def reference_stamp(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    """Return images (n, C, H, W) with a keyed patch, one pixel off the lower right corner."""
    from labkit.watermark.marks.patterns import Patch

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
        # The top rows of a picture, which is all that would be shown of it, are alike in both.
        corner = (0, 0, slice(-size - 1, None), slice(-size - 1, None))
        raise Wrong(
            given=f"{given}; shown is the lower right corner of the first image, {size + 1} by {size + 1} pixels",
            got=got[corner],
            expected=expected[corner],
            because=_why(got, x, key, size),
        )


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
        return "the place is right, the pattern is not the key's: a judge has to draw the same\na pixel and colour is 1 where key.uniform('patch', (C, size, size)) < 0.5, and 0 elsewhere"
    return "the patch lies elsewhere: it leaves one pixel free on the lower and on the right side\nrows and columns H - size - 1 up to H - 1 (not included), the same in W"


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
            because="return the function that answers, not an answer\nreturn ask, which takes x",
        )
    try:
        _answers(ask, x[:4], victim, "the first 4 of 10 records")
    except UnboundLocalError as error:
        raise Wrong(
            given="the first 4 of 10 records",
            got=f"UnboundLocalError: {error}",
            expected="4 answers",
            because="the count belongs to the outer function: who assigns to it in the inner one makes a new name there\nnonlocal",
        ) from None
    seen = victim.seen
    _refuses(ask, x[:7], "7 more records when 6 are left", lambda: _why_sold(ask, x[:1]))
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
        ask,
        x[:1],
        "1 record when none is left",
        lambda: "the budget is spent: an answer more is free for the thief",
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


def _refuses(ask: Callable, x: torch.Tensor, given: str, why: Callable[[], str]) -> None:
    """Raise `Wrong` unless the batch is refused; ``why`` is asked for the cause where it was answered whole."""
    try:
        got = ask(x)
    except RuntimeError:
        return
    except Exception as error:
        raise Wrong(
            given=given,
            got=f"{type(error).__name__}: {error}",
            expected="RuntimeError",
            because="refuse with a RuntimeError: whoever asks waits for that one",
        ) from error
    if got is None:
        because = "a refusal that nobody sees is none: nothing came back where an error was to be raised\nraise RuntimeError(...)"
    elif isinstance(got, torch.Tensor) and 0 < len(got) < len(x):
        because = "part of a batch was answered: all or nothing"
    else:
        because = why()
    raise Wrong(
        given=given, got=f"an answer of {type(got).__name__}", expected="RuntimeError", because=because
    )


def _why_sold(ask: Callable, one: torch.Tensor) -> str:
    """Tell an interface that stops one batch too late from one that counts something else than records."""
    try:
        ask(one)
    except RuntimeError:
        return "a batch larger than what is left was answered whole: look at its size before it is answered"
    return "it counts calls, or not at all: records are sold, not calls\ncount len(x)"


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
        because = "a digest is wanted as text: 64 hexadecimal digits\nhashlib.sha256(...).hexdigest()"
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
