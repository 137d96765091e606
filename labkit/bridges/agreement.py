"""What every bridge hands back: our figure beside another tool's, how far apart they are, and how far they may be.

Examples
--------
>>> line = relative("ε of one setting", ours=1.2810, theirs=1.2813)
>>> line.agrees
True
>>> Line("accuracy", 0.91, 0.93, 0.02).agrees is None  # shown, not judged
True
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd

FALSE_FAILURE = 1e-6  # chance that a line about random numbers fails although both tools draw from one law


@dataclass(frozen=True)
class Line:
    """One figure by us and by another tool.

    Attributes
    ----------
    what : str
    ours, theirs : float
    distance : float
        How far apart they are, in the way that ``measure`` names.
    allowed : float
        The largest distance that still counts as agreement; NaN where the line is shown and not judged.
    measure : str
        What the distance is, and where ``allowed`` comes from.
    """

    what: str
    ours: float
    theirs: float
    distance: float
    allowed: float = math.nan
    measure: str = "shown, not judged"

    @property
    def agrees(self) -> bool | None:
        """Whether the distance is allowed; None where nobody said how far apart the two may be."""
        if math.isnan(self.allowed):
            return None
        return bool(self.distance <= self.allowed)  # a distance that is NaN is no agreement


def relative(what: str, ours: float, theirs: float, allowed: float = 1e-3) -> Line:
    """Return a line whose distance is the difference over the other tool's figure."""
    distance = abs(ours - theirs) / abs(theirs) if theirs else abs(ours - theirs)
    return Line(what, float(ours), float(theirs), float(distance), allowed, "relative difference")


def absolute(what: str, ours: float, theirs: float, allowed: float, why: str = "") -> Line:
    """Return a line whose distance is the plain difference; ``why`` says where ``allowed`` comes from."""
    measure = f"difference ({why})" if why else "difference"
    return Line(what, float(ours), float(theirs), float(abs(ours - theirs)), allowed, measure)


def largest(what: str, ours: Any, theirs: Any, allowed: float) -> Line:
    """Return a line over two arrays of one shape: means of their sizes, and the largest difference of two entries.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    one, two = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if one.shape != two.shape:
        raise ValueError(f"{what}: got arrays of shape {one.shape} and {two.shape}; expected the same")
    distance = float(np.abs(one - two).max())
    sizes = float(np.abs(one).mean()), float(np.abs(two).mean())
    return Line(what, *sizes, distance, allowed, f"largest difference of {one.size:,} entries")


@dataclass(frozen=True, repr=False)
class Agreement(Result):
    """One tool held against labkit: see `labkit.bridges.compare`.

    Attributes
    ----------
    tool : str
    lines : tuple of Line
    versions : dict
        Distribution to version, in the environment where the tool ran.
    command : str
        What makes this result again.
    date : str
        Day of the run, UTC.
    source, profile : str
        Of the records.
    seeds : tuple of int
        Empty where nothing is drawn; tools that take no seed say so in ``notes``.
    environment : str
    notes : tuple of str
        What the comparison does not show.
    """

    tool: str
    lines: tuple[Line, ...]
    versions: dict[str, str]
    command: str
    source: str
    profile: str
    seeds: tuple[int, ...] = ()
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    environment: str = "this one"
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def judged(self) -> tuple[Line, ...]:
        """The lines that say how far apart the two may be."""
        return tuple(line for line in self.lines if line.agrees is not None)

    @property
    def agrees(self) -> bool:
        """Whether every judged line agrees, and there is one."""
        return bool(self.judged) and all(line.agrees for line in self.judged)

    def summary(self) -> str:
        """Return the tool, its version, and how many lines agree."""
        kept = sum(bool(line.agrees) for line in self.judged)
        shown = len(self.lines) - len(self.judged)
        rest = f", {shown} more shown and not judged" if shown else ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        seeds = f"seeds {', '.join(map(str, self.seeds))}" if self.seeds else "no seed"
        return (
            f"{self.tool}: {kept} of {len(self.judged)} judged lines agree{rest} ({versions}; {self.source}; "
            f"profile {self.profile}; {seeds}; {self.date}; {self.command})"
        )

    def table(self) -> pd.DataFrame:
        """Return one row a line."""
        import pandas as pd

        words = {True: "yes", False: "NO", None: "not judged"}
        rows = [
            {
                "compared": line.what,
                "labkit": f"{line.ours:.6g}",
                self.tool: f"{line.theirs:.6g}",
                "apart": f"{line.distance:.3g}",
                "allowed": "" if math.isnan(line.allowed) else f"{line.allowed:.3g}",
                "how": line.measure,
                "agree": words[line.agrees],
            }
            for line in self.lines
        ]
        return pd.DataFrame(rows).set_index("compared")

    def numbers(self) -> dict[str, Any]:
        """Return every line with its verdict, and what the figures depend on."""
        return {
            "tool": self.tool,
            "agrees": self.agrees,
            "date": self.date,
            "command": self.command,
            "versions": self.versions,
            "environment": self.environment,
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "lines": [
                {
                    "what": line.what,
                    "ours": line.ours,
                    "theirs": line.theirs,
                    "distance": line.distance,
                    "allowed": None if math.isnan(line.allowed) else line.allowed,
                    "measure": line.measure,
                    "agrees": line.agrees,
                }
                for line in self.lines
            ],
            "notes": list(self.notes),
            "details": self.details,
        }


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each distribution, with Python's and labkit's own.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If one is not installed.
    """
    found = {name: metadata.version(name) for name in distributions}
    return {**found, "labkit": metadata.version("labkit"), "python": platform.python_version()}
