"""Which files of the cache a lab needs: its one-off work is asked for once more, and what it opens is written down.

Run as a program, in an environment of its own: ``python -m labkit.course.release.needed 02 04`` prints the files, one
a line, relative to the cache. Prepare the labs before, in a process that ends: what is still to be made is not listed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from labkit import cache

MACHINES_OWN = ("precision",)  # measured on a machine, for that machine


def opened(numbers: list[str]) -> list[str]:
    """Prepare labs and return the files below the cache that are opened on the way.

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

    root, found = cache.directory().resolve(), set[Path]()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path = Path(os.fsdecode(args[0]))
            if path.is_absolute() and path.is_relative_to(root):
                found.add(path)

    sys.addaudithook(watch)  # it cannot be taken away; this process does nothing else
    for number in numbers:
        run.prepare(number)
    names = [path.relative_to(root) for path in found if path.is_file()]
    return sorted(name.as_posix() for name in names if name.parts[0] not in MACHINES_OWN)


if __name__ == "__main__":
    print("\n".join(opened(sys.argv[1:])))
