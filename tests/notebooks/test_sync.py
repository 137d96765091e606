"""Generated notebooks equal what their source says, and each lab keeps the rules of the course."""

import itertools
import re

import nbformat
import pytest

from labkit import cache
from labkit.course.exercises import exercise
from labkit.course.labs import LABS, lab
from labkit.course.notebooks import build, source

ROOT = cache.checkout()
NUMBERS = [item.number for item in LABS if build.places(item, ROOT).source.is_file()]
HEADER = ("**Objectives.**", "**Prerequisites.**", "**Minutes.**", "**Difficulty.**")
CLOSING = "## What you can now defend in an interview"
LARGEST_NOTEBOOK = 2_000_000  # bytes
# Sources that changed with the code below them, and whose hour of preparation has not been run since. Each has to leave
# this list when it is executed: the test fails then.
NOT_YET_RUN: tuple[str, ...] = ()

pytestmark = pytest.mark.parametrize("number", NUMBERS)


def read(number):
    """Return (solution, learner's copy) as they lie in the repository."""
    files = build.places(lab(number), ROOT)
    return nbformat.read(files.solution, 4), nbformat.read(files.learner, 4)


def codes(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    """Return the Markdown of a notebook without its fenced code."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_files_equal_what_the_build_makes(number):
    differing = build.build([number], check=True)
    assert not differing, "run labkit build, and commit what it writes"


def test_solution_was_run_to_its_end_on_the_laptop_profile(number, request):
    if number in NOT_YET_RUN:
        request.applymarker(
            pytest.mark.xfail(reason="changed, and not executed anew on the laptop profile", strict=True)
        )
    solved, _ = read(number)
    nbformat.validate(solved)
    assert [cell.execution_count for cell in codes(solved)] == list(range(1, len(codes(solved)) + 1)), (
        f"run labkit build {number} --execute"
    )
    outputs = [output for cell in codes(solved) for output in cell.outputs]
    assert not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert solved.metadata.labkit.profile == "laptop"
    assert build.places(lab(number), ROOT).solution.stat().st_size < LARGEST_NOTEBOOK


def test_outputs_name_no_machine_and_every_picture_has_its_text(number):
    solved, _ = read(number)
    for cell in codes(solved):
        for output in cell.outputs:
            shown = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"/(home|root|Users|work|tmp)/", shown), shown
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt) >= 20, f"no alt text: show the figure with plots.show\n{cell.source}"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_solution_shows_real_data(number):
    shown = str([cell.outputs for cell in codes(read(number)[0])])
    assert "LABKIT_DATA" not in shown or number == "00"
    assert "stand-in for" not in shown.lower() or number == "00", "build with real data: set LABKIT_DATA"


def test_learner_copy_has_no_outputs_and_no_open_answers(number):
    solved, copy = read(number)
    nbformat.validate(copy)
    assert not [cell for cell in codes(copy) if cell.outputs or cell.execution_count]
    for original, cell in zip(codes(solved), codes(copy), strict=True):
        assert cell.id == original.id
        assert "SOLUTION" not in cell.source
        if source.BEGIN in original.source:
            assert source.STUB in cell.source
            assert '"""' in cell.source, "a stub has its docstring"


def test_each_exercise_is_whole(number):
    items = exercise.of_lab(number)
    assert len(items) >= (3 if number == "14" else 4)  # lab 14 is for talking
    text = prose(read(number)[1])
    headings = [id for id, _ in source.HEADING.findall(text)]
    assert sorted(headings) == sorted(item.id for item in items), (
        "each check has its exercise, and the reverse"
    )
    assert text.count("<summary>Answer</summary>") == len(items)
    for number_of_hint in (1, 2, 3):
        assert text.count(f"<summary>Hint {number_of_hint}</summary>") == len(items)


def test_grading_cells(number):
    grading = [cell.metadata.nbgrader for cell in read(number)[1].cells if "nbgrader" in cell.metadata]
    items = exercise.of_lab(number)
    assert sum(meta.get("points", 0) for meta in grading) == sum(item.points for item in items)
    assert len({meta.grade_id for meta in grading}) == len(grading) == 2 * len(items)


def test_header_and_headings(number):
    text = prose(read(number)[1])
    levels = [len(mark) for mark in re.findall(r"^(#+) ", text, flags=re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    jumps = [(a, b) for a, b in itertools.pairwise(levels) if b > a + 1]
    assert not jumps, "a heading skips a level"
    positions = [text.index(part) for part in HEADER]
    assert positions == sorted(positions)
    assert f"**Minutes.** {lab(number).study_minutes}," in text, "the minutes are those of labkit.course.labs"
    assert CLOSING in text


def test_source_style(number):
    solved, _ = read(number)
    for cell in codes(solved):
        assert "NBVAL_" not in cell.source, (
            "outputs are checked by asserts and checks, which nbval cannot skip"
        )
        assert not re.search(r"^\s*plt\.show|%matplotlib", cell.source, flags=re.MULTILINE)
