"""What a threat analysis found, in a form that a review board can act on: one `Finding` per threat, `Findings` in all.

Two judgements, by rules that are stated and never by taste. **Status**: "answered" only if the upper end of what was
measured *with* the control stays below the lowest level of a `Scale`; else "open"; "not shown" where no experiment was
made. **Severity** of an answered threat is the harm that the control averts, by the lower end of what was measured
without it; of an open one, the worst that is not excluded, by the upper end. Too few runs therefore make a threat open
and more severe, never a pass.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import plots
from labkit.results import Result
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = ("low", "medium", "high", "critical")
SEVERITIES = (*reversed(LEVELS), "none", "unknown")
STATUSES = ("open", "not shown", "answered")


class FindingError(ValueError):
    """A finding that would mislead whoever reads it; the message says what is missing."""


@dataclass(frozen=True)
class Scale:
    """From which value on a measured number is low, medium, high or critical; larger is worse.

    Examples
    --------
    >>> scale = Scale("members found at 1% false alarms", low=0.02, medium=0.05, high=0.1, critical=0.5)
    >>> scale.shown(Interval(0.08, 0.06, 0.11)), scale.possible(Interval(0.08, 0.06, 0.11))
    ('medium', 'high')
    >>> scale.harmless(Interval(0.01, 0.0, 0.03))
    False
    """

    what: str
    low: float
    medium: float
    high: float
    critical: float

    def __post_init__(self) -> None:
        levels = [getattr(self, name) for name in LEVELS]
        if not all(map(math.isfinite, levels)) or sorted(set(levels)) != levels:
            raise FindingError(f"levels of {self.what!r} are {levels}; expected four rising numbers")

    def level(self, value: float) -> str:
        """Return the highest level that a value reaches; "none" below all."""
        return next((name for name in reversed(LEVELS) if value >= getattr(self, name)), "none")

    def shown(self, found: Interval) -> str:
        """Return the level that the lower end reaches: harm that was shown."""
        return self.level(found.low)

    def possible(self, found: Interval) -> str:
        """Return the level that the upper end reaches: the worst that is not excluded."""
        return self.level(found.high)

    def harmless(self, found: Interval) -> bool:
        """Return whether the whole interval lies below the lowest level."""
        return found.high < self.low

    def rule(self) -> str:
        """Return the rule in words."""
        steps = ", ".join(f"{name} from {getattr(self, name):g}" for name in LEVELS)
        return f"{self.what}: {steps}"


def judge(scale: Scale, attack: Interval, controlled: Interval | None = None) -> tuple[str, str]:
    """Return (severity, status) of a threat.

    Parameters
    ----------
    attack : Interval
        The number without the control.
    controlled : Interval, optional
        The same number with the control in place; None where there is no such experiment: then the threat is "answered"
        only if the attack itself is harmless with certainty.

    Examples
    --------
    >>> scale = Scale("share", low=0.02, medium=0.05, high=0.1, critical=0.5)
    >>> judge(scale, Interval(0.8, 0.7, 0.9), Interval(0.01, 0.005, 0.015))
    ('critical', 'answered')
    >>> judge(scale, Interval(0.8, 0.7, 0.9)), judge(scale, Interval(0.01, 0.0, 0.3))
    (('critical', 'open'), ('high', 'open'))
    """
    left = attack if controlled is None else controlled
    if scale.harmless(left):
        return scale.shown(attack), "answered"
    return scale.possible(left), "open"


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """One threat: what was tried, by whom, what came of it, and what answers it.

    Attributes
    ----------
    title : str
    severity : {"critical", "high", "medium", "low", "none", "unknown"}
        Averted if answered, not excluded if open: see `judge`; "unknown" where nothing was measured.
    adversary : str
        Who attacks.
    knowledge : str
        What the adversary knows and may do.
    evidence : str
        One or two sentences made from measured numbers.
    number : str
        What was measured, with its unit.
    interval : Interval or None
        Its value in the system as it stands; None where nothing was measured.
    interval_of : str
        What the interval is an interval of: which chance would another run draw anew.
    differs : str
        What else differs between the two sides that the evidence compares; "nothing else" is an answer.
    control : str
        What answers the threat, or would.
    status : {"open", "not shown", "answered"}
    figure : Figure or None
        With alt text.

    Raises
    ------
    FindingError
        If a field is empty or unknown, or the status claims what was not measured.
    """

    title: str
    severity: str
    adversary: str
    knowledge: str
    evidence: str
    number: str
    interval: Interval | None
    interval_of: str
    differs: str
    control: str
    status: str
    figure: Figure | None = None

    def __post_init__(self) -> None:
        for name in (
            "title",
            "adversary",
            "knowledge",
            "evidence",
            "number",
            "interval_of",
            "differs",
            "control",
        ):
            if not str(getattr(self, name)).strip():
                raise FindingError(f"{self.title or 'a finding'}: {name} is empty; expected words")
        for name, allowed in (("severity", SEVERITIES), ("status", STATUSES)):
            if getattr(self, name) not in allowed:
                raise FindingError(
                    f"{self.title}: {name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}"
                )
        _check_claim(self)
        if self.figure is not None and not getattr(self.figure, "alt_text", None):
            raise FindingError(
                f"{self.title}: the figure has no alt text; pass it through plots.describe first"
            )

    @property
    def value(self) -> str:
        """The number with its interval, as text."""
        return "not measured" if self.interval is None else str(self.interval)

    def numbers(self) -> dict[str, Any]:
        """Return every field but the figure, for JSON."""
        fields = (*Finding.__dataclass_fields__,)
        return {name.replace("_", " "): getattr(self, name) for name in fields if name != "figure"}


def not_shown(title: str, *, adversary: str, knowledge: str, control: str, why: str) -> Finding:
    """Return the finding of an experiment that was not made: unknown, whatever one may believe."""
    return Finding(
        title=title,
        severity="unknown",
        adversary=adversary,
        knowledge=knowledge,
        evidence=f"No experiment: {why}",
        number="nothing was measured",
        interval=None,
        interval_of="nothing",
        differs="nothing was compared",
        control=control,
        status="not shown",
    )


@dataclass(frozen=True, eq=False)
class Findings(Result):
    """A threat analysis: its findings, worst and least answered first.

    Attributes
    ----------
    findings : tuple of Finding
    system : str
        What was attacked, in one sentence or two.
    source, profile : str
        Of the data; of the run.
    seeds : tuple of int
    seconds : float
    """

    findings: tuple[Finding, ...]
    system: str
    source: str
    profile: str
    seeds: tuple[int, ...]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        titles = [one.title for one in self.findings]
        if not titles:
            raise FindingError(
                "an analysis without findings says nothing: use not_shown for what was not tried"
            )
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise FindingError(
                f"two findings are called {sorted(twice)}; expected a title of its own for each"
            )
        object.__setattr__(self, "findings", tuple(sorted(self.findings, key=_order)))

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, title: str) -> Finding:
        found = [one for one in self.findings if one.title == title]
        if not found:
            raise KeyError(
                f"no finding {title!r}; there are: {', '.join(one.title for one in self.findings)}"
            )
        return found[0]

    def count(self, status: str) -> int:
        """Return how many findings have a status."""
        return sum(one.status == status for one in self.findings)

    def worst(self, status: str = "open") -> str:
        """Return the worst severity among findings of a status; "none" if there are none."""
        known = [one.severity for one in self.findings if one.status == status]
        return min(known, key=SEVERITIES.index, default="none")

    def summary(self) -> str:
        return (
            f"{len(self)} threats: {self.count('open')} open (worst: {self.worst()}), {self.count('answered')} answered, "
            f"{self.count('not shown')} not shown; {self.source}; {self.profile}, seeds {_listed(self.seeds)}"
        )

    def numbers(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "seconds": self.seconds,
            **{status: self.count(status) for status in STATUSES},
            "worst open severity": self.worst(),
            "findings": [one.numbers() for one in self.findings],
        }

    def table(self) -> pd.DataFrame:
        """Return one row per finding, worst first."""
        import pandas as pd

        rows = [
            {
                "finding": one.title,
                "severity": one.severity,
                "status": one.status,
                "adversary": one.adversary,
                "measured": one.number,
                "value [95% interval]": one.value,
                "control": one.control,
            }
            for one in self.findings
        ]
        return pd.DataFrame(rows).set_index("finding")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw how severe each threat is, and whether its control answers it."""
        alone = ax is None
        fig, ax = plots.figure(7.6, 1.6 + 0.27 * len(self)) if alone else (ax.figure, ax)
        ladder = ("unknown", "none", *LEVELS)
        looks = {
            "open": {"marker": "o", "color": plots.COLOURS[1]},
            "answered": {"marker": "s", "color": plots.COLOURS[2], "markerfacecolor": "none"},
            "not shown": {"marker": "x", "color": plots.COLOURS[6]},
        }
        for status, look in looks.items():
            rows = [row for row, one in enumerate(self.findings) if one.status == status]
            levels = [ladder.index(self.findings[row].severity) for row in rows]
            if rows:
                ax.plot(levels, rows, linestyle="none", markersize=9, markeredgewidth=2, label=status, **look)
        ax.set_yticks(range(len(self)), [_cut(one.title, 58) for one in self.findings], fontsize=9)
        ax.set_xticks(range(len(ladder)), ladder)
        ax.set_xlim(-0.5, len(ladder) - 0.5)
        ax.set_ylim(len(self) - 0.5, -0.5)
        ax.set_xlabel("severity")
        if alone:
            fig.suptitle(wrapped(self.source), fontsize=9)
            fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        alt = "; ".join(f"{one.title}: {one.severity}, {one.status}" for one in self.findings)
        return plots.describe(fig, f"Severity and status of {len(self)} threats. {alt}.")

    def report(self, path: str | Path) -> tuple[Path, Path]:
        """Write the report for a review board as one HTML page and one Markdown page; return both paths.

        Parameters
        ----------
        path : str or Path
            With or without an ending; ``.html`` and ``.md`` are written. Figures are inside, nothing is fetched.

        Raises
        ------
        OSError
            If a file cannot be written; the message names the fix.
        """
        from labkit.cache import atomic_path
        from labkit.federated.threats import report

        base = Path(path)
        base = base.with_suffix("") if base.suffix in (".html", ".md") else base
        pages = (report.html_page(self), report.markdown_page(self))
        written = tuple(base.with_name(base.name + ending) for ending in (".html", ".md"))
        for place, text in zip(written, pages, strict=True):
            with atomic_path(place) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return written


def wrapped(text: str, width: int = 92) -> str:
    """Return a title in lines that a figure has room for: where the data came from must not be cut off."""
    return "\n".join(textwrap.wrap(text, width))


def _check_claim(one: Finding) -> None:
    """Refuse a status or severity that nothing measured supports."""
    measured = one.interval is not None
    if measured != (one.status != "not shown") or measured != (one.severity != "unknown"):
        raise FindingError(
            f"{one.title}: status {one.status!r} and severity {one.severity!r} with interval {one.interval}; without a "
            "measured interval a finding is 'not shown' and 'unknown', with one it is neither"
        )
    if measured and not any(letter.isdigit() for letter in one.evidence):
        raise FindingError(
            f"{one.title}: the evidence has no number; expected a sentence made from what was measured"
        )
    if measured and not (one.interval.low <= one.interval.estimate <= one.interval.high):
        raise FindingError(f"{one.title}: {one.interval} does not hold its own estimate")


def _order(one: Finding) -> tuple[int, int, str]:
    """Sort: not shown last, then by severity, open before answered."""
    return (one.status == "not shown", SEVERITIES.index(one.severity), STATUSES.index(one.status), one.title)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _listed(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 4 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
