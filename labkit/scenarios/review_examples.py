"""Two submissions to the review board, made of the course's own models: lab 07's marked network, and the capstone.

Both are reviewed as they are, with what their labs prepared: `labkit review --example NAME`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from torch import Tensor

from labkit import data, federated
from labkit.data import Dataset
from labkit.governance import Claim, Mark, Project, Shadows
from labkit.scenarios import hospitals as capstone
from labkit.scenarios import owner_and_thief, red_team

COURSE = "the course, for practice"
SEED = 0
# What is true of both, said once: items of the checklist that a person has to answer.
ANSWERED = {
    "data.source": "public data sets, licensed for research and teaching; no purpose beyond the lessons",
    "release.owner": "the course's maintainers; the decision's own date ends it",
    "data.overlap": "each record has one place: train and test are the data set's own split, or a split by patient",
}


def cifar10() -> Project:
    """Return lab 07's marked CIFAR-10 network, attacked with lab 05's shadow bank; nothing private was promised."""
    setup = owner_and_thief.project()
    seed = setup.seeds[0]
    marked = owner_and_thief.marked(setup, "patch", seed)
    everything = data.load("cifar10", source=None if setup.owner.real else "stand-in")
    attacker = red_team.scene(everything)
    return Project(
        title="Lab 07's marked CIFAR-10 classifier",
        owner=COURSE,
        model=marked.model,
        dataset=setup.owner,
        shadows=Shadows(
            bank=attacker.bank,
            target_members=positions_of(setup.owner, everything),
            records=~attacker.canaries,  # their labels are wrong in the bank, and right at the owner's
        ),
        mark=Mark(
            x=marked.triggers.x,
            y=marked.triggers.y,
            kind=marked.triggers.kind,
            nulls=owner_and_thief.nulls(setup)[: setup.null_count],
            redrawn=owner_and_thief.redrawn(setup, marked.model, marked.triggers),
        ),
        answers={
            **ANSWERED,
            "custody.mark_leakage": "lab 07 compares marked, unmarked and equally large training sets, paired over seeds",
            "custody.commitment": {
                "holds": False,
                "said": "the key follows from a phrase that the lesson prints: no claim",
            },
            "attacks.worst_hit": "lab 05 reports its canaries apart from the average",
        },
        budget_minutes=5,
        seed=SEED,
    )


def positions_of(part: Dataset, whole: Dataset) -> np.ndarray:
    """Return where the train records of one data set stand among those of another, by their content.

    Raises
    ------
    KeyError
        If one is not there.
    """
    where = {_digest(record): at for at, record in enumerate(whole.train_x)}
    return np.unique([where[_digest(record)] for record in part.train_x])


def _digest(record: Tensor) -> bytes:
    return hashlib.blake2b(record.contiguous().numpy().tobytes(), digest_size=16).digest()


def hospitals() -> Project:
    """Return the capstone: five hospitals' private, marked model, with lab 12's threat analysis as evidence."""
    from labkit.federated import marks

    setting = capstone.scene()
    trained = federated.federate(setting.federation, seed=SEED, secure=False)
    clinics = setting.hospitals
    return Project(
        title="Five hospitals' cancer classifier (the capstone)",
        owner=COURSE,
        model=trained.model,
        dataset=clinics.pooled(),
        claim=Claim.of(trained.privacy, batches="full", unit=f"a {setting.noise.unit}"),
        measured=(
            marks.verify(trained.weights, setting.enrolment, capstone.nulls(setting), source=clinics.source),
            capstone.findings(setting),
        ),
        answers={
            **ANSWERED,
            "statement.unit": "a patient: each has one record in this data set",
            "statement.composed": "means and spreads of the features are released privately and counted in the statement",
            "pitfalls.preprocessing": "the features' statistics go through secure aggregation with noise, and are counted",
            "pitfalls.prior_knowledge": "public constants replace the statistics in a comparison of lab 11",
            "pitfalls.randomness": {
                "holds": False,
                "said": "the lesson fixes and prints the seed of its noise: whoever reads it can subtract the noise",
            },
            "attacks.knows_defence": "lab 12's shadow federations are trained with the same clipping and noise",
            "release.drift": "lab 12 measures it over rounds, with the value that calls the board",
        },
        budget_minutes=5,
        seed=SEED,
    )


EXAMPLES: dict[str, Callable[[], Project]] = {"cifar10": cifar10, "hospitals": hospitals}
