"""Hospitals that train a model together: secure aggregation, privacy at each, a mark per hospital, threats to all of it.

Names load from their module when first used, so ``import labkit.federated`` pulls in neither torch nor Flower.
"""

import importlib
import pkgutil
from typing import Any

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "Hospital": "hospitals",
    "Hospitals": "hospitals",
    "load_hospitals": "hospitals",
    "split": "hospitals",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labkit.federated.{name}")
    raise AttributeError(f"module 'labkit.federated' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*_HOME, *_MODULES]
