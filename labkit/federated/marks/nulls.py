"""Federations that trained without these marks: what innocents look like.

A null federation differs from the judged one in seed and split, and carries marks of strangers' keys in the same
number: what is tested is whose marks are there, not whether there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from labkit import profiles
from labkit.federated.marks.enrolment import Enrolment, MarkError, enrol
from labkit.federated.rounds import Federation


def null_federations(
    make: Callable[[int], Federation],
    enrolment: Enrolment,
    count: int | None = None,
    *,
    seed: int = 1000,
) -> tuple[np.ndarray, ...]:
    """Train federations as the judged one was, with other splits, other seeds and strangers' marks.

    Parameters
    ----------
    make : callable
        Takes a seed, returns the federation on that seed's split. Marks that it has are replaced.
    enrolment : Enrolment
        Of the judged federation: its terms are the strangers' too.
    count : int, optional
        3 (smoke), 20 (laptop) or 100 (full).
    seed : int
        Of the first; the others follow.

    Returns
    -------
    tuple of ndarray of shape [d]
        Global weights.

    Raises
    ------
    MarkError
        If two have the same records or end in the same model: they would count one innocent twice.
    """
    from labkit.federated.loop import federate

    count = count or profiles.current().pick(smoke=3, laptop=20, full=100)
    weights: list[np.ndarray] = []
    splits: set[str] = set()
    for own in range(seed, seed + count):
        federation = make(own)
        if federation.hospitals.digest in splits:
            raise MarkError(
                f"seed {own} gives records that an earlier one gave: split by the seed that make() gets"
            )
        splits.add(federation.hospitals.digest)
        strangers = _strangers(enrolment, federation, own)
        weights.append(
            federate(replace(federation, marks=strangers.marks), seed=own, secure=False, quiet=True).weights
        )
    if len({each.tobytes() for each in weights}) < count:
        raise MarkError("two null federations ended in the same model: their records or seeds do not differ")
    return tuple(weights)


def _strangers(enrolment: Enrolment, federation: Federation, seed: int) -> Enrolment:
    """Return an enrolment on the same terms, with keys that nobody else has."""
    terms = enrolment.terms
    return enrol(
        federation.hospitals.names,
        seed,
        terms.dimension,
        bits=terms.bits,
        margin=terms.margin,
        strength=terms.strength,
        triggers=terms.triggers,
        make_model=federation.make_model,
        dataset=federation.hospitals.hospitals[0].dataset,
        low=terms.low,
        high=terms.high,
        rate=terms.rate,
        colluders=0,
    )
