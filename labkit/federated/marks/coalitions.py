"""Every coalition of hospitals trained, and what that says about each: Shapley values and leave-one-out.

Shapley's value of a hospital (Shapley 1953; Ghorbani & Zou 2019, arXiv 1904.02868, equation 1) is its mean gain in
validation accuracy over all orders in which hospitals could have joined. With five hospitals all 32 coalitions are
trained, nothing is sampled. Validation records are held out of each hospital's train records; no test record is used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from labkit.federated.hospitals import Hospital, Hospitals
from labkit.federated.marks.enrolment import MarkError
from labkit.federated.rounds import Federation, State, begin, contribute, step, unflatten

VALIDATION = 0.25  # of each hospital's train records


def held_out(hospitals: Hospitals, seed: int, share: float = VALIDATION) -> Hospitals:
    """Return hospitals whose test records are some of their train records, which leave train: for validation.

    The real test records are in neither part.
    """
    import torch

    held = []
    for at, each in enumerate(hospitals):
        data = each.dataset
        order = torch.from_numpy(np.random.default_rng([seed, at]).permutation(len(data.train_y)))
        cut = max(1, round(share * len(order)))
        kept, out = order[cut:], order[:cut]
        parts = {
            "train_x": data.train_x[kept],
            "train_y": data.train_y[kept],
            "test_x": data.train_x[out],
            "test_y": data.train_y[out],
        }
        held.append(Hospital(each.name, replace(data, **parts, digest="")))
    return Hospitals(tuple(held), f"{hospitals.source}, {share:.0%} of train held out for validation")


def coalitions(
    federation: Federation,
    seed: int,
    *,
    idle: str = "",
    known: Mapping[frozenset[str], float] | None = None,
) -> dict[frozenset[str], float]:
    """Train every coalition; return its accuracy on the pooled held-out records, in points.

    Nobody's coalition is the initial model. A hospital that is ``idle`` sends zeros, and is counted in the mean;
    coalitions without it are taken from ``known``.
    """
    names = federation.hospitals.names
    pooled = federation.hospitals.pooled()
    found = {}
    for size in range(len(names) + 1):
        for members in itertools.combinations(names, size):
            if known is not None and idle not in members:
                found[frozenset(members)] = known[frozenset(members)]
                continue
            state = begin(federation)
            for _ in range(federation.training.rounds if members else 0):
                sent = [contribute(federation, n, state, seed=seed) for n in members if n != idle]
                total = sum(sent) if sent else np.zeros(len(state.weights), dtype=np.int64)
                state = step(federation, state, total, members, seed=seed)
            found[frozenset(members)] = _points(federation, state, pooled)
    return found


def _points(federation: Federation, state: State, pooled: Any) -> float:
    from labkit.federated.result import measure

    return 100 * measure(unflatten(federation.make_model(), state.model), pooled).estimate


def shapley(worth: Mapping[frozenset[str], float], names: Sequence[str]) -> np.ndarray:
    """Return each player's exact Shapley value, shape [players].

    Parameters
    ----------
    worth : mapping of frozenset of str to float
        Of every coalition, the empty one included.

    Examples
    --------
    >>> glove = {frozenset(s): float(set("LR") <= set(s) or set("LS") <= set(s)) for s in
    ...          ["", "L", "R", "S", "LR", "LS", "RS", "LRS"]}
    >>> [round(v, 3) for v in shapley(glove, "LRS").tolist()]
    [0.667, 0.167, 0.167]
    """
    n = len(names)
    if len(worth) != 2**n:
        raise MarkError(f"got the worth of {len(worth)} coalitions; expected all {2**n} of {n} players")
    found = np.zeros(n)
    for at, name in enumerate(names):
        for members, value in worth.items():
            if name not in members:
                weight = 1 / (n * math.comb(n - 1, len(members)))
                found[at] += weight * (worth[members | {name}] - value)
    return found


def leave_one_out(worth: Mapping[frozenset[str], float], names: Sequence[str]) -> np.ndarray:
    """Return what each player adds to all others together, shape [players]."""
    everyone = frozenset(names)
    return np.array([worth[everyone] - worth[everyone - {name}] for name in names])
