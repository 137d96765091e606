"""What an expert can say in court, or in an interview, put together from results alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    from labkit.watermark.court.answer_key import Score
    from labkit.watermark.court.cases import Case
    from labkit.watermark.court.claims import Claim
    from labkit.watermark.court.hearing import Hearing
    from labkit.watermark.court.verdicts import Verdicts
    from labkit.watermark.fingerprints.evidence_line import Line
    from labkit.watermark.verification.verdict import Verdict

WIDTH = 110


def affidavit(
    claim: Claim,
    forged: Hearing,
    controls: Mapping[str, Mapping[str, Line | Verdict]],
    verdicts: Verdicts,
    score: Score,
    *,
    released: datetime,
) -> str:
    """Return the answer to "how would you prove that a model was stolen?", one paragraph a step.

    Parameters
    ----------
    claim : Claim
        The owner's.
    forged : Hearing
        A false claim before naive and careful judges.
    controls : mapping of str to mapping
        A known thief and a known innocent: name to line of evidence to its result.
    verdicts : Verdicts
    score : Score
        The verdicts that were given, against the truth.
    released : datetime with a time zone
        When the suspects appeared.

    Raises
    ------
    ValueError
        If nothing was committed to: then there is nothing to say.
    """
    if claim.commitment is None:
        raise ValueError(
            f"{claim.claimant} committed to nothing; expected a commitment from before the release"
        )
    parts = [
        _before(claim, released),
        _claims(claim, forged),
        _plan(verdicts),
        *(_control(name, lines) for name, lines in controls.items()),
        _findings(verdicts, score),
        _errors(verdicts, score),
        f"[{verdicts.source}; profile {verdicts.profile}; seed {verdicts.plan.seed}]",
    ]
    return "\n\n".join(textwrap.fill(part, WIDTH) for part in parts)


def _before(claim: Claim, released: datetime) -> str:
    moment = datetime.fromisoformat(claim.commitment.moment)
    return (
        f"Before anything else, dates. {claim.claimant} committed to a secret key and to the model on "
        f"{moment:%d %B %Y}, {(released - moment).days} days before the suspects appeared: SHA-256 "
        f"{claim.commitment.digest[:12]}…, opened in court."
    )


def _claims(claim: Claim, forged: Hearing) -> str:
    name, (_, p) = next(iter(forged.naive.items()))
    nulls = forged.verdict.null_rates
    ground = "did not follow from the key" if not forged.redrawn else "followed from the key"
    return (
        f"Triggers are heard if the judge can draw them: {claim.claimant}'s {len(claim.triggers)} came out the same. "
        f"{forged.claimant}'s {ground}. Compared with {name}, they had p = {p:.2g}; compared with "
        f"{len(nulls)} models of the court's own, which hit up to {nulls.max():.0%} of them, p = "
        f"{forged.verdict.p_value:.2g}."
    )


def _plan(verdicts: Verdicts) -> str:
    plan = verdicts.plan
    asked = ", ".join(f"{line} ({count:,})" for line, count in plan.queries.items())
    few = "" if verdicts.null_models >= NULLS else f" (a rehearsal: {NULLS} are needed to convict)"
    return (
        f"The plan was fixed and hashed before the first query ({plan.digest[:12]}…): records shown at most: {asked}; alpha "
        f"{plan.alpha:g}, shared out over {len(verdicts.cases)} suspects and {len(plan.queries)} lines, leaves "
        f"{verdicts.threshold:.2g} for each; {plan.needed} lines convict; the null is {verdicts.null_models} "
        f"independently trained models{few}."
    )


def _control(name: str, lines: Mapping[str, Line | Verdict]) -> str:
    return f"Control, {name}: {_p_values(lines)}."


def _p_values(lines: Mapping[str, Line | Verdict]) -> str:
    return ", ".join(f"{line} p = {found.p_value:.2g}" for line, found in lines.items())


def _findings(verdicts: Verdicts, score: Score) -> str:
    def word(case: Case) -> str:
        said = "derived" if score.given[case.name] else "not shown"
        return f"{said} (claim dismissed)" if case.problems else said

    found = (f"{case.name} is {word(case)}: {_p_values(case.lines)}" for case in verdicts.cases)
    head = "Findings" if verdicts.null_models >= NULLS else "What the rehearsal gave, no claim"
    return f"{head}: {'; '.join(found)}."


def _errors(verdicts: Verdicts, score: Score) -> str:
    own = verdicts.controls[0]
    return (
        f"How often is this wrong? The rule convicts {verdicts.false_claims.percent(0)} of the innocent models, each "
        f"tried against the others; on {own.claimant}'s own model {len(own.speaking)} of {len(own.lines)} lines "
        f"speak. Against the answer key, {score.right} of {len(score.truth)} verdicts are right: "
        f"{score.innocents_convicted} innocents convicted, {score.thieves_missed} thieves missed."
    )
