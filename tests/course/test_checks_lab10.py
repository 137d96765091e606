"""Lab 10's checks, proven: stub, named mistakes, a right answer that is not the shipped one, and a second press."""

from __future__ import annotations

import hashlib
import hmac
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Literal

import numpy as np
import pytest
from proofs import prove_mistake, prove_right, stub

from labkit import cache
from labkit.course import check

FULL = 2**32


def encode(values: np.ndarray, scale: float, bound: float, parties: int) -> np.ndarray:
    if any(not -bound <= value <= bound for value in values) or parties * round(scale * bound) > 2**31 - 1:
        raise ValueError("does not fit")
    return np.array([round(float(value) * scale) % FULL for value in values], dtype=np.uint32)


def encode_with(step: Callable, *, clip: bool = False, total: bool = True, nan: bool = False) -> Callable:
    """Return an encoding with another last step, that clips, forgets the sum or lets NaN through."""

    def attempt(values: np.ndarray, scale: float, bound: float, parties: int) -> np.ndarray:
        if clip:
            values = np.clip(np.nan_to_num(values), -bound, bound)
        if nan:
            if (np.abs(values) > bound).any():
                raise ValueError("beyond")
            values = np.nan_to_num(values)
        elif not (np.abs(values) <= bound).all():
            raise ValueError("beyond")
        if total and parties * scale * bound >= 2**31:
            raise ValueError("wraps")
        return step(values, scale, bound)

    return attempt


def nearest(values: np.ndarray, scale: float, bound: float) -> np.ndarray:
    return np.rint(values * scale).astype(np.int64).astype(np.uint32)


def mask_pairwise(words: np.ndarray, masks: np.ndarray) -> np.ndarray:
    signs = np.sign(np.arange(len(words))[None, :] - np.arange(len(words))[:, None])
    return ((words.astype(object) + (signs[:, :, None] * masks.astype(object)).sum(1)) % FULL).astype(
        np.uint32
    )


def signed(sign: Callable[[int, int], int]) -> Callable:
    """Return masking with another rule for signs."""

    def attempt(words: np.ndarray, masks: np.ndarray) -> np.ndarray:
        found = words.copy()
        for i in range(len(words)):
            for j in range(len(words)):
                found[i] += np.uint32(sign(i, j) % FULL) * masks[i, j]
        return found

    return attempt


