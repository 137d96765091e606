"""What an expert can say in court, or in an interview, put together from results alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from labkit.stats import p_words
from labkit.watermark.fingerprints.evidence_line import model_text
from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    from labkit.watermark.court.answer_key import Score
    from labkit.watermark.court.cases import Case
    from labkit.watermark.court.claims import Claim
    from labkit.watermark.court.hearing import Hearing
    from labkit.watermark.court.verdicts import Verdicts
    from labkit.watermark.fingerprints.evidence_line import Line

WIDTH = 110


def affidavit(
    claim: Claim,
    forged: Hearing,
    controls: Mapping[str, Mapping[str, Line]],
    verdicts: Verdicts,
    score: Score,
    *,
    released: datetime,
    twins: Mapping[str, Case] | None = None,
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
    twins : mapping of str to Case, optional
        Controls that stole nothing and were trained on the owner's very records: what the rule makes of such innocents.

    Raises
    ------
    ValueError
        If nothing was deposited: then there is nothing to say.
    """
    if claim.commitment is None or claim.moment is None:
        raise ValueError(f"{claim.claimant} deposited no commitment; expected one from before the release")
    parts = [
        _before(claim, released),
        _claims(claim, forged),
        _plan(verdicts),
        *(_control(name, lines) for name, lines in controls.items()),
        _findings(verdicts, score),
        _errors(claim, verdicts, score),
        _limits(claim, verdicts, twins or {}),
        f"[{verdicts.source}; profile {verdicts.profile}; seed {verdicts.plan.seed}]",
    ]
    return "\n\n".join(textwrap.fill(part, WIDTH) for part in parts)


def _before(claim: Claim, released: datetime) -> str:
    made = claim.commitment
    return (
        f"Before anything else, dates. {claim.claimant} deposited a commitment with a notary on {claim.moment:%d %B %Y}, "
        f"{(released - claim.moment).days} days before the suspects appeared: SHA-256 {made.digest[:12]}…, opened in court. "
        f"It binds the claimant, the key, the model, {made.count} {made.kind} triggers with their options, and the training "
        "records; it leaves nothing to choose."
    )


def _claims(claim: Claim, forged: Hearing) -> str:
    name, (_, p) = next(iter(forged.naive.items()))
    nulls = forged.verdict.null_rates
    ground = "did not follow from the key" if not forged.redrawn else "followed from the key"
    return (
        f"Triggers are heard if the judge can draw them: {claim.claimant}'s {len(claim.triggers)} came out the same. "
        f"{forged.claimant}'s {ground}. Compared with {name}, they had {p_words(p)}; {len(nulls)} models of the court's "
        f"own hit up to {nulls.max():.0%} of them: rank {p_words(forged.verdict.rank_p_value)}."
    )


def _plan(verdicts: Verdicts) -> str:
    plan = verdicts.plan
    asked = ", ".join(f"{line} ({count:,})" for line, count in plan.queries.items())
    few = "" if verdicts.null_models >= NULLS else f" (a rehearsal: {NULLS} are needed to convict)"
    return (
        f"The plan was fixed and hashed before any suspect was asked ({plan.digest[:12]}…): records for each line: {asked}; "
        f"alpha {plan.alpha:g} for the whole trial, shared out over {len(verdicts.cases)} suspects and the lines with a "
        f"direction ({', '.join(plan.directional)}), leaves {verdicts.threshold:.2g} for each; {plan.needed} lines convict, "
        f"one of them with a direction; {verdicts.null_models} independently trained models{few} can only acquit."
    )


def _control(name: str, lines: Mapping[str, Line]) -> str:
    return f"Control, {name}: {_p_values(lines)}."


def _p_values(lines: Mapping[str, Line]) -> str:
    return ", ".join(f"{line} p {_p(found)} ({found.by})" for line, found in lines.items())


def _p(line: Line) -> str:
    return model_text(line.model_p) if line.exact_p is None else p_words(line.exact_p).removeprefix("p ")


def _findings(verdicts: Verdicts, score: Score) -> str:
    def word(case: Case) -> str:
        said = "derived" if score.given[case.name] else "not shown to be derived"
        court = "" if case.outcome in ("derived", "not shown") else f" (the court: {case.outcome})"
        return said + court

    found = (f"{case.name} is {word(case)}: {_p_values(case.lines)}" for case in verdicts.cases)
    head = "Findings" if verdicts.null_models >= NULLS else "What the rehearsal gave, no claim"
    return f"{head}: {'; '.join(found)}."


def _errors(claim: Claim, verdicts: Verdicts, score: Score) -> str:
    own = verdicts.controls[0]
    return (
        f"How often is this wrong? The p-values of mark and inference are exact under the assumptions that they state, so a "
        f"trial of innocents who had none of {claim.claimant}'s records convicts one with probability at most "
        f"{verdicts.plan.alpha:g}. Of the court's own models, "
        f"each tried against the others, the rule convicts {verdicts.false_claims.percent(0)}; on {own.claimant}'s own "
        f"model {len(own.speaking)} of {len(own.lines)} lines speak. Against the answer key, {score.right} of "
        f"{len(score.truth)} verdicts are right: {score.innocents_convicted} innocents convicted, {score.thieves_missed} "
        "thieves missed."
    )


def _limits(claim: Claim, verdicts: Verdicts, twins: Mapping[str, Case]) -> str:
    owner, alpha = claim.claimant, verdicts.plan.alpha
    parts = ["What this does not say: likeness has no direction, and resemblance in data is not theft."]
    if related := [case.name for case in verdicts.cases if case.outcome == "related"]:
        parts.append(
            f"Of {', '.join(related)} no more is shown than likeness to the claimant's model: not who came from whom, nor "
            "through which records."
        )
    parts.append(
        f"An innocent who trained on {owner}'s records, because they were public, knows them as a thief does. The "
        f"{alpha:g} above does not count such innocents, and none of the court's own models is one."
    )
    parts += [
        f"Control, {name}, which stole nothing and trained on those records: {case.verdict}; {_p_values(case.lines)}."
        for name, case in twins.items()
    ]
    if twins and verdicts.null_models < NULLS:
        parts.append("In a rehearsal the rule convicts nobody, so that control shows nothing of it.")
    elif not twins:
        parts.append("No control here shows what the rule makes of one.")
    elif any(case.derived for case in twins.values()):
        parts.append(
            f"So a verdict that rests on inference holds only if nobody else had {owner}'s records, or public ones are named."
        )
    return " ".join(parts)
