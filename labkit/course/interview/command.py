"""``labkit drill``: what its options do."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from labkit.course.interview import bank, cheat_sheet, mock, sheets, terminal, whiteboard
from labkit.course.interview.study import Study


def main(options: argparse.Namespace) -> int:
    """Carry out the command and return its exit code."""
    if options.cheat_sheet:
        options.cheat_sheet.write_text(cheat_sheet.page(), encoding="utf-8")
        print(options.cheat_sheet)
        return 0
    typing = sys.stdin is not None and sys.stdin.isatty()
    if options.mock is not None:
        if typing:
            mock.interview(options.mock, seed=options.seed)
        else:
            print(
                mock.paper(
                    mock.plan(options.mock, seed=options.seed), minutes=options.mock, seed=options.seed
                )
            )
        return 0
    if options.whiteboard:
        print(whiteboard.text())
        return 0
    if options.show:
        one = bank.find(options.show)
        print(f"{sheets.asked(one)}\n\n{sheets.revealed(one)}")
        return 0
    some = bank.choose(options.area, options.level)
    if options.list:
        print(sheets.listing(some))
    elif options.export:
        _export(sheets.as_csv(some) if options.export == "csv" else sheets.as_anki(some), options.out)
    elif typing:
        terminal.drill(some, Study(), day=date.today())
    else:
        print(terminal.agenda(some, Study(), date.today()))
    return 0


def _export(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    out.write_text(text, encoding="utf-8")
    print(out)
