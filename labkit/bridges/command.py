"""``labkit bridge TOOL``: run one tool that the course names beside labkit, and save what came of it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkit.bridges.registry import TOOLS, compare

DEFAULT = Path("labkit-runs")


def parser() -> argparse.ArgumentParser:
    """Return the parser of what follows ``labkit bridge``."""
    rows = "\n".join(f"  {name:<15}{tool.title}: {tool.what}" for name, tool in TOOLS.items())
    own = ", ".join(name for name, tool in TOOLS.items() if tool.isolated)
    made = argparse.ArgumentParser(
        prog="labkit bridge",
        description="Run a tool that the course names beside labkit and say whether they agree.",
        epilog=f"tools:\n{rows}\n\n{own} make an environment of their own in a temporary folder (minutes, up to 3 GB,\n"
        "and a package index) and remove it afterwards, however they end.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("tool", choices=TOOLS, metavar="TOOL", help="see below")
    made.add_argument("--out", type=Path, metavar="PATH", help="default: labkit-runs/bridge-TOOL.json")
    made.add_argument("--keep", action="store_true", help="leave the tool's own environment there")
    made.add_argument("--python", metavar="PATH", help="interpreter to make that environment with")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run one comparison, print and save it; 0 when all judged lines agree, 1 when not."""
    if not arguments:
        parser().print_help()
        return 0
    options = parser().parse_args(list(arguments))
    with _terminated_as_interrupted():
        found = compare(options.tool, keep=options.keep, python=options.python)
    path = found.save(options.out or DEFAULT / f"bridge-{options.tool}.json")
    print(found.table().to_string())
    for note in found.notes:
        print(f"note: {note}")
    print(found)
    print(f"saved: {path}", file=sys.stderr)
    return int(not found.agrees)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let a request to end (kill, a closed terminal) unwind like Ctrl-C, so that environments are removed."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(name, stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
