"""An error-correcting code for a mark's bits: first-order Reed-Muller blocks, decoded softly.

Six message bits become the 32 signs of plus or minus one row of a Hadamard matrix; two such words differ in at least 16
places. The best of the 64 words is found by one Hadamard transform of the readings (MacWilliams & Sloane 1977, chapter
14): readings near 0 count little, so blurred bits harm less than flipped ones.

Examples
--------
>>> import numpy as np
>>> message = np.array([1, 0, 1, 1, 0, 1])
>>> word = encode(message).astype(float)
>>> word[:7] *= -1  # seven of 32 signs flipped
>>> bool((decode(word) == message).all())
True
"""

from __future__ import annotations

import numpy as np

BLOCK = 32  # signs in a block
CARRIED = 6  # message bits that it carries


def message_length(bits: int) -> int:
    """Return how many message bits ``bits`` coded ones carry.

    Raises
    ------
    ValueError
        If ``bits`` is no positive multiple of 32.
    """
    if bits < BLOCK or bits % BLOCK:
        raise ValueError(f"bits is {bits}; expected a positive multiple of {BLOCK}, such as 128")
    return bits // BLOCK * CARRIED


def encode(message: np.ndarray) -> np.ndarray:
    """Return the signs (-1 or 1) of a message of 0 and 1.

    Parameters
    ----------
    message : int array, shape [6 k]

    Returns
    -------
    int64 array, shape [32 k]
    """
    if len(message) == 0 or len(message) % CARRIED or not np.isin(message, (0, 1)).all():
        raise ValueError(f"message has {len(message)} bits; expected 0s and 1s, a multiple of {CARRIED}")
    blocks = np.asarray(message, dtype=np.int64).reshape(-1, CARRIED)
    rows = blocks[:, 1:] @ (1 << np.arange(CARRIED - 1))
    return ((1 - 2 * blocks[:, :1]) * _hadamard()[rows]).reshape(-1)


def decode(readings: np.ndarray) -> np.ndarray:
    """Return the likeliest message for soft readings, shape [32 k] -> [6 k]."""
    message_length(len(readings))
    likeness = np.asarray(readings, dtype=float).reshape(-1, BLOCK) @ _hadamard()
    rows = np.abs(likeness).argmax(1)
    signs = np.take_along_axis(likeness, rows[:, None], 1)[:, 0] < 0
    bits = rows[:, None] >> np.arange(CARRIED - 1) & 1
    return np.hstack([signs[:, None], bits]).astype(np.int64).reshape(-1)


def _hadamard() -> np.ndarray:
    from scipy.linalg import hadamard

    return hadamard(BLOCK).astype(np.int64)
