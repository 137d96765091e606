"""What the saved scores of shadow federations depend on, so that none outlives what made it."""

from __future__ import annotations

import warnings
from typing import Any

from labkit import cache
from labkit.federated.rounds import Federation
from labkit.training import shelf


def identity(federation: Federation) -> dict[str, Any] | None:
    """Return a federation as plain values and code, for a cache key; None, with a warning, where that is impossible.

    The model counts by structure, initial weights and the code of its classes; a mark by its values and its class.

    Warns
    -----
    labkit.cache.CacheWarning
        If a mark or a class cannot be read: the shadow federations are then trained anew each time.
    """
    found = {
        "hospitals": federation.hospitals.digest,
        "training": federation.training,
        "noise": federation.noise,
        "model": list(shelf.model_identity(federation.make_model)),
        "marks": {name: [mark, type(mark)] for name, mark in federation.marks.items()},
    }
    try:
        cache.digest(found)
    except TypeError as error:
        warnings.warn(f"shadow federations are not kept: {error}", cache.CacheWarning, stacklevel=3)
        return None
    return found
