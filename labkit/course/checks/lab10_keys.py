"""Checks of lab 10, second part: a mask's key from a shared secret, bound to what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.course.exercises import Wrong, exercise

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
    turned = (secret, ONE, "Birch", "Ash")
    if key(*turned) != own:
        because = (
            "Ash asks for (Ash, Birch) and Birch for (Birch, Ash): sort the names, or the masks do not cancel"
        )
        raise Wrong(given=_named(turned), got="another key", expected="the same key", because=because)
    if key(*base) != own:
        because = "the same question gave two keys: nothing here may be random"
        raise Wrong(given=_named(base), got="another key", expected="the same key", because=because)
    _check_others(key, base, own)


def _check_others(key: Callable[..., bytes], base: tuple, own: bytes) -> None:
    """Raise `Wrong` if another secret, round or pair gives a key that was given before."""
    secret = base[0]
    ambiguous = "two different questions have one key: put each part's *length* before it, as join() forgets where they end"
    others = [
        ((secret, TWO, "Ash", "Birch"), "the round is missing: its masks come again in the next round"),
        ((secret, ONE, "Ash", "Cedar"), "the names are missing: bind the key to its pair"),
        (
            (bytes(31) + b"\x01", ONE, "Ash", "Birch"),
            "the key does not depend on the secret: anybody could make it",
        ),
        (
            (secret[:-1] + b"\x00", ONE, "Ash", "Birch"),
            "the last byte of the secret does not matter: use all of it",
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


def _named(given: tuple) -> str:
    """Return a question in one line."""
    secret, round_id, one, other = given
    return f"secret …{secret[-2:].hex()}, round {round_id!r}, {one!r} and {other!r}"
