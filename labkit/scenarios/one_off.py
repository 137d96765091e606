"""One-off work of the labs, part by part: what is done, how long it takes, and whether it was there already.

A lab's ``prepare`` names its parts with `part`; whoever prepares (`labkit.bench.prepare`) listens with `listen`. Where
nobody listens, naming a part does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from labkit import cache


@dataclass(frozen=True)
class Work:
    """One lab's one-off work.

    Attributes
    ----------
    lab : str
        Its number.
    prepare : str
        ``"module:function"``.
    minutes : float
        What it takes at profile laptop on 2 cores when nothing is cached, as measured; 0 where that is not known.
    """

    lab: str
    prepare: str
    minutes: float = 0.0


@dataclass(frozen=True)
class Part:
    """A part of a lab's one-off work that was done.

    Attributes
    ----------
    what : str
    seconds : float
    written : int
        Files that the cache holds now and did not hold before: 0 where everything was there already.
    """

    what: str
    seconds: float
    written: int

    @property
    def state(self) -> str:
        """Whether the work was done or found: "cold" or "cached"."""
        return "cold" if self.written else "cached"


_HEARD: ContextVar[list[Part] | None] = ContextVar("heard", default=None)


@contextmanager
def listen() -> Iterator[list[Part]]:
    """Yield a list that every `part` within is added to when it ends.

    Examples
    --------
    >>> with listen() as heard:
    ...     with part("twenty null models"):
    ...         pass
    >>> heard[0].what, heard[0].state
    ('twenty null models', 'cached')
    """
    heard: list[Part] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


@contextmanager
def part(what: str) -> Iterator[None]:
    """Name what is done within, for whoever listens; a part inside a part belongs to the outer one."""
    heard = _HEARD.get()
    if heard is None:
        yield
        return
    token = _HEARD.set(None)
    held, start = files(), time.perf_counter()
    try:
        yield
    finally:
        _HEARD.reset(token)
        heard.append(Part(what, time.perf_counter() - start, len(files() - held)))


def files() -> set[str]:
    """Return the paths of all finished files in the cache."""
    folder = cache.directory()
    return {str(path) for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part")}
