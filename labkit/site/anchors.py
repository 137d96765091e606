"""Headings that can be linked to, and plain words out of HTML."""

from __future__ import annotations

import html
import re
import unicodedata

HEADING = re.compile(r"<h([1-6])(?: id=\"([^\"]*)\")?>(.*?)</h\1>", re.DOTALL)


def slug(title: str) -> str:
    """Return a heading's address, as GitHub writes it, so that links in Markdown reach it here too.

    Examples
    --------
    >>> slug("Two commands: `make lab`")
    'two-commands-make-lab'
    """
    kept = re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFKC", title).strip().lower())
    return kept.replace(" ", "-") or "section"


def anchored(body: str) -> str:
    """Give every heading an address of its own and a link to it."""
    taken: dict[str, int] = {}

    def with_address(found: re.Match[str]) -> str:
        level, given, inner = found.groups()
        name = given or slug(words(inner))
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            name = f"{name}-{taken[name] - 1}"
        return f'<h{level} id="{html.escape(name, quote=True)}">{inner}</h{level}>'

    return HEADING.sub(with_address, body)


def scrolling(body: str) -> str:
    """Let a wide table scroll by itself, by keyboard too; those in outputs of a lab do so already."""
    start = '<div class="table" role="region" tabindex="0" aria-label="Table">'
    return re.sub(
        r"<table\b.*?</table>", lambda found: f"{start}{found.group(0)}</div>", body, flags=re.DOTALL
    )


def headings(body: str) -> list[tuple[int, str, str]]:
    """Return (level, address, title) of every heading that has an address."""
    return [
        (int(level), html.unescape(name), words(inner))
        for level, name, inner in HEADING.findall(body)
        if name
    ]


def words(source: str) -> str:
    """Return the text of some HTML without its tags, formulas and styles."""
    shown = re.sub(r"<(style|script|math)\b.*?</\1>", " ", source, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", shown))).strip()


def sections(body: str) -> list[tuple[str, str, str]]:
    """Return (address, title, HTML below it) of each heading's own part of a page."""
    found = [match for match in HEADING.finditer(body) if match.group(2)]
    ends = [match.start() for match in found[1:]] + [len(body)]
    return [
        (html.unescape(match.group(2)), words(match.group(3)), body[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    ]
