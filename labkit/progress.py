"""Progress bars for long work, switched off by ``LABKIT_PROGRESS=0``."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
_open: list[Any] = []  # bars that run now, the innermost last


def _stream() -> TextIO:
    """Return where bars go: standard error, but in a notebook standard output, which JupyterLab does not paint red."""
    in_kernel = type(sys.stdout).__module__.startswith("ipykernel.")
    return sys.stdout if in_kernel else sys.stderr


@functools.cache
def _one_line() -> type:
    """Return a tqdm bar that shares its one line with the bars around it: the innermost is seen.

    tqdm gives each nested bar a line of its own, which no output of a notebook and no log can take away again.
    """
    from tqdm import tqdm

    class OneLine(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            _open.append(self)
            super().__init__(*args, **kwargs)
            if self.disable:
                _open.remove(self)

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            if _open and _open[-1] is not self:
                return False
            return bool(super().display(msg, 0))

        def close(self) -> None:
            super().close()
            if self in _open:
                _open.remove(self)
                if _open:
                    _open[-1].refresh()

    return OneLine


def bar(total: int, description: str, *, initial: int = 0) -> tqdm:
    """Return a tqdm bar of ``total`` steps that vanishes when it is closed; inside another it takes over its line."""
    # The text bar, not the widget: a saved notebook then needs no widget state to be readable offline.
    around = f"{_open[-1].desc} {_open[-1].n}/{_open[-1].total} · " if _open else ""
    return _one_line()(
        total=total,
        desc=f"{around}{description}",
        initial=initial,
        leave=False,
        file=_stream(),
        dynamic_ncols=True,
        mininterval=0.3,
        disable=os.environ.get("LABKIT_PROGRESS") == "0",
    )


def track(iterable: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield from ``iterable`` under a progress bar."""
    if total is None:
        total = len(iterable) if hasattr(iterable, "__len__") else None
    with bar(total, description) as progress:
        for item in iterable:
            yield item
            progress.update()
