"""The index that search reads: a script, since a page from a disk may not fetch a file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from labkit.site import anchors
from labkit.site.pages import Entry, Page

LONGEST = 600  # characters of text below one heading


def entries(path: str, kind: str, body: str) -> tuple[Entry, ...]:
    """Return an entry for each heading of an article, with the words below it; code and outputs are left out."""
    return tuple(
        Entry(title, kind, f"{path}#{name}", anchors.words(_prose(below))[:LONGEST])
        for name, title, below in anchors.sections(body)
    )


def _prose(source: str) -> str:
    """Return the paragraphs and lists of some HTML."""

    return " ".join(re.findall(r"<(?:p|li|td|summary)\b.*?</(?:p|li|td|summary)>", source, re.DOTALL))


def index(pages: Sequence[Page]) -> str:
    """Return the script that hands the index over: one list of [title, kind, target, text] an entry."""
    rows = [[e.title, e.kind, e.target, e.text] for page in pages for e in page.entries]
    return f"window.labkitIndex = {json.dumps(rows, ensure_ascii=False, separators=(',', ':'))};\n"
