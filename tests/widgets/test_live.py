"""Pictures that follow sliders: the last move wins, however many there are, and nothing is caught by message."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

import labkit.widgets
from labkit import progress
from labkit.widgets import live

ipywidgets = pytest.importorskip("ipywidgets")
MODULES = sorted(Path(str(labkit.widgets.__file__)).parent.glob("*.py"))


@pytest.fixture
def slider() -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value=0, min=0, max=1000, description="n")


def text(widget: ipywidgets.VBox) -> str:
    return "".join(output.get("text", "") for output in widget.children[1].outputs)


def test_after_two_hundred_moves_in_a_burst_the_picture_is_that_of_the_last(slider) -> None:
    shown = live.follow(lambda n: print(f"n = {n}"), {"n": slider})
    area, moves = shown.children[1], random.Random(0)
    states = []
    area.observe(lambda change: states.append(area.msg_id), "outputs")
    for _ in range(200):
        slider.value = moves.randrange(1, 1000)
        assert text(shown) == f"n = {slider.value}\n"
    assert len(states) >= 190, "each move drew (two neighbours of the same value do not)"
    assert set(states) == {""}, "outputs are handed over, never caught by the number of a message"


def test_moves_made_by_moves_end_at_the_last_too(slider) -> None:
    other = ipywidgets.IntSlider(value=0, max=1000, description="m")
    slider.observe(lambda change: setattr(other, "value", change["new"] // 2), "value")
    shown = live.follow(lambda n, m: print(n, m), {"n": slider, "m": other})
    for n in (10, 20, 400, 400, 30):
        slider.value = n
    assert text(shown) == "30 15\n"


def test_the_same_values_are_not_drawn_again(slider) -> None:
    drawn = []
    live.follow(lambda n: drawn.append(n), {"n": slider})
    slider.value = 5
    slider.value = 5
    slider.min = -5
    assert drawn == [0, 5]


def test_progress_stands_beside_and_goes(slider, monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "1")
    seen: list[str] = []

    def draw(n: int) -> None:
        with progress.bar(3, "training") as bar:
            for _ in range(3):
                bar.update()
                bar.refresh()
        print("done", file=sys.stderr)

    picture = live.Picture()
    picture.line.observe(lambda change: seen.append(change["new"]), "value")
    picture.draw(lambda: draw(1))
    assert seen[0] == live.BUSY
    assert any("training" in line and "3/3" in line for line in seen)
    assert seen[-2:] == ["done", ""]
    assert picture.area.outputs == ()


def test_an_error_is_shown_where_the_picture_would_be(slider) -> None:
    def draw(n: int) -> None:
        if n:
            raise ValueError("too few records")
        print("fine")

    shown = live.follow(draw, {"n": slider})
    slider.value = 1
    assert "ValueError: too few records" in text(shown)
    assert shown.children[0].value == ""
    slider.value = 0
    assert text(shown) == "fine\n"


def test_a_figure_is_handed_over_with_its_alt_text() -> None:
    script = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import ipywidgets
from labkit import plots
from labkit.widgets import live
fig, ax = plots.figure()
ax.plot([1, 2])
shown = live.follow(lambda n: plots.show(plots.describe(fig, "A line that rises from one to two.")), {"n": ipywidgets.IntSlider()})
(output,) = shown.children[1].outputs
assert output["output_type"] == "display_data"
assert output["metadata"]["image/png"]["alt"] == "A line that rises from one to two."
assert isinstance(output["data"]["image/png"], str)
assert 'alt="A line that rises from one to two."' in output["data"]["text/html"]
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_no_explorer_catches_its_picture_by_message(file: Path) -> None:
    code = file.read_text(encoding="utf-8").replace(live.__doc__ or "", "")
    assert "interactive_output" not in code
    assert "clear_output" not in code
