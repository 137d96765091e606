"""Lab 08's matrix: which marks meet which attacks, and who bears witness; trained and attacked once, cell by cell.

Marked models and null models are those of lab 07 where it has them; the attacker is lab 07's thief, who has come by the
model itself, and by the true labels of its own records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit import cache, profiles
from labkit.scenarios import owner_and_thief
from labkit.watermark.attacks import neural_cleanse
from labkit.watermark.marks import answers, embed
from labkit.watermark.robustness import dose_response, measure

if TYPE_CHECKING:
    from labkit.scenarios.owner_and_thief import Project
    from labkit.watermark.attacks.neural_cleanse import Cleansed
    from labkit.watermark.marks.marked import MarkedModel
    from labkit.watermark.robustness.dose_response import Doses
    from labkit.watermark.robustness.matrix import Matrix

FAMILIES = {
    "weights, no training": ("prune", "int8", "noise"),
    "training on": ("fine-tune last", "fine-tune all", "retrain last", "fine-prune", "overwrite"),
    "the input": ("blur", "mirror"),
    "training anew": ("distil", "extract"),
    "knowing the scheme": ("neural cleanse",),
}
ATTACKS = tuple(attack for family in FAMILIES.values() for attack in family)
DOSES = {
    "prune": ("share", (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)),
    "noise": ("scale", (0.05, 0.15, 0.3, 0.5, 0.8)),
    "blur": ("sigma", (0.3, 0.6, 0.9, 1.5)),
}


def schemes() -> tuple[str, ...]:
    """Return the schemes of this profile: one of each idea at laptop size, all at full size."""
    return profiles.current().pick(
        smoke=("patch", "bits", "answers"),
        laptop=("patch", "composite", "feature", "bits"),
        full=tuple(embed.SCHEMES),
    )


def seeds(setup: Project) -> tuple[int, ...]:
    """Return the seeds of this profile: each is a marked model a scheme, and an attacker a marked model."""
    return setup.seeds[: profiles.current().pick(smoke=1, laptop=2, full=len(setup.seeds))]


def options(setup: Project) -> dict[str, dict[str, Any]]:
    """Return how attacks differ from their defaults.

    Who holds the model distils it on all records at hand; who knows it through an interface has a quarter of the answers.
    """
    profile, all_records = profiles.current(), len(setup.thief_y)
    epochs = profile.pick(smoke=3, laptop=10, full=setup.recipe.epochs)
    anew = {"recipe": replace(setup.recipe, epochs=epochs)}
    quick = {"neural cleanse": {"steps": 60, "images": 8}} if profile.name == "smoke" else {}
    return {
        "distil": anew | {"records": all_records},
        "extract": anew | {"records": all_records // 4},
    } | quick


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
        Keys of `labkit.watermark.attacks.removal.REMOVALS`.
    marked : sequence of MarkedModel, optional
        Default: all `victims`.
    """
    chosen = {name: settings for name, settings in options(setup).items() if name in attacks}
    return measure.robustness_matrix(
        victims(setup) if marked is None else marked,
        attacks,
        owner_and_thief.nulls(setup),
        setup.innocent_data(),
        options=chosen,
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
    return dose_response.doses(chosen, attack, option, values, setup.innocent_data())


def cleansed(setup: Project, marked: MarkedModel) -> Cleansed:
    """Return what the matrix's "neural cleanse" found in a marked model: triggers, anomaly index, the model after."""
    settings = {"seed": marked.seed} | options(setup).get("neural cleanse", {})
    data = setup.innocent_data()
    key = {"model": dict(marked.model.state_dict()), "data": data.digest, "settings": settings}
    code = [*measure.CODE, *measure.FAMILY_CODE["adaptive"]]
    return cache.cached(
        "cleansed", key, lambda: neural_cleanse.cleanse(marked.model, data, **settings), code=code
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
            f"{attack}: {'; '.join(parts)} ({row['accuracy lost (points)']:+.1f} points lost on average)"
        )
    return sentences


def prepare() -> None:
    """Do the one-off work of lab 08, after lab 07's; an interrupt loses one model or one attack at most."""
    setup = owner_and_thief.project()
    if setup.profile == "laptop":
        print(
            "lab 08, after lab 07: 4 more marked models and 13 attacks on each of 8, about 35 minutes on 2 cores; "
            "interrupt at will"
        )
    marked = victims(setup)
    survey(setup, marked=marked)
    for attack in DOSES:
        dosed(setup, attack, marked)
    cleansed(setup, victim(setup, "patch", seeds(setup)[0]))
