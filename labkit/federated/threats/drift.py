"""Drift: devices move away from year to year, training goes on, and marks wear off unless they are put in again.

A year is the same patients, measured anew by each hospital's devices (`labkit.federated.sites`), which have moved on in a
direction of their own, and some rounds of federated training from last year's model. What is compared differs in its
marks alone: patients, devices and batches are the same.

The re-marking policy is fixed before the first year: a year is trained with marks if the weakest mark's margin, in decades
between its p-value and the level at which it counts, was below `LEAST_MARGIN` at the end of the year before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from labkit.federated.hospitals import Hospital, Hospitals, load_hospitals
from labkit.federated.noise import Noise
from labkit.federated.preprocessing import fixed
from labkit.federated.rounds import Federation, FederationError, Training, flatten, unflatten
from labkit.federated.sites import DeviceShift, draw
from labkit.federated.threats.drift_result import NEVER, POLICIES, DriftStudy, Year
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown
from labkit.federated.threats.malicious_result import points
from labkit.federated.threats.running import attacked

if TYPE_CHECKING:
    from torch import nn

    from labkit.federated.marks import Enrolment
    from labkit.federated.threats.system import System
    from labkit.profiles import Profile

GROWTH = 0.5  # devices' yearly step, in standard deviations between sites
LEAST_MARGIN = 1.0  # decades
TERMS = Training(rounds=12, kind="update", learning_rate=0.1, local_epochs=2)  # of every year


@dataclass(frozen=True)
class Ageing:
    """How each hospital's devices move: after t years, gain to the power of t and t offsets."""

    yearly: tuple[DeviceShift, ...]

    @classmethod
    def drawn(cls, hospitals: Hospitals, seed: int) -> Ageing:
        """Draw a direction for each hospital, `GROWTH` times as far in a year as sites differ."""
        shifts = draw(hospitals.pooled(), len(hospitals), np.random.default_rng([seed, 6]))
        return cls(tuple(DeviceShift(one.gain**GROWTH, GROWTH * one.offset) for one in shifts))

    def apply(self, hospitals: Hospitals, years: int) -> Hospitals:
        """Return the hospitals' records as measured after some years; 0 leaves them as they are."""
        aged = []
        for one, shift in zip(hospitals, self.yearly, strict=True):
            now = DeviceShift(shift.gain**years, shift.offset * years)
            x = {part: getattr(one.dataset, part) for part in ("train_x", "test_x")}
            moved = {part: now.apply(values) if years else values for part, values in x.items()}
            aged.append(Hospital(one.name, replace(one.dataset, **moved, digest="")))
        return Hospitals(tuple(aged), hospitals.source, hospitals.released)


def study_drift(
    make_model: Callable[[], nn.Module],
    *,
    seeds: Sequence[int],
    years: int | None = None,
    enrolment: Callable[[Sequence[str], int, int], Enrolment] | None = None,
    profile: Profile | None = None,
) -> DriftStudy:
    """Follow five hospitals with Wisconsin patients over some years, under each policy of `POLICIES`.

    Parameters
    ----------
    make_model : callable
        Returns a model for 30 features and 2 classes, the same at every call.
    seeds : sequence of int
        Each draws the split, train and test records, devices and their ageing, batches, and keys.
    years : int, optional
        After the first: 3 (smoke), 6 (laptop) or 12 (full).
    enrolment : callable, optional
        Takes names, seed and dimension, returns the enrolment. `labkit.federated.marks.enrol` by default.

    Raises
    ------
    FederationError
        If there are no seeds or years.
    """
    from labkit import profiles
    from labkit.federated import marks

    profile, seeds = profile or profiles.current(), tuple(int(seed) for seed in seeds)
    years = profile.pick(smoke=3, laptop=6, full=12) if years is None else years
    if not seeds or years < 1:
        raise FederationError(f"{len(seeds)} seeds and {years} years; expected at least one of each")
    enrol = enrolment or marks.enrol
    runs: dict[str, list[tuple[Year, ...]]] = {policy: [] for policy in POLICIES}
    prototype, source = make_model(), ""
    for seed in seeds:
        hospitals = load_hospitals("breast_cancer", by="site", seed=seed)
        source = source or hospitals.source.split(", seed")[0]
        enrolled = enrol(hospitals.names, seed, len(flatten(prototype)))
        ageing, features = Ageing.drawn(hospitals, seed), fixed("breast_cancer")
        measured = [features.apply(ageing.apply(hospitals, year)) for year in range(years + 1)]
        for policy in POLICIES:
            runs[policy].append(_lived(policy, measured, prototype, enrolled, seed))
    return DriftStudy(
        {policy: tuple(found) for policy, found in runs.items()},
        GROWTH,
        LEAST_MARGIN,
        seeds,
        f"{source}; devices age by {GROWTH:g} site deviations a year",
        profile.name,
    )


def _lived(
    policy: str, measured: Sequence[Hospitals], prototype: nn.Module, enrolment: Enrolment, seed: int
) -> tuple[Year, ...]:
    """Return year after year of one federation."""
    weights, found = flatten(prototype), []
    for year, hospitals in enumerate(measured):
        pulled = _pulls(policy, year, found)
        if year == 0 or policy != "frozen":
            federation = Federation(
                hospitals,
                partial(_started, prototype, weights),
                TERMS,
                Noise(hospitals=len(hospitals)),
                enrolment.marks if pulled else {},
            )
            weights = attacked(federation, {}, seed=1000 * seed + year).weights
        found.append(_year(hospitals, prototype, weights, enrolment, pulled))
    return tuple(found)


