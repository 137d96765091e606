"""Marks: one per hospital in the global model, one per copy of it, and what they do and do not prove.

Names load from their module when first used.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.federated.marks.enrolment import Enrolment as Enrolment
    from labkit.federated.marks.enrolment import MarkError as MarkError
    from labkit.federated.marks.enrolment import enrol as enrol
    from labkit.federated.marks.tracing import TraceReport as TraceReport
    from labkit.federated.marks.tracing import fingerprint as fingerprint
    from labkit.federated.marks.tracing import trace as trace
    from labkit.federated.marks.verification import MarkReport as MarkReport
    from labkit.federated.marks.verification import verify as verify

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "Enrolment": "enrolment",
    "MarkError": "enrolment",
    "MarkReport": "verification",
    "TraceReport": "tracing",
    "enrol": "enrolment",
    "fingerprint": "tracing",
    "trace": "tracing",
    "verify": "verification",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.marks.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labkit.federated.marks.{name}")
    raise AttributeError(
        f"module 'labkit.federated.marks' has no attribute {name!r}; it has {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return [*_HOME, *_MODULES]
