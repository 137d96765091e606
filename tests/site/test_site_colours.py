"""Colours of code can be read in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.site import colours

STYLE = Path(colours.__file__).parent / "assets/site.css"


def test_contrast_agrees_with_the_published_examples() -> None:
    assert colours.contrast("#ffffff", "#000000") == 21
    assert colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WCAG's own near miss


@pytest.mark.parametrize("ground", colours.GROUNDS)
@pytest.mark.parametrize("colour", ["#808080", "#bbbbbb", "#ffff00", "#0000ff", "#000000", "#ffffff"])
def test_any_colour_is_moved_until_it_can_be_read(colour: str, ground: str) -> None:
    assert colours.contrast(colours.legible(colour, ground), ground) >= 4.5


def test_every_kind_of_token_can_be_read_in_both_themes() -> None:
    pairs = re.findall(r"light-dark\((#\w{6}),(#\w{6})\)", colours.code_css())
    assert len(pairs) > 60
    for pair in pairs:
        for colour, ground in zip(pair, colours.GROUNDS, strict=True):
            assert colours.contrast(colour, ground) >= 4.5


def test_the_grounds_are_those_of_the_style_sheet() -> None:
    light, dark = colours.GROUNDS
    assert f".highlight, article > pre {{ background: light-dark({light}, {dark})" in STYLE.read_text(
        encoding="utf-8"
    )
