"""Watch which of labkit's functions run, to hold what a cache key covers against what made the result."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from labkit import reach


def ran(work: Callable[[], Any]) -> set[str]:
    """Return the names of all functions of labkit, but those that only show or keep results, that ran in ``work``."""
    seen: set[str] = set()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("labkit."):
            code = frame.f_code
            if code.co_filename != "<string>":  # written by @dataclass
                seen.add(f"{frame.f_globals['__name__']}.{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    named = {
        re.sub(r"\.<locals>.*|\.<(lambda|listcomp|genexpr|dictcomp|setcomp)>.*", "", name) for name in seen
    }
    return {name for name in named if not name.startswith(reach.SILENT) and not name.endswith(">")}


def _outer(names: set[str]) -> set[str]:
    """Return the functions of a module or class that nested ones stand in."""
    return {re.sub(r"\.<(locals|lambda|listcomp|genexpr|dictcomp|setcomp)>.*", "", name) for name in names}


def uncovered(work: Callable[[], Any], *code: Any) -> set[str]:
    """Return the names of functions that ran in ``work`` and that a key with this ``code`` does not see."""
    return ran(work) - _outer(reach.names(*code))
