"""Watermarks and ownership: keyed triggers, embedding, verification, extraction, removal and claims.

Names load from their module when first used, so ``import labkit.watermark`` pulls in no heavy library.
"""

import importlib
import pkgutil
from typing import Any

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "AnswerMarker": "answers",
    "Api": "extraction",
    "Claim": "claims",
    "Commitment": "commitments",
    "Evidence": "evidence",
    "Key": "keys",
    "MarkedModel": "marked",
    "Matrix": "grid",
    "Patch": "patterns",
    "Plan": "plan",
    "Signer": "evidence",
    "Theft": "thieves",
    "TriggerSet": "marked",
    "Verdict": "verdict",
    "cleanse": "neural_cleanse",
    "commit": "commitments",
    "line_up": "suspects",
    "null_models": "nulls",
    "remove": "removal",
    "robustness": "matrix",
    "steal": "thieves",
    "try_suspects": "court",
}

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.watermark.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labkit.watermark.{name}")
    raise AttributeError(f"module 'labkit.watermark' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
