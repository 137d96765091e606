"""The progress overview: one row a lab, as a table in a notebook and as text on the command line."""

from __future__ import annotations

import html
from pathlib import Path

from labkit.course import showing
from labkit.course.exercises import progress
from labkit.course.exercises.exercise import of_lab
from labkit.course.labs import LABS

HEADERS = ("Lab", "Passed", "Not yet", "Points", "Guesses", "Next exercise")


def rows(saved: progress.Progress) -> list[tuple[str, ...]]:
    """Return one row of text per lab, in the order of `HEADERS`, and a last one with the sums."""
    table, sums = [], [0, 0, 0, 0, 0]
    for lab in LABS:
        items = of_lab(lab.number)
        passed = [item for item in items if saved.status(item.id) == "passed"]
        wrong = sum(saved.status(item.id) == "wrong" for item in items)
        counts = [len(passed), len(items), wrong, sum(i.points for i in passed), sum(i.points for i in items)]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        following = next(
            (item.id for item in items if item not in passed), "done" if items else "no exercises yet"
        )
        table.append((f"{lab.number} {lab.title}", *_counts(counts), _guesses(saved, lab.number), following))
    return [*table, ("All labs", *_counts(sums), _guesses(saved, ""), "")]


def _guesses(saved: progress.Progress, number: str) -> str:
    """Return how many guesses of a lab (of all for no number) came near; those in words are judged by nobody."""
    near = [one["near"] for id, one in saved.predictions.items() if id.startswith(number) and "near" in one]
    return f"{sum(map(bool, near))} of {len(near)} near" if near else "-"


def _counts(counts: list[int]) -> tuple[str, str, str]:
    passed, total, wrong, points, possible = counts
    return f"{passed} of {total}", str(wrong), f"{points} of {possible}"


def text() -> str:
    """Return the overview as plain text."""
    saved = progress.read()
    table = [HEADERS, *rows(saved)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADERS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * sum(widths, 2 * len(widths) - 2))
    notes = [f"Track: {saved.track}"] if saved.track else []
    notes += [saved.remark] if saved.remark else []
    return "\n".join(
        [*lines, "", *notes, f"Kept in {_near(progress.path())} (yours alone; delete it to start anew)"]
    )


def _near(path: Path) -> str:
    """Return a path as seen from here, or from home."""
    for base, name in ((Path.cwd(), ""), (showing.home(), "~/")):
        if base is not None and path.is_relative_to(base):
            return f"{name}{path.relative_to(base).as_posix()}"
    return str(path)


def _linked(text: str, place: str) -> str:
    """Return text as HTML that leads to a notebook beside this one, if that is there to be opened."""
    shown = html.escape(text)
    return f'<a href="{place}">{shown}</a>' if place and Path(place).is_file() else shown


def overview() -> None:
    """Show the learner's progress: a table in a notebook, text elsewhere."""
    saved = progress.read()
    head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in HEADERS)
    body = "".join(
        "<tr>"
        + f'<th scope="row" style="text-align:left">{_linked(row[0], place)}</th>'
        + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row[1:-1])
        + f'<td style="text-align:left">{_linked(row[-1], place if "." in row[-1] else "")}</td>'
        + "</tr>"
        for row, place in zip(rows(saved), [*(f"{lab.name}.ipynb" for lab in LABS), ""], strict=True)
    )
    caption = "Your progress" + (f" ({html.escape(saved.track)} track)" if saved.track else "")
    note = f"<p>{html.escape(saved.remark)}</p>" if saved.remark else ""
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"
    showing.show(table, text())
