"""The front page: the README's own words, with the way to everything else below its first paragraph."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from textwrap import shorten

from labkit.site import documents, labs
from labkit.site.pages import Page, relative

REPORTS = "What a privacy review board is handed, as one page that prints."
ALSO = (documents.BENCHMARKS, documents.TOOLS)


def welcome(
    readme: Page,
    executed: Sequence[Page],
    described: Sequence[Page],
    listed: Sequence[Page],
    others: Sequence[Page],
) -> Page:
    """Return the README's page as the site's front page, with a card for each section.

    Parameters
    ----------
    readme : Page
    executed, described, listed, others : sequence of Page
        Labs, reference, reports and further documents, the overview of each first.
    """
    names = sum(1 for page in described for entry in page.entries if entry.kind != "module")
    waiting = sum(labs.NOT_RUN in page.body for page in executed)
    text = "Read a lab with its outputs before you install anything."
    if waiting:
        text += f" {waiting} of them have changed and wait to be executed again."
    cards = [
        (executed[0].path, f"{len(executed) - 1} labs", text),
        (
            described[0].path,
            "API reference",
            f"{names:,} names with shapes, units, errors and the papers they follow.",
        ),
        *((page.path, page.title, REPORTS) for page in listed[:1]),
        *(
            (page.path, page.title, shorten(page.summary, 130, placeholder=" …"))
            for page in others
            if page.path in ALSO
        ),
    ]
    items = "".join(
        f'<li><a href="{relative(path, readme.path)}"><strong>{html.escape(title)}</strong></a><p>{html.escape(text)}</p></li>'
        for path, title, text in cards
    )
    # After the README's own opening: its first paragraph, badges and pictures come where it puts them.
    body = re.sub(
        r"</p>", lambda found: f'{found.group(0)}<ul class="cards ways">{items}</ul>', readme.body, count=1
    )
    return replace(readme, title="Start", section="Start", body=body)
