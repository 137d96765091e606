"""The threat-analysis report for a review board: two pages, as HTML that fetches nothing and as Markdown.

Page one: what was attacked, what is open, all findings in one table and one picture. Page two: for each finding who
attacks, what they know, the evidence, what its interval is an interval of, what else differs, and the control; then the
rules by which severity and status follow.
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
@page { size: A4; margin: 11mm }
body { font: 9pt/1.3 system-ui, sans-serif; color: #111; background: #fff; max-width: 188mm; margin: 1em auto; padding: 0 1em }
h1 { font-size: 15pt; margin: 0 0 .2em } h2 { font-size: 11pt; margin: .6em 0 .3em } p { margin: 0 0 .4em }
table { border-collapse: collapse; width: 100%; font-size: 7.6pt; line-height: 1.2 } caption { text-align: left; font-style: italic }
th, td { text-align: left; vertical-align: top; padding: 1.5px 6px 1.5px 0; border-bottom: 1px solid #ccc }
img { max-width: 100%; height: auto } .overview { display: block; max-height: 88mm; margin: .5em auto 0 } .page { break-before: page }
.details { columns: 2; column-gap: 6mm; font-size: 6.9pt; line-height: 1.2 } .details section { margin-bottom: .5em }
.details h3 { font-size: 7.6pt; margin: 0; break-after: avoid } .details p { margin: 0 } .rules { font-size: 7pt }
b.open { color: #a33d00 } b.answered { color: #00664b } b.not { color: #333 }
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
    drawn = _drawn(found)
    details = "".join(
        f"<section><h3>{_e(one.title)} · {_e(one.severity)}, {_status(one)}</h3>"
        + "".join(f"<p><b>{name}:</b> {_e(text)}</p>" for name, text in _details(one))
        + (_image(one.figure) if one is drawn else "")
        + "</section>"
        for one in found.findings
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Threat analysis</title><style>{STYLE}</style></head><body>"
        f"<h1>Threat analysis of a federation</h1><p>{_e(found.system)}</p><p>{_e(_conditions(found))}</p>"
        f"<p><b>{_e(verdict(found))}</b></p>"
        f"<table><caption>Findings, worst first; 95% intervals</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{_image(found.plot(), 'overview')}"
        f'<h2 class="page">Evidence</h2><div class="details">{details}</div>'
        f'<h2>How to read this</h2><p class="rules">{_e(RULES)}</p></body></html>\n'
    )


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
        cells = (
            one.title,
            one.severity,
            one.status,
            one.adversary,
            f"{one.number}: {one.value}",
            one.control,
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += ["", _picture(found.plot()), "", "## Evidence", ""]
    for one in found.findings:
        lines += [f"### {one.title}: {one.severity}, {one.status}", ""]
        lines += [f"- **{name}:** {text}" for name, text in _details(one)] + [""]
        if one is _drawn(found):
            lines += [_picture(one.figure), ""]
    return "\n".join([*lines, "## How to read this", "", RULES, ""])


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


def _drawn(found: Findings) -> Finding | None:
    """Return the worst finding that has a figure: two pages hold one beside the overview."""
    return next((one for one in found.findings if one.figure is not None), None)


def _status(one: Finding) -> str:
    return f'<b class="{one.status.split()[0]}">{one.status}</b>'


def _image(figure: Figure, name: str = "detail") -> str:
    return f'<img class="{name}" alt="{html.escape(figure.alt_text)}" src="{_data(figure)}">'


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
