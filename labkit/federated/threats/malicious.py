"""Malicious hospitals, tried: every attack against the honest federation of the same seed.

Each seed draws batches and noise anew, names another hospital as the attacker, and keys another trigger. A backdoor is
counted three ways: the attacker's trigger on the attacked model, the same trigger on the honest model (a pattern can
call up a class by itself), and another trigger on the attacked model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.rounds import Federation, FederationError, State, begin, contribute, step, unflatten
from labkit.federated.threats import mark_attacks
from labkit.federated.threats.aggregation import Aggregate, Sum, pilot_bound
from labkit.federated.threats.poisoning import Attack, Backdoor, LabelFlip, Late, Reverse, Trigger, UnderNorm
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.profiles import Profile

Chances = Callable[[np.ndarray], Mapping[str, float]]
FALSE_CLAIMS = 1e-3  # in one model, over all of its hospitals
LEAST_OTHER = 8  # records of other classes that whoever plants a backdoor needs
HONEST = "none: all honest"
PILOT = 10_000  # added to a seed: no study uses it


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a federation with malicious hospitals handed out. It carries no promise: attackers add what noise they like.

    Attributes
    ----------
    weights : ndarray of shape [d]
    states : tuple of State
    """

    weights: np.ndarray
    states: tuple[State, ...]


def attacked(
    federation: Federation,
    attackers: Mapping[str, Attack],
    *,
    seed: int | None = None,
    aggregate: Aggregate | None = None,
) -> Outcome:
    """Run a federation in which some hospitals attack.

    Parameters
    ----------
    attackers : mapping of str to Attack
        By hospital; the others contribute honestly. Without any it is the federation that `federate` runs.
    aggregate : Aggregate, optional
        How the server makes one sum; by default it adds everything up.

    Raises
    ------
    FederationError
        If an attacker is no hospital of this federation.
    """
    names, aggregate = federation.hospitals.names, aggregate or Sum()
    if strangers := set(attackers) - set(names):
        raise FederationError(f"attackers name {sorted(strangers)}; expected hospitals of {list(names)}")
    states = [begin(federation)]
    for round in range(federation.training.rounds):
        sent = {
            name: attackers[name](federation, name, tuple(states), seed)
            if name in attackers
            else contribute(federation, name, states[-1], seed=seed)
            for name in names
        }
        total = aggregate(federation, sent, round, seed)
        states.append(step(federation, states[-1], total, names, seed=seed))
    return Outcome(states[-1].model, tuple(states))


@dataclass(frozen=True)
class Measured:
    """One model, measured.

    Attributes
    ----------
    accuracy : float
        On the pooled test records.
    backdoor, control : float
        Success of the attacker's trigger, and of a trigger that nobody planted.
    chances : dict of str to float
        For each marked hospital, the chance that its mark reads this strong in a model it had no part in.
    attacker : str
    victim : str
        Whose mark is worn where the attack wears one.
    """

    accuracy: float
    backdoor: float
    control: float
    chances: dict[str, float]
    attacker: str
    victim: str

    def verifies(self, name: str) -> bool:
        """Return whether a mark counts as proof, at `FALSE_CLAIMS` over all marks."""
        return self.chances[name] <= FALSE_CLAIMS / len(self.chances)


def accuracy(federation: Federation, weights: np.ndarray) -> float:
    """Return the share of the pooled test records that a model classifies correctly."""
    from labkit.federated.result import measure

    return measure(unflatten(federation.make_model(), weights), federation.hospitals.pooled()).estimate


def mark_chances(federation: Federation) -> Chances:
    """Return how the federation's white-box marks are verified: weights to a bound on chance, by hospital."""
    from labkit.federated.marks.bits import chance

    marks = {name: mark for name, mark in federation.marks.items() if hasattr(mark, "strength_in")}
    return lambda weights: {name: chance(mark.strength_in(weights)) for name, mark in marks.items()}


