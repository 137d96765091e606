"""What no press of a check may do, proven on every exercise of every lab, in the very cells that a learner has."""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from labkit.course import Solved, check, find
from labkit.course.exercises import checking, progress
from labkit.course.exercises.exercise import of_lab
from labkit.course.grading import slicing
from labkit.course.labs import LABS
from labkit.course.notebooks import build, source

IDS = [item.id for lab in LABS for item in of_lab(lab.number)]


@functools.cache
def cells(number: str) -> dict[str, tuple[str, str, str]]:
    """Return {exercise: (function's name, all that its stub needs, its check cell)} of a lab's handout."""
    lab = next(lab for lab in LABS if lab.number == number)
    text = build.places(lab, build.checkout()).source.read_text(encoding="utf-8")
    book = source.handout(source.solution(lab, text))
    found = {}
    for cell in book.cells:
        for id in source.CHECK.findall(cell.source) if cell.cell_type == "code" else ():
            call = ast.parse(cell.source).body[-1].value  # type: ignore[attr-defined]
            name = call.args[1].id
            found[id] = (name, slicing.needed(name, slicing.statements(book)), cell.source)
    return found


@pytest.fixture
def notebook(monkeypatch):
    """Return a function that makes a kernel's names as they are once an exercise's stub cell has run."""
    monkeypatch.setattr(checking, "_judged", {})

    def opened(id: str) -> tuple[dict[str, Any], str, str]:
        name, stub, press = cells(id[:2])[id]
        space: dict[str, Any] = {"check": check}
        exec(compile(stub, "stub", "exec"), space)
        return space, name, press

    return opened


def record(id: str) -> tuple[str, int]:
    entry = progress.read().exercises.get(id, {"status": "nothing", "tries": 0})
    return entry["status"], entry["tries"]


@pytest.mark.parametrize("id", IDS)
def test_a_check_cell_is_one_call_and_binds_nothing(id):
    _, _, press = cells(id[:2])[id]
    (statement,) = ast.parse(press).body
    assert isinstance(statement, ast.Expr)
    assert ast.unparse(statement.value).startswith("check(")


@pytest.mark.parametrize("id", IDS)
def test_pressed_twice_an_unsolved_exercise_stays_unsolved(id, notebook):
    """A forgotten run and a syntax error in the cell above leave the very same names behind: the stub's."""
    space, name, press = notebook(id)
    before = space[name]
    for _ in range(2):
        exec(press, space)
        assert space[name] is before
        assert record(id) == ("not attempted", 0)
    assert checking.passed(id) is None


@pytest.mark.parametrize("id", IDS)
def test_pressed_twice_a_wrong_answer_stays_wrong(id, notebook):
    space, name, press = notebook(id)
    space[name] = lambda *args, **kwargs: object()
    for tries in (1, 2):
        exec(press, space)
        assert record(id) == ("wrong", tries)
    assert checking.passed(id) is None


@pytest.mark.parametrize("id", IDS)
def test_labkits_own_answer_is_nobodys_answer(id, notebook, capsys):
    space, name, press = notebook(id)
    space[name] = getattr(Solved(id[:2]), id[3:])
    exec(press, space)
    assert "run the cell above first" in capsys.readouterr().out
    assert record(id) == ("nothing", 0)


@pytest.mark.parametrize("id", IDS)
def test_a_right_answer_passes_however_often_it_is_pressed_and_then_stays_the_learners(id, notebook):
    space, name, press = notebook(id)
    own = space[name] = as_ones_own(find(id).answer)
    for tries in (1, 2):
        exec(press, space)
        assert record(id) == ("passed", tries)
    assert getattr(Solved(id[:2]), id[3:]) is own
    space[name] = lambda *args, **kwargs: object()
    exec(press, space)
    assert getattr(Solved(id[:2]), id[3:]) is find(id).answer, "a broken version is not used"


