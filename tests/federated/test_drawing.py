"""The architecture drawing: the order of the steps is the engine's, the noise stands where it is drawn, nothing overlaps."""

from __future__ import annotations

from itertools import combinations, product

import matplotlib as mpl
import pytest

from labkit import plots
from labkit.federated import drawing
from labkit.federated.noise import PLACEMENTS, UNITS

FIVE = [f"Hospital {letter}" for letter in "ABCDE"]
SCENES = [
    *({"placement": p, "unit": u} for p, u in product(PLACEMENTS, UNITS) if (p, u) != ("record", "hospital")),
    {"dropped": FIVE[3:4]},
    {"dropped": FIVE[3:]},
    {"placement": "central", "marks": False, "dropped": FIVE[:1]},
    {"names": [f"A rather long name {i}" for i in range(10)], "threshold": 9},
    {"names": ["Cleveland", "Hungary", "Switzerland", "Long Beach"], "threshold": 3},
]


def scene(settings: dict):
    return drawing.architecture(**({"names": FIVE} | settings))


def words(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def noisy(fig) -> list[str]:
    """Return the texts that stand out as where noise is drawn."""
    return [text.get_text() for text in fig.axes[0].texts if text.get_color() == drawing.GREEN]


@pytest.mark.parametrize("settings", SCENES, ids=str)
def test_no_label_overlaps_another_or_leaves_the_picture(settings: dict) -> None:
    fig = scene(settings)
    with mpl.rc_context(plots.STYLE):
        fig.canvas.draw()
    assert fig.get_size_inches()[0] * 100 <= 800
    boxes = {text: text.get_window_extent() for text in fig.axes[0].texts if text.get_text()}
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        if "×" in (one.get_text(), other.get_text()):  # a cross stands beside the name that it crosses out
            continue
        assert not a.overlaps(b), f"{one.get_text()!r} overlaps {other.get_text()!r}"
    for text, box in boxes.items():
        inside = box.x0 >= 0 and box.x1 <= 800 and box.y0 >= 0 and box.y1 <= 500
        assert inside, f"{text.get_text()!r} leaves the picture"


@pytest.mark.parametrize("settings", SCENES, ids=str)
def test_every_step_fits_into_its_box(settings: dict) -> None:
    fig = scene(settings)
    with mpl.rc_context(plots.STYLE):
        fig.canvas.draw()
    frames = [patch.get_window_extent() for patch in fig.axes[0].patches]
    for text in fig.axes[0].texts:
        if text.get_text()[:2].strip().isdigit():
            box = text.get_window_extent()
            assert any(f.x0 < box.x0 and f.x1 > box.x1 and f.y0 < box.y0 and f.y1 > box.y1 for f in frames)


@pytest.mark.parametrize(
    ("placement", "where"),
    [
        ("none", []),
        ("central", ["adds the noise"]),
        ("distributed", ["4 add its share of the noise"]),
        ("local", ["4 add the full noise"]),
        ("record", ["1 DP-SGD, full noise in each step"]),
    ],
)
def test_the_noise_stands_where_the_placement_draws_it(placement: str, where: list[str]) -> None:
    assert noisy(drawing.architecture(placement=placement)) == where


def test_the_steps_are_in_the_order_that_the_promise_needs() -> None:
    """A mark on top of clipped gradients moves no patient's bound; a hospital's own must be clipped with the rest."""
    assert drawing.steps("distributed") == (
        "clip each patient's gradient, sum",
        "add the mark",
        "round to the grid",
        "add its share of the noise",
        "mask",
    )
    assert drawing.steps("local", unit="hospital")[:3] == (
        "train on its records",
        "add the mark",
        "clip the whole update",
    )
    for placement in PLACEMENTS:
        assert drawing.steps(placement)[-1] == "mask"
        assert not any("mark" in step for step in drawing.steps(placement, marks=False))


def test_who_sees_what_follows_the_placement() -> None:
    for placement, exact in {"central": True, "none": True, "distributed": False, "local": False}.items():
        alt = drawing.architecture(placement=placement).alt_text
        assert ("the server sees the exact sum" in alt) == exact
        assert "an outsider sees the model" in alt
        assert ("knows its own noise" in alt) == (not exact)


def test_too_few_left_and_nothing_is_opened() -> None:
    enough = scene({"dropped": FIVE[3:4]})
    assert words(enough).count("×") == 1
    assert "new model" in words(enough)
    stopped = scene({"dropped": FIVE[3:]})
    assert "STOP: 3 left,\n4 needed" in words(stopped)
    assert "new model" not in words(stopped)
    assert "no new model" in stopped.alt_text
    assert "the sum, with noise" not in stopped.alt_text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"placement": "edge"}, "placement='edge'"),
        ({"unit": "town"}, "unit='town'"),
        ({"threshold": 6}, "threshold is 6 of 5"),
        ({"threshold": 0}, "threshold is 0 of 5"),
        ({"dropped": ["Z"]}, "dropped is"),
        ({"dropped": FIVE[:1] * 2}, "each once"),
        ({"names": ["A"], "threshold": 1}, "2 to 10"),
        ({"names": ["A", "A", "B"], "threshold": 2}, "different names"),
        ({"placement": "record", "unit": "hospital"}, "hides a patient"),
    ],
)
def test_what_is_no_federation_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scene(settings)
