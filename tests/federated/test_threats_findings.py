"""Severity and status by rule, never a pass by default; a report that needs nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from labkit import plots
from labkit.federated.threats import Finding, FindingError, Findings, Scale, judge, not_shown
from labkit.federated.threats.report import verdict
from labkit.stats import Interval

SCALE = Scale("share found", low=0.02, medium=0.05, high=0.1, critical=0.5)


def finding(title: str = "Leak", **changes) -> Finding:
    settings = {
        "title": title,
        "severity": "critical",
        "adversary": "the server",
        "knowledge": "every sum",
        "evidence": "90% [80, 95] of members are found.",
        "number": "share found",
        "interval": Interval(0.01, 0.005, 0.015),
        "interval_of": "target federations",
        "differs": "nothing else",
        "control": "noise",
        "status": "answered",
    }
    return Finding(**(settings | changes))


def missing(title: str = "Drift") -> Finding:
    return not_shown(
        title, adversary="time", knowledge="nothing", control="re-marking", why="it was left out."
    )


def all_of(*found: Finding) -> Findings:
    return Findings(found, "Five hospitals.", "Wisconsin <test>", "smoke", (0, 1))


@pytest.mark.parametrize(
    ("attack", "controlled", "expected"),
    [
        ((0.8, 0.7, 0.9), (0.01, 0.0, 0.019), ("critical", "answered")),
        ((0.8, 0.7, 0.9), (0.01, 0.0, 0.02), ("low", "open")),  # the control's own upper end reaches "low"
        ((0.8, 0.7, 0.9), None, ("critical", "open")),
        ((0.01, 0.0, 0.6), None, ("critical", "open")),  # too few runs are no pass
        ((0.01, 0.0, 0.015), None, ("none", "answered")),
        ((0.06, 0.01, 0.3), (0.0, 0.0, 0.0), ("none", "answered")),  # harm that was not shown is not averted
        ((0.8, 0.7, 0.9), (0.2, 0.06, 0.4), ("high", "open")),
    ],
)
def test_the_rule(attack: tuple, controlled: tuple | None, expected: tuple) -> None:
    assert judge(SCALE, Interval(*attack), controlled and Interval(*controlled)) == expected


def test_an_infinite_interval_is_open_and_critical() -> None:
    assert judge(SCALE, Interval(0.01, float("-inf"), float("inf"))) == ("critical", "open")


def test_levels_rise() -> None:
    with pytest.raises(FindingError, match="four rising numbers"):
        Scale("share", low=0.1, medium=0.1, high=0.2, critical=0.3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interval": None}, "without a measured interval"),
        ({"status": "not shown"}, "without a measured interval"),
        ({"severity": "unknown"}, "without a measured interval"),
        ({"evidence": "Members are found."}, "no number"),
        ({"differs": " "}, "differs is empty"),
        ({"status": "fine"}, "expected one of"),
        ({"severity": "green"}, "expected one of"),
        ({"interval": Interval(0.5, 0.6, 0.7)}, "its own estimate"),
    ],
)
def test_a_finding_that_claims_more_than_it_has_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(FindingError, match=said):
        finding(**changes)


def test_a_figure_needs_a_text() -> None:
    fig, _ = plots.figure(2, 2)
    with pytest.raises(FindingError, match="alt text"):
        finding(figure=fig)


def test_the_worst_open_come_first_and_the_unknown_last() -> None:
    answered, low = finding("answered"), finding("low", severity="low", status="open")
    found = all_of(missing(), low, answered, finding("bad", status="open"))
    assert [one.title for one in found.findings] == ["bad", "answered", "low", "Drift"]
    assert (found.worst(), found.count("not shown")) == ("critical", 1)
    assert list(found.table().index) == [one.title for one in found.findings]


def test_two_findings_of_one_name_or_none_are_refused() -> None:
    with pytest.raises(FindingError, match="title of its own"):
        all_of(finding(), finding())
    with pytest.raises(FindingError, match="says nothing"):
        all_of()


def test_the_verdict_names_what_is_open_and_what_was_not_shown() -> None:
    said = verdict(all_of(finding(), finding("Sum", status="open", severity="high"), missing()))
    assert "1 are open (worst: high)" in said
    assert "Sum (high)" in said
    assert "Drift (not shown)" in said
    assert "others may exist" in verdict(all_of(finding()))


def test_the_report_is_two_files_that_fetch_nothing(tmp_path) -> None:
    fig, _ = plots.figure(2, 2)
    drawn = finding("With <picture>", figure=plots.describe(fig, "A picture | of a leak, with [brackets]."))
    page, text = all_of(drawn, missing()).report(tmp_path / "threats.html")
    assert (page.name, text.name) == ("threats.html", "threats.md")
    for written in (page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")):
        assert not re.search(r"https?://|src=\"(?!data:)|<script|<link", written)
        for said in (
            "every sum",
            "target federations",
            "nothing else",
            "Wisconsin",
            "seeds 0, 1",
            "not shown",
        ):
            assert said in written
        assert written.count("data:image/png;base64,") == 2  # the overview, and the finding's own
    html = page.read_text(encoding="utf-8")
    assert "<picture>" not in html
    assert "&lt;test&gt;" in html
    assert html.count("alt=") == 2
    rows = [line for line in text.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


def test_findings_survive_saving(tmp_path) -> None:
    found = all_of(finding(), missing())
    again = Findings.load(found.save(tmp_path / "found.pt"))
    assert again.numbers() == found.numbers()
    assert '"interval of": "target federations"' in found.save(tmp_path / "found.json").read_text(
        encoding="utf-8"
    )


def test_the_picture_names_every_threat() -> None:
    alt = all_of(finding(), missing()).plot().alt_text
    assert "Leak: critical, answered" in alt
    assert "Drift: unknown, not shown" in alt


def test_a_title_is_found_or_named_missing() -> None:
    found = all_of(finding())
    assert found["Leak"].control == "noise"
    with pytest.raises(KeyError, match="there are: Leak"):
        found["Leek"]
    assert replace(found, seconds=1.0).numbers()["seconds"] == 1.0
