"""Law to control to evidence, and the board's papers: templates that name what is missing instead of leaving it blank.

No legal advice: a control *may support* an argument; whether a requirement is met is for counsel to judge.

Examples
--------
>>> requirement = regulation_map().find("gdpr.17")
>>> requirement.title, requirement.checks
('Erasure', ('data.digest', 'data.erasure', 'statement.unit', 'statement.recomputed', 'attacks.shadow_models'))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.governance.checklist import STATES, Ticked, load
from labkit.governance.findings import SEVERITIES, Outcome, ReviewError
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from labkit.governance.decision import Decision

FOLDER = Path(__file__).parent / "data"
PAPERS = ("charter", "dpia", "meeting")
FIELD = re.compile(r"\{\{(\w+)\}\}")
BY_PEOPLE = "MISSING: to be written by people, no measurement answers it"


@dataclass(frozen=True)
class Control:
    """A measure that answers a requirement, as far as it goes.

    Attributes
    ----------
    control : str
    supports : str
        What it may support; never that something complies.
    checks : tuple of str
        Ids of the checklist: the evidence.
    section : str
        Where the report shows it.
    """

    control: str
    supports: str
    checks: tuple[str, ...]
    section: str


@dataclass(frozen=True)
class Requirement:
    """One provision, paraphrased, with its controls and with what their evidence does not show (``limits``)."""

    id: str
    law: str
    article: str
    title: str
    requirement: str
    controls: tuple[Control, ...]
    limits: str

    @property
    def checks(self) -> tuple[str, ...]:
        """Ids of all items of the checklist that bear on it, each once."""
        return tuple(dict.fromkeys(check for control in self.controls for check in control.checks))


@dataclass(frozen=True, repr=False)
class RegulationMap(Result):
    """All requirements: see `regulation_map`.

    Attributes
    ----------
    laws : dict
        Law's short name to its ``name``, ``official`` designation and ``source``.
    requirements : tuple of Requirement
    note, read : str
        What the map is not, and the day the sources were read.
    """

    laws: Mapping[str, Mapping[str, str]]
    requirements: tuple[Requirement, ...]
    note: str
    read: str

    def summary(self) -> str:
        """Return what the map is, and what it is not."""
        return (
            f"{len(self.requirements)} requirements of {len(self.laws)} laws, read {self.read}. {self.note}"
        )

    def find(self, id: str) -> Requirement:
        """Return a requirement.

        Raises
        ------
        ReviewError
            If there is none of this id.
        """
        for one in self.requirements:
            if one.id == id:
                return one
        raise ReviewError(
            f"no requirement {id!r}; there are {', '.join(one.id for one in self.requirements)}"
        )

    def bearing_on(self, check: str) -> tuple[str, ...]:
        """Return the provisions that an item of the checklist bears on, as text: pointers for a lawyer.

        Examples
        --------
        >>> regulation_map().bearing_on("data.overlap")
        ('EU AI Act, Article 10',)
        """
        short = {"gdpr": "GDPR", "ccpa": "CCPA/CPRA", "ai_act": "EU AI Act"}
        return tuple(f"{short[one.law]}, {one.article}" for one in self.requirements if check in one.checks)

    def numbers(self) -> dict[str, Any]:
        """Return the map as plain text, by id."""
        return {
            "note": self.note,
            "read": self.read,
            "laws": {name: dict(law) for name, law in self.laws.items()},
            "requirements": {
                one.id: {
                    "article": one.article,
                    "requirement": one.requirement,
                    "controls": {control.control: list(control.checks) for control in one.controls},
                    "limits": one.limits,
                }
                for one in self.requirements
            },
        }

    def table(self) -> pd.DataFrame:
        """Return one row a control: provision, control, what it may support, and who answers."""
        import pandas as pd

        answers = {item.id: item.answered_by or "a person" for item in load()}
        rows = [
            {
                "provision": f"{one.article}: {one.title}",
                "control": control.control,
                "evidence": control.supports,
                "answered by": ", ".join(dict.fromkeys(answers[check] for check in control.checks)),
                "report": control.section,
            }
            for one in self.requirements
            for control in one.controls
        ]
        return pd.DataFrame(rows).set_index("provision")

    def state(self, ticked: Sequence[Ticked]) -> pd.DataFrame:
        """Return, for each requirement, how many of its checks are in which state after a review.

        A count of evidence, and no verdict on the law. Raises `ReviewError` if an item of the map was not gone through.
        """
        import pandas as pd

        states = {one.item.id: one.state for one in ticked}
        if missing := {check for one in self.requirements for check in one.checks} - set(states):
            raise ReviewError(f"the review did not go through {sorted(missing)}: tick the whole checklist")
        rows = [
            {"provision": f"{one.article}: {one.title}"}
            | {state: sum(states[check] == state for check in one.checks) for state in STATES}
            for one in self.requirements
        ]
        return pd.DataFrame(rows).set_index("provision")


def regulation_map(path: Path = FOLDER / "regulation.yaml") -> RegulationMap:
    """Read the map.

    Raises
    ------
    ReviewError
        If an entry names an unknown law or item of the checklist, or claims more than "may support".
    """
    import yaml

    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {item.id for item in load()}
    rows = []
    for entry in found["requirements"]:
        controls = tuple(Control(**one | {"checks": tuple(one["checks"])}) for one in entry["controls"])
        rows.append(Requirement(**entry | {"controls": controls}))
        if entry["law"] not in found["laws"] or set(rows[-1].checks) - known:
            raise ReviewError(
                f"{entry['id']}: law {entry['law']!r}, checks {sorted(set(rows[-1].checks) - known)}; expected a law of "
                f"{', '.join(found['laws'])} and items of the checklist"
            )
        if bold := [one.control for one in controls if not one.supports.startswith("may support")]:
            raise ReviewError(f"{entry['id']}: {bold} promise more than they 'may support'")
    return RegulationMap(found["laws"], tuple(rows), found["note"], found["read"])


def fields_of(paper: str) -> tuple[str, ...]:
    """Return the names of a template's blanks, in its order, each once.

    Raises
    ------
    ReviewError
        If there is no such template.

    Examples
    --------
    >>> fields_of("charter")
    ('organisation', 'escalation', 'incident', 'kept')
    """
    return tuple(dict.fromkeys(FIELD.findall(_template(paper))))


def fill(paper: str, **fields: str) -> str:
    """Return one of the board's papers as Markdown; a blank that nobody filled says so.

    Parameters
    ----------
    paper : {"charter", "dpia", "meeting"}
    **fields
        See `fields_of`.

    Raises
    ------
    ReviewError
        If there is no such template, or no such blank in it.
    """
    text, known = _template(paper), fields_of(paper)
    if unknown := sorted(set(fields) - set(known)):
        raise ReviewError(f"{paper} has no blank {', '.join(unknown)}; it has {', '.join(known)}")
    return FIELD.sub(lambda match: fields.get(match[1], "").strip() or f"**{BY_PEOPLE}.**", text)


def _template(paper: str) -> str:
    if paper not in PAPERS:
        raise ReviewError(f"no paper {paper!r}; there are {', '.join(PAPERS)}")
    return (FOLDER / f"{paper}.md").read_text(encoding="utf-8")


def impact_assessment(outcomes: Sequence[Outcome], decision: Decision, **fields: str) -> str:
    """Return a draft data protection impact assessment: risks and measures from a review, the rest from ``fields``.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of all checks of the review.
    decision : Decision
    **fields
        What people write: see ``fields_of("dpia")``. What is missing stays marked as missing.

    Raises
    ------
    ReviewError
        If a field is unknown, or is one that the review fills.
    """
    found = [one for outcome in outcomes for one in outcome.findings]
    risks = sorted(found, key=lambda one: SEVERITIES.index(one.severity))
    worked = [one for one in outcomes if one.status == "passed"]
    unseen = [f"- {one.title}: {one.why}" for one in outcomes if one.status == "not run"]
    grave = [one.title for one in risks if one.severity in ("critical", "high")]
    from_review = {
        "risks": _rows(
            ("Finding", "Severity", "Evidence"),
            [(one.title, one.severity, " ".join(filter(None, (one.evidence, one.value)))) for one in risks],
            "The review found nothing to report. That is no proof that there is no risk: see the next line.",
        ),
        "not_examined": "\n" + "\n".join([*unseen, "- Whatever stands on no checklist."]),
        "measures": _rows(
            ("Measure", "Question that it answered", "Function"),
            [(one.title, one.question, ", ".join(one.functions)) for one in worked],
            "No measure was shown to work.",
        ),
        "conditions": "\n" + ("\n".join(f"- {text}" for text in decision.conditions) or "- None."),
        "decision": f"{decision}. {'; '.join(decision.reasons)}.",
        "expires": decision.expires or "not approved",
    }
    if grave:
        from_review["residual"] = (
            f"Until they are answered, these findings of high or critical severity stand: {'; '.join(grave)}."
        )
    if taken := sorted(set(fields) & set(from_review)):
        raise ReviewError(f"{', '.join(taken)}: filled from the review, not by hand")
    return fill("dpia", **from_review, **fields)


def _rows(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], empty: str) -> str:
    if not rows:
        return empty
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
