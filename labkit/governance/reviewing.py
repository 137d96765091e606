"""Run a review: every check, in order, within the budget; then the checklist, and the decision.

What was measured is kept in the cache, check by check: after an interrupt, the same call goes on where it stopped.
"""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, profiles, progress
from labkit.federated.marks.mark_report import MarkReport
from labkit.governance import checklist
from labkit.governance.checks.base import Absent, CannotRun, Check, Found
from labkit.governance.checks.registry import ANSWERED, CHECKS
from labkit.governance.decision import Decision, decide
from labkit.governance.findings import SEVERITIES, Finding, Measure, Outcome, ReviewError
from labkit.governance.project import Project
from labkit.results import Result, as_json
from labkit.watermark.verification.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.signing import Signer


@dataclass(frozen=True, eq=False)
class Review(Result):
    """What a review found, and what it decided: see `review`.

    Attributes
    ----------
    title, owner : str
    decision : Decision
    outcomes : tuple of Outcome
        One for each check, whether it ran or not.
    checklist : tuple of Ticked
    claimed : dict of str to str
        What the submission claims, in words.
    digests, files : dict of str to str
    source, profile : str
    seed : int
    budget_minutes, seconds : float
    """

    title: str
    owner: str
    decision: Decision
    outcomes: tuple[Outcome, ...]
    checklist: tuple[checklist.Ticked, ...]
    claimed: dict[str, str]
    digests: dict[str, str]
    files: dict[str, str]
    source: str
    profile: str
    seed: int
    budget_minutes: float
    seconds: float

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the worst first."""
        found = [finding for outcome in self.outcomes for finding in outcome.findings]
        return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))

    def __getitem__(self, name: str) -> Outcome:
        found = next((one for one in self.outcomes if one.name == name), None)
        if found is None:
            raise KeyError(f"no check {name!r}; there are {', '.join(one.name for one in self.outcomes)}")
        return found

    def count(self, status: str) -> int:
        """Return how many checks have a status."""
        return sum(one.status == status for one in self.outcomes)

    def summary(self) -> str:
        said = ", ".join(
            f"{self.count(status)} {status}" for status in ("passed", "findings", "not run", "does not apply")
        )
        return f"{self.title}: {self.decision}; checks: {said}; {self.source}; profile {self.profile}, seed {self.seed}"

    def numbers(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "owner": self.owner,
            "decision": as_json(self.decision),
            "claimed": self.claimed,
            "digests": self.digests,
            "files": self.files,
            "checks": [one.numbers() for one in self.outcomes],
            "checklist": [
                {"id": one.item.id, "state": one.state, "said": one.said} for one in self.checklist
            ],
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "budget in minutes": self.budget_minutes,
        }

    def table(self) -> pd.DataFrame:
        """Return one row a check: what came of it, and the worst that it found."""
        import pandas as pd

        rows = [
            {
                "check": one.title,
                "status": one.status,
                "worst": one.findings[0].severity if one.findings else "",
                "said": one.findings[0].title if one.findings else one.why,
            }
            for one in self.outcomes
        ]
        return pd.DataFrame(rows).set_index("check")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw how many findings there are of each severity."""
        from labkit import plots

        fig, ax = plots.figure(5.6, 2.4) if ax is None else (ax.figure, ax)
        counts = [sum(one.severity == name for one in self.findings) for name in SEVERITIES]
        ax.barh(range(len(SEVERITIES)), counts, color=plots.COLOURS[: len(SEVERITIES)])
        ax.set_yticks(range(len(SEVERITIES)), SEVERITIES)
        ax.invert_yaxis()
        ax.set(xlabel="findings", title=f"{self.title}: {self.decision.verdict}")
        said = ", ".join(f"{count} {name}" for name, count in zip(SEVERITIES, counts, strict=True))
        return plots.describe(
            fig, f"Findings of the review by severity: {said}. Decision: {self.decision.verdict}."
        )

    def report(
        self, path: str | Path, *, reviewer: str = "the reviewer", signer: Signer | None = None
    ) -> tuple[Path, Path]:
        """Write the report as one HTML page and one Markdown page, both signed; return their paths.

        Parameters
        ----------
        path : str or Path
            With or without an ending.
        reviewer : str
            Who signs.
        signer : Signer, optional
            Their key. Without one, a key is made for this report: it shows that nothing was changed since, not by whom
            it was written.

        Raises
        ------
        OSError
            If a file cannot be written; the message names the fix.
        """
        from labkit.governance.sealing import write

        return write(self, Path(path), reviewer=reviewer, signer=signer)


