"""What every lab's checks are held to: a stub is not attempted, a right answer passes, a mistake is named."""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections.abc import Callable

from labkit.course import check, find
from labkit.course.labs import LABS
from labkit.course.notebooks import build

# What no first wrong try is shown: an operator between operands, a relation, a call with arguments, an assignment of
# more than a number ("ε = 0" says a value and is no formula).
FORMULA = re.compile(
    r"""[\w)\]²|]\s(?:[*+/^]|\*\*|-)\s[\w(|√]      # a + b
    | \^ | \*\* | <= | >= | == | ≤ | ≥
    | \b[A-Za-z_][\w.]*\([^)\s][^)]*\)             # call(argument), and not (a word in brackets)
    | \w\s=\s(?!-?\d[\d.e-]*\b)[\w(]             # x = y
    | \bsqrt\b""",
    re.VERBOSE,
)
NUMBERS = re.compile(r"\b\d[\d.]*\s/\s\d[\d.]*\b|\b[\d.]+\^-?\d+")  # "0 / 0" and "2^31" are numbers, too
SHORTEST = 12  # characters, without blanks, of a piece of code that would give an answer away


def formula(text: str) -> str:
    """Return the first formula or call in a text, or nothing."""
    found = FORMULA.search(NUMBERS.sub("a number", text))
    return found[0] if found else ""


@functools.cache
def solutions(number: str) -> dict[str, frozenset[str]]:
    """Return {exercise: expressions of its solution, without blanks} of a lab."""
    lab = next(lab for lab in LABS if lab.number == number)
    text = build.places(lab, build.checkout()).source.read_text(encoding="utf-8")
    answers, found = [], {}
    for match in re.finditer(
        r"### BEGIN SOLUTION\n(.*?)### END SOLUTION|^check\(\s*\"([\w.]+)\"", text, re.DOTALL | re.MULTILINE
    ):
        if match[1]:
            answers.append(textwrap.dedent(match[1]))
            continue
        nodes = [node for answer in answers for node in ast.walk(ast.parse(answer))]
        parts = {"".join(ast.unparse(node).split()) for node in nodes if isinstance(node, ast.expr)}
        found[match[2]] = frozenset(
            part for part in parts if len(part) >= SHORTEST and re.search(r"[^\w'\"]", part)
        )
        answers = []
    return found


def told_too_early(id: str, text: str) -> list[str]:
    """Return what a text gives away of an exercise: a formula, or a piece of its solution."""
    bare = "".join(text.split())
    return [
        part
        for part in [formula(text), *sorted(solutions(id[:2])[id])]
        if part and "".join(part.split()) in bare
    ]


def stub(*args: object, **kwargs: object) -> None:
    raise NotImplementedError("your turn")


def prove_right(name: str, right: Callable) -> None:
    """Assert that a stub is not attempted, and that ``right`` and the reference pass."""
    assert check(name, stub).status == "not attempted"
    outcome = check(name, right)
    assert outcome.status == "passed", outcome
    find(name).run(find(name).answer)  # the reference passes its own check


def prove_mistake(name: str, attempt: Callable, message: str) -> None:
    """Assert that ``attempt`` is wrong, and that ``message`` is part of what the learner reads, at the latest when stuck.

    A first wrong try is told what is wrong in words: no formula, and no code of the solution.
    """
    outcome = check(name, attempt)
    assert outcome.status == "wrong", outcome
    told = f"{outcome.problem.because}: {outcome.problem.remedy}\n{outcome}"
    assert message in told, told
    assert not (early := told_too_early(name, outcome.problem.because)), (
        f"{outcome.problem.because!r} tells {early}"
    )


def prove_second_press(name: str, wrong: Callable, right: Callable) -> None:
    """Assert that a stub, a wrong and a right attempt are judged alike however often the check is pressed.

    A lab never rebinds the learner's name, so a check judges what was written.
    """
    for attempt, status in ((stub, "not attempted"), (wrong, "wrong"), (right, "passed")):
        assert [check(name, attempt).status for _ in range(2)] == [status, status]
