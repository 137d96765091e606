"""``labkit classroom grade``: all submissions of a course folder, as one table and a page of feedback for each learner."""

from __future__ import annotations

import csv
import html
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from labkit import progress
from labkit.course import showing
from labkit.course.exercises.checking import NOT_ATTEMPTED, PASSED, Outcome
from labkit.course.exercises.exercise import find
from labkit.course.grading import landlock, submission
from labkit.course.labs import LABS, Lab
from labkit.course.notebooks import run as labs_at_hand
from labkit.course.notebooks import written

GRADES, FEEDBACK = "labkit-grades.csv", "labkit-feedback"
LARGEST_NOTEBOOK = 2**26  # bytes, pictures and all
NO_SYSTEM_FENCE = "this system has no Landlock: submissions are fenced by Python alone (solutions/INSTRUCTORS.md, What remains possible)"
COLUMNS = ("student", "lab", "exercise", "points", "possible", "status", "remark")


class GradingError(RuntimeError):
    """A course folder cannot be graded; the message says what is expected."""


@dataclass(frozen=True)
class Work:
    """One notebook that a student handed in."""

    student: str
    lab: Lab
    path: Path


def submissions(folder: Path) -> list[Work]:
    """Return what was handed in: ``submitted/STUDENT/LAB/LAB.ipynb``, the layout of nbgrader.

    Raises
    ------
    GradingError
        If there is nothing.
    """
    found = [
        Work(os.fsencode(student.name).decode("utf-8", "backslashreplace"), lab, path)
        for student in sorted((folder / "submitted").glob("*"))
        for lab in LABS
        if (path := student / lab.name / f"{lab.name}.ipynb").is_file()
    ]
    if not found:
        raise GradingError(
            f"{folder} holds no submission: expected {folder / 'submitted' / 'STUDENT' / 'LAB' / 'LAB.ipynb'}, "
            f"such as submitted/ada/{LABS[2].name}/{LABS[2].name}.ipynb"
        )
    return found


def grade(
    folder: Path, *, seconds: float = 60, megabytes: int = 2048, force: bool = False
) -> tuple[Path, Path]:
    """Grade every submission in a course folder and return the paths of the table and of the feedback's folder.

    A submission that cannot be graded costs its own points and no other's: its rows say what stood in the way.

    Parameters
    ----------
    folder : Path
        Made by ``labkit build --classroom``; submissions lie below ``submitted/``.
    seconds, megabytes : number
        Time and memory that one exercise may take.
    force : bool
        Put a table or a page that was edited since aside, each as ``NAME.yours``, instead of refusing.

    Raises
    ------
    GradingError
        If there are no submissions.
    labkit.course.notebooks.written.EditedError
        If the table or a page was edited since it was written; nothing is graded then.
    """
    work = submissions(folder)
    pages = [f"{FEEDBACK}/{one.student}/{one.lab.name}.html" for one in work]
    if not force:
        _refuse_edited(folder, [GRADES, *pages])
    if not landlock.version():
        print(NO_SYSTEM_FENCE, file=sys.stderr)
    rows: list[tuple[str, ...]] = []
    made: dict[str, str] = {}
    _warm_up({one.lab for one in work}, megabytes)
    with progress.bar(len(work), "grading") as bar:
        for one, page in zip(work, pages, strict=True):
            bar.set_postfix_str(f"{one.student} {one.lab.number}", refresh=sys.stderr.isatty())
            outcomes = _grade(one, folder, seconds, megabytes)
            rows += [_row(one, outcome) for outcome in outcomes]
            made[page] = _page(one, outcomes)
            bar.update()
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    # What was edited meanwhile is put aside: an hour of grading is not lost for it either.
    written.write(folder, {GRADES: table.getvalue(), **made}, force=True)
    return folder / GRADES, folder / FEEDBACK


def _refuse_edited(folder: Path, names: list[str]) -> None:
    """Raise before anything is graded if a file holds what labkit did not write: points given by hand, say."""
    known = written.read_record(folder)
    edited = [
        name
        for name in names
        if (path := folder / name).is_file() and written.fingerprint(path.read_bytes()) != known.get(name)
    ]
    if edited:
        raise written.EditedError(
            f"edited since labkit wrote them, or not written by it: {', '.join(edited)}. Nothing was graded. Move them "
            "away, or add --force, which keeps each as NAME.yours beside the new one"
        )


def _warm_up(labs: set[Lab], megabytes: int) -> None:
    """Grade each lab's handout, which counts for nobody: what loads on first use is no student's time."""
    import nbformat

    for item in labs:
        path = labs_at_hand.find(item)
        handout = nbformat.read(path, as_version=4)
        submission.grade(
            item, submission.questions(item, path), handout, seconds=600, megabytes=megabytes, hidden=[]
        )


def _grade(work: Work, folder: Path, seconds: float, megabytes: int) -> list[Outcome]:
    import nbformat

    asked = submission.questions(work.lab, labs_at_hand.find(work.lab))
    try:
        if not work.path.resolve().is_relative_to(work.path.parents[1].resolve()):
            raise GradingError("it is a link to somewhere else")
        if (size := work.path.stat().st_size) > LARGEST_NOTEBOOK:
            raise GradingError(f"it has {size:,} bytes")
        notebook = nbformat.read(work.path, as_version=4)
        hidden = submission.hidden_folders(folder)
        done = submission.grade(
            work.lab, asked, notebook, seconds=seconds, megabytes=megabytes, hidden=hidden
        )
    except Exception as error:  # whatever is wrong with one notebook ends the grading of no other
        remark = (
            f"The notebook cannot be read ({type(error).__name__}: {str(error)[:200]}): hand it in again."
        )
        return [Outcome(find(id), NOT_ATTEMPTED, remark=remark) for id in asked]
    return list(done.values())


def _points(outcome: Outcome) -> int:
    return outcome.exercise.points if outcome.status == PASSED else 0


def _row(work: Work, outcome: Outcome) -> tuple[str, ...]:
    remark = outcome.problem.because if outcome.problem else outcome.remark
    points, item = _points(outcome), outcome.exercise
    cells = (work.student, work.lab.number, item.id, str(points), str(item.points), outcome.status, remark)
    # A spreadsheet runs a cell that begins like a formula, and a folder's name is a student's to choose.
    return tuple(f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells)


def _page(work: Work, outcomes: list[Outcome]) -> str:
    """Return a learner's own feedback as one HTML page."""
    points, possible = sum(map(_points, outcomes)), sum(o.exercise.points for o in outcomes)
    title = f"{work.lab.number} · {work.lab.title}: {points} of {possible} points"
    boxes = "".join(
        f"<h2>{html.escape(o.exercise.id)} · {_points(o)} of {o.exercise.points}</h2>{_box(o)}"
        for o in outcomes
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem}"
        "h2{font-size:1rem;margin:1.2em 0 .2em}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(work.student)}. Each function was run by itself, with "
        f"labkit's version of every other exercise that it calls.</p>{boxes}</body></html>\n"
    )


def _box(outcome: Outcome) -> str:
    status, heading, lines, _ = outcome.parts()
    return showing.box(status, heading, lines, outcome.remark)
