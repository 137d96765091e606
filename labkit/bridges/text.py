"""Presidio on made-up clinical notes, offline and without a language model, beside labkit's own patterns."""

from __future__ import annotations

from labkit import profiles
from labkit.bridges.agreement import Agreement, Line, absolute, versions


def presidio(seed: int = 0) -> Agreement:
    """Compare what Presidio and labkit's patterns take out of the same notes, kind by kind.

    Both are given the hospital's record number, as a pattern with a check digit: there they must agree. Other kinds are
    each tool's own idea, and are shown with their intervals.
    """
    from labkit.governance import finders
    from labkit.governance.notes import SOURCE, make_notes
    from labkit.governance.redaction import measure

    notes = make_notes(profiles.current().pick(smoke=40, laptop=400, full=2000), seed=seed)
    own, other = finders.patterns(), finders.presidio()
    ours, theirs = measure(notes, own), measure(notes, other)
    apart = sum(_numbers(own.find(note.text)) != _numbers(other.find(note.text)) for note in notes)
    lines = [
        absolute(
            "notes whose record numbers the two find in different places",
            0,
            apart,
            0,
            "same pattern, same check digit",
        ),
        *(
            Line(
                f"share of notes that lost their {one.kind}",
                one.removed.estimate,
                two.removed.estimate,
                abs(one.removed.estimate - two.removed.estimate),
                measure=f"shown, not judged: {one.removed.percent(0)} and {two.removed.percent(0)}",
            )
            for one, two in zip(ours.kinds, theirs.kinds, strict=True)
        ),
    ]
    return Agreement(
        tool="Presidio",
        lines=tuple(lines),
        versions=versions(["presidio-analyzer"]),
        command="labkit bridge presidio",
        source=SOURCE,
        profile=profiles.current().name,
        seeds=(seed,),
        notes=(
            "No language model: neither finds names or addresses. Intervals are 95%, over notes of this generator.",
            "What redaction misses, form by form, and why it is no substitute for differential privacy: lab 13.",
        ),
    )


def _numbers(spans: list) -> list[tuple[int, int]]:
    """Return where record numbers were found."""
    return [(span.start, span.end) for span in spans if span.kind == "record number"]
