"""A question as text and as HTML, and the bank as CSV and as Anki notes with stable ids."""

from __future__ import annotations

import csv
import html
import io
import textwrap
from collections.abc import Sequence

from labkit.course.interview.bank import LEVELS, SIGNALS, Question

WIDTH = 88
ANKI = (
    "#separator:tab",
    "#html:true",
    "#notetype:Basic",
    "#deck:labkit interview",
    "#guid column:1",
    "#tags column:4",
)


def heading(one: Question) -> str:
    """Return area, level and time in one line."""
    return f"{one.id} · {one.area} · level {one.level}, {LEVELS[one.level]} · {one.minutes} minutes"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def asked(one: Question) -> str:
    """Return the question as text, without its answer."""
    return f"{heading(one)}\n\n{_wrapped(one.filled()['question'])}"


def revealed(one: Question) -> str:
    """Return all that follows the question, as text: answer, follow-ups, what weak answers miss, rubric, evidence."""
    said = one.filled()
    parts = [_wrapped(said["answer"])]
    for number in (1, 2):
        parts.append(
            _wrapped(f"Follow-up: {said[f'follow-up {number}']}")
            + "\n"
            + _wrapped(said[f"answer {number}"], "    ")
        )
    parts.append(_wrapped(f"Weak answers: {said['misses']}"))
    parts.append("\n".join(_wrapped(f"{signal}: {said[f'rubric, {signal}']}", "  ") for signal in SIGNALS))
    parts.append(_wrapped(f"Evidence: {one.where}"))
    if numbers := one.computed():
        parts.append("Computed now:\n" + "\n".join(_wrapped(line, "  ") for line in numbers))
    return "\n\n".join(parts)


def answer_html(one: Question) -> str:
    """Return what `revealed` says, as HTML."""
    said = {place: html.escape(text) for place, text in one.filled().items()}
    follow = "".join(
        f"<dt><strong>Follow-up:</strong> {said[f'follow-up {k}']}</dt><dd>{said[f'answer {k}']}</dd>"
        for k in (1, 2)
    )
    rubric = "".join(f"<li><strong>{signal}</strong>: {said[f'rubric, {signal}']}</li>" for signal in SIGNALS)
    numbers = "".join(f"<li>{html.escape(line)}</li>" for line in one.computed())
    computed = f"<p>Computed now:</p><ul>{numbers}</ul>" if numbers else ""
    return (
        f"<p>{said['answer']}</p><dl>{follow}</dl><p><strong>Weak answers:</strong> {said['misses']}</p>"
        f"<p>Rubric, each 0 to 2:</p><ul>{rubric}</ul>"
        f'<p>Evidence: <a href="{html.escape(one.link, quote=True)}">{html.escape(one.where)}</a></p>{computed}'
    )


def card_html(one: Question) -> str:
    """Return a question whose answer opens by click or keyboard, without widgets."""
    return (
        f"<p>{html.escape(heading(one))}</p><p><strong>{html.escape(one.filled()['question'])}</strong></p>"
        f"<details><summary>Answer, follow-ups and rubric</summary>{answer_html(one)}</details>"
    )


def listing(some: Sequence[Question]) -> str:
    """Return one line a question."""
    return "\n".join(f"{one.id:<28}{one.level}  {one.area:<26}{one.filled()['question']}" for one in some)


def as_csv(some: Sequence[Question]) -> str:
    """Return the questions as CSV: one row each, the stable id first."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    places = list(some[0].texts())
    rows.writerow(["id", "area", "level", "minutes", *places, "lab", "section"])
    for one in some:
        said = one.filled()
        rows.writerow(
            [one.id, one.area, one.level, one.minutes, *(said[p] for p in places), one.lab, one.section]
        )
    return out.getvalue()


def as_anki(some: Sequence[Question]) -> str:
    """Return the questions as tab-separated notes for Anki's import: guid, front, back, tags.

    The guid is the question's id, so that importing a later version updates notes and keeps their schedule. Anki reads
    the lines that begin with # (its manual, "Importing text files", section "File headers").
    """
    lines = list(ANKI)
    for one in some:
        front = html.escape(one.filled()["question"])
        tags = f"{one.area.replace(' ', '-')} level-{one.level} lab-{one.lab}"
        fields = (f"labkit-{one.id}", front, answer_html(one), tags)
        lines.append("\t".join(" ".join(text.split()) for text in fields))
    return "\n".join(lines) + "\n"
