"""What a set of shadow federations depends on: settings by content, code by source. One list, held to by a test."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

from labkit import cache
from labkit.federated.rounds import Federation


def code() -> tuple[ModuleType, ...]:
    """Return the modules whose source decides what a shadow federation shows."""
    from labkit.data import dataset
    from labkit.dp.mechanisms import discrete, discrete_arrays
    from labkit.dp.training import gradients, linear, textbook
    from labkit.federated import hospitals, learning, noise, rounds
    from labkit.federated.inversion import observation
    from labkit.federated.threats import keys, shadows

    return (
        dataset,
        discrete,
        discrete_arrays,
        gradients,
        hospitals,
        keys,
        learning,
        linear,
        noise,
        observation,
        rounds,
        shadows,
        textbook,
    )


def identity(federation: Federation) -> dict[str, Any] | None:
    """Return a federation as plain values and source, for a cache key; None, with a warning, where that is impossible.

    The model counts by structure, initial weights and the source of its classes; a mark by its values and the module of
    its class.

    Warns
    -----
    labkit.cache.CacheWarning
        If a mark or a class cannot be read: the shadow federations are then trained anew each time.
    """
    model = federation.make_model()
    found = {
        "hospitals": federation.hospitals.digest,
        "training": federation.training,
        "noise": federation.noise,
        "model": [repr(model), dict(model.state_dict()), *_sources({type(part) for part in model.modules()})],
        "marks": {name: [mark, *_sources({type(mark)})] for name, mark in federation.marks.items()},
    }
    try:
        cache.digest(found)
    except TypeError as error:
        warnings.warn(f"shadow federations are not kept: {error}", cache.CacheWarning, stacklevel=3)
        return None
    return found


def _sources(classes: set[type]) -> list[ModuleType | type]:
    """Return the modules of classes that are not torch's, or the classes themselves where they were made at a prompt."""
    own = sorted((c for c in classes if not c.__module__.startswith("torch.")), key=lambda c: c.__qualname__)
    return [c if c.__module__ == "__main__" else sys.modules[c.__module__] for c in own]
