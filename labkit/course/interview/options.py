"""The options of ``labkit drill``: read by the parser, so nothing heavy is loaded here."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = (
    "  labkit drill\n  labkit drill --area watermarks --level 3\n  labkit drill --list\n"
    "  labkit drill --export anki --out labkit.tsv\n  labkit drill --mock 45\n  labkit drill --cheat-sheet formulas.html"
)


def arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sub.add_argument("--area", metavar="AREA", help="only this area; the beginning of its name is enough")
    sub.add_argument("--level", type=int, choices=(1, 2, 3, 4), help="only this level: 1 explain to 4 design")
    what = sub.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the questions")
    what.add_argument("--show", metavar="ID", help="one question with its answer")
    what.add_argument("--export", choices=("csv", "anki"), help="the questions as a table, or as Anki notes")
    what.add_argument(
        "--mock", type=float, metavar="MINUTES", help="a mock interview; on paper without a terminal"
    )
    what.add_argument("--whiteboard", action="store_true", help="the exercise: design the hospital system")
    what.add_argument(
        "--cheat-sheet", type=Path, metavar="FILE", help="write two pages of formulas to print (HTML)"
    )
    sub.add_argument("--seed", type=int, default=0, help="another seed, another mock interview")
    sub.add_argument("--out", type=Path, metavar="FILE", help="write what --export gives to this file")
