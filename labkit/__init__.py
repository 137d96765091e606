"""labkit: a lab course you can run, in differential privacy, model watermarking and membership inference.

Sub-packages load when first used, so that ``import labkit`` stays quick.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBMODULES = (
    "audit",
    "bench",
    "cache",
    "cli",
    "course",
    "data",
    "dp",
    "ensemble",
    "federated",
    "membership",
    "models",
    "plots",
    "profiles",
    "progress",
    "results",
    "scenarios",
    "stats",
    "training",
    "watermark",
    "widgets",
)


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return importlib.import_module(f"labkit.{name}")
    raise AttributeError(f"module 'labkit' has no attribute {name!r}; it has {', '.join(_SUBMODULES)}")


def __dir__() -> list[str]:
    return [*_SUBMODULES, "__version__"]
