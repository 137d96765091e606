"""Labs for those who hear them, or see them in another theme: headings, alt texts, links that say where they lead, contrast."""

import itertools
import re
import sys
from pathlib import Path

import nbformat
import pytest
from lab_books import ROOT, books_of

from labkit.course import showing
from labkit.course.exercises import overview
from labkit.course.labs import LABS, lab
from labkit.course.notebooks import build, page

NUMBERS = [item.number for item in LABS]
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"
ENOUGH = 4.5  # WCAG 2.2, 1.4.3
SEEN = 3.0  # the same, 1.4.11: what is no text


@pytest.fixture
def books(number):
    return books_of(number)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_title_and_headings_in_order(books):
    for book in books:
        text = "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
        shown = page.markdown(text)
        levels = [int(level) for level in re.findall(r"<h([1-6])\b", shown)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert not [(a, b) for a, b in itertools.pairwise(levels) if b > a + 1], "a heading skips a level"
        titles = re.findall(r"<h[1-6]\b[^>]*>(.*?)</h", shown, re.DOTALL)
        assert all(re.sub(r"<[^>]+>", "", title).strip() for title in titles)


@pytest.mark.parametrize("number", NUMBERS)
def test_links_say_where_they_lead_and_pictures_what_they_show(books):
    for book in books:
        text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for words, place in re.findall(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", text):
            assert words.strip().lower() not in ("", "here", "link", "this"), place
        assert all(alt.strip() for alt in re.findall(r"!\[([^\]]*)\]\(", text))
        assert not re.search(r"<img\b(?![^>]*\balt=\"[^\"]+\")", text)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_output_can_be_heard(number):
    executed = nbformat.read(build.places(lab(number), ROOT).solution, 4)
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            assert len(output.metadata.get("image/png", {}).get("alt", "")) >= 20
        assert not [kind for kind in data if kind.startswith("image/") and kind != "image/png"]
        shown = str(data.get("text/html", ""))
        assert not re.search(r"<img\b(?![^>]*\balt=\"[^\"]+\")", shown)
        for table in re.findall(r"<table\b.*?</table>", shown, re.DOTALL):
            assert "<th" in table, "a table without headings is a heap of numbers to a screen reader"


def colour(text: str, ground: tuple[float, ...] = (255, 255, 255)) -> tuple[float, ...]:
    """Return red, green and blue of a CSS colour, 0 to 255, on a ground."""
    named = {"white": "#ffffff", "black": "#000000"}
    text = named.get(text.strip(), text.strip())
    if found := re.fullmatch(r"rgba?\(([^)]*)\)", text):
        *parts, alpha = [*map(float, found[1].split(",")), 1.0][:4]
        return tuple(alpha * part + (1 - alpha) * below for part, below in zip(parts, ground, strict=True))
    digits = text.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return tuple(int(digits[at : at + 2], 16) for at in (0, 2, 4))


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Return the contrast ratio of two colours, by WCAG's relative luminance."""

    def luminance(rgb: tuple[float, ...]) -> float:
        parts = [part / 255 for part in rgb]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def theme(folder: Path) -> dict[str, str]:
    """Return the colours of a theme of JupyterLab by the names of its variables."""
    sheets = {path.parent: path.read_text(encoding="utf-8") for path in sorted(THEMES.glob("*/index.css"))}
    # One theme names colours of Material Design without their values, which the others give.
    found = {
        name: value
        for css in sheets.values()
        for name, value in re.findall(r"var\((--md[\w-]+),([^)]+)\)", css)
    }
    found |= dict(re.findall(r"(--[\w-]+):\s*([^;}]+)", sheets[folder]))

    def plain(value: str) -> str:
        while match := re.fullmatch(r"var\(\s*(--[\w-]+)\s*(?:,\s*(.*))?\)", value.strip()):
            value = found.get(match[1]) or match[2] or ""
        return value

    return {name: plain(value) for name, value in found.items()}


def used(name: str, box: str) -> str:
    """Return the variable of JupyterLab, and the last resort, that a box uses for one of its colours."""
    found = re.search(rf"(?:^|[;\"\s]){name}:(?:5px solid )?var\((--jp-[\w-]+),", box)
    assert found, f"{name} does not follow the theme"
    return found[1]


@pytest.mark.parametrize("tone", showing.TONES)
def test_boxes_can_be_read_in_every_theme_and_without_one(tone):
    box = showing.box(tone, "a heading", [("Expected", "4")])
    _, ink, paper = showing.TONES[tone]
    assert ink in box
    assert paper in box
    assert contrast(colour(ink), colour(paper)) >= ENOUGH
    folders = sorted(THEMES.glob("theme-*-extension"))
    assert len(folders) >= 2
    for folder in folders:
        colours = theme(folder)
        ground = colour(colours[used("background", box)])
        text = colour(colours[used("color", box)], ground)
        assert contrast(text, ground) >= ENOUGH, folder.name
        if tone in ("passed", "wrong"):  # of a note, the edge says nothing that its words do not
            paper = colour(colours["--jp-layout-color1"])
            assert contrast(colour(colours[used("border-left", box)]), paper) >= SEEN, folder.name


def test_what_the_contrast_of_known_colours_is():
    assert contrast(colour("#000"), colour("white")) == pytest.approx(21)
    assert contrast(colour("#777777"), colour("#ffffff")) == pytest.approx(4.48, abs=0.01)
    assert colour("rgba(0,0,0,.5)", (255, 255, 255)) == pytest.approx((127.5, 127.5, 127.5))


def test_the_word_carries_the_meaning_not_the_hue():
    words = [word for word, _, _ in showing.TONES.values()]
    assert len(set(words)) == len(words)
    assert 'role="note"' in showing.box("wrong", "x", [])


def test_progress_leads_to_the_labs_that_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path / "progress.json"))
    (tmp_path / "02_dp_sgd.ipynb").write_text("{}", encoding="utf-8")
    shown: list[str] = []
    monkeypatch.setattr(showing, "show", lambda rich, text: shown.append(rich))
    overview.overview()
    links = re.findall(r'<a href="([^"]*)">([^<]*)</a>', shown[0])
    assert ("02_dp_sgd.ipynb", "02 DP-SGD on MNIST") in links, "its name"
    assert ("02_dp_sgd.ipynb", "02.poisson_batch") in links, "the next exercise in it"
    assert {place for place, _ in links} == {"02_dp_sgd.ipynb"}, "no dead link to a lab that is elsewhere"
    assert shown[0].count('scope="row"') == len(LABS) + 1


def test_folded_code_is_announced_before_the_first_of_it():
    text = build.places(LABS[0], ROOT).source.read_text(encoding="utf-8")
    assert text.index("folded away") < text.index('tags=["hide-input"]')
