"""The ownership court: a plan fixed in advance, tried on several suspects, with controls.

The plan says which lines of evidence are asked, how many queries each gets, at what alpha, and how many lines must
speak against a suspect. Its `digest` goes into the evidence record before the first query. Alpha is shared out over
suspects and lines (Bonferroni), which holds whatever the lines have in common; and they have: shared mistakes and
agreement both ask who resembles whom, and the thief could ask it too. The mark and dataset inference point one way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import profiles
from labkit.stats import Interval, clopper_pearson
from labkit.watermark import agreement, inference, mistakes
from labkit.watermark.cases import Accused, Case
from labkit.watermark.claims import Claim
from labkit.watermark.lines import Line
from labkit.watermark.plan import Plan
from labkit.watermark.questions import ask_all
from labkit.watermark.verify import Suspect, Verdict, verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from labkit.data import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Verdicts:
    """All suspects, and the controls: see `try_suspects`.

    Attributes
    ----------
    cases : tuple of Case
    controls : tuple of Case
        Each claimant's own original, which the lines must speak against.
    false_claims : Interval
        Share of null models that the whole rule would convict, each against the others.
    threshold : float
        Alpha of one line against one suspect.
    """

    plan: Plan
    cases: tuple[Case, ...]
    controls: tuple[Case, ...]
    false_claims: Interval
    threshold: float
    null_models: int
    source: str
    profile: str

    def __getitem__(self, name: str) -> Case:
        """Return a suspect's case by name."""
        return {case.name: case for case in self.cases}[name]

    def answers(self) -> dict[str, bool]:
        """Return, for each suspect, whether it counts as derived."""
        return {case.name: case.derived for case in self.cases}

    def table(self) -> pd.DataFrame:
        """Return one row a suspect and control: p-values (an asterisk where the line speaks against it) and verdict."""
        import pandas as pd

        def cell(case: Case, name: str) -> str:
            line = case.lines.get(name)
            return "no triggers" if line is None else f"{line.p_value:.2g}{' *' if line.decided else ''}"

        rows = [
            {"suspect": case.name, "accused by": case.claimant}
            | {name: cell(case, name) for name in self.plan.queries}
            | {"queries": case.queries, "verdict": case.verdict}
            for case in (*self.cases, *self.controls)
        ]
        return pd.DataFrame(rows).set_index("suspect")

    def by_line(self) -> dict[str, dict[str, Line | Verdict]]:
        """Return, for each line of evidence that is a share of records, each suspect's result."""
        found = {
            name: {c.name: c.lines[name] for c in self.cases if name in c.lines} for name in self.plan.queries
        }
        return {
            name: lines
            for name, lines in found.items()
            if lines and all(line.hit is not None for line in lines.values())
        }

    def p_values(self) -> np.ndarray:
        """Return p-values, float64 (suspects, lines); NaN where a line could not be asked."""
        lines = self.plan.queries
        return np.array(
            [[case.lines[n].p_value if n in case.lines else np.nan for n in lines] for case in self.cases]
        )

    def plot(self, names: Mapping[str, str] | None = None) -> Figure:
        """Draw every suspect's p-values and verdict: see `labkit.watermark.board.draw`."""
        from labkit.watermark import board

        return board.draw(self, names)

    def numbers(self) -> dict[str, Any]:
        """Return all findings as plain numbers and text, for JSON and for the evidence record."""
        from labkit.membership.reports import as_json

        def case_of(case: Case) -> dict[str, Any]:
            lines = {
                name: {"p_value": line.p_value, "rank_p_value": line.rank_p_value, "power": line.power}
                | {"decided": line.decided, "queries": line.queries}
                for name, line in case.lines.items()
            }
            return {"suspect": case.name, "claimant": case.claimant, "verdict": case.verdict, "lines": lines}

        return {
            "plan": asdict(self.plan),
            "plan_digest": self.plan.digest,
            "threshold": self.threshold,
            "null_models": self.null_models,
            "cases": [case_of(case) for case in self.cases],
            "controls": [case_of(case) for case in self.controls],
            "false_claims": as_json(self.false_claims),
            "source": self.source,
            "profile": self.profile,
            "seed": self.plan.seed,
        }

    def save(self, path: str | Path) -> Path:
        """Write the findings as JSON, atomically, and return the path."""
        from labkit.membership.reports import write_json

        return write_json(path, self.numbers())

    def __str__(self) -> str:
        where = (
            f"{self.source}; profile {self.profile}; seed {self.plan.seed}; {self.null_models} null models"
        )
        return "\n".join([f"{case.name}: {case.verdict}" for case in self.cases] + [f"[{where}]"])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return (
            f"<p><b>Verdicts</b> ({self.source}; profile {self.profile}; {self.null_models} null models, of which the "
            f"same rule convicts {self.false_claims.percent(0)}; threshold {self.threshold:.2g}, * below it)</p>"
            f"{self.table().to_html(border=0)}"
        )


