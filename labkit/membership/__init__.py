"""Membership inference: shadow models, signals, attacks over one score array, reports and defences.

Names load from their module when first used, so ``import labkit.membership`` pulls in neither torch nor scikit-learn.
"""

import importlib
from typing import Any

_MODULES = (
    "attacks",
    "bank",
    "bench",
    "comparison",
    "curves",
    "defence_table",
    "defences",
    "intervals",
    "label_only",
    "learned",
    "lira",
    "loo",
    "presets",
    "pretrained",
    "queries",
    "reports",
    "rmia",
    "shadows",
    "signals",
    "targets",
    "thresholds",
    "transfer",
)
_HOME = {
    "ATTACKS": "attacks",
    "AttackResult": "attacks",
    "Comparison": "comparison",
    "DefenceTable": "defence_table",
    "LeaveOneOut": "loo",
    "Refused": "intervals",
    "Report": "reports",
    "ShadowBank": "bank",
    "Target": "bank",
    "attack": "attacks",
    "balanced_masks": "shadows",
    "compare": "comparison",
    "compare_defences": "defences",
    "leave_one_out": "loo",
    "preset": "presets",
    "report": "reports",
    "shadow_bank": "shadows",
    "signal": "signals",
    "train_targets": "targets",
    "transfer_bank": "transfer",
}

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"labkit.membership.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.membership.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labkit.membership' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
