"""JSON that can be read in one way only: each field once, numbers that are numbers, exactly the fields expected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


class TamperError(ValueError):
    """A document was changed after it was written, or written by somebody else; the message says where."""


def loads(text: str) -> Any:
    """Return what ``text`` holds, read strictly.

    Raises
    ------
    TamperError
        If a field stands twice, or a number is none (NaN, infinity, too large).
    ValueError
        If it is no JSON.

    Examples
    --------
    >>> loads('{"p": 0.01, "p": 0.9}')
    Traceback (most recent call last):
    ...
    labkit.strict_json.TamperError: field 'p' stands twice: two readers could read two documents
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TamperError(f"field {twice!r} stands twice: two readers could read two documents")
    return dict(pairs)


def _no_number(name: str) -> Any:
    raise TamperError(f"the document holds {name}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def exactly(found: Any, kinds: Mapping[str, type], what: str) -> None:
    """Refuse anything but an object with exactly these fields, each of its type.

    Raises
    ------
    TamperError
        If it is something else; ``what`` names it.
    """
    if not isinstance(found, dict) or set(found) != set(kinds):
        names = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise TamperError(f"{what} has the fields {names}; expected exactly {sorted(kinds)}")
    for name, kind in kinds.items():
        if type(found[name]) is not kind:
            raise TamperError(f"{what}: {name} is {type(found[name]).__name__}; expected {kind.__name__}")
