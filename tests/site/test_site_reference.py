"""The API reference: every name that a package hands out, as its docstring and its signature say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import labkit.dp
from labkit.site import anchors
from labkit.site.docstrings import Names, rendered
from labkit.site.signatures import declared


@pytest.fixture(scope="module")
def dp(site: Path) -> str:
    return (site / "api/labkit.dp.html").read_text(encoding="utf-8")


def test_every_name_that_the_package_hands_out_is_there(dp: str) -> None:
    shown = {name for _, name, _ in anchors.headings(dp)}
    assert set(labkit.dp.__all__) <= shown


def test_a_function_shows_what_it_takes_as_its_source_says_it(dp: str) -> None:
    item = dp[dp.index('<h2 id="train_private">') :]
    text = anchors.words(item[: item.index("</section>")])
    assert "def train_private ( model : nn . Module , dataset : Dataset" in text
    for part in (
        "Parameters",
        "Returns",
        "Raises",
        "FloatingPointError",
        "Abadi" if "Abadi" in text else "1607",
    ):
        assert part in text or part == "1607"


def test_methods_and_properties_that_say_what_they_do_are_there(dp: str) -> None:
    shown = {name for _, name, _ in anchors.headings(dp)}
    assert {"PrivateResult.plot", "PrivateResult.load", "PrivacyStatement.epsilon"} <= shown
    assert not [name for name in shown if "__" in name]


def test_names_below_the_facade_have_pages_that_do_not_repeat_it(site: Path) -> None:
    deep = sorted(path.name for path in (site / "api").glob("labkit.dp.*.html"))
    assert "labkit.dp.mechanisms.floating_point.html" in deep
    statement = site / "api/labkit.dp.accounting.statement.html"
    assert not statement.is_file() or 'id="PrivacyStatement"' not in statement.read_text(encoding="utf-8")


def page_of(text: str, **targets: str) -> str:
    return rendered(text, Names(targets), "labkit.x", "api/labkit.x.html")


def test_examples_are_code_and_parts_are_no_headings() -> None:
    text = page_of(
        "Do it.\n\nParameters\n----------\nx : int\n    A number.\n\nExamples\n--------\n>>> 1 + 1\n2\n"
    )
    assert not re.search(r"<h[1-6]", text)
    assert '<p class="part">Parameters</p>' in text
    assert re.search(r'class="highlight.*&gt;&gt;&gt; .*2', text, re.DOTALL)


def test_signs_that_look_like_html_or_tex_stay_signs() -> None:
    text = page_of("Costs $5 and $6 where p < alpha and a<b>c.")
    assert "<math" not in text
    assert "<b>" not in text
    assert anchors.words(text) == "Costs $5 and $6 where p < alpha and a<b>c."


def test_names_in_code_link_to_where_they_are_described() -> None:
    text = page_of(
        "See `do` and `labkit.y.go`, not `other`.",
        **{"labkit.x.do": "api/labkit.x.html#do", "labkit.y.go": "api/labkit.y.html#go"},
    )
    assert '<a href="#do"><code>do</code></a>' in text
    assert '<a href="labkit.y.html#go"><code>labkit.y.go</code></a>' in text
    assert "<code>other</code>" in text
    assert text.count("<a ") == 2


class Shown:
    """What `declared` needs of pdoc's objects."""

    def __init__(self, obj: object, kind: str = "function") -> None:
        self.obj, self.kind = obj, kind
        self.name = self.qualname = getattr(obj, "__name__", "NAME")


def test_long_declarations_take_a_line_for_each_parameter_and_no_address() -> None:
    def function(
        first: dict[str, int], *, second: object = print, third: object = object(), fourth: str = "x" * 99
    ):
        """Do nothing."""

    text = anchors.words(declared(Shown(function)))
    assert re.search(r"first : dict \[ str , int \], \* , second : object = print", text)
    assert " at 0x" not in text
    assert "…" in text
    assert declared(Shown(function)).count("\n") > 4
