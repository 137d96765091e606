"""Lab 08's matrix: which marks meet which attacks, and who bears witness; trained and attacked once, cell by cell.

Marked models, null models and thieves are those of lab 07 where it has them; the attacker is lab 07's thief, who has
come by the model itself, and by the true labels of its own records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from labkit import cache, profiles
from labkit.scenarios import one_off, owner_and_thief
from labkit.watermark.attacks import neural_cleanse, weight_attacks
from labkit.watermark.attacks.removal import REMOVALS
from labkit.watermark.marks import answers, embed, entangled
from labkit.watermark.marks import training as marking
from labkit.watermark.robustness import cells, dose_response, measure

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.scenarios.owner_and_thief import Project
    from labkit.watermark.attacks.neural_cleanse import Cleansed
    from labkit.watermark.marks.marked import MarkedModel
    from labkit.watermark.robustness.dose_response import Doses
    from labkit.watermark.robustness.matrix import Matrix

FAMILIES = {
    "weights, no training": ("prune", "round", "noise"),
    "training on": ("fine-tune last", "fine-tune all", "retrain last", "fine-prune", "overwrite"),
    "the input": ("blur", "mirror"),
    "training anew": ("distil", "extract"),
    "knowing the scheme": ("neural cleanse", "WRK", "even light"),
}
SINGLE = tuple(attack for family in FAMILIES.values() for attack in family)
COMBINED = ("prune + fine-tune all", "extract + fine-tune all", "distil + even light")
ATTACKS = (*SINGLE, *COMBINED)
TESTED = 3000  # test records behind each cell: the same ones before an attack and after it
DOSES = {
    "prune": ("share", (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)),
    "noise": ("scale", (0.05, 0.15, 0.3, 0.4, 0.5, 0.8)),
    "blur": ("sigma", (0.3, 0.6, 1.0, 1.5)),
}


def schemes() -> tuple[str, ...]:
    """Return the schemes of this profile: one of each idea at laptop size, all at full size."""
    return profiles.current().pick(
        smoke=("patch", "bits", "answers"),
        laptop=("patch", "entangled", "class-feature", "bits"),
        full=tuple(embed.SCHEMES),
    )


def seeds(setup: Project) -> tuple[int, ...]:
    """Return the seeds of this profile: each is a marked model a scheme, and an attacker a marked model."""
    return setup.seeds[: profiles.current().pick(smoke=1, laptop=3, full=len(setup.seeds))]


def thieves(setup: Project) -> dict[str, list[Any]]:
    """Return the two thefts of lab 07 as attacks: its own thief, records, recipe, whole query budget and all.

    "distil" sees probabilities, and has a second dose of a quarter of the budget; "extract" sees labels alone,
    which teach less a question, so no quarter of them is tried.
    """
    whole, quarter = setup.queries, setup.queries // 4
    return {
        "distil": [partial(_stolen, setup, "probabilities", budget) for budget in (whole, quarter)],
        "extract": [partial(_stolen, setup, "labels", whole)],
    }


def _stolen(setup: Project, shown: str, budget: int, mark: MarkedModel) -> nn.Module:
    whole = {} if budget == setup.queries else {"budgets": (budget,)}
    return owner_and_thief.stolen(setup, mark.model, mark.seed, answers=shown, **whole).model


def options(setup: Project) -> dict[str, dict[str, Any]]:
    """Return how attacks differ from their defaults: a rehearsal trains on less, and searches less."""
    if setup.profile != "smoke":
        return {}
    trained = [name for name in SINGLE if "recipe" in REMOVALS[name].doses[0]]
    few = {name: {"records": 200} for name in trained}
    few["neural cleanse"] |= {"steps": 60, "images": 8}
    return few


def victim(setup: Project, scheme: str, seed: int) -> MarkedModel:
    """Return a marked model, as lab 07 makes it; of marked answers, the thief's model that learned them.

    For scheme "answers" that thief asks about all of its records; among the labelled records of later attacks are some
    that it asked about, as they would be.
    """
    if scheme != "answers":
        return owner_and_thief.marked(setup, scheme, seed)
    share = profiles.current().pick(smoke=0.05, laptop=answers.SHARE, full=answers.SHARE)
    marked = owner_and_thief.marked(setup, scheme, seed, share=share)
    return measure.surrogate(marked, setup.innocent_data(), records=setup.queries, recipe=setup.recipe)


def attacker(setup: Project) -> Dataset:
    """Return the attacker's labelled records, and the test records that all cells are measured on."""
    return setup.innocent_data(TESTED)


def trained_as_long(setup: Project, seed: int) -> nn.Module:
    """Return lab 07's unmarked model, trained on as the entangled mark is: the control of what that mark costs.

    The mark's second stage is more epochs at a small learning rate, which move accuracy by themselves; what is left of
    the difference is the marks'.
    """
    clean, recipe = owner_and_thief.plain(setup, seed), entangled.second_stage(setup.recipe)
    return marking.train(clean, setup.owner.train_x, setup.owner.train_y, recipe, seed=seed)[0]


def victims(setup: Project) -> list[MarkedModel]:
    """Return one marked model for each of `schemes` and `seeds`."""
    return [victim(setup, scheme, seed) for scheme in schemes() for seed in seeds(setup)]


