"""The threat-analysis report for a review board: two pages and an annex, as HTML that fetches nothing and as Markdown.

Page one: what was attacked, what is open, all findings in one table. Page two: the evidence on what is open, that is what
the board decides about (who attacks, what they know, what came of it, what the interval is an interval of, what else
differs, the control), and the rules by which severity and status follow. Annex: the same on what is answered or not shown.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from labkit.federated.threats.findings import Finding, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES = (
    "Status: answered only if the whole interval, measured with the control in place, lies below the lowest level of the "
    "scale that the finding names; otherwise open; not shown where no experiment was made. Severity: of an answered "
    "threat, the harm averted, by the lower end of what was measured without the control; of an open one, the worst that "
    "is not excluded, by the upper end. An attack that failed proves nothing about stronger ones, and what is not listed "
    "was not tried."
)
STYLE = """
body { font: 11pt/1.4 system-ui, sans-serif; color: #111; background: #fff; max-width: 188mm; margin: 1em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin: 0 0 .2em } h2 { font-size: 1.2em; margin: .6em 0 .3em } h3 { font-size: 1em; margin: 0 }
p { margin: 0 0 .4em } table { border-collapse: collapse; width: 100%; font-size: .85em } caption { text-align: left }
th, td { text-align: left; vertical-align: top; padding: 2px 6px 2px 0; border-bottom: 1px solid #ccc }
img { max-width: 100%; height: auto } .details section { margin-bottom: .5em } .details p { display: inline }
b.open { color: #a33d00 } b.answered { color: #00664b } b.not { color: #333 }
@page { size: A4; margin: 10mm }
@media print {
  body { font-size: 9pt; line-height: 1.25; margin: 0; padding: 0 } .page { break-before: page } h3 { break-after: avoid }
  .details { columns: 2; column-gap: 6mm; font-size: 6.1pt; line-height: 1.12 } .details section { margin-bottom: .3em }
  .rules { font-size: 6.5pt } .details img { max-height: 40mm } .annex > img { max-height: 110mm }
}
"""


def verdict(found: Findings) -> str:
    """Return what the board has to decide about, in two sentences."""
    open_ = [one for one in found.findings if one.status == "open"]
    hidden = [one.title for one in found.findings if one.status == "not shown"]
    first = f"{len(found)} threats were considered: {found.count('answered')} are answered by a control that was measured, "
    first += f"{len(open_)} are open" + (f" (worst: {found.worst()})" if open_ else "")
    first += f", {len(hidden)} are not shown."
    if not open_ and not hidden:
        return first + " Every threat listed was tried and answered at the sizes given; others may exist."
    left = [f"{one.title} ({one.severity})" for one in open_] + [f"{title} (not shown)" for title in hidden]
    return first + f" To accept, to mend or to measure: {'; '.join(left)}."


def html_page(found: Findings) -> str:
    """Return the report as one HTML page without any reference to the outside."""
    rows = "".join(
        f"<tr><td>{_e(one.title)}</td><td>{_e(one.severity)}</td><td>{_status(one)}</td><td>{_e(one.number)}</td>"
        f"<td>{_e(one.value)}</td></tr>"
        for one in found.findings
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    open_, rest = _sides(found)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Threat analysis</title><style>{STYLE}</style></head><body>"
        f"<h1>Threat analysis of a federation</h1><p>{_e(found.system)}</p><p>{_e(_conditions(found))}</p>"
        f"<p><b>{_e(verdict(found))}</b></p>"
        f"<table><caption>Findings, worst first; 95% intervals</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        f'<h2 class="page">{OPEN}</h2>{_sections(open_, _drawn(found))}'
        f'<h2>How to read this</h2><p class="rules">{_e(RULES)}</p>'
        f'<h2 class="page">{ANNEX}</h2>{_sections(rest, _drawn(found))}<div class="annex">{_image(found.plot())}</div></body></html>\n'
    )


def _sections(findings: list[Finding], drawn: Finding | None) -> str:
    """Return findings with all their words, in two columns."""
    if not findings:
        return "<p>None.</p>"
    parts = (
        f"<section><h3>{_e(one.title)} · {_e(one.severity)}, {_status(one)}</h3>"
        + " ".join(f"<p><b>{name}:</b> {_e(text)}</p>" for name, text in _details(one))
        + (_image(one.figure) if one is drawn else "")
        + "</section>"
        for one in findings
    )
    return f'<div class="details">{"".join(parts)}</div>'


def markdown_page(found: Findings) -> str:
    """Return the report as Markdown, figures inside."""
    lines = [
        "# Threat analysis of a federation",
        "",
        found.system,
        "",
        _conditions(found),
        "",
        f"**{verdict(found)}**",
        "",
    ]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    for one in found.findings:
        cells = (one.title, one.severity, one.status, one.number, one.value)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    open_, rest = _sides(found)
    lines += ["", f"## {OPEN}", "", *_paragraphs(open_, _drawn(found))]
    lines += ["## How to read this", "", RULES, ""]
    lines += [f"## {ANNEX}", "", *_paragraphs(rest, _drawn(found)), _picture(found.plot()), ""]
    return "\n".join(lines)


def _paragraphs(findings: list[Finding], drawn: Finding | None) -> list[str]:
    """Return findings with all their words, as lines of Markdown."""
    lines: list[str] = [] if findings else ["None.", ""]
    for one in findings:
        lines += [f"### {one.title}: {one.severity}, {one.status}", ""]
        lines += [f"- **{name}:** {text}" for name, text in _details(one)] + [""]
        lines += [_picture(one.figure), ""] if one is drawn else []
    return lines


OPEN, ANNEX = "Evidence on what is open", "Annex: what is answered, and what was not shown"
COLUMNS = ("Finding", "Severity", "Status", "Measured", "Value [95% interval]")


def _details(one: Finding) -> list[tuple[str, str]]:
    return [
        ("Adversary", f"{one.adversary}. Knows: {one.knowledge}"),
        ("Evidence", one.evidence),
        ("Interval over", one.interval_of),
        ("What else differs", one.differs),
        ("Control", one.control),
    ]


def _conditions(found: Findings) -> str:
    seeds = ", ".join(map(str, found.seeds))
    return f"Data: {found.source}. Profile {found.profile}; seeds {seeds}."


def _sides(found: Findings) -> tuple[list[Finding], list[Finding]]:
    """Return the open findings, and all others."""
    open_ = [one for one in found.findings if one.status == "open"]
    return open_, [one for one in found.findings if one.status != "open"]


def _drawn(found: Findings) -> Finding | None:
    """Return the worst finding that has a figure: the pages hold one."""
    return next((one for one in found.findings if one.figure is not None), None)


def _status(one: Finding) -> str:
    return f'<b class="{one.status.split()[0]}">{one.status}</b>'


def _image(figure: Figure) -> str:
    return f'<img alt="{html.escape(figure.alt_text)}" src="{_data(figure)}">'


def _picture(figure: Figure) -> str:
    alt = figure.alt_text.replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"![{alt}]({_data(figure)})"


def _data(figure: Figure) -> str:
    import matplotlib as mpl

    from labkit.plots import STYLE as HOUSE

    buffer = io.BytesIO()
    with mpl.rc_context(HOUSE):
        figure.savefig(buffer, format="png", dpi=100)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _e(text: str) -> str:
    return html.escape(text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