class _Prepared:
    """One claim's questions, chosen and put to the null models before any suspect is asked."""

    def __init__(
        self, plan: Plan, claim: Claim, nulls: Sequence[nn.Module], known: np.ndarray, public: Dataset
    ) -> None:
        self.plan, self.claim, self.nulls, self.public = plan, claim, nulls, public
        held = replace(claim.records, test_x=public.test_x, test_y=public.test_y, digest="not hashed")
        asked, settings = plan.queries, {"seed": plan.seed, "minimum": plan.minimum}
        self.triggers = claim.redraw(public) if "mark" in asked and claim.drawable else None
        self.questions: dict[str, Any] = {}
        if "mistakes" in asked:
            self.questions["mistakes"] = mistakes.questions(
                claim.model, held, known, queries=asked["mistakes"], **settings
            )
        if "agreement" in asked:
            self.questions["agreement"] = agreement.questions(
                claim.model, held, known, queries=asked["agreement"], **settings
            )
        if "inference" in asked:
            self.questions["inference"] = inference.records(
                held, nulls, queries=asked["inference"], **settings
            )

    def ask(self, suspect: Suspect, alpha: float) -> dict[str, Line | Verdict]:
        """Return all lines against one suspect."""
        lines: dict[str, Line | Verdict] = {}
        if self.triggers is not None:
            lines["mark"] = verify(
                suspect,
                self.triggers,
                self.nulls,
                alpha=alpha,
                minimum=self.plan.minimum,
                queries=min(self.plan.queries["mark"], len(self.triggers)),
                source=self.public.source,
                seed=self.plan.seed,
            )
        return lines | {name: asked.ask(suspect, alpha=alpha) for name, asked in self.questions.items()}

    def convicted_nulls(self, lines: dict[str, Line | Verdict]) -> np.ndarray:
        """Return which null models the whole rule would convict, each against the others, bool (k,)."""
        return sum(line.accused.astype(int) for line in lines.values()) >= self.plan.needed


def try_suspects(
    plan: Plan, suspects: Sequence[Accused], nulls: Sequence[nn.Module], public: Dataset
) -> Verdicts:
    """Try each suspect by the plan, and the claimants' own originals as positive controls.

    Null hypothesis of each line: see `labkit.watermark.verify`, `mistakes`, `agreement` and `inference`. With alpha
    shared out over suspects and lines, the probability that any line speaks against any innocent is at most the plan's
    alpha, where the lines' own assumptions hold; that several lines are needed is a guard against those that do not.

    Parameters
    ----------
    suspects : sequence of Accused
    nulls : sequence of nn.Module
        The court's own models, trained independently of all claimants.
    public : Dataset
        Its test records are the court's: no claimant trained on them.

    Raises
    ------
    ValueError
        If there is no suspect, two bear the same name, or there are fewer null models than the plan asks for.
    """
    names = [suspect.name for suspect in suspects]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"got suspects {names}; expected at least one, each with a name of its own")
    if len(nulls) < plan.minimum:
        raise ValueError(f"got {len(nulls)} null models; the plan asks for {plan.minimum}: train more")
    known = ask_all(nulls, public.test_x)
    claims = {id(suspect.claim): suspect.claim for suspect in suspects}
    prepared = {key: _Prepared(plan, claim, nulls, known, public) for key, claim in claims.items()}
    alpha = plan.threshold(len(suspects))
    cases = [
        Case(
            suspect.name,
            suspect.claim.claimant,
            prepared[id(suspect.claim)].ask(suspect.model, alpha),
            tuple(suspect.claim.problems(public, released=suspect.released)),
            plan.needed,
        )
        for suspect in suspects
    ]
    controls = [
        Case(
            f"control: {claim.claimant}'s own",
            claim.claimant,
            prepared[key].ask(claim.model, alpha),
            (),
            plan.needed,
        )
        for key, claim in claims.items()
    ]
    convicted = [
        prepared[key].convicted_nulls(control.lines) for key, control in zip(claims, controls, strict=True)
    ]
    return Verdicts(
        plan=plan,
        cases=tuple(cases),
        controls=tuple(controls),
        false_claims=clopper_pearson(int(np.sum(convicted)), int(np.size(convicted))),
        threshold=alpha,
        null_models=len(nulls),
        source=public.source,
        profile=profiles.current().name,
    )
