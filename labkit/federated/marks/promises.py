"""What a hospital promises before round 1: a commitment that leaves nothing to choose at the opening.

The digest binds the case, the claimant, their public key, the initial weights, every term that decides the mark, and
the key. Whoever copies it cannot open it in another name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from labkit.federated.marks.enrolment import MarkError, Terms
from labkit.federated.marks.register import FORMAT
from labkit.watermark.marks.keys import Key


def digest_of(weights: np.ndarray) -> str:
    """Return SHA-256 of weights [d] as float64, in hexadecimal digits: `labkit.federated.rounds.State.digest`."""
    return hashlib.sha256(np.ascontiguousarray(weights, dtype=np.float64).tobytes()).hexdigest()


def promise(claimant: str, key: Key, terms: Terms, *, case: str, start: str, public: str) -> dict[str, Any]:
    """Return what a hospital writes into the register before round 1; the key is not in it.

    Parameters
    ----------
    claimant : str
    key : Key
        From `Key.new()`: whoever guesses a phrase can open the commitment.
    terms : Terms
        Everything else that decides the mark: nothing is left to choose at the opening.
    case, start, public : str
        The register's case, the digest of the initial weights, the claimant's public key: all bound.
    """
    plain = asdict(terms)
    return {
        "digest": commitment(claimant, key, plain, case, start, public),
        "start": start,
        "terms": plain,
        "number": 1,  # of commitments in this name: a second one is refused
    }


def terms_of(plain: Any) -> Terms:
    """Read terms strictly: exactly their fields, each of its type."""
    kinds = {"int": int, "float": float, "str": str}
    types = {f.name: kinds[str(f.type)] for f in fields(Terms)}
    if not isinstance(plain, dict) or set(plain) != set(types):
        raise MarkError(f"terms hold {plain!r}; expected exactly {sorted(types)}")
    for name, kind in types.items():
        allowed = (int, float) if kind is float else (kind,)
        if type(plain[name]) not in allowed:
            raise MarkError(f"terms: {name} is {plain[name]!r}; expected {kind.__name__}")
    return Terms(**plain)


def commitment(claimant: str, key: Key, terms: Any, case: str, start: str, public: str) -> str:
    """Return SHA-256 over all that is bound, as one list that can be read in one way only."""
    parts = [FORMAT, "commitment", case, claimant, public, start, terms, key.seed.hex()]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