def survey(
    setup: Project, attacks: Sequence[str] = ATTACKS, marked: Sequence[MarkedModel] | None = None
) -> Matrix:
    """Return the robustness matrix, or the part of it that is asked for; what was attacked before comes from disk.

    Parameters
    ----------
    attacks : sequence of str
        See `labkit.watermark.robustness_matrix`.
    marked : sequence of MarkedModel, optional
        Default: all `victims`.
    """
    parts = {part for attack in attacks for part in attack.split(" + ")}
    return measure.robustness_matrix(
        victims(setup) if marked is None else marked,
        attacks,
        owner_and_thief.nulls(setup),
        attacker(setup),
        options={name: settings for name, settings in options(setup).items() if name in parts},
        own=thieves(setup),
        precision=setup.recipe.precision,
        minimum=setup.minimum,
        workers=1
        if setup.profile == "smoke"
        else None,  # starting a process takes longer than a small attack
    )


def dosed(setup: Project, attack: str, marked: Sequence[MarkedModel] | None = None) -> Doses:
    """Return what the doses of `DOSES` leave of the first seed's marks.

    Parameters
    ----------
    marked : sequence of MarkedModel, optional
        Default: all `victims`.
    """
    first, (option, values) = seeds(setup)[0], DOSES[attack]
    chosen = [mark for mark in (victims(setup) if marked is None else marked) if mark.seed == first]
    return dose_response.doses(chosen, attack, option, values, attacker(setup))


def cleansed(setup: Project, marked: MarkedModel) -> Cleansed:
    """Return what the matrix's "neural cleanse" found in a marked model: triggers, anomaly index, the model after."""
    recipe = replace(weight_attacks.TUNING, precision=setup.recipe.precision)
    settings = {"seed": marked.seed, "recipe": recipe} | options(setup).get("neural cleanse", {})
    data = attacker(setup)
    key = {"model": dict(marked.model.state_dict()), "data": data.digest, "settings": settings}
    return cache.cached(
        "cleansed",
        key,
        lambda: neural_cleanse.cleanse(marked.model, data, **settings),
        code=[neural_cleanse.cleanse],
    )


def told(result: Matrix) -> list[str]:
    """Return one sentence an attack: whom it beats, what it takes at too high a price, and what it costs."""
    table = result.attackers()
    sentences = []
    for attack, row in table.iterrows():
        costly = ", ".join(result.under(attack, "costly"))
        parts = [f"beats {row['beats'] or 'no scheme'}"]
        parts += [f"seeds differ for {row['seeds differ']}"] if row["seeds differ"] else []
        parts += [f"takes {costly} at more than it may cost"] if costly else []
        sentences.append(
            f"{attack}: {'; '.join(parts)} ({row['accuracy lost (points)']:+.1f} points lost on average, at the dose chosen)"
        )
    return sentences


def control(result: Matrix, attack: str = "neural cleanse", plain: str = "fine-tune all") -> list[str]:
    """Return one sentence a scheme: whether an attack that ends in training on leaves less than training on alone.

    Both train on the same number of records with the same recipes, and stand at the attacker's better dose each; what
    differs is the attack's own idea. Shares left are compared, with the interval of `cells.gap`, and not verdicts.
    """
    sentences = []
    for scheme in result.schemes:
        one, other = (result.pooled(scheme, name) for name in (attack, plain))
        gap = cells.gap(one, other)
        said = "leaves less" if gap.high < 0 else "leaves more" if gap.low > 0 else "not shown to leave less"
        over = f"{len(one.cells)} seeds" if len(one.cells) > 1 else "the triggers of one seed"
        sentences.append(
            f"{scheme}: {attack} leaves {100 * one.strength.estimate:.0f}% ({result.verdict(scheme, attack)}), {plain} "
            f"{100 * other.strength.estimate:.0f}% ({result.verdict(scheme, plain)}); difference {cells.points(gap)} "
            f"points (95%, over {over}): {said} than training on alone"
        )
    return sentences


def prepare() -> None:
    """Do the one-off work of lab 08, after lab 07's; an interrupt loses one model or one attack at most."""
    setup = owner_and_thief.project()
    if setup.profile == "laptop":
        print("lab 08, after lab 07: 6 more marked models, thieves, and attacks on 12; interrupt at will")
    with one_off.part("marked models"):
        owner_and_thief.in_workers(
            partial(_mark, scheme, seed) for scheme in (*schemes(), None) for seed in seeds(setup)
        )
    with one_off.part("their thieves"):
        owner_and_thief.in_workers(
            partial(_steal, scheme, seed, name, dose)
            for scheme in schemes()
            for seed in seeds(setup)
            for name, doses in thieves(setup).items()
            for dose in range(len(doses))
        )
    marked = victims(setup)
    with one_off.part("attacks on marks"):
        survey(setup, marked=marked)
    with one_off.part("doses"):
        owner_and_thief.in_workers(partial(_dosed, attack) for attack in DOSES)
        cleansed(setup, victim(setup, "patch", seeds(setup)[0]))


def _mark(scheme: str | None, seed: int) -> None:
    if scheme is None:
        trained_as_long(owner_and_thief.project(), seed)
    else:
        victim(owner_and_thief.project(), scheme, seed)


def _dosed(attack: str) -> None:
    dosed(owner_and_thief.project(), attack)


def _steal(scheme: str, seed: int, name: str, dose: int) -> None:
    setup = owner_and_thief.project()
    thieves(setup)[name][dose](victim(setup, scheme, seed))
