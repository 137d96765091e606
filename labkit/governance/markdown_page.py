"""The report as Markdown: the same blocks; figures stand at the end as data, so that the text stays readable."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from labkit.governance.document import Block, Card, Heading, Items, Table, Text
from labkit.governance.findings import Picture
from labkit.governance.reviewing import Review

OPEN, CLOSE = "<!-- record\n", "\n-->\n"


def page(review: Review, parts: Sequence[Block], record: str) -> str:
    """Return the page, with the signed record in a comment at its end."""
    decision = review.decision
    until = f", until {decision.expires}" if decision.expires else ", to be submitted again"
    lines = [
        f"# Review: {_t(review.title)}",
        f"**{decision.verdict.upper()}{until}**",
        f"Owner: {_t(review.owner)}. Decided {decision.made}. Data: {_t(review.source)}. Profile {review.profile}, seed "
        f"{review.seed}.",
    ]
    pictures = [one for one in parts if isinstance(one, Picture)]
    lines += [_block(one, pictures) for one in parts]
    lines += [f"[figure-{k}]: {_data(one)}" for k, one in enumerate(pictures, 1)]
    return "\n\n".join(lines) + "\n\n" + OPEN + held(record) + CLOSE


def held(record: str) -> str:
    """Return the record as it stands in the page: no comment may hold two dashes, and no page a tag of its own."""
    return record.replace("--", "\\u002d\\u002d").replace("<", "\\u003c")


def _block(one: Block, pictures: Sequence[Picture]) -> str:
    if isinstance(one, Heading):
        return f"{'#' * one.level} {_t(one.text)}"
    if isinstance(one, Text):
        return f"**{_t(one.label)}.** {_t(one.text)}" if one.label else _t(one.text)
    if isinstance(one, Items):
        return "\n".join(
            f"{k}. {_t(item)}" if one.numbered else f"- {_t(item)}" for k, item in enumerate(one.items, 1)
        )
    if isinstance(one, Table):
        rows = [one.head, ["---"] * len(one.head), *one.rows]
        return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)
    if isinstance(one, Card):
        facts = "\n".join(f"- **{label}:** {_t(said)}" for label, said in one.facts)
        return f"#### {one.severity.upper()}: {_t(one.title)}\n\n{facts}"
    return f"![{_t(one.alt).replace('[', '(').replace(']', ')')}][figure-{pictures.index(one) + 1}]"


def _data(one: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(one.png).decode()


def _t(text: str) -> str:
    """Return text on one line, what Markdown or HTML would take for markup escaped, invisible characters written out."""
    from labkit.evidence import visible

    return re.sub(r"([\\`*_<>#\[\]|])", r"\\\1", " ".join(visible(str(text)).split()))


def _cell(text: str) -> str:
    return text if text == "---" else _t(text)
