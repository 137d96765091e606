"""One hash for many records: a Merkle tree, as in certificate transparency (RFC 6962, section 2.1).

Whoever publishes the root can later show any single record, with the hashes on its way up, and can show no other.
Leaves are salted: whoever has a record cannot tell from the root whether it is in the tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import Tensor

EMPTY = hashlib.sha256(b"").hexdigest()


def leaves(x: Tensor, y: Tensor, salt: bytes) -> list[bytes]:
    """Return one salted hash a record, over the bytes of inputs (n, ...) and of labels (n,)."""
    inputs, labels = x.detach().cpu().contiguous().flatten(1).numpy(), y.detach().cpu().numpy()
    head = b"\x00" + salt + str(inputs.dtype).encode() + b"|"
    pairs = zip(inputs, labels, strict=True)
    return [
        hashlib.sha256(head + str(int(label)).encode() + b"|" + row.tobytes()).digest()
        for row, label in pairs
    ]


def root(hashes: Sequence[bytes]) -> str:
    """Return the tree's root in hexadecimal digits; `EMPTY` for no leaves.

    Examples
    --------
    >>> root([b"a" * 32])
    '6161616161616161616161616161616161616161616161616161616161616161'
    """
    level = list(hashes)
    if not level:
        return EMPTY
    while len(level) > 1:
        level = _above(level)
    return level[0].hex()


def proof(hashes: Sequence[bytes], index: int) -> list[tuple[str, str]]:
    """Return the way from one leaf to the root: at each step the neighbour's side ("left", "right") and hash.

    Raises
    ------
    IndexError
        If there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"there is no leaf {index}; expected 0 to {len(hashes) - 1}")
    level, way = list(hashes), []
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):
            way.append(("left" if neighbour < index else "right", level[neighbour].hex()))
        level, index = _above(level), index // 2
    return way


def belongs(leaf: bytes, way: Sequence[tuple[str, str]], expected: str) -> bool:
    """Say whether a leaf and its way up give the root."""
    for side, neighbour in way:
        pair = (bytes.fromhex(neighbour), leaf) if side == "left" else (leaf, bytes.fromhex(neighbour))
        leaf = _join(*pair)
    return leaf.hex() == expected


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _above(level: Sequence[bytes]) -> list[bytes]:
    """Return the level above; a leaf without a neighbour moves up as it is."""
    joined = [_join(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
    return joined + ([level[-1]] if len(level) % 2 else [])
