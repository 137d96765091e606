"""All one-off work of the course, lab by lab, with minutes left; and its table: ``labkit prepare all``, ``labkit bench prepare``.

What exists is kept, model by model, so an interrupt loses one model at most and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import profiles
from labkit.bench.report import machine
from labkit.results import Result
from labkit.scenarios import one_off

if TYPE_CHECKING:
    import pandas as pd

    from labkit.scenarios.one_off import Part, Work


@dataclass(frozen=True)
class Prepared(Result):
    """What preparing took: see `prepare`.

    Attributes
    ----------
    parts : tuple of (str, Part)
        Lab and what was done, in order.
    failed : tuple of (str, str)
        Labs whose work ended with an error, and the error.
    """

    parts: tuple[tuple[str, Part], ...]
    failed: tuple[tuple[str, str], ...]
    machine: dict[str, Any]
    profile: str

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(part.seconds for _, part in self.parts)

    def lab_seconds(self) -> dict[str, float]:
        """Return seconds by lab."""
        total: dict[str, float] = {}
        for lab, part in self.parts:
            total[lab] = total.get(lab, 0.0) + part.seconds
        return total

    def numbers(self) -> dict[str, Any]:
        """Return seconds by lab and by part, with the machine's facts."""
        parts = [
            {"lab": lab, "what": part.what, "seconds": part.seconds, "state": part.state}
            for lab, part in self.parts
        ]
        return {
            "seconds": self.seconds,
            "by_lab": self.lab_seconds(),
            "parts": parts,
            "failed": dict(self.failed),
            "profile": self.profile,
            "machine": self.machine,
        }

    def summary(self) -> str:
        """Return the minutes, the slowest lab, and what failed."""
        by_lab = self.lab_seconds()
        slowest = max(by_lab, key=by_lab.__getitem__, default="")
        text = f"{self.seconds / 60:.1f} minutes for {len(by_lab)} labs, profile {self.profile}"
        if slowest:
            text += f"; most for lab {slowest}, {by_lab[slowest] / 60:.1f} minutes"
        cold = sum(part.state == "cold" for _, part in self.parts)
        text += f"; {cold} of {len(self.parts)} parts were made now, the others were there"
        return text + "".join(f"; LAB {lab} FAILED: {why}" for lab, why in self.failed)

    def table(self) -> pd.DataFrame:
        """Return one row a part: lab, what, seconds, cached or cold."""
        import pandas as pd

        rows = [
            {"lab": lab, "what": part.what, "seconds": round(part.seconds, 1), "state": part.state}
            for lab, part in self.parts
        ]
        return pd.DataFrame(rows, columns=["lab", "what", "seconds", "state"]).set_index("lab")


def prepare(
    works: Sequence[Work], *, say: Callable[[str], None] = lambda text: print(text, file=sys.stderr)
) -> Prepared:
    """Do the one-off work of each lab in turn, and go on with the next where one fails.

    Parameters
    ----------
    works : sequence of Work
        In an order in which later ones find what earlier ones made.
    say : callable
        Told before each lab how many minutes are left: at most, as what is cached takes none.
    """
    parts: list[tuple[str, Part]] = []
    failed: list[tuple[str, str]] = []
    pace = 1.0  # of this machine against the one that the minutes were measured on
    for position, work in enumerate(works):
        say(_ahead(works, position, pace))
        heard, error = _done(work)
        if error is not None:  # the others can be prepared all the same; the table and the exit code tell
            failed.append((work.lab, f"{type(error).__name__}: {error}"))
            say(f"lab {work.lab} failed: {type(error).__name__}: {error}")
        parts += [(work.lab, part) for part in heard]
        if work.minutes and error is None and all(part.state == "cold" for part in heard):
            pace = sum(part.seconds for part in heard) / 60 / work.minutes
    return Prepared(tuple(parts), tuple(failed), machine(), profiles.current().name)


def _done(work: Work) -> tuple[list[Part], Exception | None]:
    """Run a lab's own ``prepare`` and return its parts, one if it names none, and the error that ended it."""
    module, _, name = work.prepare.partition(":")
    held, start, error = one_off.files(), time.perf_counter(), None
    with one_off.listen() as heard:
        try:
            getattr(importlib.import_module(module), name)()
        except Exception as caught:
            error = caught
    seconds = time.perf_counter() - start
    rest = seconds - sum(part.seconds for part in heard)
    if not heard or rest > 1:
        heard.append(
            one_off.Part(
                "the rest" if heard else "all of it", rest, len(one_off.files() - held) * (not heard)
            )
        )
    return heard, error


def _ahead(works: Sequence[Work], position: int, pace: float) -> str:
    """Return the line that is said before a lab."""
    work = works[position]
    text = f"lab {work.lab} ({position + 1} of {len(works)})"
    if profiles.current().name != "laptop" or not work.minutes:
        return text
    left = pace * sum(other.minutes for other in works[position:])
    return f"{text}: at most {pace * work.minutes:.0f} minutes, {left:.0f} left in all; interrupt at will"


@contextlib.contextmanager
def _empty_cache() -> Iterator[None]:
    """Within it, the cache is an empty folder, thrown away afterwards."""
    before = os.environ.get("LABKIT_CACHE")
    with tempfile.TemporaryDirectory(prefix="labkit-cold-") as folder:
        os.environ["LABKIT_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["LABKIT_CACHE"]
            else:
                os.environ["LABKIT_CACHE"] = before


def main(arguments: Sequence[str], works: Sequence[Work]) -> int:
    """Run ``labkit bench prepare``; return 1 if a lab's work failed."""
    parser = argparse.ArgumentParser(prog="labkit bench prepare", description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", metavar="NN", help="numbers of labs; all when none is given")
    parser.add_argument("--cold", action="store_true", help="begin with an empty cache, and throw it away")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args(list(arguments))
    wanted = {str(number).zfill(2) for number in options.labs}
    chosen = [work for work in works if not wanted or work.lab in wanted]
    if unknown := wanted - {work.lab for work in works}:
        parser.error(f"no one-off work for lab {', '.join(sorted(unknown))}")
    with _empty_cache() if options.cold else contextlib.nullcontext():
        done = prepare(chosen)
    print(done.table().to_string())
    print(done)
    if options.json:
        done.save(options.json)
    return int(bool(done.failed))
