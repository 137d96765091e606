"""How labs look in JupyterLab: no code cut off at 900 px, code that only draws folded away, and nothing else."""

import ast
import re

import pytest
from lab_books import books_of

from labkit.course.labs import LABS

COLUMNS = 88  # what JupyterLab shows of a line at 900 px
LONGEST_CELL, LONGEST_FOLDED = 40, 70  # lines
AT_MOST_FOLDED = 0.3  # share of a lab's code lines: what is folded is not read

pytestmark = pytest.mark.parametrize("number", [item.number for item in LABS])


@pytest.fixture
def codes(number):
    return codes_of(number)


def codes_of(number):
    """Return the code cells of a lab's solution, as its source says."""
    book, _ = books_of(number)
    return [cell for cell in book.cells if cell.cell_type == "code"]


def folded(cell):
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def test_no_line_of_code_is_cut_off(codes):
    long = [line for cell in codes for line in cell.source.split("\n") if len(line) > COLUMNS]
    assert not long, f"more than {COLUMNS} columns"


def test_what_draws_by_hand_is_folded_and_computes_nothing_to_be_read(codes):
    for cell in codes:
        called = {
            ast.unparse(node.func) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)
        }
        if "plots.figure" in called:
            assert folded(cell), f'mark it "# %% tags=["hide-input"]":\n{cell.source[:200]}'
        if folded(cell):
            shown = called & {"print", "check", "predict", "revealed", "pd.DataFrame", "display"}
            assert not shown, f"{shown} is to be seen: a cell of its own\n{cell.source[:200]}"


def test_cells_fit_on_a_screen(codes):
    for cell in codes:
        longest = LONGEST_FOLDED if folded(cell) else LONGEST_CELL
        assert len(cell.source.splitlines()) <= longest, cell.source[:80]


def test_no_more_is_folded_than_a_learner_can_do_without(codes):
    lines = {True: 0, False: 0}
    for cell in codes:
        lines[bool(folded(cell))] += len([line for line in cell.source.splitlines() if line.strip()])
    assert lines[True] <= AT_MOST_FOLDED * sum(lines.values())


def test_figures_are_shown_by_the_house_style_alone(codes):
    for cell in codes:
        assert not re.search(r"\bplt\.|%matplotlib|to_html\(", cell.source), cell.source[:200]
