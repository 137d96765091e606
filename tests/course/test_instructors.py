"""The instructor's guide says what the course says: minutes, points and plans are those of the labs."""

import re

import pytest

from labkit.course.exercises.exercise import of_lab
from labkit.course.labs import LABS
from labkit.course.notebooks import build

TEXT = (build.checkout() / "solutions" / "INSTRUCTORS.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]


def test_minutes_exercises_and_points_are_those_of_the_labs():
    given = {row[0]: row[1:] for row in ROWS if re.fullmatch(r"\d\d", row[0]) and len(row) == 6}
    wanted = {
        lab.number: [
            f"{number:g}"
            for number in (
                lab.study_minutes,
                lab.run_minutes[1],
                lab.first_minutes,
                len(of_lab(lab.number)),
                sum(item.points for item in of_lab(lab.number)),
            )
        ]
        for lab in LABS
    }
    assert given == wanted


@pytest.mark.parametrize(("weeks", "left_out"), [(12, set()), (6, {"08", "14"})])
def test_plans_add_up_and_respect_what_labs_build_on(weeks, left_out):
    start = next(place for place, row in enumerate(ROWS) if row[0] == f"{weeks} weeks")
    minutes = {lab.number: lab.study_minutes for lab in LABS}
    taken: list[str] = []
    for week, labs, total in ROWS[start + 2 : start + 2 + weeks]:
        numbers = labs.split(", ")
        assert int(total) == sum(minutes[number] for number in numbers), f"week {week}"
        taken += numbers
    assert sorted(taken) == sorted(set(minutes) - left_out)
    for lab in LABS:
        if lab.number in taken:
            before = taken[: taken.index(lab.number)]
            assert set(lab.prerequisites) <= set(before), lab.number


def test_every_lab_has_slips_and_a_question_for_the_class():
    assert {row[0] for row in ROWS if len(row) == 3 and row[2].endswith(("?", "."))} >= {
        lab.number for lab in LABS
    }
