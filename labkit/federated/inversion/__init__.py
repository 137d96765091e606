"""What a server reads out of updates: records from dense layers, pictures by optimisation, hospitals out of a sum.

Names load from their module when first used.
"""

import importlib
from typing import Any

_HOME = {
    "Candidates": "dense",
    "Leakage": "result",
    "Observation": "observe",
    "Study": "result",
    "dlg": "optimise",
    "exact_rate": "dense",
    "infer_labels": "optimise",
    "invert": "optimise",
    "observe": "observe",
    "peel": "peeling",
    "reconstruction_bound": "bound",
    "recover": "dense",
    "regroup": "aggregate",
    "study": "studies",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.inversion.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
