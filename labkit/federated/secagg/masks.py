"""Masks: a short secret stretched to a vector that is uniform modulo 2^bits (AES-256 in counter mode), and its key."""

from __future__ import annotations

import numpy as np

from labkit.federated.secagg.keys import derive, digest

CHUNK = 1 << 16  # bytes of keystream made at a time: fits the processor's cache, whatever the vector's length


def add_mask(vector: np.ndarray, key: bytes, sign: int = 1) -> None:
    """Add (or subtract) the mask that follows from ``key`` to ``vector``, in place and with wrap-around.

    Parameters
    ----------
    vector : ndarray of shape (d,), little-endian uint32 or uint64
        Changed in place.
    key : bytes of length 32
        A key must never mask two vectors: their difference would show. So each comes from fresh secrets by HKDF, and
        the counter may begin at 0.
    sign : {1, -1}
        Whether the mask is added or subtracted.

    Examples
    --------
    >>> vector = np.zeros(3, dtype="<u4")
    >>> add_mask(vector, bytes(32))
    >>> add_mask(vector, bytes(32), -1)
    >>> vector
    array([0, 0, 0], dtype=uint32)
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(key) != 32:
        raise ValueError(f"a mask's key has {len(key)} bytes; expected 32")
    if sign not in (1, -1):
        raise ValueError(f"sign is {sign}; expected 1 or -1")
    combine = np.add if sign == 1 else np.subtract
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros, buffer = memoryview(bytes(CHUNK)), bytearray(CHUNK)
    words = np.frombuffer(buffer, dtype=vector.dtype)
    step = len(words)
    for start in range(0, len(vector), step):
        part = vector[start : start + step]
        stream.update_into(zeros[: part.nbytes], buffer)
        combine(part, words[: len(part)], out=part)


def commit(seed: bytes, round_id: bytes, name: str) -> bytes:
    """Return the commitment to a self-mask seed."""
    return digest("seed", round_id, name, seed)


def self_mask_key(seed: bytes, round_id: bytes, name: str) -> bytes:
    """Return the key of a hospital's self-mask."""
    return derive(seed, "self mask", round_id, name)


def pair_mask_key(secret: bytes, round_id: bytes, one: str, other: str) -> bytes:
    """Return the key of the mask that two hospitals share, whoever of them asks."""
    return derive(secret, "pair mask", round_id, *sorted((one, other)))


def pair_sign(owner: str, peer: str) -> int:
    """Return 1 where ``owner`` adds the mask that it shares with ``peer``, -1 where it subtracts it."""
    return 1 if owner < peer else -1