def _pulls(policy: str, year: int, before: Sequence[Year]) -> bool:
    """Return whether a policy trains this year with marks."""
    if year == 0:
        return policy != NEVER
    if policy == "re-mark":
        return before[-1].margin < LEAST_MARGIN
    return policy == "always"


def _started(prototype: nn.Module, weights: np.ndarray) -> nn.Module:
    return unflatten(copy.deepcopy(prototype), weights)


def _year(
    hospitals: Hospitals, prototype: nn.Module, weights: np.ndarray, enrolment: Enrolment, pulled: bool
) -> Year:
    from labkit.federated.result import measure

    model = _started(prototype, weights)
    accuracy = {one.name: measure(model, one.dataset).estimate for one in hospitals}
    pooled = measure(model, hospitals.pooled()).estimate
    strengths = {name: mark.strength_in(weights) for name, mark in enrolment.bit_marks.items()}
    return Year(pooled, accuracy, strengths, pulled)


LOST = Scale(
    "accuracy lost since the first year, on each year's own records",
    low=0.01,
    medium=0.03,
    high=0.1,
    critical=0.3,
)
WORN = Scale(
    "decades that the weakest mark's p-value lacks to count as proof in the last year (negative: to spare)",
    low=-1,
    medium=-0.5,
    high=0,
    critical=1,
)
COST = Scale(
    "accuracy that re-marking costs, mean over years", low=0.005, medium=0.01, high=0.03, critical=0.1
)
OVER = "seeds: split, train and test records, devices and their ageing, batches, keys"
WEAR = "Marks wear off as training goes on"
NOBODY = "nobody: devices, patients and time"


def findings(system: System, *, seeds: Sequence[int], profile: Profile) -> list[Finding]:
    """Return what drift does to a system's model and marks."""
    federation = system.federation
    shape = federation.hospitals.hospitals[0].dataset.shape
    if shape != (30,) or system.enrolment is None:
        why = f"it needs raw records that this part knows, and marks; records here have shape {shape}"
        return [not_shown("Drift", adversary=NOBODY, knowledge="none", control="re-marking", why=why)]
    study = study_drift(
        federation.make_model, seeds=seeds, enrolment=partial(_like, system.enrolment), profile=profile
    )
    if study.margin("once", 0).estimate < 0:
        why = f"a year's training leaves marks of strength {study.strength('once', 0)}: too weak to wear off."
        return [
            _ageing(study),
            not_shown(WEAR, adversary=NOBODY, knowledge="none", control="re-marking", why=why),
        ]
    return [_ageing(study), _wear(study), _price(study)]


def _like(model: Enrolment, names: Sequence[str], seed: int, dimension: int) -> Enrolment:
    """Return an enrolment on the terms of another, white-box marks alone."""
    from labkit.federated import marks

    terms = model.terms
    return marks.enrol(
        names,
        seed,
        dimension,
        bits=terms.bits,
        margin=terms.margin,
        strength=terms.strength,
        places=model.places,
    )


def _ageing(study: DriftStudy) -> Finding:
    frozen, trained = study.aged("frozen"), study.aged("re-mark")
    severity, status = judge(LOST, frozen, trained)
    return Finding(
        title="Devices age, and a model that is left alone loses accuracy",
        severity=severity,
        status=status,
        adversary=NOBODY,
        knowledge="none",
        evidence=f"After {study.years} years the first year's model has lost {points(frozen)} points (its weakest hospital is "
        f"at {study.weakest('frozen').percent(1)}), one that is trained on every year {points(trained)} "
        f"({study.weakest('re-mark').percent(1)}).",
        number=LOST.what,
        interval=frozen,
        interval_of=OVER,
        differs="yearly training and re-marking; patients, devices and the first year are the same",
        control="training goes on every year",
        figure=study.plot(),
    )


def _wear(study: DriftStudy) -> Finding:
    once, again = study.lacking("once"), study.lacking("re-mark")
    severity, status = judge(WORN, once, again)
    return Finding(
        title=WEAR,
        severity=severity,
        status=status,
        adversary=NOBODY,
        knowledge="none",
        evidence=f"Marked in the first year alone, the marks' mean strength falls from {study.strength('once', 0)} to "
        f"{study.strength('once', study.years)} in {study.years} years, and in {study.worn('once').percent(0)} of runs some mark "
        f"no longer verifies; under the re-marking policy in {study.worn('re-mark').percent(0)}, with marks in "
        f"{study.marked('re-mark'):.1f} of {study.years} later years.",
        number=WORN.what,
        interval=once,
        interval_of=OVER,
        differs="in which years training pulls for marks; nothing else",
        control=f"re-marking when the weakest margin is below {study.least_margin:g} decades, fixed in advance",
    )


def _price(study: DriftStudy) -> Finding:
    shown = study.cost("re-mark")
    severity, status = judge(COST, shown)
    return Finding(
        title="Re-marking costs accuracy",
        severity=severity,
        status=status,
        adversary=NOBODY,
        knowledge="none",
        evidence=f"Against the same years without any mark: {points(shown)} points; with marks in every year "
        f"{points(study.cost('always'))}.",
        number=COST.what,
        interval=shown,
        interval_of=OVER,
        differs="whether training ever pulls for marks; nothing else",
        control="weaker pulls, fewer years with marks",
    )
