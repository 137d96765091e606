"""Privacy audits: epsilon from below, by canaries and guesses, and planted bugs to practise on.

Names load from their module when first used, so ``import labkit.audit`` pulls in neither torch nor scipy.
"""

import importlib
from typing import Any

_MODULES = (
    "bounds",
    "bugs",
    "canaries",
    "drivers",
    "fdp",
    "guessing",
    "points",
    "result",
    "scores",
    "task",
    "white_box",
)
_HOME = {
    "AuditResult": "result",
    "Settings": "task",
    "Share": "guessing",
    "audit_gradients": "white_box",
    "audit_many_runs": "drivers",
    "audit_one_run": "drivers",
    "certifiable": "bounds",
    "claim_of": "white_box",
    "compare": "result",
    "gradient_runs": "white_box",
    "guesses_needed": "bounds",
    "many_run_epsilon": "bounds",
    "observe": "scores",
    "one_run_epsilon": "bounds",
    "one_run_p_value": "bounds",
}

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"labkit.audit.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.audit.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labkit.audit' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
