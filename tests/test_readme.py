"""The first page: what it links to is there, its table is that of the labs, and a newcomer sees the commands first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from labkit.course import lab_table
from labkit.course.labs import LABS, Lab

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURES = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)


def test_its_table_of_labs_is_that_of_the_course() -> None:
    assert lab_table.placed(README) == README, "run: python -m labkit.course.lab_table"
    for lab in LABS:
        assert f"notebooks/{lab.name}.ipynb" in README
        assert f"solutions/{lab.name}.ipynb" in README, "the executed solution"


def test_the_first_time_holds_what_is_done_once_and_shared_work_counts_once_in_the_sum() -> None:
    one = Lab("01", "a", "A", "part", 30, (1, 2, 3), (), "m:work", 10)
    two = Lab("02", "b", "B", "part", 60, (1, 0.5, 3), (), "m:work", 10)
    first, second, everything = lab_table.markdown((one, two)).splitlines()[2:]
    assert first.endswith("| 30 | 12 | 2 |")
    assert second.endswith("| 60 | 11 | < 1 |")
    assert everything.endswith("| 13 | 3 |")


def test_a_readme_without_the_places_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 and 0"):
        lab_table.placed("# labkit")


def test_clone_line_and_both_commands_come_before_any_picture() -> None:
    opening = README.partition("![")[0]
    for command in ("git clone", "make lab", "make test"):
        assert command in opening
    assert len(opening.splitlines()) <= 15
    assert README.index("## Who it is for") < README.index("solutions/figures/02.png")


@pytest.mark.parametrize("page", ["README.md", "BENCHMARKS.md", "CONTRIBUTING.md", "solutions/HOSPITALS.md"])
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for address in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", address):
            assert ((ROOT / page).parent / address).exists(), address


@pytest.mark.parametrize(("alt", "address"), PICTURES, ids=[address for _, address in PICTURES])
def test_a_picture_can_be_read_at_800_pixels_and_loads_quickly(alt: str, address: str) -> None:
    path = ROOT / address
    assert len(alt) > 40, "what is drawn, for whoever cannot see it"
    assert path.stat().st_size < 400_000
    with Image.open(path) as picture:
        assert 640 <= picture.width <= 900, (
            "narrower is blurred, wider is shrunk until its letters are too small"
        )


def test_the_learners_moment_moves_and_repeats() -> None:
    with Image.open(ROOT / "solutions/figures/learner.gif") as film:
        assert film.n_frames >= 3
        assert film.info["loop"] == 0
