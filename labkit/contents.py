"""What an object holds, read for a key: attributes and slots, what it would be pickled as, how it prints in any process."""

from __future__ import annotations

import copyreg
import functools
import re
import sys
from typing import Any


def settings_in(value: Any) -> dict[str, Any]:
    """Return what an object holds by name, slots too, without what a cached property has made of the rest."""
    slots = [name for cls in type(value).__mro__ for name in _slots(cls)]
    settings = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    made = {
        name
        for cls in type(value).__mro__
        for name, by in vars(cls).items()
        if type(by) is functools.cached_property
    }
    return settings | {
        name: item for name, item in getattr(value, "__dict__", {}).items() if name not in made
    }


def _slots(cls: type) -> list[str]:
    named = vars(cls).get("__slots__", ())
    named = (named,) if isinstance(named, str) else named
    hidden = f"_{cls.__name__.lstrip('_')}"
    return [
        f"{hidden}{name}" if name[:2] == "__" and name[-2:] != "__" else name
        for name in named
        if name not in ("__dict__", "__weakref__")
    ]


def shown(value: Any) -> str:
    """Return ``repr`` without addresses, which differ in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def is_array(value: Any) -> bool:
    """Whether an object is an array or a tensor, and no table, which has names beside its numbers, nor a masked array."""
    module = type(value).__module__.partition(".")[0]
    return hasattr(value, "__array__") and module != "pandas" and not hasattr(value, "mask")


def global_random() -> list[Any]:
    """Return the generators that belong to the process, of the libraries that are loaded."""
    homes = (("random", "_inst"), ("numpy.random.mtrand", "_rand"), ("torch", "default_generator"))
    return [getattr(sys.modules[home], name, None) for home, name in homes if home in sys.modules]


def pickled(value: Any) -> list[Any] | None:
    """Return what an object of an installed library, or a container with more to it, would be pickled as."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        state = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:
        return None
    if isinstance(state, str):
        return [state]
    made, given, held, items, pairs = (*state, None, None, None)[:5]
    pairs = None if pairs is None else dict(pairs)
    return [made, list(given), held, None if items is None else list(items), pairs]
