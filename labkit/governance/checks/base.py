"""What a check is: what it asks, when it applies, what it measures, and how what was measured is judged.

Measuring and judging are apart: what was measured is kept (it may have cost minutes), and judged anew each time.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.governance.findings import Finding, Measure, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labkit.governance.project import Project
    from labkit.stats import Interval

GDPR_ACCOUNTABLE = "GDPR article 5(2)"
GDPR_BY_DESIGN = "GDPR article 25"
GDPR_SECURITY = "GDPR article 32"
GDPR_ANONYMOUS = "GDPR recital 26"
AI_ACT_DATA = "EU AI Act article 10"
AI_ACT_ACCURACY = "EU AI Act article 15"


@dataclass(frozen=True)
class Absent:
    """Why a check is not run: it does not apply to this project, or something is missing."""

    why: str
    applies: bool = True


@dataclass(frozen=True)
class Found:
    """What a check says about what was measured.

    Attributes
    ----------
    conditions : str
        Data source, profile, seeds.
    """

    measures: Sequence[Measure] = ()
    findings: Sequence[Finding] = ()
    pictures: Sequence[Picture] = ()
    conditions: str = ""


@dataclass(frozen=True)
class Check:
    """One check of a review.

    Attributes
    ----------
    name, title, question : str
    measure : callable
        ``measure(project, minutes)`` returns what was measured; ``minutes`` is the rest of the budget.
    judge : callable
        ``judge(project, measured)`` returns `Found`.
    absent : callable
        ``absent(project)`` returns `Absent`, or None if the check can be run.
    settings : callable
        What the measured depends on besides model, data, claim and seed, for the key under which it is kept.
    minutes : callable
        ``minutes(project)``: about how long measuring takes.
    kept : bool
        Whether what was measured is kept for the next run.
    essential : bool
    functions : tuple of str
        Functions of labkit that answer.
    answers : tuple of str
        Items of the checklist that it answers.
    kinds : tuple of type
        Results that were measured before and that it judges instead: see `Project.measured`.
    """

    name: str
    title: str
    question: str
    measure: Callable[[Project, float], Any]
    judge: Callable[[Project, Any], Found]
    absent: Callable[[Project], Absent | None] = lambda project: None
    settings: Callable[[Project], dict[str, Any]] = lambda project: {}
    minutes: Callable[[Project], float] = lambda project: 0.1
    kept: bool = False
    essential: bool = False
    functions: tuple[str, ...] = field(default=())
    answers: tuple[str, ...] = ()
    kinds: tuple[type, ...] = ()


class CannotRun(ValueError):  # noqa: N818 - reads as a reason, and is shown as one
    """A check found out while running that it cannot; the message is the reason that stands in the report."""


def shown(what: str, interval: Interval, of: str, *, percent: bool = True) -> Measure:
    """Return a figure with its interval as people read it."""
    text = interval.percent(1) if percent else str(interval)
    return Measure(what, text, f"{interval.confidence:.0%} interval over {of}")


def picture(fig: Figure, *, dpi: int = 75) -> Picture:
    """Return a figure as a PNG with its alt text."""
    import matplotlib as mpl

    from labkit.plots import STYLE

    for ax in fig.axes:  # titles name the source of the data: none may be cut off
        for side in ("left", "center"):
            lines = ax.get_title(loc=side).splitlines()
            wide = 12 * ax.figure.get_figwidth()
            wrapped = [part for line in lines for part in textwrap.wrap(line, int(wide))]
            ax.set_title("\n".join(wrapped), loc=side, fontsize=9)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return Picture(buffer.getvalue(), fig.alt_text)


def conditions(project: Project, *, seed: int | None = None) -> str:
    """Return data source, profile and seed in one line."""
    from labkit import profiles

    return f"{project.dataset.source}; profile {profiles.current().name}; seed {project.seed if seed is None else seed}"
