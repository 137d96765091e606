"""Today's strongest attacks, with shadow models: LiRA and RMIA, as far as the budget allows."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from labkit.governance import banks
from labkit.governance.checks import leakage, threats
from labkit.governance.checks.base import GDPR_SECURITY, Absent, CannotRun, Check, Found
from labkit.governance.findings import Finding, Measure, ReviewError
from labkit.governance.project import Project
from labkit.membership.attacks.registry import attack
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.membership.shadows.training import shadow_bank

FUNCTION = "labkit.membership.attack"
ONLINE = ("lira-online", "rmia-online")
OFFLINE = ("lira-offline", "rmia-offline")
UNLIKE = 0.05  # of accuracy; what a bank loses by having half of the records is to stay below
FEWEST = 4  # two models on each side of every record
SHARE = 0.6  # of the rest of the budget that shadow models may take


def absent(project: Project) -> Absent | None:
    """Say when there is nothing to attack with."""
    if project.shadows is None and threats.attacked_by_shadows(project):
        return Absent(
            "shadow federations, trained as the system was, attack it: see the threats", applies=False
        )
    if project.shadows is None:
        return Absent(
            "no shadow models are given, and no way to train them (shadows: arrays, recipe, or train)"
        )
    return None


def settings(project: Project) -> dict[str, Any]:
    """Return what shadow models depend on."""
    from labkit import cache
    from labkit.training.shelf import model_identity

    shadows = project.shadows
    if shadows.bank is not None:
        bank = shadows.bank
        held = [bank.masks, bank.x, bank.y] + [np.asarray(bank.logits(k)[:100]) for k in range(len(bank))]
        return {
            "bank": cache.digest(bank.key, held),
            "members": shadows.target_members,
            "records": shadows.records,
        }
    own = shadows.train is not None
    way = (
        {"train": shadows.train}
        if own
        else {"recipe": shadows.recipe, "made": list(model_identity(shadows.make_model))}
    )
    return way | {"models": shadows.models, "budget": project.budget_minutes}


def measure(project: Project, minutes: float) -> leakage.Attacked:
    """Make or take the bank, ask the model its questions, and attack."""
    shadows = project.shadows
    if shadows.bank is not None:
        bank, trained_on, wanted = shadows.bank, shadows.target_members, len(shadows.bank)
        try:
            target = bank.query(project.model, trained_on, name=project.title)
        except ValueError as error:
            raise CannotRun(
                f"the bank that is given does not fit the model: {error} (shadows: train, or recipe, makes one that does)"
            ) from error
    else:
        bank, target = _trained(project, minutes)
        wanted = shadows.models
    counts = bank.masks.sum(0)
    online = counts.min() >= 2 and (len(bank) - counts).min() >= 2
    names = [name for name in (ONLINE if online else OFFLINE) if len(bank.population_y) or "rmia" not in name]
    results = [attack(name, target, bank, records=shadows.records) for name in names]
    found = leakage.measured(project, results, models=len(bank), wanted=wanted)
    theirs = float(np.mean([bank.target(k).accuracy.estimate for k in range(len(bank))]))
    return replace(found, accuracy=target.accuracy, shadows_accuracy=theirs)


def _trained(project: Project, minutes: float) -> tuple[ShadowBank, Target]:
    """Train shadow models pair by pair while the budget lasts; what an earlier run trained costs nothing."""
    try:
        dataset, members = banks.pool_dataset(project)
    except ReviewError as error:
        raise CannotRun(str(error)) from error
    shadows, start = project.shadows, time.perf_counter()
    made, bank = 0, None
    way: dict[str, Any] = {"train": shadows.train}
    if shadows.train is None:
        strategy = "auto" if dataset.train_x.is_floating_point() else "loop"
        way = {"make_model": shadows.make_model, "recipe": shadows.recipe, "strategy": strategy}
    while made < shadows.models:
        made += 2
        bank = shadow_bank(
            dataset,
            shadow_models=made,
            seed=project.seed,
            name=f"shadow models of {project.title}",
            **way,
        )
        spent = (time.perf_counter() - start) / 60
        each = spent / made
        if made == 2 and FEWEST * each > SHARE * minutes:
            raise CannotRun(
                f"{FEWEST} shadow models, the fewest for LiRA, take about {FEWEST * each:.1f} minutes; "
                f"{SHARE * minutes:.1f} are left for them: raise budget_minutes"
            )
        if made >= FEWEST and spent + 2 * each > SHARE * minutes:
            break
    return bank, bank.query(project.model, members, name=project.title)


def judge(project: Project, attacked: leakage.Attacked) -> Found:
    """Judge the attacks, and how strong they were."""
    found = leakage.judged(project, attacked.reports, attacked.audit, FUNCTION)
    inside = next(iter(attacked.reports.values())).result.members
    said = [
        Measure("shadow models", f"{attacked.models} of {attacked.wanted} wanted", ""),
        Measure(
            "records",
            f"{int(inside.sum()):,} members, {int((~inside).sum()):,} others",
            "of the attacker's pool",
        ),
        *found.measures,
    ]
    if not any("rmia" in name for name in attacked.reports):
        said.append(Measure("RMIA", "not asked", "no answers on a population are given (population_logits)"))
    said.append(_likeness(attacked))
    findings = [*found.findings, *_unaware(project), *_unlike(attacked), *_few(attacked)]
    return Found(said, findings, found.pictures, found.conditions)


def _unaware(project: Project) -> list[Finding]:
    """A defence is judged against an attacker who knows it."""
    protected = [*project.defences, *(["differential privacy"] if project.claim is not None else [])]
    if not protected or project.shadows.knows_defence:
        return []
    return [
        Finding(
            title="No attacker knew the defence",
            severity="medium",
            evidence=f"The model is protected by {', '.join(protected)}; the shadow models were trained without.",
            found_by="labkit.membership.compare_defences",
            condition="Train the shadow models as the model was, protection included (shadows: knows_defence: true).",
            refs=(GDPR_SECURITY,),
        )
    ]


def _likeness(attacked: leakage.Attacked) -> Measure:
    own, theirs = attacked.accuracy, attacked.shadows_accuracy
    if own is None or math.isnan(own.estimate) or math.isnan(theirs):
        return Measure("accuracy, model and shadow models", "not compared", "scores alone are given")
    return Measure(
        "accuracy, model and shadow models",
        f"{own.percent(1)} and {theirs:.1%}",
        "each on records it was not trained on; interval over the records, mean over the shadow models",
    )


def _unlike(attacked: leakage.Attacked) -> list[Finding]:
    """A bank says what an attacker finds who trains as the owner did: one of other training says less."""
    own, theirs = attacked.accuracy, attacked.shadows_accuracy
    if own is None or math.isnan(own.estimate) or math.isnan(theirs):
        return []
    if own.low <= theirs <= own.high or abs(own.estimate - theirs) <= UNLIKE:
        return []
    return [
        Finding(
            title="The shadow models are not like the model",
            severity="medium",
            evidence=(
                f"The model is right on {own.percent(1)} of records it was not trained on, the shadow models on "
                f"{theirs:.1%}: they were not trained as it was, and an attacker whose models are like it may find more."
            ),
            found_by=FUNCTION,
            condition="Train the shadow models as the model was trained (shadows: recipe, or train), and attack again.",
            refs=(GDPR_SECURITY,),
        )
    ]


def _few(attacked: leakage.Attacked) -> list[Finding]:
    if attacked.models >= attacked.wanted:
        return []
    return [
        Finding(
            title="Fewer shadow models than wanted",
            severity="low",
            evidence=f"The budget allowed {attacked.models} of {attacked.wanted}: more make the attack stronger.",
            found_by=FUNCTION,
        )
    ]


CHECK = Check(
    name="shadow_attacks",
    title="Membership, with shadow models (LiRA, RMIA)",
    question="Can an attacker who trains models of the same kind tell who trained this one?",
    measure=measure,
    judge=judge,
    absent=absent,
    settings=settings,
    minutes=lambda project: 0.5,
    kept=True,
    functions=(FUNCTION,),
    answers=("attacks.shadow_models",),
)
