"""The report as a web page: one file that fetches nothing, reads in light and dark, and prints on A4."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from labkit.governance.document import Block, Card, Heading, Items, Table, Text
from labkit.governance.findings import Picture
from labkit.governance.reviewing import Review

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #595959; --line: #d0d0d0; --paper: #fff; --tint: #f4f5f7;
  --critical: #9d1c1c; --high: #a33d00; --medium: #775500; --low: #00597a; --note: #595959; --good: #00664b }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b0b0b0; --line: #454545; --paper: #161618; --tint: #222226;
  --critical: #ff9c94; --high: #ffb07a; --medium: #ecc55b; --low: #86c8ee; --note: #b0b0b0; --good: #6fd6ac } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 56rem; margin: 0 auto;
  padding: 1.5rem 1.25rem 4rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem } h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem;
  border-bottom: 2px solid var(--line); padding-bottom: .2rem } h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem }
p { margin: .3rem 0 .7rem } ol, ul { margin: .3rem 0 .8rem; padding-left: 1.4rem } li { margin: .15rem 0 }
.head { border-left: 8px solid var(--verdict); padding: .2rem 0 .2rem 1rem; margin-bottom: 1rem }
.verdict { font-size: 1.25rem; font-weight: 700; color: var(--verdict); margin: .2rem 0 } .soft { color: var(--soft) }
.approve { --verdict: var(--good) } .conditions { --verdict: var(--medium) } .reject { --verdict: var(--critical) }
table { border-collapse: collapse; width: 100%; margin: .3rem 0 .9rem; font-size: .9rem; table-layout: fixed }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600 } .facts th:first-child { width: 24% }
.measures th:nth-child(1) { width: 33% } .measures th:nth-child(2) { width: 35% } .reasons th:nth-child(2) { width: 18% }
.reasons th:nth-child(1) { width: 28% } .checklist th:nth-child(1) { width: 15% } .checklist th:nth-child(2) { width: 45% }
.card { background: var(--tint); border-left: 5px solid var(--mark); padding: .55rem .9rem; margin: .5rem 0 .8rem }
.card h4 { margin: 0 0 .25rem; font-size: 1rem } .card p { margin: .15rem 0; font-size: .93rem }
.tag { color: var(--mark); font-weight: 700; text-transform: uppercase; font-size: .78rem; letter-spacing: .03em; margin-right: .5rem }
.critical { --mark: var(--critical) } .high { --mark: var(--high) } .medium { --mark: var(--medium) } .low { --mark: var(--low) }
.note { --mark: var(--note) } .label { font-weight: 600 }
img { max-width: 100%; height: auto; display: block; background: #fff; margin: .4rem 0 }
@page { size: A4; margin: 14mm }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #f2f2f2; --critical: #9d1c1c;
    --high: #a33d00; --medium: #775500; --low: #00597a; --note: #444; --good: #00664b }
  body { font-size: 10pt; line-height: 1.35; max-width: none; padding: 0 } h2, h3, h4, h3 + p, p:has(+ .card) { break-after: avoid }
  h2 { margin-top: 1.2rem } .card, tr, img { break-inside: avoid } img { max-width: 13cm }
  .head, .card, h2 { -webkit-print-color-adjust: exact; print-color-adjust: exact }
}
"""
CLASS = {"approve": "approve", "approve with conditions": "conditions", "reject": "reject"}


def page(review: Review, parts: Sequence[Block], record: str) -> str:
    """Return the page, with the signed record inside."""
    decision = review.decision
    until = f", until {decision.expires}" if decision.expires else ", to be submitted again"
    head = (
        f'<header class="head {CLASS[decision.verdict]}"><h1>Review: {_e(review.title)}</h1>'
        f'<p class="verdict">{_e(decision.verdict.upper())}{_e(until)}</p>'
        f'<p class="soft">Owner: {_e(review.owner)}. Decided {_e(decision.made)}. Data: {_e(review.source)}. '
        f"Profile {_e(review.profile)}, seed {review.seed}.</p></header>"
    )
    body = "\n".join(_block(one) for one in parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>Review: {_e(review.title)}</title>\n<style>{STYLE}</style></head>\n'
        f'<body>{head}\n<main>\n{body}\n</main>\n<script type="application/json" id="record">{held(record)}</script>\n</body></html>\n'
    )


def held(record: str) -> str:
    """Return the record as it stands in the page: "<" is an escape, so no text inside can close the element."""
    return record.replace("<", "\\u003c")


def _block(one: Block) -> str:
    if isinstance(one, Heading):
        return f"<h{one.level}>{_e(one.text)}</h{one.level}>"
    if isinstance(one, Text):
        label = f'<span class="label">{_e(one.label)}.</span> ' if one.label else ""
        return f"<p>{label}{_e(one.text)}</p>"
    if isinstance(one, Items):
        name = "ol" if one.numbered else "ul"
        return f"<{name}>" + "".join(f"<li>{_e(item)}</li>" for item in one.items) + f"</{name}>"
    if isinstance(one, Table):
        head = "".join(f'<th scope="col">{_e(cell)}</th>' for cell in one.head)
        rows = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in one.rows)
        return f'<table class="{one.kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    if isinstance(one, Card):
        facts = "".join(
            f'<p><span class="label">{_e(label)}.</span> {_e(said)}</p>' for label, said in one.facts
        )
        tag = f'<span class="tag">{_e(one.severity)}</span>'
        return f'<section class="card {one.severity}"><h4>{tag}{_e(one.title)}</h4>{facts}</section>'
    return _picture(one)


def _picture(one: Picture) -> str:
    return f'<img alt="{_e(one.alt)}" src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'


def _e(text: object) -> str:
    """Return text as HTML, marks of direction and other invisible characters written out."""
    from labkit.evidence import visible

    return html.escape(visible(str(text)))
