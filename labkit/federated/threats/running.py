"""A federation in which some hospitals attack, run to its end."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from labkit.federated.noise import NoiseError
from labkit.federated.rounds import Federation, FederationError, State, begin, contribute, step, unflatten
from labkit.federated.threats.aggregation import Aggregate, Sum
from labkit.federated.threats.poisoning import Attack


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a federation with malicious hospitals handed out. It carries no promise: attackers add what noise they like.

    Attributes
    ----------
    weights : ndarray of shape [d]
    states : tuple of State
    stopped : int or None
        Round in which somebody could no longer send, as an attack had driven the weights off the grid: a denial of
        service. The weights are then those before it.
    """

    weights: np.ndarray
    states: tuple[State, ...]
    stopped: int | None = None


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
        try:
            sent = {
                name: attackers[name](federation, name, tuple(states), seed)
                if name in attackers
                else contribute(federation, name, states[-1], seed=seed)
                for name in names
            }
        except NoiseError:
            if not (attackers and round):  # honest hospitals, or the first round: a fault of the terms
                raise
            return Outcome(states[-1].model, tuple(states), round + 1)
        total = aggregate(federation, sent, round, seed)
        states.append(step(federation, states[-1], total, names, seed=seed))
    return Outcome(states[-1].model, tuple(states))


def quick(federation: Federation) -> Federation:
    """Return the same federation with models copied from one, where making one may draw and throw away numbers."""
    return replace(federation, make_model=partial(copy.deepcopy, federation.make_model()))


def accuracy(federation: Federation, weights: np.ndarray) -> float:
    """Return the share of the pooled test records that a model classifies correctly."""
    from labkit.federated.result import measure

    return measure(unflatten(federation.make_model(), weights), federation.hospitals.pooled()).estimate
