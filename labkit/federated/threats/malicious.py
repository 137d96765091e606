"""Malicious hospitals, tried: every attack against the honest federation of the same seed.

Each seed draws batches and noise anew, names another hospital as the attacker, and keys another trigger. A backdoor is
counted against two controls: the same trigger on the honest model, and a trigger that nobody planted on the attacked one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit import stats
from labkit.federated.rounds import Federation, FederationError
from labkit.federated.threats import mark_attacks
from labkit.federated.threats.aggregation import pilot_bound
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown
from labkit.federated.threats.malicious_result import HONEST, OVER, MaliciousStudy, Measured, points
from labkit.federated.threats.poisoning import (
    BENIGN,
    Attack,
    Backdoor,
    LabelFlip,
    Late,
    Reverse,
    Trigger,
    UnderNorm,
)
from labkit.federated.threats.running import accuracy, attacked, quick

if TYPE_CHECKING:
    from labkit.federated.marks import Enrolment
    from labkit.federated.threats.system import System
    from labkit.profiles import Profile

LEAST_OTHER = 8  # records of other classes that whoever plants a backdoor needs
LEAST_MARKED = 0.9  # share of marks that verify without an attacker, for attacks on them to mean anything
PILOT = 10_000  # added to a seed: no study uses it


def study_malicious(
    federation: Federation,
    *,
    seeds: Sequence[int],
    enrolment: Enrolment | None = None,
    profile: Profile | None = None,
) -> MaliciousStudy:
    """Try every attack once for each seed, by one hospital at a time.

    Parameters
    ----------
    federation : Federation
        With its marks. The class that the trigger calls up is 1.
    seeds : sequence of int
    enrolment : Enrolment, optional
        The marks that the federation carries; without it, marks are neither attacked nor read.

    Raises
    ------
    FederationError
        If there is no seed, no hospital holds enough records of other classes, or marks and enrolment do not agree.
    """
    from labkit import profiles

    profile, seeds = profile or profiles.current(), tuple(int(seed) for seed in seeds)
    able = [h.name for h in federation.hospitals if int((h.dataset.train_y != BENIGN).sum()) >= LEAST_OTHER]
    if not seeds or not able:
        raise FederationError(
            f"{len(seeds)} seeds and {len(able)} hospitals with {LEAST_OTHER} records of other classes than {BENIGN}; expected at "
            "least one of each"
        )
    marks = enrolment.bit_marks if enrolment else {}
    if set(marks) - set(federation.marks):
        raise FederationError(
            f"the enrolment marks {sorted(marks)}, the federation {sorted(federation.marks)}: build it with "
            "marks=enrolment.marks"
        )
    federation = quick(federation)
    bound = pilot_bound(federation, seed=max(seeds) + PILOT)
    runs: dict[str, list[Measured]] = {}
    foreign: list[bool] = []
    for seed in seeds:
        names, name = federation.hospitals.names, able[seed % len(able)]
        victim = names[(names.index(name) + 1) % len(names)]
        triggers = tuple(Trigger.draw(federation.dataset(name), key) for key in (seed, seed + PILOT))
        scenes = _poisonings(name, triggers[0], bound)
        scenes |= _on_marks(federation, name, victim, bound) if marks else {}
        for title, attackers in ({HONEST: {}} | scenes).items():
            weights = attacked(federation, attackers, seed=seed).weights
            found = _measured(federation, weights, triggers, marks, name, victim)
            runs.setdefault(title, []).append(found)
            if title == HONEST and marks:
                foreign += _foreign(marks[victim], weights, seed, profile)
    return MaliciousStudy(
        {title: tuple(found) for title, found in runs.items()},
        stats.clopper_pearson(sum(foreign), len(foreign)) if foreign else None,
        seeds,
        bound,
        federation.hospitals.classes[BENIGN],
        federation.hospitals.source,
        profile.name,
    )


def _poisonings(name: str, trigger: Trigger, bound: float) -> dict[str, dict[str, Attack]]:
    """Return who does what in each run that goes for the model, by title."""
    attacks: list[Attack] = [
        LabelFlip(),
        Reverse(),
        UnderNorm(Reverse(), bound),
        Backdoor(trigger, 1.0),
        Late(Backdoor(trigger)),
        UnderNorm(Backdoor(trigger), bound),
    ]
    return {attack.title: {name: attack} for attack in attacks}


def _on_marks(federation: Federation, name: str, victim: str, bound: float) -> dict[str, dict[str, Attack]]:
    """Return who does what in each run that goes for marks, or for credit without work."""
    mark, ride = federation.marks[name], mark_attacks.FreeRide
    attacks: list[Attack] = [
        mark_attacks.Subtract(),
        Late(mark_attacks.Disturb(), 0.0),
        mark_attacks.Distil(),
        UnderNorm(mark_attacks.Distil(0.5), bound),
        mark_attacks.Overwrite(mark),
        ride("zero"),
        ride("zero", mark),
        ride("noise", mark),
        ride("last update"),
        ride("last update", mark),
    ]
    wear = mark_attacks.Wear(federation.marks[victim])
    return {attack.title: {name: attack} for attack in attacks} | {
        wear.title: {name: wear, victim: ride("zero")}
    }


def _measured(
    federation: Federation,
    weights: np.ndarray,
    triggers: tuple[Trigger, ...],
    marks: dict,
    attacker: str,
    victim: str,
) -> Measured:
    pooled = federation.hospitals.pooled()
    own, other = (trigger.success(federation, weights, pooled) for trigger in triggers)
    strengths = {name: mark.strength_in(weights) for name, mark in marks.items()}
    return Measured(accuracy(federation, weights), own, other, strengths, attacker, victim)


def _foreign(mark: object, weights: np.ndarray, seed: int, profile: Profile) -> list[bool]:
    """Return, for keys of somebody who knows a mark's commitment alone, which pass for that mark."""
    from labkit.federated.marks.bits import chance, redrawn
    from labkit.federated.marks.verification import ALPHA
    from labkit.watermark.marks.keys import Key

    count = profile.pick(smoke=20, laptop=100, full=1000)
    thief = Key.from_phrase(f"somebody who does not hold the key, seed {seed}")
    return [chance(strength) <= ALPHA for strength in redrawn(mark, weights, count, thief)]


