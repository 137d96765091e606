"""Data sets, where each byte came from, and stand-ins for when the real thing is not at hand.

``load("mnist")`` looks in ``LABKIT_DATA``, then ``data/``, then tries the data set's own download, and last makes a
stand-in, with a warning. ``locate`` says what would be loaded. See ``data/README.md`` for the files to drop in.
"""

import importlib
from typing import Any

_HOME = {
    "DATASETS": "sources",
    "DataError": "errors",
    "Dataset": "dataset",
    "Located": "sources",
    "StandInWarning": "errors",
    "CacheWarning": "errors",
    "breast_cancer_table": "tabular",
    "heart_table": "heart",
    "load": "loading",
    "locate": "sources",
    "objects": "shapes",
    "public_ranges": "tabular",
    "strokes": "handwriting",
    "tissues": "histology",
    "torchvision": "compat",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labkit.data' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