@dataclass(frozen=True, eq=False)
class MaliciousStudy(Result):
    """What each attack did, seed by seed.

    Attributes
    ----------
    runs : dict of str to tuple of Measured
        By attack, one per seed; `HONEST` is the federation without an attacker.
    foreign : Interval or None
        Share of keys drawn by somebody else that pass as a hospital's own in the honest models.
    seeds : tuple of int
    bound : float
        The norm bound that the adaptive attacker stays under, fixed by a pilot run.
    source, profile : str
    """

    runs: dict[str, tuple[Measured, ...]] = field(repr=False)
    foreign: stats.Interval | None
    seeds: tuple[int, ...]
    bound: float
    source: str
    profile: str

    def lost(self, attack: str) -> stats.Interval:
        """Return the accuracy lost to the honest federation of the same seed: mean over seeds."""
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        return stats.mean_interval([honest.accuracy - run.accuracy for honest, run in pairs])

    def planted(self, attack: str) -> stats.Interval:
        """Return the trigger's success beyond its success on the honest model of the same seed: mean over seeds."""
        pairs = zip(self.honest_of(attack), self.runs[attack], strict=True)
        return stats.mean_interval([run.backdoor - honest.backdoor for honest, run in pairs])

    def honest_of(self, attack: str) -> tuple[Measured, ...]:
        """Return the honest runs that an attack is paired with."""
        return self.runs[HONEST]

    def by_control(self, attack: str) -> stats.Interval:
        """Return by how much the attacker's trigger beats one that nobody planted, beyond the honest model: mean."""
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        return stats.mean_interval([(a.backdoor - a.control) - (h.backdoor - h.control) for h, a in pairs])

    def count(self, attack: str, true: Callable[[Measured], bool]) -> stats.Interval:
        """Return the share of runs for which something holds, with its Clopper-Pearson interval over runs."""
        found = self.runs[attack]
        return stats.clopper_pearson(sum(bool(true(run)) for run in found), len(found))

    def others_verified(self, attack: str) -> float:
        """Return the mean share of the other hospitals' marks that verify."""
        return float(np.mean([_others(run) for run in self.runs[attack]]))

    def numbers(self) -> dict[str, Any]:
        rows = {
            title: {
                "accuracy": stats.mean_share([run.accuracy for run in runs]),
                "accuracy lost": self.lost(title),
                "trigger beyond honest": self.planted(title),
                "trigger beyond control": self.by_control(title),
                "other marks verified": self.others_verified(title) if runs[0].chances else "no marks",
                "own mark verified": self.count(title, lambda run: run.verifies(run.attacker))
                if runs[0].chances
                else "no marks",
            }
            for title, runs in self.runs.items()
        }
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "intervals over": OVER,
            "norm bound": self.bound,
            "foreign keys that pass": "no marks" if self.foreign is None else self.foreign,
            "attacks": rows,
        }

    def summary(self) -> str:
        worst = max((t for t in self.runs if t != HONEST), key=lambda t: self.lost(t).estimate)
        planted = max((t for t in self.runs if t != HONEST), key=lambda t: self.planted(t).estimate)
        return (
            f"{len(self.runs) - 1} attacks by one of the hospitals; most accuracy lost: {worst}, "
            f"{_points(self.lost(worst))}; best backdoor: {planted}, {_points(self.planted(planted))}; {self.source}; "
            f"{self.profile}, {len(self.seeds)} seeds"
        )

    def table(self) -> pd.DataFrame:
        """Return one row per attack; intervals are of means over seeds, paired with the honest run."""
        import pandas as pd

        rows = []
        for title, runs in self.runs.items():
            row = {"attack": title, "accuracy": f"{100 * np.mean([run.accuracy for run in runs]):.1f}%"}
            row["accuracy lost"] = "" if title == HONEST else _points(self.lost(title))
            row["trigger beyond honest"] = "" if title == HONEST else _points(self.planted(title))
            row["control trigger"] = f"{100 * np.mean([run.control for run in runs]):.0f}%"
            if runs[0].chances:
                own = sum(run.verifies(run.attacker) for run in runs)
                row["others' marks verified"] = f"{100 * self.others_verified(title):.0f}%"
                row["attacker's mark verified"] = f"{own} of {len(runs)}"
            rows.append(row)
        return pd.DataFrame(rows).set_index("attack")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw, for each attack, accuracy lost and trigger success beyond the honest federation."""
        titles = [title for title in self.runs if title != HONEST]
        fig, ax = plots.figure(8.4, 1.6 + 0.33 * len(titles)) if ax is None else (ax.figure, ax)
        looks = (
            (self.lost, "accuracy lost", "o", -0.14),
            (self.planted, "trigger success gained", "s", 0.14),
        )
        for index, (measure, label, marker, shift) in enumerate(looks):
            found = [measure(title) for title in titles]
            middle = np.array([100 * one.estimate for one in found])
            reach = np.array([[100 * (o.estimate - o.low), 100 * (o.high - o.estimate)] for o in found]).T
            ax.errorbar(
                middle,
                np.arange(len(titles)) + shift,
                xerr=np.clip(reach, 0, 200),
                fmt=marker,
                capsize=3,
                linestyle="none",
                color=plots.COLOURS[index],
                label=label,
            )
        ax.axvline(0, color="black", linewidth=0.8, linestyle="-")
        ax.set_yticks(np.arange(len(titles)), titles, fontsize=9)
        ax.set_ylim(len(titles) - 0.5, -0.5)
        ax.set_xlim(-30, 130)
        ax.set_xlabel(
            f"points against the honest federation of the same seed (mean, 95% over {len(self.seeds)} seeds)"
        )
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        said = "; ".join(
            f"{title}: accuracy lost {_points(self.lost(title))}, trigger {_points(self.planted(title))}"
            for title in titles
        )
        return plots.describe(fig, f"Attacks by one malicious hospital, paired with the honest run. {said}.")


OVER = (
    "seeds: batches, noise, which hospital attacks, and its trigger; hospitals' records and test records stay"
)


def study_malicious(
    federation: Federation,
    *,
    seeds: Sequence[int],
    chances: Chances | None = None,
    profile: Profile | None = None,
) -> MaliciousStudy:
    """Try every attack once for each seed, by one hospital at a time.

    Parameters
    ----------
    federation : Federation
        With its marks. The class that the trigger calls up is 1.
    seeds : sequence of int
    chances : callable, optional
        How marks are verified, if not by `mark_chances`.

    Raises
    ------
    FederationError
        If there is no seed, or no hospital holds enough records of other classes.
    """
    from labkit import profiles

    profile, seeds = profile or profiles.current(), tuple(int(seed) for seed in seeds)
    able = [h.name for h in federation.hospitals if int((h.dataset.train_y != 1).sum()) >= LEAST_OTHER]
    if not seeds or not able:
        raise FederationError(
            f"{len(seeds)} seeds and {len(able)} hospitals with {LEAST_OTHER} records of other classes than 1; expected at "
            "least one of each"
        )
    federation = quick(federation)
    chances = chances or (mark_chances(federation) if federation.marks else lambda weights: {})
    bound = pilot_bound(federation, seed=max(seeds) + PILOT)
    runs: dict[str, list[Measured]] = {}
    foreign = []
    for seed in seeds:
        name = able[seed % len(able)]
        names = federation.hospitals.names
        victim = names[(names.index(name) + 1) % len(names)]
        own = federation.dataset(name)
        triggers = Trigger.draw(own, seed), Trigger.draw(own, seed + PILOT)
        for title, attackers in _scenes(federation, name, victim, triggers[0], bound).items():
            weights = attacked(federation, attackers, seed=seed).weights
            runs.setdefault(title, []).append(
                _measured(federation, weights, triggers, dict(chances(weights)), name, victim)
            )
            if title == HONEST and federation.marks:
                foreign += _foreign(federation, weights, victim, seed, profile)
    return MaliciousStudy(
        {title: tuple(found) for title, found in runs.items()},
        stats.clopper_pearson(sum(foreign), len(foreign)) if foreign else None,
        seeds,
        bound,
        federation.hospitals.source,
        profile.name,
    )


def quick(federation: Federation) -> Federation:
    """Return the same federation with models copied from one, where making one may draw and throw away numbers."""
    return replace(federation, make_model=partial(copy.deepcopy, federation.make_model()))


def _scenes(
    federation: Federation, name: str, victim: str, trigger: Trigger, bound: float
) -> dict[str, dict[str, Attack]]:
    """Return who does what in each run, by title; the honest one first."""
    ride = mark_attacks.FreeRide
    attacks: list[Attack] = [
        LabelFlip(),
        Reverse(),
        UnderNorm(Reverse(), bound),
        Backdoor(trigger, 1.0),
        Late(Backdoor(trigger)),
        UnderNorm(Backdoor(trigger), bound),
    ]
    mark, worn = federation.marks.get(name), federation.marks.get(victim)
    if mark is not None:
        attacks += [
            mark_attacks.Subtract(),
            Late(mark_attacks.Disturb(), 0.0),
            mark_attacks.Distil(),
            mark_attacks.Overwrite(mark),
            ride("zero"),
            ride("zero", mark),
            ride("noise", mark),
            ride("last update"),
            ride("last update", mark),
        ]
    scenes = {HONEST: {}} | {attack.title: {name: attack} for attack in attacks}
    if mark is not None and worn is not None:
        wear = mark_attacks.Wear(worn)
        scenes[wear.title] = {name: wear, victim: ride("zero")}
    return scenes


def _measured(
    federation: Federation,
    weights: np.ndarray,
    triggers: tuple[Trigger, Trigger],
    chances: dict[str, float],
    attacker: str,
    victim: str,
) -> Measured:
    pooled = federation.hospitals.pooled()
    own, other = (trigger.success(federation, weights, pooled) for trigger in triggers)
    return Measured(accuracy(federation, weights), own, other, chances, attacker, victim)


def _foreign(
    federation: Federation, weights: np.ndarray, victim: str, seed: int, profile: Profile
) -> list[bool]:
    """Return, for keys of somebody who knows the victim's commitment alone, which pass for the victim's mark."""
    from labkit.federated.marks.bits import chance, redrawn
    from labkit.watermark.keys import Key

    mark = federation.marks.get(victim)
    if not hasattr(mark, "strength_in"):
        return []
    count = profile.pick(smoke=20, laptop=100, full=1000)
    thief = Key.from_phrase(f"somebody who does not hold the key, seed {seed}")
    level = FALSE_CLAIMS / len(federation.marks)
    return [chance(strength) <= level for strength in redrawn(mark, weights, count, thief)]


def _others(run: Measured) -> float:
    others = [run.verifies(name) for name in run.chances if name != run.attacker]
    return float(np.mean(others)) if others else float("nan")


def _points(found: stats.Interval) -> str:
    return f"{100 * found.estimate:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