SMOKE_ROUNDS = 16
PLANTED = Scale(
    "other hospitals' records led astray by the trigger, beyond honest model and other trigger",
    low=0.05,
    medium=0.2,
    high=0.5,
    critical=0.9,
)
LOST = Scale("accuracy lost on the pooled test records", low=0.01, medium=0.03, high=0.1, critical=0.3)
ERASED = Scale("share of the other marks' strength that is lost", low=0.1, medium=0.2, high=0.4, critical=0.8)
UNEARNED = Scale(
    "strength of a mark without work, over its honest strength", low=0.1, medium=0.25, high=0.5, critical=2
)
KEYS = Scale("share of foreign keys that pass", low=0.01, medium=0.05, high=0.2, critical=0.5)
ONE = "one hospital of the federation"
SAME = "nothing else: batches, noise and the other hospitals are those of the honest run"
PROOF = "an L2 bound that each hospital proves (RoFL, EIFFeL; not built here)"


def findings(system: System, *, seeds: Sequence[int], profile: Profile) -> list[Finding]:
    """Return what malicious hospitals achieved against a system."""
    federation = system.federation
    if profile.name == "smoke":  # a rehearsal: fewer rounds, the same code
        federation = replace(federation, training=replace(federation.training, rounds=SMOKE_ROUNDS))
    study = study_malicious(federation, seeds=seeds, enrolment=system.enrolment, profile=profile)
    found = [_ruin(study), _flip(study), _backdoor(study)]
    if system.enrolment is None:
        return [*found, _no_marks("the system has no enrolment of marks.")]
    found.append(_copying(study))
    if study.marked < LEAST_MARKED:
        return [
            *found,
            _no_marks(
                f"of the honest federations' marks {100 * study.marked:.0f}% verify: there is little to attack."
            ),
        ]
    return [*found, _removal(study), _overwriting(study), _leaked_key(study), _free_ride(study)]


def _finding(
    scale: Scale, title: str, attack: stats.Interval, controlled: stats.Interval | None, **said
) -> Finding:
    severity, status = judge(scale, attack, controlled)
    return Finding(
        title=title,
        severity=severity,
        status=status,
        adversary=said.pop("adversary", ONE),
        number=scale.what,
        interval=attack,
        interval_of=said.pop("interval_of", OVER),
        differs=said.pop("differs", SAME),
        **said,
    )


def _ruin(study: MaliciousStudy) -> Finding:
    free, bound = Reverse().title, UnderNorm(Reverse(), study.bound).title
    return _finding(
        LOST,
        "One hospital ruins the model",
        study.lost(free),
        None,
        knowledge="its own records, the global model, the declared sizes, and where there is one the norm bound",
        evidence=f"A reversed update, boosted to outweigh all others, costs {points(study.lost(free))} points of accuracy; "
        f"kept under a norm bound of {study.bound:.3g} in every round, still {points(study.lost(bound))}.",
        control=f"{PROOF}; medians of groups, see the robust aggregation findings",
        figure=study.plot(),
    )


def _flip(study: MaliciousStudy) -> Finding:
    title = LabelFlip().title
    return _finding(
        LOST,
        "One hospital trains on flipped labels",
        study.lost(title),
        None,
        knowledge="its own records; it follows the protocol to the letter, noise, clipping and mark included",
        evidence=f"Accuracy lost: {points(study.lost(title))} points. Nothing that it sends is out of the ordinary, so no "
        "bound sees it.",
        control="none that works on sums alone: weights by size, and each hospital's own test before it takes the model",
    )


