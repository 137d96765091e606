"""The ownership court: a plan fixed in advance, tried on several suspects, with controls.

The plan says which lines of evidence are asked, how many queries each gets, at what alpha, and how many lines must
speak against a suspect. Its `digest` goes into the evidence record before the first query. Alpha is shared out over
suspects and lines (Bonferroni), which holds whatever the lines have in common; and they have: shared mistakes and
agreement both ask who resembles whom, and the thief could ask it too. The mark and dataset inference point one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import profiles
from labkit.stats import clopper_pearson
from labkit.watermark.court.cases import Accused, Case
from labkit.watermark.court.claims import Claim
from labkit.watermark.court.plan import Plan
from labkit.watermark.court.verdicts import Verdicts
from labkit.watermark.fingerprints import agreement, dataset_inference, mistakes
from labkit.watermark.fingerprints.evidence_line import Line
from labkit.watermark.fingerprints.questions import ask_all
from labkit.watermark.verification.verify import Suspect, Verdict, verify

if TYPE_CHECKING:
    from labkit.data import Dataset


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
            self.questions["inference"] = dataset_inference.records(
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

    Null hypothesis of each line: see `labkit.watermark.verification.verify`, `mistakes`, `agreement` and `inference`. With alpha
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
