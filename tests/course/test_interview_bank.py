"""The bank of questions is whole: levels, areas, follow-ups, rubrics, and links to sections that compute something."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jupytext
import pytest

from labkit.course.interview import bank, formulas, sheets
from labkit.course.labs import lab

SOLUTIONS = Path(__file__).parents[2] / "solutions"
AREAS = {
    "differential privacy",
    "membership inference",
    "privacy audits",
    "watermarks and ownership",
    "federated systems",
    "governance",
    "system design",
}
FOLK = (
    "dp-eps-universal",
    "dp-deployed-bound",
    "dp-overlap",
    "dp-noise-per-parameter",
    "mia-auc",
    "wm-null-classes",
    "fl-secagg-hides-sum",
)


def sections(number: str) -> dict[str, bool]:
    """Return each heading of a lab, and whether a cell of code follows before the next heading of its rank."""
    cells = jupytext.read(SOLUTIONS / f"{lab(number).name}.py").cells
    found: dict[str, bool] = {}
    open_: list[tuple[int, str]] = []
    for cell in cells:
        if cell.cell_type == "code":
            found |= {title: True for _, title in open_}
            continue
        for line in cell.source.splitlines():
            marks, _, title = line.partition(" ")
            if marks and set(marks) == {"#"}:
                open_ = [one for one in open_ if one[0] < len(marks)] + [(len(marks), title)]
                found.setdefault(title, False)
    return found


def test_there_are_a_hundred_questions_in_four_levels_over_seven_areas() -> None:
    some = bank.questions()
    assert len(some) >= 100
    assert set(bank.areas()) == AREAS
    assert set(Counter(one.level for one in some)) == {1, 2, 3, 4}
    assert min(Counter(one.area for one in some).values()) >= 8


def test_ids_are_stable_words_and_the_beliefs_of_the_field_are_among_them() -> None:
    ids = [one.id for one in bank.questions()]
    assert len(set(ids)) == len(ids)
    assert all(id.replace("-", "").isalnum() and id == id.lower() for id in ids)
    assert set(FOLK) <= set(ids)


@pytest.mark.parametrize("number", sorted({one.lab for one in bank.questions()}))
def test_each_question_points_to_a_section_that_computes_something(number: str) -> None:
    there = sections(number)
    for one in bank.questions():
        if one.lab == number:
            assert there.get(one.section), (
                f"{one.id}: {one.section!r} is no section with code in lab {number}"
            )
            assert one.link.startswith(f"{lab(number).name}.ipynb#")
            assert " " not in one.link


def test_every_question_has_all_that_the_drill_shows() -> None:
    for one in bank.questions():
        assert set(one.rubric) == set(bank.SIGNALS)
        assert len(one.followups) == 2
        assert all(len(text) > 7 for text in one.texts().values()), one.id
        assert len(one.answer) > 200, one.id


def test_a_question_without_a_part_is_refused() -> None:
    with pytest.raises(bank.BankError, match="'x' of dp: expected"):
        bank._read("dp", {"id": "x", "level": 1, "rubric": {}})


def test_choosing_takes_the_beginning_of_an_area_and_names_all_when_nothing_fits() -> None:
    assert {one.area for one in bank.choose("Water", 2)} == {"watermarks and ownership"}
    with pytest.raises(LookupError, match="governance"):
        bank.choose("cooking")


def test_text_and_page_of_a_question_say_the_same_and_escape_it() -> None:
    one = bank.find("court-plan")
    text, page = sheets.revealed(one), sheets.card_html(one)
    assert "Follow-up" in text
    assert "Computed now" in text
    assert "{" not in text + page
    assert "<details>" in page
    assert "&quot;How would you prove" in page


@pytest.mark.parametrize("one", formulas.FORMULAS, ids=lambda one: one.name)
def test_a_printed_formula_is_what_labkit_computes(one: formulas.Formula) -> None:
    for case in one.cases:
        assert float(one.written(*case)) == pytest.approx(float(one.computed(*case)), rel=1e-3, abs=1e-9)