def mask_key(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
    parts = [round_id, *(name.encode() for name in sorted((one, other)))]
    text = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return hmac.new(secret, text, hashlib.sha256).digest()


def joined(separator: bytes) -> Callable:
    def attempt(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
        names = [name.encode() for name in sorted((one, other))]
        return hashlib.sha256(separator.join([secret, round_id, *names])).digest()

    return attempt


def hashed(*which: str) -> Callable:
    """Return a key of some of the parts only."""

    def attempt(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
        parts = {"secret": secret, "round": round_id, "names": repr(sorted((one, other))).encode()}
        return hashlib.sha256(repr([parts[name] for name in which]).encode()).digest()

    return attempt


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def xor(*parts: bytes) -> bytes:
    return bytes(reduce(operator.xor, column) for column in zip(*parts, strict=True))


def plus(one: bytes, other: bytes, order: Literal["big", "little"]) -> bytes:
    total = int.from_bytes(one, order) + int.from_bytes(other, order)
    return (total % 2**256).to_bytes(32, order)


def bytewise(one: bytes, other: bytes) -> bytes:
    return bytes((x + y) % 256 for x, y in zip(one, other, strict=True))


def folded(size: int) -> Callable:
    """Return a key from a secret whose parts of ``size`` bytes were XORed into one, as Flower 1.42 does to 32 bits."""

    def attempt(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
        short = xor(*(secret[i : i + size] for i in range(0, 32, size)))
        return mask_key(short, round_id, one, other)

    return attempt


def recover(shares: dict[int, int], prime: int) -> int:
    """Lagrange at 0 in fractions, brought into the field at the end."""
    total = Fraction(0)
    for i, value in shares.items():
        weight = Fraction(value)
        for j in shares:
            weight *= Fraction(j, j - i) if j != i else 1
        total += weight
    return total.numerator * pow(total.denominator, -1, prime) % prime


def weighted(factor: Callable[[int, int], tuple[int, int]]) -> Callable:
    def attempt(shares: dict[int, int], prime: int) -> int:
        total = 0
        for i, value in shares.items():
            for j in shares:
                if j != i:
                    top, bottom = factor(i, j)
                    value = value * top * pow(bottom, -1, prime)
            total += value
        return total % prime

    return attempt


def in_fractions(shares: dict[int, int], prime: int) -> float:
    return sum(v * np.prod([j / (j - i) for j in shares if j != i]) for i, v in shares.items()) % prime


def reveal(survivors: list[str], dropped: list[str], threshold: int) -> dict[str, str]:
    if len({*survivors}) < threshold or any(name in dropped for name in survivors):
        raise ValueError("refused")
    return {name: ("key", "seed")[name in survivors] for name in survivors + dropped}


def reveal_without(
    *, both: bool = True, few: bool = True, count: Callable = set, swap: bool = False
) -> Callable:
    def attempt(survivors: list[str], dropped: list[str], threshold: int) -> dict[str, str]:
        if both and set(survivors) & set(dropped):
            raise ValueError("both")
        if few and len(count(survivors)) < threshold:
            raise ValueError("few")
        alive, gone = ("key", "seed") if swap else ("seed", "key")
        return dict.fromkeys(survivors, alive) | dict.fromkeys(dropped, gone)

    return attempt


RIGHT = {
    "10.encode": encode,
    "10.mask_pairwise": mask_pairwise,
    "10.mask_key": mask_key,
    "10.recover": recover,
    "10.reveal": reveal,
}
MISTAKES = [
    ("10.encode", encode_with(lambda v, s, b: (v * s).astype(np.int64).astype(np.uint32)), "toward zero"),
    ("10.encode", encode_with(lambda v, s, b: np.rint(v * s).astype(np.int64)), "unsigned words of 32 bits"),
    (
        "10.encode",
        encode_with(lambda v, s, b: np.rint((v + b) * s).astype(np.uint32)),
        "shifted by the bound",
    ),
    ("10.encode", encode_with(lambda v, s, b: np.rint(v * s).clip(0).astype(np.uint32)), "became 0"),
    ("10.encode", encode_with(nearest, clip=True), "change the sum in silence"),
    ("10.encode", encode_with(nearest, nan=True), "NaN slips through"),
    ("10.encode", encode_with(nearest, total=False), "the sum of so many at the bound"),
    ("10.encode", lambda v, s, b, p: encode(v, s, b, 2 * p), "wastes half of the grid"),
    (
        "10.encode",
        encode_with(lambda v, s, b: nearest(v.astype(np.float32), np.float32(s), b)),
        "float32 keeps 24 bits",
    ),
    (
        "10.encode",
        lambda v, s, b, p: encode(np.where(np.abs(v) < b + 1e-6, v.clip(-b, b), v), s, b, p),
        "compare in float64, with none",
    ),
    ("10.mask_pairwise", signed(lambda i, j: int(i != j)), "stands twice in the sum"),
    ("10.mask_pairwise", signed(lambda i, j: (i > j) - (i < j)), "the signs are turned"),
    ("10.mask_pairwise", signed(lambda i, j: 1 if j >= i else -1), "the masks do not cancel: the"),
    ("10.mask_pairwise", signed(lambda i, j: (j == i + 1) - (j == i - 1)), "not every hospital"),
    ("10.mask_pairwise", lambda words, masks: words.copy(), "nothing was masked"),
    ("10.mask_pairwise", lambda words, masks: mask_pairwise(words, masks).astype(np.int64), "uint32"),
    ("10.mask_key", lambda secret, *_: secret, "the shared secret itself"),
    ("10.mask_key", hashed("secret", "names"), "the round is missing"),
    ("10.mask_key", hashed("secret", "round"), "the names are missing"),
    ("10.mask_key", hashed("round", "names"), "does not depend on the secret"),
    (
        "10.mask_key",
        lambda s, r, a, b: hashlib.sha256(s + r + f"{a}|{b}".encode()).digest(),
        "sort the names",
    ),
    ("10.mask_key", joined(b""), "put each part's *length*"),
    ("10.mask_key", joined(b","), "put each part's *length*"),
    ("10.mask_key", joined(b"|"), "put each part's *length*"),
    ("10.mask_key", lambda *parts: mask_key(*parts)[:16], "32 bytes long"),
    (
        "10.mask_key",
        lambda s, r, a, b: xor(s, digest(r, *sorted((a, b)))),
        "gives the secret and every other key",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: bytewise(s, digest(r, *sorted((a, b)))),
        "gives the secret and every other key",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: plus(s, digest(r, *sorted((a, b))), "big"),
        "gives the secret and every",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: plus(s, digest(r, *sorted((a, b))), "little"),
        "gives the secret and every",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: xor(digest(s), digest(r, *sorted((a, b)))),
        "the hashes of the parts were added",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: xor(digest(s, r), digest("pair", r, *sorted((a, b)))),
        "two secrets, two pairs",
    ),
    (
        "10.mask_key",
        lambda s, r, a, b: xor(digest(s, r), digest(s, *sorted((a, b)))),
        "two rounds, two pairs",
    ),
    ("10.mask_key", lambda s, r, a, b: xor(digest(s, r, a), digest(s, r, b)), "four hospitals"),
    ("10.mask_key", lambda s, *rest: mask_key(s[16:], *rest), "of the secret does not matter"),
    ("10.mask_key", lambda s, *rest: mask_key(s[-4:], *rest), "byte 0 of the secret does not matter"),
    ("10.mask_key", lambda s, *rest: mask_key(s[:31], *rest), "byte 31 of the secret does not matter"),
    ("10.mask_key", folded(4), "the secret was folded"),
    ("10.mask_key", lambda s, *rest: mask_key(bytes(sorted(s)), *rest), "the secret was folded"),
    ("10.mask_key", lambda s, r, a, b: mask_key(s, r, a.lower(), b.lower()), "upper and lower case"),
    ("10.mask_key", lambda s, r, a, b: mask_key(s, r, a[:8], b[:8]), "its last letter, too"),
    ("10.mask_key", lambda *parts: mask_key(*parts).hex()[:32].encode(), "32 letters of hex"),
    ("10.mask_key", lambda *parts: mask_key(*parts)[:16].ljust(32, b"\0"), "or padding"),
    ("10.mask_key", lambda *parts: mask_key(*parts)[:16] * 2, "comes twice"),
    ("10.recover", in_fractions, "nothing is divided with /"),
    ("10.recover", weighted(lambda i, j: (j, i - j)), "a sign is turned"),
    ("10.recover", weighted(lambda i, j: (1, j - i)), "the numerators are missing"),
    ("10.recover", lambda s, p: recover(dict(enumerate(s.values(), 1)), p), "counted 1, 2, 3 in order"),
    ("10.recover", lambda s, p: sum(s.values()) % p, "each needs its weight"),
    ("10.recover", lambda s, p: recover(s, p) + p, "return it modulo the prime"),
    ("10.reveal", reveal_without(both=False), "with both secrets the server takes all masks off"),
    ("10.reveal", reveal_without(few=False), "a sum of few tells too much"),
    ("10.reveal", reveal_without(count=list), "counts once"),
    ("10.reveal", reveal_without(swap=True), "turned around"),
    ("10.reveal", lambda s, d, t: reveal(s, d, 3), "here it is 4"),
    ("10.reveal", lambda s, d, t: reveal(s, d, t + 1), "this is an honest request"),
    ("10.reveal", lambda s, d, t: dict.fromkeys(s + d, "seed and key"), "both together open its vector"),
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
def test_a_second_press_judges_the_learners_own_function_again(name: str) -> None:
    """The check cells bind nothing, so what the second press judges is what the first did."""
    text = (cache.checkout() / "solutions" / "10_secure_aggregation.py").read_text(encoding="utf-8")
    (cell,) = re.findall(rf'^.*check\("{name}".*$', text, flags=re.MULTILINE)
    own = name.split(".")[1]
    space = {"check": check, own: stub}
    for _ in range(2):
        exec(cell, space)
        assert space[own] is stub
        assert check(name, space[own]).status == "not attempted"
