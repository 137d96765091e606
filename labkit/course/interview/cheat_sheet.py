"""Two pages of formulas to print: one HTML file, styles inside, no network."""

from __future__ import annotations

import html
from collections.abc import Sequence

import labkit
from labkit.course.interview.formulas import FORMULAS, Formula

PAGES = (
    ("Differential privacy", "Utility and comparisons"),
    ("Membership and audits", "Ownership", "Federations"),
)  # areas, in the order in which they are printed
STYLE = """
@page { size: A4; margin: 12mm; }
body { font: 11pt/1.35 system-ui, sans-serif; color: #111; background: #fff; margin: 0 auto; max-width: 186mm; }
h1 { font-size: 17pt; margin: 0 0 2mm; } h2 { font-size: 13pt; margin: 4mm 0 1.5mm; border-bottom: 1px solid #444; }
section.page { break-after: page; } section.page:last-of-type { break-after: auto; }
dl { display: grid; grid-template-columns: 44mm 1fr; gap: 1.8mm 4mm; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; break-inside: avoid; }
.formula { font-family: Cambria, "STIX Two Math", "DejaVu Serif", serif; font-size: 12.5pt; }
.says { color: #333; display: block; } footer { font-size: 9pt; color: #333; margin-top: 3mm; }
@media screen { body { padding: 12mm; } section.page { margin-bottom: 12mm; } }
"""
BEWARE = (
    "ε is a statement: unit, relation, δ, sampler, steps, releases, tuning, observer.",
    "Likeness is not direction; an interval of a mean is no promise; not refuted is not proven; not run is not passed.",
)


def _line(one: Formula) -> str:
    return (
        f"<dt>{html.escape(one.name)}</dt>"
        f'<dd><span class="formula">{one.formula}</span> <span class="says">{html.escape(one.says)}</span></dd>'
    )


def _areas(areas: Sequence[str]) -> str:
    lists = {area: "".join(_line(one) for one in FORMULAS if one.area == area) for area in areas}
    return "".join(f"<h2>{html.escape(area)}</h2><dl>{lines}</dl>" for area, lines in lists.items())


def page() -> str:
    """Return the cheat sheet as one HTML page that prints on two sheets of A4."""
    first, second = map(_areas, PAGES)
    beware = "".join(f"<li>{html.escape(line)}</li>" for line in BEWARE)
    foot = f"labkit {html.escape(labkit.__version__)}. Each formula is tested against the function that computes it."
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Formulas</title><style>{STYLE}</style></head>'
        f'<body><main><section class="page"><h1>Privacy, attacks, ownership: formulas</h1>{first}</section>'
        f'<section class="page">{second}<h2>Before you answer</h2><ul>{beware}</ul><footer>{foot}</footer></section>'
        "</main></body></html>\n"
    )
