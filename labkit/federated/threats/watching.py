"""What a party that takes part learns by watching a few rounds: for the eye and for exercises; studies use `shadows`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.federated.rounds import Federation, begin, contribute, step
from labkit.federated.threats import shadows


@dataclass(frozen=True, eq=False)
class Watched:
    """A few rounds as an outsider sees them, and the truth.

    Attributes
    ----------
    gradients : tuple of ndarray of shape [n, d]
        Of each round: what each candidate record would have added, had it been in.
    sums : tuple of ndarray of shape [d]
        What all hospitals together added, noise included; the marks, which depend on nobody, are taken off.
    members : ndarray of bool, shape [n]
        Who was in.
    """

    gradients: tuple[np.ndarray, ...]
    sums: tuple[np.ndarray, ...]
    members: np.ndarray


def watch(federation: Federation, rounds: int, *, seed: int = 0) -> Watched:
    """Train on a random half of every hospital's records for a few rounds and keep what an outsider can work out.

    Parameters
    ----------
    federation : Federation
        Of kind "gradient".
    rounds : int
    seed : int
        Of the half and the noise.

    Raises
    ------
    ValueError
        If the federation sends updates instead of gradients, or has fewer rounds.
    """
    if federation.training.kind != "gradient" or not 1 <= rounds <= federation.training.rounds:
        raise ValueError(
            f"kind is {federation.training.kind!r} and rounds {rounds}; expected kind 'gradient' and 1 to "
            f"{federation.training.rounds} rounds"
        )
    members = shadows.pair_masks(shadows.owners(federation), 8, seed)[0]
    own, pooled = shadows.subset(federation, members), federation.hospitals.pooled()
    names, state = own.hospitals.names, begin(own)
    gradients, sums = [], []
    for _ in range(rounds):
        gradients.append(shadows.candidate_gradients(own, state, pooled.train_x, pooled.train_y))
        total = sum(contribute(own, name, state, seed=seed) for name in names)
        after = step(own, state, total, names, seed=seed)
        marks = sum(shadows.pull_in_sum(own, name, state) for name in names)
        sums.append(shadows.opened_sum(own, state, after) - marks)
        state = after
    return Watched(tuple(gradients), tuple(sums), members)
