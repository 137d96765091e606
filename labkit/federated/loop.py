"""The federation in this process: every round, with or without secure aggregation, with hospitals that vanish.

Examples
--------
>>> from functools import partial
>>> from labkit import federated, models
>>> clinics = federated.load_hospitals("breast_cancer", by="size", seed=0)
>>> terms = federated.Training(rounds=5, learning_rate=1.0, momentum=0.9)
>>> found = federated.federate(
...     federated.Federation(clinics, partial(models.logistic_regression, 30, 2), terms), seed=0
... )
>>> len(found.rounds), found.privacy
(5, None)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np

from labkit import cache, profiles, progress
from labkit.federated.result import FederatedResult, Round, measure
from labkit.federated.rounds import (
    Federation,
    FederationError,
    State,
    begin,
    contribute,
    grid_of,
    step,
    unflatten,
)
from labkit.federated.secagg import Encoding, Identity, fresh_round_id, least_threshold, secure_sum_integers

BITS = 64  # of the ring: the grid is fine, and 2^52 steps leave room for any contribution that is finite and sane
Drops = Mapping[int, Mapping[str, str]]


def encoding_of(federation: Federation) -> Encoding:
    """Return the grid of this federation's contributions, as secure aggregation wants it."""
    scale = 1 / grid_of(federation).step
    return Encoding(scale=scale, bits=BITS, parties=len(federation.hospitals), bound=2.0**52 / scale)


def federate(
    federation: Federation,
    *,
    seed: int | None = None,
    secure: bool = True,
    drop: Drops | None = None,
    keep_states: bool = False,
    checkpoint: str | Path | None = None,
    quiet: bool = False,
) -> FederatedResult:
    """Train for all rounds and measure once, at the end, on the test records.

    Parameters
    ----------
    federation : Federation
    seed : int, optional
        Fixes noise and batches, for study: whoever knows it can subtract the noise. Masks and keys of secure
        aggregation never follow from it.
    secure : bool
        Whether sums are taken by secure aggregation. False adds the same whole numbers in the clear: the same model,
        bit for bit, without the protocol's protection; for sweeps over many seeds.
    drop : mapping of int to mapping, optional
        By round (from 1): who vanishes, and at which stage ("advertise", "share", "masked", "consistency", "unmask").
    keep_states : bool
        Whether the result keeps the server's state after each round, for attacks on what it saw.
    checkpoint : path, optional
        Where to keep the state after each round; the same call goes on from there after an interrupt.
    quiet : bool
        No progress bar, for a caller that shows its own.

    Returns
    -------
    FederatedResult

    Raises
    ------
    FederationError
        Before the first round, for terms that cannot be kept, or a checkpoint of another federation.
    labkit.federated.secagg.SecAggError
        If fewer hospitals than the threshold are left in a round; earlier rounds are in the checkpoint, if one was named.
    """
    drop = check_terms(federation, drop or {}, secure)
    identities = {name: Identity.generate() for name in federation.hospitals.names} if secure else {}
    saved = _Checkpoint(federation, seed, secure, checkpoint)
    states, rounds = saved.load() or ([begin(federation)], [])
    total_rounds = federation.training.rounds
    shown = nullcontext() if quiet else progress.bar(total_rounds, "federated rounds", initial=len(rounds))
    with shown as bar:
        for number in range(len(rounds) + 1, total_rounds + 1):
            start = time.perf_counter()
            total, survivors, sent = _sum(federation, states[-1], drop.get(number, {}), identities, seed)
            state = step(federation, states[-1], total, survivors, seed=seed)
            rounds.append(
                Round(number, survivors, dict(drop.get(number, {})), time.perf_counter() - start, sent)
            )
            states = [*states, state] if keep_states else [state]
            saved.save(states, rounds)
            if bar is not None:
                bar.update()
    return conclude(
        federation, states[-1], rounds, seed=seed, secure=secure, states=states if keep_states else ()
    )