def _backdoor(study: MaliciousStudy) -> Finding:
    attacks = [title for title in study.runs if title.startswith("backdoor")]
    late, bound = attacks[1], attacks[2]
    worst = max(attacks, key=lambda title: study.planted(title).estimate)  # an attacker takes what works best
    return _finding(
        PLANTED,
        "One hospital plants a backdoor",
        study.planted(worst),
        None,
        knowledge="its own records, the global model, the declared sizes, and where there is one the norm bound",
        evidence=f"Other records with a key pattern in three features are to pass as {study.target}, by a model replaced in "
        "the last rounds: "
        f"planted {points(study.planted(late))} points, at {points(study.lost(late))} points of accuracy. "
        f"By poisoned data alone, {points(study.planted(attacks[0]))}; under the norm bound in every round, {points(study.planted(bound))}.",
        control=f"medians of groups, see the robust aggregation findings; {PROOF}, if it is tight enough",
    )


def _removal(study: MaliciousStudy) -> Finding:
    free, bound = (title for title in study.runs if title.startswith("marks: model distilled"))
    subtracted = mark_attacks.Subtract().title
    return _finding(
        ERASED,
        "One hospital removes everybody's white-box marks",
        study.others_lost(free),
        None,
        knowledge="how marks are made, no key; its own records and the global model",
        evidence="A fresh model, distilled from the global one and put in its place in the last round, keeps "
        f"{100 * study.others_verified(free):.0f}% of the others' marks and costs {points(study.lost(free))} points of "
        f"accuracy. Subtracting unexplained drift keeps {100 * study.others_verified(subtracted):.0f}% and costs "
        f"{points(study.lost(subtracted))}. Under the norm bound {100 * study.others_verified(bound):.0f}% stay, at "
        f"{points(study.lost(bound))}.",
        control=f"{PROOF}; black-box marks; the signed states of earlier rounds, which still carry the marks",
    )


def _overwriting(study: MaliciousStudy) -> Finding:
    title = next(title for title in study.runs if title.startswith("marks: own mark"))
    return _finding(
        ERASED,
        "One hospital overwrites the others' marks with its own",
        study.others_lost(title),
        None,
        knowledge="its own key, and that marks are soft pulls on all weights",
        evidence=f"Its own mark pulled harder than agreed in every round reads {study.kept(title, 'attacker')} times as "
        f"strong; {100 * study.others_verified(title):.0f}% of the others' marks still verify, at "
        f"{points(study.lost(title))} points of accuracy.",
        control="marks lie in independent secret projections, so that one hardly moves another",
    )


def _copying(study: MaliciousStudy) -> Finding:
    return _finding(
        KEYS,
        "A hospital claims another's mark, knowing the commitment alone",
        study.foreign,
        None,
        knowledge="the public commitment and how marks are made, not the key",
        evidence=f"Of keys drawn without the victim's, {study.foreign.percent(1)} read as strong as a mark must in the honest models; "
        "and a key that passed would still not open the commitment.",
        interval_of="the share of drawn keys, Clopper-Pearson; keys of one model share it",
        control="commitments before the first round, and keys that draw the projection",
    )


def _leaked_key(study: MaliciousStudy) -> Finding:
    title = next(title for title in study.runs if title.startswith("marks: an absent"))
    return _finding(
        UNEARNED,
        "With a leaked key, an absent hospital seems to have contributed",
        study.kept(title, "victim"),
        None,
        knowledge="the victim's secret key, which has leaked",
        evidence="The victim sends nothing, the attacker pulls for the victim's mark: it verifies in "
        f"{study.verified(title, 'victim').percent(0)} of runs. A mark shows that its key took part, not who held it.",
        differs="the victim sends zeros in place of its contribution",
        control="signed records of each round beside the mark; keys that are burned once shown or lost",
    )


def _free_ride(study: MaliciousStudy) -> Finding:
    ride, bare = "free ride: zero, with mark", "free ride: last update"
    return _finding(
        UNEARNED,
        "A free-rider's mark verifies like an honest one",
        study.kept(ride, "attacker"),
        None,
        knowledge="its own key; it trains on nothing",
        evidence="A hospital that sends its mark's pull and nothing else verifies in "
        f"{study.verified(ride).percent(0)} of runs (one that repeats the last global change without a mark: "
        f"{study.verified(bare).percent(0)}), and the model loses {points(study.lost(ride))} points of accuracy.",
        control="a mark proves presence, not work: leave-one-out or Shapley values of contributions, audits on site",
    )


def _no_marks(why: str) -> Finding:
    return not_shown(
        "Marks under malicious hospitals",
        adversary=ONE,
        knowledge="how marks are made",
        control="marks that verify while nobody attacks them",
        why=why,
    )
