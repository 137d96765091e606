"""Robust aggregation against what the server must see for it: the tension, measured.

Secure aggregation hides every hospital in a sum of n. Medians, trimmed means and Krum compare hospitals one by one, and
take that away. In between: secure sums of small groups, compared with each other. With m hospitals to a group and a
liars, a median of n / m groups holds for sure only while 2 a < n / m, so that m must stay below n / (2 a).

The attackers know the rule that they face, as far as their own records let them use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit import stats
from labkit.federated.hospitals import Hospitals, split
from labkit.federated.noise import Noise, calibrate
from labkit.federated.rounds import Federation, FederationError, Training
from labkit.federated.secagg import Encoding
from labkit.federated.threats import aggregation, wrapping
from labkit.federated.threats.aggregation import Aggregate
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown
from labkit.federated.threats.malicious_result import points
from labkit.federated.threats.poisoning import (
    Attack,
    Backdoor,
    Inconspicuous,
    Late,
    Reverse,
    Trigger,
    UnderNorm,
    WithinRange,
)
from labkit.federated.threats.robust_result import ATTACKS, OVER, Arm, RobustStudy
from labkit.federated.threats.running import accuracy, attacked, quick

if TYPE_CHECKING:
    from labkit.dp.accounting.statement import PrivacyStatement
    from labkit.federated.threats.system import System
    from labkit.profiles import Profile

COUNT = 15  # hospitals: enough for groups to be compared
TERMS = Training(rounds=8, kind="update", learning_rate=0.2, local_epochs=4)
LEAST = 16  # records a hospital, on average
ALPHA = 2.0  # of the split by label: hospitals differ, but each has both classes
EPSILON, ROUNDS = 3.0, 60  # of the promise that the anonymity set is priced by


def study_robust(
    federation: Federation,
    *,
    seeds: Sequence[int],
    profile: Profile | None = None,
    attackers: int = 2,
) -> RobustStudy:
    """Deal a federation's records to 15 hospitals, and try each rule against each attack by some of them.

    Parameters
    ----------
    federation : Federation
        Its records and its model are used; training is FedAvg without noise, so that what is seen is the rule's doing.
    seeds : sequence of int
    attackers : int
        How many of the 15 work together.

    Raises
    ------
    FederationError
        If there is no seed, or too many attackers for any rule that compares hospitals.
    """
    from labkit import profiles

    profile, seeds = profile or profiles.current(), tuple(int(seed) for seed in seeds)
    if not seeds or not 1 <= attackers <= (COUNT - 3) // 2:
        raise FederationError(
            f"{len(seeds)} seeds and {attackers} attackers; expected a seed, and 1 to {(COUNT - 3) // 2} attackers of {COUNT}"
        )
    many = dealt(federation, profile)
    pilot = max(seeds) + 10_000
    length = aggregation.pilot_bound(many, seed=pilot)
    widest = aggregation.pilot_bound(many, seed=pilot, order=math.inf)
    rules = _rules(length, widest, attackers)
    arms: dict[str, dict[str, list[Arm]]] = {rule.title: {a: [] for a in ATTACKS} for rule in rules}
    for seed in seeds:
        chosen = np.random.default_rng([seed, 5]).permutation(COUNT)[:attackers]
        names = tuple(many.hospitals.names[int(i)] for i in chosen)
        triggers = tuple(Trigger.draw(many.dataset(names[0]), key) for key in (seed, seed + 10_000))
        for rule in rules:
            for label, attack in _attacks(rule, names, triggers[0], length, widest).items():
                who = dict.fromkeys(names, attack) if attack else {}
                arms[rule.title][label].append(_arm(many, who, seed, rule, triggers))
    mixed = {rule.title: rule.mixed(COUNT) for rule in rules}
    return RobustStudy(
        {rule: {a: tuple(found) for a, found in by.items()} for rule, by in arms.items()},
        mixed,
        {size: f"{found}, unit patient" for size, found in promises(sorted(set(mixed.values()))).items()},
        COUNT,
        attackers,
        seeds,
        many.hospitals.source,
        profile.name,
    )


def dealt(federation: Federation, profile: Profile) -> Federation:
    """Return the same records and model with 15 hospitals, trained by FedAvg without noise or marks."""
    pooled = federation.hospitals.pooled()
    hospitals = split(pooled, COUNT, "label", ALPHA)
    source = f"{federation.hospitals.source}; dealt anew to {COUNT} hospitals by label, Dirichlet({ALPHA:g})"
    terms = replace(TERMS, rounds=profile.pick(smoke=4, laptop=TERMS.rounds, full=2 * TERMS.rounds))
    return quick(
        Federation(
            Hospitals(hospitals.hospitals, source, hospitals.released),
            federation.make_model,
            terms,
            Noise(hospitals=COUNT),
        )
    )


def promises(sizes: Sequence[int]) -> dict[int, PrivacyStatement]:
    """Return, by anonymity set, the promise against a server for noise that is calibrated for a sum of all 15.

    Each hospital adds its share; a sum of m of them carries m shares.
    """
    noise = calibrate("distributed", EPSILON, rounds=ROUNDS, hospitals=COUNT, threshold=COUNT)
    return {size: noise.statement(ROUNDS, observer="the server", survivors=size) for size in sizes}


def _rules(length: float, widest: float, attackers: int) -> list[Aggregate]:
    return [
        aggregation.Sum(),
        aggregation.RangeBound(widest),
        aggregation.NormBound(length),
        aggregation.Groups(5),
        aggregation.Groups(3),
        aggregation.Median(),
        aggregation.TrimmedMean(attackers),
        aggregation.Krum(attackers),
    ]


def _attacks(
    rule: Aggregate, names: tuple[str, ...], trigger: Trigger, length: float, widest: float
) -> dict[str, Attack | None]:
    """Return the attacks of `ATTACKS`; the adaptive one is made for the rule."""
    replaced = Backdoor(trigger)
    if isinstance(rule, aggregation.RangeBound):
        adaptive: Attack = WithinRange(replaced, widest)
    elif isinstance(rule, aggregation.Sum | aggregation.NormBound):
        adaptive = UnderNorm(replaced, length)
    else:
        adaptive = Inconspicuous(replaced, names, deviations=1.5)
    return dict(zip(ATTACKS, (None, Reverse(), Late(replaced), adaptive), strict=True))


def _arm(
    federation: Federation, who: dict[str, Attack], seed: int, rule: Aggregate, triggers: tuple[Trigger, ...]
) -> Arm:
    weights = attacked(federation, who, seed=seed, aggregate=rule).weights
    pooled = federation.hospitals.pooled()
    own, other = (trigger.success(federation, weights, pooled) for trigger in triggers)
    return Arm(accuracy(federation, weights), own, other)


SECURE = "Colluding hospitals plant a backdoor in a secure sum"
PLANTED = Scale(
    "stamped records led astray, beyond the same rule without attack and another trigger",
    low=0.05,
    medium=0.2,
    high=0.5,
    critical=0.9,
)
SEEN = Scale(
    "epsilon against the server (PLD, delta = 1e-5, unit patient)", low=3.5, medium=6, high=10, critical=30
)
REACH = Scale(
    "shift of the sum by one hospital, over what its encoding allows it",
    low=1.1,
    medium=2,
    high=4,
    critical=1000,
)


def findings(system: System, *, seeds: Sequence[int], profile: Profile) -> list[Finding]:
    """Return what robust aggregation gives and what it takes."""
    records = sum(system.federation.sizes.values())
    if records < COUNT * LEAST:
        why = f"{records} records are too few to deal to {COUNT} hospitals."
        return [
            not_shown(
                SECURE,
                adversary="hospitals together",
                knowledge="the rule",
                control="medians of groups",
                why=why,
            )
        ]
    study = study_robust(system.federation, seeds=seeds, profile=profile)
    return [_tension(study), _in_clear(study), _range(study, system.federation)]


def _tension(study: RobustStudy) -> Finding:
    groups = "median of groups of 3"
    # Groups are no part of the system as it stands: they answer nothing there.
    severity, status = judge(PLANTED, study.worst("sum of all"))
    return Finding(
        title=SECURE,
        severity=severity,
        status=status,
        adversary=f"{study.attackers} of {study.hospitals} hospitals, together",
        knowledge="their own records, the global model, the rule of aggregation with its bounds",
        evidence=f"Planted under the sum of all {points(study.worst('sum of all'))} points, under an L2 bound with proofs "
        f"{points(study.worst('L2 bound, with proofs'))}, under medians of secure groups of 5 "
        f"{points(study.worst('median of groups of 5'))} and of 3 {points(study.worst(groups))}, under medians in the clear "
        f"{points(study.worst('median'))}.",
        number=PLANTED.what,
        interval=study.worst("sum of all"),
        interval_of=OVER,
        differs="the rule of aggregation; the records are dealt anew to 15 hospitals, trained by FedAvg without noise",
        control=f"not in place: medians of secure groups, as small as {study.attackers} liars need; the server would then see "
        f"sums of 3, not of {study.hospitals}",
        figure=study.plot(),
    )


def _in_clear(study: RobustStudy) -> Finding:
    found = promises([1, 3, COUNT])
    alone, small = (found[size].epsilon for size in (1, 3))
    shown = stats.Interval(alone, alone, alone, method="accounting, exact")
    left = stats.Interval(small, small, small, method="accounting, exact")
    severity, status = judge(SEEN, shown, left)
    return Finding(
        title="Medians and Krum show the server every hospital",
        severity=severity,
        status=status,
        adversary="the server",
        knowledge="what the rule of aggregation lets it see",
        evidence=f"Noise shares that make up {found[COUNT]} in a sum of {COUNT} leave {found[3]} in sums of 3, and {found[1]} "
        f"for single contributions (unit: patient). Accuracy lost by medians without attack: "
        f"{points(study.lost('median', 'none'))} points.",
        number=SEEN.what,
        interval=shown,
        interval_of="nothing: it is computed, not sampled",
        differs=f"how many noise shares a sum holds; the promise is priced at {ROUNDS} rounds, whatever the system does",
        control="groups no smaller than the liars make necessary, and noise calibrated for a group",
    )


def _range(study: RobustStudy, federation: Federation) -> Finding:
    encoding = Encoding.finest(bound=1.0, parties=len(federation.hospitals))
    shown = stats.mean_interval([wrapping.reach(encoding, seed=seed) for seed in study.seeds])
    severity, status = judge(REACH, shown)
    return Finding(
        title="The encoding's range binds no malicious hospital",
        severity=severity,
        status=status,
        adversary="one hospital of the federation",
        knowledge="the protocol; it runs a client of its own",
        evidence=f"Added after encoding, under the masks, a vector moved the sum of {encoding.parties} hospitals by "
        f"{shown} times what the range allows one, and the real protocol opened it. Were the range enforced, a reversed "
        f"update would cost {points(study.lost('range bound, with proofs', 'reversed'))} points instead of "
        f"{points(study.lost('sum of all', 'reversed'))}.",
        number=REACH.what,
        interval=shown,
        interval_of="seeds: the honest hospitals' vectors",
        differs="nothing else: the same round, one message changed",
        control="range or norm proofs (RoFL, EIFFeL; not built here); a server that refuses sums no honest values can make",
    )
