"""Take identifiers out of free text before training, and say what that misses, by kind, with intervals.

The finders are in `labkit.governance.finders`: patterns, which need nothing else, and Presidio
(``pip install "labkit[bridges]"``), offline, with a recogniser for the hospital's record numbers. Without a language model
neither finds names or addresses: their recall is measured like the others'.

Redaction is a complement to differential privacy, no substitute. It removes what stands on a list of kinds; what makes a
person recognisable is often on no list, and a model learns the rest of the note as before (lab 13 measures that).

Examples
--------
>>> from labkit.governance.finders import patterns
>>> redact("MRN 4711-2032, call 212-555-0143. BP 140/90.", patterns())
'MRN [RECORD NUMBER], call [PHONE]. BP 140/90.'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import stats
from labkit.governance.finders import Finder, Span
from labkit.governance.findings import ReviewError
from labkit.governance.notes import KINDS, SOURCE, Note
from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def redact(text: str, finder: Finder) -> str:
    """Return the text with each span that the finder finds replaced by its kind in brackets.

    Where spans overlap they become one, named after the longest.
    """
    parts, at = [], 0
    for span in merged(finder.find(text)):
        parts += [text[at : span.start], f"[{span.kind.upper()}]"]
        at = span.end
    return "".join([*parts, text[at:]])


def merged(spans: Sequence[Span]) -> list[Span]:
    """Return spans that do not overlap, in the order of the text: those that do become one, named after the longest."""
    found: list[tuple[Span, int]] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        length = span.end - span.start
        if found and span.start < found[-1][0].end:
            before, longest = found[-1]
            kind = span.kind if length > longest else before.kind
            found[-1] = (Span(before.start, max(before.end, span.end), kind), max(longest, length))
        else:
            found.append((span, length))
    return [span for span, _ in found]


@dataclass(frozen=True)
class Missed:
    """What a finder does with one kind, or with one form of it; shares of notes, with Clopper-Pearson intervals.

    Attributes
    ----------
    kind, form : str
        ``form`` is empty for all forms together.
    notes : int
        That have an item of it.
    removed : Interval
        Notes from which the item was removed whole, of all with an item of the kind and form: recall.
    right : Interval or None
        Notes in which each span of this kind was mostly identifier (at least half of its letters and digits), of all notes
        with such spans: precision with the note as the unit. None where nothing was flagged, or for one form.
    """

    kind: str
    form: str
    notes: int
    removed: stats.Interval
    right: stats.Interval | None = None


@dataclass(frozen=True, repr=False)
class RedactionReport(Result):
    """What a finder misses, by kind and by form: see `measure`.

    Attributes
    ----------
    finder : str
    notes : int
    source : str
    kinds, forms : tuple of Missed
    clean : Interval
        Share of notes from which every item was removed.
    """

    finder: str
    notes: int
    source: str
    kinds: tuple[Missed, ...]
    forms: tuple[Missed, ...]
    clean: stats.Interval

    def summary(self) -> str:
        """Return who read which notes, and the share that came out clean."""
        return (
            f"{self.finder} on {self.notes:,} {self.source}: {self.clean.percent(1)} of notes lost every identifier "
            "(95% intervals over notes of this generator)"
        )

    def table(self) -> pd.DataFrame:
        """Return one row a kind."""
        import pandas as pd

        rows = [
            {
                "kind": one.kind,
                "removed whole (recall)": one.removed.percent(1),
                "notes flagged rightly (precision)": "never flagged"
                if one.right is None
                else one.right.percent(1),
            }
            for one in self.kinds
        ]
        return pd.DataFrame(rows).set_index("kind")

    def by_form(self) -> pd.DataFrame:
        """Return one row a form, what is missed most first: rates to weigh by how one's own notes are written."""
        import pandas as pd

        rows = [
            {
                "kind": one.kind,
                "written as": one.form,
                "notes": one.notes,
                "removed whole": one.removed.percent(0),
            }
            for one in sorted(self.forms, key=lambda one: one.removed.estimate)
        ]
        return pd.DataFrame(rows).set_index(["kind", "written as"])

    def numbers(self) -> dict[str, Any]:
        """Return all rates with their intervals."""
        return {
            "finder": self.finder,
            "notes": self.notes,
            "source": self.source,
            "clean notes": as_json(self.clean),
            "kinds": {
                one.kind: {"removed": as_json(one.removed), "right": as_json(one.right)} for one in self.kinds
            },
            "forms": {f"{one.kind}: {one.form}": as_json(one.removed) for one in self.forms},
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the share removed, by kind, with intervals."""
        from labkit import plots

        fig, ax = plots.figure(6.4, 3.4) if ax is None else (ax.get_figure(), ax)
        order = sorted(self.kinds, key=lambda one: one.removed.estimate)
        for place, one in enumerate(order):
            low, high = one.removed.low, one.removed.high
            ax.plot(
                [100 * low, 100 * high], [place, place], color=plots.COLOURS[0], linestyle="-", linewidth=3
            )
            ax.plot(100 * one.removed.estimate, place, "o", color=plots.COLOURS[1])
        ax.set_yticks(range(len(order)), [one.kind for one in order])
        ax.set(
            xlim=(-2, 102),
            xlabel=f"removed whole, % of {self.notes:,} notes, 95% interval",
            title=f"What redaction removes\n{self.finder}",
        )
        said = "; ".join(f"{one.kind} {one.removed.percent(0)}" for one in reversed(order))
        return plots.describe(fig, f"Share of identifiers removed, by kind, with 95% intervals: {said}.")


def measure(notes: Sequence[Note], finder: Finder, *, source: str = SOURCE) -> RedactionReport:
    """Run a finder over notes with known truth.

    An item counts as removed only if each of its letters and digits is: half a phone number, or the surname alone, still
    leads to the person. Of which kind the finder takes it does not matter for that.

    Parameters
    ----------
    notes : sequence of Note
        Independent of each other, one item of each kind in each.

    Raises
    ------
    ReviewError
        If there are no notes.
    """
    if not notes:
        raise ReviewError("got no notes; expected some, with their truth, such as make_notes(200)")
    removed: dict[tuple[str, str], list[bool]] = {}
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    clean = 0
    for note in notes:
        spans = finder.find(note.text)
        covered = {place for span in spans for place in range(span.start, span.end)}
        gone = {item: _whole(note, item.start, item.end) <= covered for item in note.items}
        for item, value in gone.items():
            removed.setdefault((item.kind, item.form), []).append(value)
        clean += all(gone.values())
        for kind in KINDS:
            if flagged := [span for span in spans if span.kind == kind]:
                right[kind].append(all(_mostly_identifier(span, note) for span in flagged))
    kinds = tuple(
        Missed(
            kind,
            "",
            len(notes),
            _share([value for (k, _), values in removed.items() if k == kind for value in values]),
            _share(right[kind]) if right[kind] else None,
        )
        for kind in KINDS
    )
    forms = tuple(
        Missed(kind, form, len(values), _share(values)) for (kind, form), values in sorted(removed.items())
    )
    return RedactionReport(
        finder.name, len(notes), source, kinds, forms, stats.clopper_pearson(clean, len(notes))
    )


def _whole(note: Note, start: int, end: int) -> set[int]:
    return {place for place in range(start, end) if note.text[place].isalnum()}


def _mostly_identifier(span: Span, note: Note) -> bool:
    written = _whole(note, span.start, span.end)
    of_items = {place for item in note.items for place in range(item.start, item.end)}
    return len(written & of_items) >= len(written) / 2


def _share(values: Sequence[bool]) -> stats.Interval:
    return stats.clopper_pearson(sum(values), len(values))
