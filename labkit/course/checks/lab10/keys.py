"""Checks of lab 10, second part: a mask's key from a shared secret, bound to what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.course.exercises.exercise import Wrong, exercise

ONE, TWO = b"round 1", b"round 2"


def reference_mask_key(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
    """Return the key (32 bytes) of the mask that two hospitals share in a round; the order of names is nothing."""
    from labkit.federated.secagg.keys import derive

    return derive(secret, "pair mask", round_id, *sorted((one, other)))


@exercise(
    "10.mask_key",
    title="a key that fits one round and one pair",
    reference=reference_mask_key,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_mask_key(attempt: Callable) -> None:
    """By its properties: the right length, the same for both ends, another for every other secret, round or pair."""
    secret = bytes(range(32))

    def key(*given: Any) -> bytes:
        found = attempt(*given)
        if not isinstance(found, bytes) or len(found) != 32:
            raise Wrong(
                given=_named(given),
                got=found,
                expected="32 bytes",
                because="a key of AES-256 is 32 bytes long",
            )
        return found

    base = (secret, ONE, "Ash", "Birch")
    own = key(*base)
    if own == secret:
        because = "the shared secret itself is no key: all rounds would have the same mask"
        raise Wrong(given=_named(base), got=own.hex(), expected="a derived key", because=because)
    if key(*base) != own:
        because = "the same question gave two keys: nothing here may be random"
        raise Wrong(given=_named(base), got="another key", expected="the same key", because=because)
    turned = (secret, ONE, "Birch", "Ash")
    if key(*turned) != own:
        because = (
            "Ash asks for (Ash, Birch) and Birch for (Birch, Ash): sort the names, or the masks do not cancel"
        )
        raise Wrong(given=_named(turned), got="another key", expected="the same key", because=because)
    seen = _check_others(key, base, own)
    _check_mixing(key, base)
    _check_width(list(seen))


def _check_others(key: Callable[..., bytes], base: tuple, own: bytes) -> dict[bytes, tuple]:
    """Return the keys of other secrets, rounds and pairs; raise `Wrong` if one was given before."""
    secret = base[0]
    folded = "the secret was folded: its parts may change places, so fewer than 256 bits are left to try; use its bytes in order"
    ambiguous = "two different questions have one key: put each part's *length* before it, as join() forgets where they end"
    others = [
        ((secret, TWO, "Ash", "Birch"), "the round is missing: its masks come again in the next round"),
        ((secret, ONE, "Ash", "Cedar"), "the names are missing: bind the key to its pair"),
        (
            (bytes(31) + b"\x01", ONE, "Ash", "Birch"),
            "the key does not depend on the secret: anybody could make it",
        ),
        *(
            (
                (secret[:i] + b"\xff" + secret[i + 1 :], ONE, "Ash", "Birch"),
                f"byte {i} of the secret does not matter: use all of it, or fewer than 256 bits are left to try",
            )
            for i in range(32)
        ),
        ((secret[::-1], ONE, "Ash", "Birch"), folded),
        ((secret[16:] + secret[:16], ONE, "Ash", "Birch"), folded),
        ((secret, ONE, "ash", "birch"), "upper and lower case are different names"),
        *(
            ((secret, ONE, "Hospital A", other), "use all of each name, its last letter, too")
            for other in ("Hospital B", "Hospital C")
        ),
        ((secret, ONE + b"A", "sh", "Birch"), ambiguous),
        ((secret, ONE, "AshB", "irch"), ambiguous),
        ((secret, ONE, "Ash,Bir", "ch"), ambiguous),
        ((secret, ONE, "Ash", "Bir,ch"), ambiguous),
        ((secret, ONE, "Ash|Bir", "ch"), ambiguous),
        ((secret, ONE, "Ash", "Bir|ch"), ambiguous),
    ]
    seen = {own: base}
    for given, because in others:
        found = key(*given)
        if found in seen:
            raise Wrong(
                given=_named(given),
                got=f"the key of {_named(seen[found])}",
                expected="another key",
                because=because,
            )
        seen[found] = given
    return seen


def _check_mixing(key: Callable[..., bytes], base: tuple) -> None:
    """Raise `Wrong` if one key gives the secret, or three keys the fourth: parts mixed outside of the hash."""
    secret, other = base[0], bytes(range(64, 96))
    names = base[2:]
    if _cancel(key(*base), key(other, *base[1:]), secret, other):
        because = (
            "the secret was added to, or XORed with, what anybody can compute: one key, once opened, gives the secret and "
            "every other key, so put the secret *into* the hash (HKDF or HMAC)"
        )
        given = f"two secrets, {_named(base).split(', ', 1)[1]}"
        got = "two keys that differ as the secrets do"
        raise Wrong(given=given, got=got, expected="unrelated keys", because=because)
    for given, (ones, others) in {
        "two secrets, two rounds": _square(lambda s, r: (s, r, *names), (secret, other), (ONE, TWO)),
        "two secrets, two pairs": _square(
            lambda s, n: (s, ONE, "Ash", n), (secret, other), ("Birch", "Cedar")
        ),
        "two rounds, two pairs": _square(lambda r, n: (secret, r, "Ash", n), (ONE, TWO), ("Birch", "Cedar")),
        "four hospitals": _square(lambda m, n: (secret, ONE, m, n), ("Ash", "Doum"), ("Birch", "Cedar")),
    }.items():
        if _cancel(*(key(*question) for question in (*ones, *others))):
            because = (
                "the hashes of the parts were added or XORed: who knows some keys computes others, so put all parts into "
                "one hash together with the secret"
            )
            got = "three of the four keys give the fourth"
            raise Wrong(given=given, got=got, expected="unrelated keys", because=because)


def _square(question: Callable[..., tuple], first: tuple, second: tuple) -> tuple[list, list]:
    """Return four questions, two by two, in the order that `_cancel` takes."""
    (a, b), (c, d) = ([question(x, y) for y in second] for x in first)
    return [a, b], [c, d]


def _cancel(a: bytes, b: bytes, c: bytes, d: bytes) -> bool:
    """Return whether a - b = c - d (32 bytes each): by XOR, byte by byte, or as one number of either byte order."""
    numbers = [[int.from_bytes(x, order) for x in (a, b, c, d)] for order in ("big", "little")]
    rows = list(zip(a, b, c, d, strict=True))
    return (
        all(w ^ x ^ y ^ z == 0 for w, x, y, z in rows)
        or all((w - x - y + z) % 256 == 0 for w, x, y, z in rows)
        or any((w - x - y + z) % 2**256 == 0 for w, x, y, z in numbers)
    )


def _check_width(found: list[bytes]) -> None:
    """Raise `Wrong` if the 32 bytes hold fewer than 256 bits: letters of hex, padding, or a part that comes twice."""
    columns = list(zip(*found, strict=True))
    given = f"{len(found)} keys, byte by byte"
    if (
        min(len(set(column)) for column in columns) <= 16
    ):  # random bytes: chance below 10^-15 with over 40 keys
        got = "a place that takes 16 values or fewer"
        because = "32 letters of hex, or padding: fewer than 256 bits; take the raw bytes, digest() and not hexdigest()"
        raise Wrong(given=given, got=got, expected="32 free bytes", because=because)
    if len(set(columns)) < 32:
        because = "a part of the key comes twice: 32 bytes, but fewer than 256 bits"
        raise Wrong(given=given, got="two places always equal", expected="32 free bytes", because=because)


def _named(given: tuple) -> str:
    """Return a question in one line."""
    secret, round_id, one, other = given
    return f"secret …{secret[-2:].hex()}, round {round_id!r}, {one!r} and {other!r}"
