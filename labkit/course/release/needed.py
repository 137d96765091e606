"""Which entries of the cache a lab needs: its one-off work is asked for once more, and what it looks for is written down.

Run as a program, in an environment of its own: ``python -m labkit.course.release.needed 02 04`` prints the files, one
a line, relative to the cache. Prepare the labs before, in a process that ends: what is still to be made is not listed.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit import cache

MACHINES_OWN = ("precision",)  # measured on a machine, for that machine


def looked_for(numbers: list[str]) -> list[str]:
    """Prepare labs and return all files of the cache's entries that are opened, or looked for, on the way.

    An entry is ``kind/key``: a file, or a folder that goes as a whole, as a lab may open later what is only counted now.

    Parameters
    ----------
    numbers : list of str
        Labs that are prepared already; the profile is that of ``LABKIT_PROFILE``.

    Returns
    -------
    list of str
        Paths relative to the cache, with forward slashes, sorted.
    """
    from labkit.course.notebooks import run

    root, entries = cache.directory().resolve(), set[Path]()

    def note(name: Any) -> None:
        if isinstance(name, str | bytes | os.PathLike):
            path = Path(os.fsdecode(name))
            if path.is_absolute() and path.is_relative_to(root) and len(path.relative_to(root).parts) > 1:
                entries.add(root.joinpath(*path.relative_to(root).parts[:2]))

    # Neither can be taken away in a way that is worth it; this process does nothing else.
    sys.addaudithook(
        lambda event, args: note(args[0]) if event in ("open", "os.listdir", "os.scandir") else None
    )
    for module, name in ((os, "stat"), (os.path, "isfile"), (os.path, "exists"), (os.path, "isdir")):
        setattr(module, name, _telling(getattr(module, name), note))
    for number in numbers:
        run.prepare(number)
    found = [path for entry in list(entries) for path in ([entry] if entry.is_file() else entry.rglob("*"))]
    names = {path.relative_to(root) for path in found if path.is_file() and path.suffix != ".part"}
    return sorted(name.as_posix() for name in names if name.parts[0] not in MACHINES_OWN)


def _telling(function: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
    """Return a function that says what it is asked about before it answers: a file that is only counted is not opened."""

    @functools.wraps(function)
    def told(path: Any, *args: Any, **kwargs: Any) -> Any:
        note(path)
        return function(path, *args, **kwargs)

    return told


if __name__ == "__main__":
    print("\n".join(looked_for(sys.argv[1:])))
