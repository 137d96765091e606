"""Packages that hand out names without loading what stands behind them: one helper for every ``__init__`` of labkit.

A package writes its public names once, as imports that only a type checker runs::

    if TYPE_CHECKING:
        from labkit.dp.accounting.statement import PrivacyStatement as PrivacyStatement

    __getattr__, __dir__, __all__ = facade.lazy(__name__)

and each loads from its module when first used, so that ``import labkit`` stays quick.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``. Public are the names that its ``if TYPE_CHECKING:`` block imports, and its modules.

    Raises
    ------
    ImportError
        If a public name is also a module of the package: importing that module would hide it.
    """
    module = sys.modules[package]
    homes = _homes(Path(str(module.__file__)))
    parts = [found.name for found in pkgutil.iter_modules(module.__path__)]
    if both := sorted(set(homes) & set(parts)):
        raise ImportError(f"{package} hands out {both[0]} and has a module of that name: rename the module")

    def find(name: str) -> Any:
        if name in homes:
            home, there = homes[name]
            return getattr(importlib.import_module(home), there)
        if name in parts:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}; it has {', '.join(homes or parts)}"
        )

    return find, lambda: [*homes, *parts], list(homes)


def _homes(file: Path) -> dict[str, tuple[str, str]]:
    """Return, for each public name, its module and its name there, read from the package's own text."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    blocks = [n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    return {a.asname: (str(n.module), a.name) for n in imports for a in n.names if a.asname}
