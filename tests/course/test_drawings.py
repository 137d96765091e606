"""Concept drawings: one a lab, legible, nothing on top of anything, and arithmetic that is done and not typed in."""

from __future__ import annotations

import itertools
import math
import re
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from labkit import audit, plots
from labkit.course import drawings
from labkit.course.labs import LABS
from labkit.course.notebooks import build

NAMES = drawings.__all__


@cache
def drawn(name: str) -> Figure:
    fig = getattr(drawings, name)()
    with mpl.rc_context(plots.STYLE):
        fig.canvas.draw()
    return fig


def texts(fig: Figure) -> list[Text]:
    """Return what can be read inside the panels, without the numbers along the axes."""
    ticks = {id(label) for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels()}
    found = (text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip())
    hidden = {
        id(text)
        for ax in fig.axes
        if not ax.axison
        for text in (*ax.xaxis.findobj(Text), *ax.yaxis.findobj(Text))
    }
    return [text for text in found if id(text) not in ticks | hidden]


def luminance(colour: str) -> float:
    parts = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return float(np.dot((0.2126, 0.7152, 0.0722), list(parts)))


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_each_lab_shows_its_drawing_once_and_says_something_about_it(lab):
    cells = re.split(
        r"^# %%", build.places(lab, build.checkout()).source.read_text(encoding="utf-8"), flags=re.M
    )
    at = [i for i, cell in enumerate(cells) if "drawings." in cell and "import" not in cell]
    assert at, "no drawing"
    for i in at:
        assert re.fullmatch(r"\n?plots\.show\(drawings\.\w+\([^()]*\)\)\s*", cells[i].lstrip()), cells[i]
        assert cells[i + 1].startswith(" [markdown]")
    calls = [re.search(r"drawings\.(\w+\(.*?\))", cells[i])[1] for i in at]
    assert len(set(calls)) == len(calls)


def test_every_drawing_belongs_to_a_lab():
    sources = "".join(build.places(lab, build.checkout()).source.read_text(encoding="utf-8") for lab in LABS)
    assert set(re.findall(r"drawings\.(\w+)\(", sources)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_can_be_read_in_a_window_of_900_pixels(name):
    fig = drawn(name)
    assert len(fig.alt_text) > 60
    assert fig.get_figwidth() * 100 <= 870
    for text in texts(fig):
        assert text.get_fontsize() >= 11, text.get_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_words_lie_on_others_or_leave_the_page(name):
    fig = drawn(name)
    page = fig.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(fig)]
    for said, box in boxes:
        assert page.x0 - 1 <= box.x0 <= box.x1 <= page.x1 + 1, said
        assert page.y0 - 1 <= box.y0 <= box.y1 <= page.y1 + 1, said
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, two)


@pytest.mark.parametrize("name", NAMES)
def test_words_stand_out_from_white(name):
    for text in texts(drawn(name)):
        if text.get_color() != "#b5b5b5":  # what was lost is greyed on purpose
            assert 1.05 / (luminance(text.get_color()) + 0.05) >= 4.5, text.get_text()


def said(fig: Figure, pattern: str) -> str:
    found = re.search(pattern, "\n".join(text.get_text() for text in texts(fig)))
    assert found, pattern
    return found[1]


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_largest_gap_is_the_epsilon_of_the_noise(epsilon):
    assert float(said(drawings.two_worlds(epsilon), r"ε = ([\d.]+)")) == epsilon


@pytest.mark.parametrize("gone", ["", "A", "B", "C"])
def test_masks_cancel_unless_somebody_is_lost(gone):
    """Read back from the picture: three values, three words, and both sums."""
    words = [text.get_text() for text in texts(drawings.pairwise_masks(gone))]
    rows = [words.index(name) for name in "ABC"]
    values = [int(words[row + 1]) for row in rows]
    sent = [words[row + 4] for row in rows]
    assert sent["ABC".index(gone)] == "lost" if gone else "lost" not in sent
    meant = sum(value for name, value in zip("ABC", values, strict=True) if name != gone)
    total = sum(int(word) for word in sent if word != "lost") % 100
    assert [int(words[words.index("sum") + 1]), int(words[words.index("(all modulo 100)") - 1])] == [
        meant,
        total,
    ]
    assert (total == meant) == (not gone)


@pytest.mark.parametrize("hospitals", [3, 5])
def test_shares_of_noise_add_up_to_one_portion(hospitals):
    words = " ".join(text.get_text() for text in texts(drawings.where_noise_goes(hospitals)))
    found = [float(number) for number in re.findall(r"sum: ([\d.]+) σ", words)]
    assert found == [1.0, round(math.sqrt(hospitals), 1), 1.0]


def test_guesses_prove_what_the_library_says_they_prove():
    for seed in (0, 1, 4):
        fig = drawings.coins_and_guesses(seed)
        right, asked = int(said(fig, r"(\d+) of \d+ guesses")), int(said(fig, r"\d+ of (\d+) guesses"))
        ticks = sum(text.get_text() == "✓" for text in texts(fig))
        assert ticks == right
        bound = float(said(fig, r"at least ([\d.]+)"))
        assert bound == pytest.approx(audit.one_run_epsilon(right, asked), abs=0.005)


def test_a_redrawn_key_has_the_rank_that_its_hits_give():
    fig = drawings.redrawn_keys(keys=99)
    assert float(said(fig, r"p = ([\d.]+)")) == 0.01  # no stranger reaches the owner's hits, so 1 of 100


def test_a_belief_is_bounded_as_its_areas_are():
    """Area over area is e^ε, and the belief is one area of both: the bound that lab 14 has one write."""
    fig = drawings.odds_of_a_belief(against=99, epsilons=(0.0, 3.0))
    areas = [max(patch.get_width() for patch in ax.patches) ** 2 for ax in fig.axes]
    assert areas[1] / areas[0] == pytest.approx(math.exp(3.0))
    odds = math.exp(3.0) * 0.01 / 0.99
    assert f"belief ≤ {odds / (1 + odds):.0%}" in [text.get_text() for text in texts(fig)]
