"""The example review reports: pages of their own, which are handed over as they are, and a list of them."""

from __future__ import annotations

import html
import re
from pathlib import Path

from labkit.course.notebooks.page import PageError, refuse_fetches
from labkit.site import anchors
from labkit.site.pages import Entry, Page, SiteError, relative

SECTION = "Reports"
OVERVIEW = "reports/index.html"


def files(root: Path) -> list[Path]:
    """Return the reports that the repository holds."""
    return sorted((root / "solutions" / "reviews").glob("*.html"))


def overview(reports: list[Path]) -> Page:
    """Return the page that lists the reports.

    Raises
    ------
    SiteError
        If a report would load something from the web.
    """
    items, entries = [], []
    for report in reports:
        text = report.read_text(encoding="utf-8")
        try:
            refuse_fetches(text)
        except PageError as error:
            raise SiteError(f"{report.name}: {error}") from error
        title, first = _title(text, report), _first(text)
        target = f"reports/{report.name}"
        items.append(
            f'<li><a href="{relative(target, OVERVIEW)}"><strong>{html.escape(title)}</strong></a>'
            f"<p>{html.escape(first)}</p></li>"
        )
        entries.append(Entry(title, SECTION, target, first))
    body = (
        "<h1>Review reports</h1><p>What <code>labkit review</code> hands to a privacy review board, on examples of the "
        "course. Each is one file that prints, just as the command wrote it.</p>"
        f'<ul class="cards">{"".join(items)}</ul>'
    )
    return Page(
        OVERVIEW, SECTION, SECTION, body, "Example reports for a privacy review board.", tuple(entries)
    )


def _title(text: str, report: Path) -> str:
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    return html.unescape(found.group(1)).strip() if found else report.stem.replace("_", " ")


def _first(text: str) -> str:
    """Return the first paragraph of a report."""
    found = re.search(r"<p\b[^>]*>(.*?)</p>", text, re.DOTALL)
    return anchors.words(found.group(1))[:240] if found else ""