def review(project: Project, *, today: date | None = None) -> Review:
    """Review a project.

    Parameters
    ----------
    project : Project
    today : date, optional
        Of the decision (default: today).

    Raises
    ------
    ReviewError
        Before anything runs, if the project names an unknown check, or answers an unknown item of the checklist.
    KeyboardInterrupt
        On Ctrl-C. What was measured by then is kept: the same call goes on.
    """
    items = checklist.load()
    answers = checklist.read_answers(project.answers, items, by=project.owner)
    chosen = _chosen(project)
    start = time.perf_counter()
    outcomes = []
    with progress.bar(len(CHECKS), f"review of {project.title}") as shown:
        for check in CHECKS:
            shown.set_postfix_str(check.title)
            left = project.budget_minutes - (time.perf_counter() - start) / 60
            outcomes.append(_outcome(check, project, left, check.name in chosen))
            shown.update()
    ticked = checklist.tick(items, outcomes, answers, ANSWERED)
    outcomes.append(_by_hand(ticked))
    return Review(
        title=project.title,
        owner=project.owner,
        decision=decide(outcomes, made=today or date.today(), days=project.days),
        outcomes=tuple(outcomes),
        checklist=ticked,
        claimed=_claimed(project),
        digests=project.digests,
        files=dict(project.files),
        source=project.dataset.source,
        profile=profiles.current().name,
        seed=project.seed,
        budget_minutes=project.budget_minutes,
        seconds=time.perf_counter() - start,
    )


def _chosen(project: Project) -> set[str]:
    names = [check.name for check in CHECKS]
    chosen = names if project.checks is None else list(project.checks)
    for name in chosen:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(names)}"
            raise ReviewError(f"run: no check {name!r}; {hint}")
    return set(chosen)


def _outcome(check: Check, project: Project, minutes: float, wanted: bool) -> Outcome:
    """Run one check and judge it; whatever stops it stands in the report."""
    about: dict[str, Any] = {"name": check.name, "title": check.title, "question": check.question}
    about |= {"essential": check.essential, "functions": check.functions}
    start = time.perf_counter()
    try:
        absent = check.absent(project)
        if absent is None and not wanted:
            absent = Absent("the project file leaves it out (run)")
        if absent is not None:
            return Outcome(**about, why=absent.why, ran=False, applies=absent.applies)
        found = check.judge(project, _measured(check, project, minutes))
    except CannotRun as reason:
        return Outcome(**about, why=str(reason), ran=False)
    except (
        Exception
    ) as error:  # hours of other checks must not be lost with it, and it must not be lost either
        return Outcome(**about, why=f"it stopped with {type(error).__name__}: {error}", ran=False)
    return _as_outcome(about, found, time.perf_counter() - start)


def _as_outcome(about: dict[str, Any], found: Found, seconds: float) -> Outcome:
    return Outcome(
        **about,
        measures=tuple(found.measures),
        findings=tuple(found.findings),
        pictures=tuple(found.pictures),
        conditions_of_run=found.conditions,
        seconds=seconds,
    )


def _measured(check: Check, project: Project, minutes: float) -> Any:
    """Return what was measured before, by somebody or by an earlier run, else measure it within the budget."""
    for kind in check.kinds:
        if (given := project.find(kind)) is not None:
            return given
    needed = check.minutes(project)

    def compute() -> Any:
        if needed > minutes:
            raise CannotRun(
                f"the budget is spent: it takes about {needed:.1f} minutes, {max(0.0, minutes):.1f} of "
                f"{project.budget_minutes:g} are left: raise budget_minutes"
            )
        return check.measure(project, minutes)

    if not check.kept:
        return compute()
    settings = {
        "check": check.name,
        "digests": project.digests,
        "seed": project.seed,
        "profile": profiles.current().name,
        **check.settings(project),
    }
    code = [check.measure, *{type(part): None for part in project.model.modules()}]
    return cache.cached("review", settings, compute, code=code)


def _by_hand(ticked: tuple[checklist.Ticked, ...]) -> Outcome:
    """Return the outcome of what people have to answer."""
    by_hand = [one for one in ticked if not one.item.automatic]
    answered = sum(one.state in ("answered by a person", "failed") for one in by_hand)
    return Outcome(
        name="checklist",
        title="The checklist: what people answer",
        question="Did somebody answer for what no machine can check?",
        measures=(Measure("items answered", f"{answered} of {len(by_hand)}", "in their words, and by name"),),
        findings=checklist.findings_of(ticked),
        functions=("labkit.governance.checklist.tick",),
        conditions_of_run="answers of the project file",
    )


def _claimed(project: Project) -> dict[str, str]:
    """Return what the submission claims, in words."""
    mark, limits = project.mark, {"tpr_at_1_percent_fpr": "members found at 1% false positives at most {:g}"}
    limits |= {"auc": "AUC of any attack at most {:g}", "accuracy": "accuracy at least {:g}"}
    return {
        "privacy": str(project.claim) if project.claim else "no differential privacy",
        "limits": ", ".join(f"{name} {value:g}" for name, value in project.promises.items())
        or "none promised",
        "defences": ", ".join(project.defences) or "none named",
        "evidence on leakage": "; ".join(map(str, project.evidence)) or "none brought",
        "mark": f"{len(mark.y)} {mark.kind} triggers" if mark else _marked(project),
        "data": f"{project.dataset!r}; trained on {int(project.trained_on.sum()):,} of the train records",
    }


def _marked(project: Project) -> str:
    before = [one for one in project.measured if isinstance(one, Verdict | MarkReport)]
    return "; ".join(f"{type(one).__name__}, measured before" for one in before) or "no mark"