@pytest.mark.parametrize("number", [lab.number for lab in LABS])
def test_later_cells_take_exercises_from_solved_alone(number):
    """So a skipped exercise blocks nothing, and no cell of a lab runs what has not passed."""
    lab = next(lab for lab in LABS if lab.number == number)
    book = source.solution(lab, build.places(lab, build.checkout()).source.read_text(encoding="utf-8"))
    asked = {name: id for id, (name, _, _) in cells(number).items()}
    known = {id[3:] for id in asked.values()}
    for cell in book.cells:
        if cell.cell_type != "code" or source.CHECK.search(cell.source):
            continue
        nodes = list(ast.walk(ast.parse(cell.source)))
        taken = {
            n.attr for n in nodes if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "solved"
        }
        assert taken <= known, f"no exercise of lab {number}: {taken - known}"
        bare = {n.id for n in nodes if isinstance(n, ast.Name) and n.id in asked}
        own = {n.name for n in nodes if isinstance(n, ast.FunctionDef)} | {
            n.arg for n in nodes if isinstance(n, ast.arg)
        }
        assert not bare - own, f"take {bare - own} from solved: {cell.source[:80]!r}"


def test_a_renamed_function_turns_nothing_green(notebook):
    space, name, press = notebook("02.clip_per_sample")
    space["my_clip"] = space.pop(name)
    with pytest.raises(NameError, match=name):
        exec(press, space)
    assert record("02.clip_per_sample") == ("nothing", 0)


@pytest.mark.parametrize("id", IDS)
def test_not_a_number_is_never_right(id):
    """Every comparison with NaN is false, so a check that asks `if difference > tolerance` lets it pass."""
    made = [0]

    def nan(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(nan, value))
        kinds = (float, np.floating, np.ndarray, torch.Tensor)
        if isinstance(value, kinds) and str(getattr(value, "dtype", "float")).find("float") >= 0:
            made[0] += 1
            return value * math.nan
        return value

    answer = find(id).answer
    outcome = checking.judge(find(id), lambda *args, **kwargs: nan(answer(*args, **kwargs)))
    assert outcome.status == ("wrong" if made[0] else "passed")


@functools.cache
def given_away(number: str) -> dict[str, list[str]]:
    """Return {exercise: pieces of code in its last two hints and in its answer}, without blanks."""
    lab = next(lab for lab in LABS if lab.number == number)
    book = source.solution(lab, build.places(lab, build.checkout()).source.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    current = ""
    for cell in book.cells:
        current = ([current] + [id for id, _ in source.HEADING.findall(cell.source)])[-1]
        if "<summary>Hint 2</summary>" in cell.source:
            pieces = re.findall(r"`([^`]+)`", cell.source.split("<summary>Hint 2</summary>")[1])
            found.setdefault(current, []).extend(pieces)
        elif source.BEGIN in cell.source and cell.cell_type == "code":
            answer = source.without_solution(cell.source)[1]
            returned = [
                line.partition("return ")[2] or line.partition(" = ")[2] for line in answer.split("\n")
            ]
            found.setdefault(current, []).extend(returned)
    return {id: ["".join(piece.split()) for piece in pieces] for id, pieces in found.items()}


@pytest.mark.parametrize("id", IDS)
def test_a_first_wrong_try_is_not_told_the_formula(id):
    """The message on a mistake that no check foresees quotes no code of the last hints, and nothing of the answer."""

    def off(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(off, value))
        if isinstance(value, bool | str | bytes | set | dict) or value is None or callable(value):
            return value
        kind = str(getattr(value, "dtype", "float"))
        return value if "bool" in kind else value * 1.37 + 0.11 if "float" in kind else value + 3

    answer = find(id).answer
    problem = checking.judge(find(id), lambda *args, **kwargs: off(answer(*args, **kwargs))).problem
    if problem is None:  # words, digests and truth values: there is nothing to be off by
        return
    cause = problem.because.partition("\n")[0]  # a first try is told the cause, a later one the remedy
    told = "".join(f"{cause} {problem.expected if isinstance(problem.expected, str) else ''}".split())
    code = [piece for piece in given_away(id[:2])[id] if len(piece) >= 15 and not piece.isidentifier()]
    assert not [piece for piece in code if piece in told]


def as_ones_own(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: function(*args, **kwargs)
