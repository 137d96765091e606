"""Sliders around plot functions. The plot functions are pure and serve without a notebook, too.

Each explorer loads from its module when first used: ``labkit.widgets.epsilon_explorer()``. Modules are named after
their subject, not after their explorer, so that importing one never hides the other.
"""

import importlib
from typing import Any

_HOME = {
    "audit_explorer": "audit",
    "ceiling_explorer": "ceilings",
    "cell_explorer": "cells",
    "dropout_explorer": "dropouts",
    "epsilon_explorer": "epsilon",
    "placement_explorer": "placements",
    "clipping_explorer": "clipping",
    "suspects_explorer": "suspects",
    "theft_explorer": "theft",
    "threshold_explorer": "threshold",
    "training_explorer": "training",
    "trigger_designer": "triggers",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.widgets.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labkit.widgets' has no attribute {name!r}; it has {', '.join(_HOME)}")


def __dir__() -> list[str]:
    return __all__
