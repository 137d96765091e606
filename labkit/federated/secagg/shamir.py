"""Shamir's secret sharing (1979) over the prime 2^521 - 1: any ``threshold`` shares give the secret, fewer nothing.

A secret is 32 bytes, so every secret is a field element, and a share is 66 bytes. Server-side recovery of many secrets
from one set of holders pays for the Lagrange coefficients once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache

from labkit.federated.secagg.errors import SecAggError

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66


def split(secret: bytes, holders: Sequence[int], threshold: int) -> dict[int, bytes]:
    """Return one share for each holder: the value at its number of a random polynomial that is the secret at 0.

    Parameters
    ----------
    secret : bytes of length 32
    holders : sequence of int
        Distinct positive numbers, one a holder.
    threshold : int
        How many shares give the secret back.

    Raises
    ------
    SecAggError
        If the secret has another length, numbers repeat or are not positive, or the threshold is out of range.

    Examples
    --------
    >>> shares = split(bytes(range(32)), [1, 2, 3, 4, 5], threshold=3)
    >>> recover({2: shares[2], 4: shares[4], 5: shares[5]}) == bytes(range(32))
    True
    """
    if len(secret) != SECRET_BYTES:
        raise SecAggError(f"a secret has {len(secret)} bytes; expected {SECRET_BYTES}")
    if len(set(holders)) != len(holders) or min(holders, default=0) < 1:
        raise SecAggError(f"holders are {list(holders)}; expected distinct numbers from 1 on")
    if not 1 <= threshold <= len(holders):
        raise SecAggError(f"threshold is {threshold}; expected 1 to {len(holders)}, the number of holders")
    coefficients = [secrets.randbelow(PRIME) for _ in range(threshold - 1)] + [int.from_bytes(secret, "big")]
    return {x: _horner(coefficients, x).to_bytes(SHARE_BYTES, "big") for x in holders}


def _horner(coefficients: Sequence[int], x: int) -> int:
    """Return the polynomial at ``x``; the constant comes last."""
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value


def recover(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret that these shares give, by Lagrange interpolation at 0; pass exactly the threshold's number.

    Raises
    ------
    SecAggError
        If a share is malformed, or the result is no 32-byte secret: a share was wrong, or there are too few. A share
        that is wrong by a little can give a wrong secret: compare with what was committed to.
    """
    holders = tuple(sorted(shares))
    total = 0
    for weight, x in zip(lagrange_at_zero(holders), holders, strict=True):
        if len(shares[x]) != SHARE_BYTES or (value := int.from_bytes(shares[x], "big")) >= PRIME:
            raise SecAggError(
                f"the share of holder {x} is malformed; expected {SHARE_BYTES} bytes below 2^521 - 1"
            )
        total = (total + weight * value) % PRIME
    if total >= 2 ** (8 * SECRET_BYTES):
        raise SecAggError(
            f"shares of holders {list(holders)} give no secret: one is wrong, or there are too few"
        )
    return total.to_bytes(SECRET_BYTES, "big")


@lru_cache(maxsize=256)
def lagrange_at_zero(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Return each holder's weight in the value at 0: the product of j / (j - i) over the other holders j."""
    weights = []
    for i in holders:
        top = bottom = 1
        for j in holders:
            if j != i:
                top = top * j % PRIME
                bottom = bottom * (j - i) % PRIME
        weights.append(top * pow(bottom, -1, PRIME) % PRIME)
    return tuple(weights)
