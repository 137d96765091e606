"""The ladder of help: cause, remedy, hints 1 to 3, answer, in this order; nothing is told before its turn."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from proofs import formula, solutions, told_too_early

import labkit
from labkit.course import check, find
from labkit.course.checks import lab00
from labkit.course.exercises import checking
from labkit.course.exercises.exercise import Wrong, of_lab
from labkit.course.labs import LABS
from labkit.course.notebooks import build

IDS = [item.id for lab in LABS for item in of_lab(lab.number)]
CHECKS = sorted((Path(labkit.__file__).parent / "course" / "checks").rglob("lab*"))
FILES = sorted({file for path in CHECKS for file in ([path] if path.suffix == ".py" else path.glob("*.py"))})


@pytest.fixture(autouse=True)
def nobody_has_tried_yet(monkeypatch):
    monkeypatch.setattr(checking, "_wrong", {})


def halved(values, confidence=0.95):
    mean, low, high = lab00.interval(values, confidence)
    return mean, (mean + low) / 2, (mean + high) / 2


def population(values, confidence=0.95):
    mean, low, high = lab00.interval(values, confidence)
    share = ((len(values) - 1) / len(values)) ** 0.5
    return mean, mean + share * (low - mean), mean + share * (high - mean)


def test_the_first_wrong_try_is_told_the_cause_and_the_second_what_to_do():
    first = check("00.interval", population)
    second = check("00.interval", halved)
    third = check("00.interval", lambda values, confidence: (0.0, 0.0, 0.0))
    assert "ddof=1" not in str(first)
    assert "too small" in str(first)
    assert "sqrt(n)" in str(second)
    for outcome, hint in ((first, "Hint 1"), (second, "Hint 2"), (third, "Hint 3")):
        assert hint in str(outcome)
        assert hint in outcome.html


def test_pressing_again_is_no_new_try():
    for _ in range(3):
        outcome = check("00.interval", halved)
    assert outcome.tries == 1
    assert "sqrt(n)" not in str(outcome)


def test_running_the_cell_again_unchanged_is_no_new_try():
    text = "def interval(values, confidence=0.95):\n    return 0.0, 0.0, {}\n"

    def written(high):
        space = {}
        exec(compile(text.format(high), "<cell>", "exec"), space)
        return space["interval"]

    assert [check("00.interval", written(high)).tries for high in ("0.0", "0.0", "1.0", "0.0", "2.0")] == [
        1,
        1,
        2,
        2,
        3,
    ]


def test_exercises_have_ladders_of_their_own():
    check("00.interval", halved)
    check("00.interval", population)
    assert check("00.first_check", lambda predicted, labels: 7.0).tries == 1


def test_stubs_and_right_answers_are_no_wrong_tries():
    def stub(values, confidence=0.95):
        raise NotImplementedError

    check("00.interval", stub)
    check("00.interval", lambda values, confidence=0.95: lab00.interval(values, confidence))
    assert check("00.interval", halved).tries == 1


def test_a_remedy_stands_on_the_second_line():
    wrong = Wrong(because="the middle is off\ndivide by len(values)")
    assert (wrong.because, wrong.remedy, str(wrong)) == (
        "the middle is off",
        "divide by len(values)",
        "the middle is off\ndivide by len(values)",
    )
    assert Wrong(because="off").remedy == ""


def sentences(file: Path) -> list[tuple[int, str]]:
    """Return all sentences that a file of checks may show as cause and remedy, and where they stand."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {id(part) for node in ast.walk(tree) for part in _no_cause(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
        else:
            continue
        if text.count(" ") > 2:
            found.append((node.lineno, text))
    return found


def _no_cause(node: ast.AST) -> list[ast.AST]:
    """Return what under a node is a docstring, an input, a value that came or was expected, a part of an f-string, or
    what a reference raises.
    """
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        first = node.body[0] if node.body else None
        return [first.value] if isinstance(first, ast.Expr) else []
    if isinstance(node, ast.keyword) and node.arg in ("given", "expected", "got", "title", "reference"):
        return list(ast.walk(node.value))
    if isinstance(node, ast.Raise):
        raised = getattr(getattr(node.exc, "func", None), "id", "Wrong")
        return [] if raised == "Wrong" else list(ast.walk(node))
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Wrong":
        return [part for argument in node.args[:3] for part in ast.walk(argument)]
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
        "given",
        "expected",
        "what",
        "got",
        "shown",
    ):
        return list(ast.walk(node.value))
    return list(ast.walk(node))[1:] if isinstance(node, ast.JoinedStr) else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_no_cause_that_a_check_may_state_is_a_formula(file):
    """All of them, those that no named mistake meets too; what named mistakes meet is held in proofs.py."""
    causes = [(line, text.partition("\n")[0]) for line, text in sentences(file)]
    shown = {text: line for line, text in causes if formula(text)}
    allowed = [text for text in shown if re.search(r"\bfpr=|\.csv", text)]  # names of cases
    assert not {text: line for text, line in shown.items() if text not in allowed}


def hints(id: str) -> list[str]:
    lab = next(lab for lab in LABS if lab.number == id[:2])
    text = build.places(lab, build.checkout()).source.read_text(encoding="utf-8")
    part = text.partition(f"# ### Exercise {id}:")[2].partition("# ### Exercise")[0]
    found = re.findall(r"<summary>Hint (\d)</summary>\n(.*?)# </details>", part, flags=re.DOTALL)
    assert [number for number, _ in found] == ["1", "2", "3"]
    return [" ".join(line[2:] for line in body.split("\n")).strip() for _, body in found]


@pytest.mark.parametrize("id", IDS)
def test_the_first_hint_is_an_idea_and_the_last_is_nearly_the_code(id):
    first, _, last = hints(id)
    assert not told_too_early(id, first), first
    assert not [
        code for code in re.findall(r"`([^`]+)`", first) if not re.fullmatch(r"[\w.]+(\(\))?", code)
    ], first
    code = "".join(re.findall(r"`[^`]+`", last))
    assert code or formula(last), f"hint 3 of {id} holds no code: {last}"
    assert solutions(id[:2]).get(id) is not None
    assert find(id).minutes > 0
