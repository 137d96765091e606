"""Progress bars for long work, switched off by ``LABKIT_PROGRESS=0``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


def _stream() -> TextIO:
    """Return where bars go: standard error, but in a notebook standard output, which JupyterLab does not paint red."""
    in_kernel = type(sys.stdout).__module__.startswith("ipykernel.")
    return sys.stdout if in_kernel else sys.stderr


def bar(total: int, description: str, *, initial: int = 0) -> tqdm:
    """Return a tqdm bar of ``total`` steps that vanishes when it is closed."""
    # The text bar, not the widget: a saved notebook then needs no widget state to be readable offline.
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=description,
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
