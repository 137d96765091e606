"""How often leaks are traced, and innocents accused: measured over independent draws of words, places and leakers.

Shares are of draws: hospitals of one draw, and the leaks of one draw, share words and places, so they count once. That
at most one leaked copy in 1,000 accuses anybody innocent rests on Chernoff's bound (`tardos.TardosCode.chance`), which
holds whatever was done to the copy; the counts can contradict it, not prove it.

Tracing works among recipients who have a copy and no more. Hospitals that took part rebuild the model from the rounds and
are not traced: pass ``handed`` to see it.

Examples
--------
>>> from labkit.federated.marks import leaks
>>> sorted(name for name, leak in leaks.LEAKS.items() if leak.leakers == 3)
['three averaged', 'three, min or max']
>>> [name for name, leak in leaks.LEAKS.items() if leak.follows]
['own estimate from the rounds']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labkit import profiles, progress, stats
from labkit.federated.marks.enrolment import Enrolment, MarkError
from labkit.federated.marks.innocents import TAG, accuse_innocents, redrawn
from labkit.federated.marks.leak_report import LeakReport, Traced
from labkit.federated.marks.leaks import LEAKS, Leak
from labkit.federated.marks.titles import splits
from labkit.federated.marks.tracing import fingerprint, trace

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.federated.rounds import Federation


def study_leaks(
    trained: Sequence[tuple[Federation, np.ndarray]],
    enrolment: Enrolment,
    *,
    handed: Sequence[np.ndarray] | None = None,
    leaks: Mapping[str, Leak] = LEAKS,
    trials: int | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> LeakReport:
    """Hand out copies, leak them in many ways, and trace.

    Parameters
    ----------
    trained : sequence of (Federation, ndarray of shape [d])
        Federations and their final weights; they are taken in turn.
    enrolment : Enrolment
        Its terms; code words and places are drawn anew for every trial.
    handed : sequence of ndarray of shape [rounds, d], optional
        Of each federation, the weights that opened its rounds: of ``federate(..., keep_states=True).states``, all but
        the last. Without them, leaks that need them are left out, and the report says so.
    leaks : mapping of str to Leak
    trials : int, optional
        Of each kind: 4 (smoke), 100 (laptop) or 1,000 (full).
    draws : int, optional
        More draws of one leak each, for innocents alone: 100 (smoke), 10,000 (laptop) or 50,000 (full).
    seed : int

    Raises
    ------
    MarkError
        If there is no model, what was handed out is not that of these models, or a leak takes more hospitals than leave
        an innocent.
    """
    profile = profiles.current()
    trials = trials or profile.pick(smoke=4, laptop=100, full=1000)
    draws = draws or profile.pick(smoke=100, laptop=10_000, full=50_000)
    if not trained or trials < 1 or draws < 1:
        raise MarkError(
            f"got {len(trained)} models, {trials} trials, {draws} draws; expected at least one of each"
        )
    if too_many := [n for n, leak in leaks.items() if not 1 <= leak.leakers < len(enrolment.names)]:
        raise MarkError(f"{too_many} take {len(enrolment.names)} hospitals or more: nobody would be innocent")
    _check_handed(trained, handed)
    leaks = {name: leak for name, leak in leaks.items() if handed is not None or not leak.follows}
    pooled = [federation.hospitals.pooled() for federation, _ in trained]
    accuracy = [_accuracy(f, weights, data) for (f, weights), data in zip(trained, pooled, strict=True)]
    found = {name: np.zeros((trials, 3), dtype=bool) for name in leaks}  # a leaker, all, an innocent accused
    costs: dict[str, list[list[float]]] = {name: [[] for _ in trained] for name in leaks}
    copies: list[list[float]] = [[] for _ in trained]
    for trial in progress.track(range(trials), "leaks"):
        at = trial % len(trained)
        federation, weights = trained[at]
        fresh = redrawn(enrolment, f"leaks {seed} {trial}")
        given = fingerprint(weights, fresh)
        copies[at] += [_accuracy(federation, copy, pooled[at]) - accuracy[at] for copy in given.values()]
        for number, (name, leak) in enumerate(leaks.items()):
            random = np.random.default_rng([TAG, seed, trial, number])
            who = tuple(random.choice(enrolment.names, leak.leakers, replace=False))
            have = handed[at] if leak.follows else np.stack([given[n] for n in who])
            leaked = leak.change(have, federation, who, random)
            accused = set(trace(leaked, fresh, weights, make_model=federation.make_model).accused)
            found[name][trial] = bool(accused & set(who)), set(who) <= accused, bool(accused - set(who))
            costs[name][at].append(_accuracy(federation, leaked, pooled[at]) - accuracy[at])
    alone = accuse_innocents([weights for _, weights in trained], enrolment, draws, seed=seed)
    return _report(trained, enrolment, leaks, found, costs, copies, alone, (trials, draws, seed))


def _check_handed(
    trained: Sequence[tuple[Federation, np.ndarray]], handed: Sequence[np.ndarray] | None
) -> None:
    if handed is None:
        return
    expected = [(federation.training.rounds, len(weights)) for federation, weights in trained]
    if (got := [np.shape(each) for each in handed]) != expected:
        raise MarkError(
            f"handed has shapes {got}; expected {expected}: the weights that opened each round, of "
            "federate(..., keep_states=True).states all but the last"
        )


def _report(
    trained: Sequence[tuple[Federation, np.ndarray]],
    enrolment: Enrolment,
    leaks: Mapping[str, Leak],
    found: dict[str, np.ndarray],
    costs: dict[str, list[list[float]]],
    copies: list[list[float]],
    alone: stats.Interval,
    counts: tuple[int, int, int],
) -> LeakReport:
    trials, draws, seed = counts
    traced = {}
    wrong = np.zeros(trials, dtype=bool)
    for name, leak in leaks.items():
        if leak.leakers <= enrolment.colluders:
            wrong |= found[name][:, 2]
        shares = [stats.clopper_pearson(int(hits), trials) for hits in found[name].sum(0)]
        traced[name] = Traced(leak.leakers, *shares, _over_models(costs[name]), leak.follows)
    return LeakReport(
        traced,
        stats.clopper_pearson(int(wrong.sum()), trials),
        alone,
        _over_models(copies),
        trials,
        draws,
        len(trained),
        enrolment.colluders,
        enrolment.places,
        enrolment.false_accusation,
        splits(trained[0][0].hospitals.source, len({f.hospitals.digest for f, _ in trained})),
        profiles.current().name,
        seed,
    )


def _over_models(points: list[list[float]]) -> stats.Interval:
    """Return the mean of the models' means: draws on one model share its records."""
    return stats.mean_interval([float(np.mean(each)) for each in points if each])


def _accuracy(federation: Federation, weights: np.ndarray, pooled: Dataset) -> float:
    """Return the accuracy on the pooled test records, in points."""
    from labkit.federated.result import measure
    from labkit.federated.rounds import unflatten

    model = unflatten(federation.make_model(), weights)
    return 100 * measure(model, pooled).estimate