class _Checkpoint:
    """State and rounds of one federation in a file, or nothing where no file was named."""

    def __init__(
        self, federation: Federation, seed: int | None, secure: bool, path: str | Path | None
    ) -> None:
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        state = begin(federation)
        pulls = {name: mark.pull(state.weights, 0) for name, mark in federation.marks.items()}
        terms = (asdict(federation.training), asdict(federation.noise), federation.hospitals.digest)
        self.identity = cache.digest(*terms, state.weights, pulls, seed, secure)

    def load(self) -> tuple[list[State], list[Round]] | None:
        if self.path is None or not self.path.exists():
            return None
        import torch

        try:
            found = torch.load(self.path, weights_only=False)
            identity, states, rounds = found["identity"], found["states"], found["rounds"]
        except Exception as error:
            raise FederationError(
                f"{self.path} is no checkpoint of a federation ({error}): name another file, or delete it"
            ) from error
        if identity != self.identity:
            raise FederationError(
                f"{self.path} belongs to a federation with other terms, records, marks or seed: name another file"
            )
        return states, rounds

    def save(self, states: list[State], rounds: list[Round]) -> None:
        if self.path is None:
            return
        with cache.atomic_path(self.path) as temporary:
            cache.save({"identity": self.identity, "states": states, "rounds": rounds}, temporary)


def conclude(
    federation: Federation,
    state: State,
    rounds: list[Round],
    *,
    seed: int | None,
    secure: bool,
    states: list[State] | tuple[State, ...] = (),
) -> FederatedResult:
    """Return the result of a finished federation, measured on test records for the first time."""
    model = unflatten(federation.make_model(), state.model)
    return FederatedResult(
        model=model,
        weights=state.model,
        rounds=tuple(rounds),
        accuracy=measure(model, federation.hospitals.pooled()),
        per_hospital={h.name: measure(model, h.dataset) for h in federation.hospitals},
        noise=federation.noise,
        secure=secure,
        source=federation.hospitals.source,
        profile=profiles.current().name,
        seed=seed,
        states=tuple(states),
    )


def _sum(
    federation: Federation,
    state: State,
    drop: Mapping[str, str],
    identities: Mapping[str, Identity],
    seed: int | None,
) -> tuple[np.ndarray, tuple[str, ...], int]:
    """Return the sum of one round on the grid, whose contributions are in it, and the bytes that went up."""
    names = federation.hospitals.names
    early = {name for name, stage in drop.items() if stage in ("advertise", "share", "masked")}
    vectors = {name: contribute(federation, name, state, seed=seed) for name in names if name not in early}
    if not identities:
        return sum(vectors.values()), tuple(vectors), 0
    # Who vanishes before sending needs a vector in the driver, but none is ever computed or sent.
    vectors |= {name: np.zeros(federation.dimension, dtype=np.int64) for name in early}
    found = secure_sum_integers(
        {name: vectors[name] for name in names},
        threshold=federation.noise.threshold,
        encoding=encoding_of(federation),
        round_id=fresh_round_id(),
        model_digest=state.digest,
        drop=drop,
        identities=identities,
    )
    return found.integers, found.survivors, sum(found.bytes_up.values())


def check_terms(federation: Federation, drop: Drops, secure: bool) -> Drops:
    """Refuse, before the first round, what would end one."""
    names, threshold = set(federation.hospitals.names), federation.noise.threshold
    for number, gone in drop.items():
        if not 1 <= number <= federation.training.rounds or set(gone) - names:
            raise FederationError(
                f"drop names round {number} and {sorted(gone)}; expected rounds 1 to {federation.training.rounds} and "
                f"hospitals of {sorted(names)}"
            )
        if len(names) - len(gone) < threshold:
            raise FederationError(
                f"round {number} would be left with {len(names) - len(gone)} hospitals; the threshold is {threshold}"
            )
    least = least_threshold(len(names), federation.noise.colluders)
    if secure and threshold < least:
        raise FederationError(
            f"threshold is {threshold} of {len(names)} hospitals, {federation.noise.colluders} of which may collude; secure "
            f"aggregation needs at least {least}: with fewer, a server could open two sums of one round"
        )
    return drop
