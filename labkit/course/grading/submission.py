"""One submission: what is asked comes from the instructor's own sources, what is answered from the student's notebook."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit import cache
from labkit.course.exercises.checking import NOT_ATTEMPTED, WRONG, Outcome, judge
from labkit.course.exercises.exercise import Wrong, find
from labkit.course.grading import slicing
from labkit.course.grading.remote import Code, NotLoaded, running
from labkit.course.labs import Lab

ANSWERED = ("solutions", "notebooks", "tests", ".git", "build", "dist")  # where answers lie in a checkout
CALL = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\w+)[\"']\s*,\s*(\w+)\s*\)")


@dataclass(frozen=True)
class Question:
    """What one exercise asks for.

    Attributes
    ----------
    id : str
        The exercise.
    name : str
        What the function is called in the notebook.
    stub : callable
        The function as it is handed out, with its parameters and its promise.
    """

    id: str
    name: str
    stub: Callable[..., Any]


@functools.cache
def questions(item: Lab, notebook: Path) -> dict[str, Question]:
    """Return the exercises of a lab by id, from the learner's copy that the instructor's labkit has."""
    import nbformat

    book = nbformat.read(notebook, as_version=4)
    cells = _definitions(book)
    texts = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    return {
        id: Question(id, name, _stub(name, cells))
        for id, name in CALL.findall(texts)
        if id[:2] == item.number
    }


def _definitions(notebook: Any) -> list[ast.stmt]:
    """Return a notebook's statements without its checks: in older copies of a lab they bind the function's name."""
    return [each for each in slicing.statements(notebook) if not CALL.search(ast.unparse(each))]


def _stub(name: str, cells: list[ast.stmt]) -> Callable[..., Any]:
    """Return the function that is handed out; only its signature counts, so what fails to load is left aside."""
    space: dict[str, Any] = {}
    exec(compile(slicing.needed(name, cells), "handout", "exec"), space)
    return space[name]


def grade(
    item: Lab, asked: dict[str, Question], notebook: Any, *, seconds: float, megabytes: int, hidden: list[str]
) -> dict[str, Outcome]:
    """Return what came of each exercise of a submission, every one in a fresh process.

    Parameters
    ----------
    asked : dict
        `questions` of the lab.
    notebook : NotebookNode
        The submission.
    seconds, megabytes : number
        What one exercise may take.
    hidden : list of str
        Folders that a student's code may not read.
    """
    cells = _definitions(notebook)
    return {
        id: _grade_one(question, asked, cells, seconds=seconds, megabytes=megabytes, hidden=hidden)
        for id, question in asked.items()
    }


def _grade_one(
    question: Question,
    asked: dict[str, Question],
    cells: list[ast.stmt],
    *,
    seconds: float,
    megabytes: int,
    hidden: list[str],
) -> Outcome:
    item = replace(find(question.id), seconds=seconds)
    lent = {other.name: id.partition(".")[2] for id, other in asked.items() if id != question.id}
    source = slicing.needed(question.name, cells, without=lent)
    if not source:
        remark = (
            f"The notebook defines no function {question.name} (was it renamed, or is its cell no Python?)."
        )
        return Outcome(item, NOT_ATTEMPTED, remark=remark)
    others = {id.partition(".")[2]: find(id).answer for id in asked if id != question.id}
    code = Code(source, question.name, lent)
    try:
        with running(item, code, question.stub, others, hidden=hidden, megabytes=megabytes) as function:
            return judge(item, function)
    except NotLoaded as error:
        because = "the cell that defines the function, or something that it needs, fails by itself"
        return Outcome(item, WRONG, Wrong(got=str(error), expected="no error", because=because))


def hidden_folders(course: Path) -> list[str]:
    """Return the folders that hold answers or other people's work."""
    import labkit

    package, root = Path(labkit.__file__).parent, cache.checkout()
    folders = [package / "course" / "checks", package / "course" / "bundle", course]
    folders += [root / name for name in ANSWERED] if root else []
    return [str(folder.resolve()) for folder in folders]
