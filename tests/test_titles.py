"""Titles of figures keep all their words: the source stands at their end."""

from __future__ import annotations

import importlib

import pytest

from labkit import plots
from labkit.data import loading, sources


def longest_source() -> str:
    """Return the longest that a stand-in says of itself, as titles carry it."""
    said = []
    for name in sources.STAND_INS:
        about = importlib.import_module(f"labkit.data.standins.{loading.STAND_IN_MODULES[name]}")
        made = f"{about.DESCRIPTION}, made by code, seed {loading.STAND_IN_SEED}"
        said.append(
            f"stand-in for {sources.FORMATS[name].title} ({made}), first 2,000 of 60,000 train records"
        )
    return max(said, key=len)


def shown_whole(fig) -> bool:
    fig.draw_without_rendering()
    whole = fig.bbox
    texts = [text for text, _ in plots._titles(fig) if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    return bool(boxes) and all(
        box.x0 >= 0 and box.x1 <= whole.width and box.y1 <= whole.height for box in boxes
    )


@pytest.mark.parametrize("width", [4.0, 6.4, 9.0])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_longest_source_is_shown_whole(width: float, columns: int) -> None:
    fig, axes = plots.figure(width, 4.0, ncols=columns, squeeze=False)
    for ax in axes.flat:
        ax.set_title(f"What it costs · {longest_source()}")
    fig.suptitle(longest_source(), x=0.02, ha="left")
    before = [text.get_text() for text, _ in plots._titles(fig)]
    assert not shown_whole(fig)
    plots.wrap_titles(fig)
    assert shown_whole(fig)
    after = [text.get_text() for text, _ in plots._titles(fig)]
    assert [text.split() for text in after] == [text.split() for text in before], "no word is lost"
    assert all("stand-in" in text for text in after if text)


def test_titles_beside_each_other_do_not_run_into_one_another() -> None:
    fig, (left, right) = plots.figure(9, 3, ncols=2)
    left.set_title("a title that is a good deal longer than the axes below it are wide, and goes on")
    right.set_title("short")
    plots.wrap_titles(fig)
    ends = [ax.title.get_window_extent() for ax in (left, right)]
    assert ends[0].x1 <= ends[1].x0
    assert right.get_title() == "short"


def test_a_formula_and_a_title_that_fits_stay_as_they_are() -> None:
    fig, ax = plots.figure(3, 3)
    ax.set_title(f"$x^2$ {'long ' * 30}")
    plots.wrap_titles(fig)
    assert "\n" not in ax.get_title()
    fig, ax = plots.figure()
    ax.set_title("one line\nand one that was asked for")
    plots.wrap_titles(fig)
    assert ax.get_title() == "one line\nand one that was asked for"
