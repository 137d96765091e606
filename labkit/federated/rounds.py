"""A round as pure functions: what a hospital contributes, what the server makes of the sum.

``contribute`` and ``step`` take everything they depend on and change nothing, so that the loop in this process
(`labkit.federated.federate`), a Flower simulation and a deployment across hospitals (`labkit.federated.app`) run the same code
and give the same model.

A contribution is a vector of whole numbers on a public grid (`labkit.federated.noise.Grid`): clipped, marked, rounded,
then noised, in this order. Sums on the grid are exact, whoever adds them up and in which order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labkit.federated.learning import (
    FederationError,
    flatten,
    gradient_sum,
    train_locally,
    train_privately,
    unflatten,
)
from labkit.federated.noise import Grid, Noise

if TYPE_CHECKING:
    from torch import nn

    from labkit.data import Dataset
    from labkit.federated.hospitals import Hospitals

KINDS = ("gradient", "update")
SCHEDULES = ("constant", "linear")
PURPOSES = {"noise": 0, "batches": 1, "server": 2}
SERVER = 2**31 - 1  # the server's number among parties, which no hospital has
TAG = 0x0FED  # keeps these streams apart from all others that begin with the same seed


class Mark(Protocol):
    """What a hospital leaves in the global model. It must not depend on records: then it costs no privacy."""

    def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
        """Return the change of the global weights [d] that the mark wants in this round."""
        ...


@dataclass(frozen=True)
class Training:
    """How a federation trains, apart from the noise.

    Parameters
    ----------
    rounds : int
    kind : {"gradient", "update"}
        ``gradient``: a hospital sends the sum of its records' gradients, and the server steps (FedSGD).
        ``update``: it trains on its own for a while and sends how far it got (FedAvg, McMahan et al. 2017, arXiv
        1602.05629).
    learning_rate : float
        Of the step on the mean gradient, or of a hospital's local steps.
    momentum : float
        Of the server, on means of gradients or of updates.
    schedule : {"constant", "linear"}
        "linear" falls to 0 over the rounds.
    average_from : float
        The model is the mean of the weights after this share of the rounds; 1 takes the last ones alone.
    local_epochs, batch_size : int
        Of a hospital's local training (``update`` without local DP-SGD).
    weight_decay : float
        Of the local training, or of the server's steps.
    balanced : bool
        Whether each class counts the same in a hospital's local training, however many records it has there.

    Raises
    ------
    FederationError
        If a value is out of range.
    """

    rounds: int
    kind: str = "gradient"
    learning_rate: float = 0.5
    momentum: float = 0.0
    schedule: str = "constant"
    average_from: float = 1.0
    local_epochs: int = 1
    batch_size: int = 32
    weight_decay: float = 0.0
    balanced: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("kind", KINDS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise FederationError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}"
                )
        for name in ("rounds", "local_epochs", "batch_size"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise FederationError(f"{name} is {value}; expected a whole number of at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise FederationError(f"learning_rate is {self.learning_rate}; expected a positive number")
        if not (0 <= self.momentum < 1 and 0 <= self.average_from <= 1 and 0 <= self.weight_decay < math.inf):
            raise FederationError(
                f"momentum is {self.momentum}, average_from {self.average_from}, weight_decay {self.weight_decay}; "
                "expected 0 <= momentum < 1, 0 <= average_from <= 1, and weight_decay >= 0"
            )

    def rate(self, round: int) -> float:
        """Return the learning rate of ``round`` (from 0)."""
        return self.learning_rate * (1 - round / self.rounds if self.schedule == "linear" else 1)


@dataclass(frozen=True, eq=False)
class Federation:
    """Hospitals, a model, and the terms on which they train it together.

    Parameters
    ----------
    hospitals : Hospitals
        Preprocessed records.
    make_model : callable
        Returns a model with its initial weights, the same at every call.
    training : Training
    noise : Noise
    marks : mapping of str to Mark
        By hospital; a hospital without one leaves none.

    Raises
    ------
    FederationError
        If the parts do not fit together, or the model mixes records or keeps buffers that see them.
    """

    hospitals: Hospitals
    make_model: Callable[[], nn.Module]
    training: Training
    noise: Noise = field(default_factory=Noise)
    marks: Mapping[str, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def dimension(self) -> int:
        """Number of trainable parameters."""
        return len(flatten(self.make_model()))

    @property
    def sizes(self) -> dict[str, int]:
        """Records that each hospital declares for the plan: public, fixed before the first round."""
        return {hospital.name: len(hospital.dataset.train_y) for hospital in self.hospitals}

    def dataset(self, name: str) -> Dataset:
        """Return the records of one hospital."""
        return next(hospital.dataset for hospital in self.hospitals if hospital.name == name)

    def divisor(self, survivors: tuple[str, ...]) -> float:
        """Return what a sum over ``survivors`` is divided by: declared records, or hospitals where each counts once."""
        if self.noise.unit == "hospital" and self.noise.placement != "none":
            return float(len(survivors))
        return float(sum(self.sizes[name] for name in survivors))


@dataclass(frozen=True, eq=False)
class State:
    """What the server carries from round to round.

    Attributes
    ----------
    weights, velocity, total : ndarray of shape [d], float64
        The global model; the momentum; the sum of the weights that count for the average.
    counted : int
    round : int
        Rounds done.
    """

    weights: np.ndarray
    velocity: np.ndarray
    total: np.ndarray
    counted: int = 0
    round: int = 0

    @property
    def model(self) -> np.ndarray:
        """The weights that are handed out, shape [d]."""
        return self.total / self.counted if self.counted else self.weights

    @property
    def digest(self) -> bytes:
        """SHA-256 of the weights that the hospitals start the round from."""
        return hashlib.sha256(self.weights.tobytes()).digest()


def begin(federation: Federation) -> State:
    """Return the state before the first round."""
    weights = flatten(federation.make_model())
    return State(weights, np.zeros_like(weights), np.zeros_like(weights))


def generator(seed: int | None, round: int, party: int, purpose: str) -> np.random.Generator | None:
    """Return the generator of one party's draws in one round, or None (the operating system) without a seed.

    A seed is for studies: whoever knows it can redraw the noise and subtract it.
    """
    if seed is None:
        return None
    return np.random.default_rng([TAG, seed, round, party, PURPOSES[purpose]])


def contribute(federation: Federation, name: str, state: State, *, seed: int | None = None) -> np.ndarray:
    """Return what hospital ``name`` adds to the sum in this round: int64 [d], on the grid, noise included.

    Parameters
    ----------
    state : State
        As the server sent it; the round's number is in it.
    seed : int, optional
        Fixes noise and batches; without one they come from the operating system's randomness.
    """
    party = federation.hospitals.names.index(name)
    values = _learned(federation, name, state, generator(seed, state.round, party, "batches"))
    mark = federation.marks.get(name)
    clip_whole = federation.noise.unit == "hospital" and federation.noise.placement != "none"
    if mark is not None:
        # In units of the sum: the server divides by the same number, and steps by the rate.
        values = values + mark.pull(state.weights, state.round) * per_change(federation, state.round)
    if clip_whole:
        values = values * min(
            1.0, federation.noise.max_grad_norm / max(float(np.linalg.norm(values)), 1e-300)
        )
    grid = grid_of(federation)
    integers = grid.round(values)
    if grid.share_multiplier:
        integers = integers + grid.noise(generator(seed, state.round, party, "noise"))
    return integers


def grid_of(federation: Federation) -> Grid:
    """Return the grid that this federation's contributions lie on."""
    return federation.noise.grid(federation.dimension)


def step(
    federation: Federation,
    state: State,
    total: np.ndarray,
    survivors: tuple[str, ...],
    *,
    seed: int | None = None,
) -> State:
    """Return the state after a round whose sum is ``total`` (int64 [d]) over ``survivors``.

    Raises
    ------
    FederationError
        If fewer survived than the threshold: the noise that was promised is not in the sum.
    """
    noise, training = federation.noise, federation.training
    if len(survivors) < noise.threshold:
        raise FederationError(
            f"{len(survivors)} hospitals survived round {state.round + 1}; expected at least {noise.threshold}: the noise "
            "of the others is missing, so this sum must not be used"
        )
    grid = grid_of(federation)
    if noise.placement == "central":
        server = replace(grid, share_multiplier=noise.noise_multiplier)
        total = total + server.noise(generator(seed, state.round, SERVER, "server"))
    mean = grid.value(total) / federation.divisor(survivors)
    velocity = training.momentum * state.velocity + mean
    if training.kind == "gradient":
        rate = training.rate(state.round)
        weights = state.weights - rate * (velocity + training.weight_decay * state.weights)
    else:
        weights = state.weights + velocity
    if not np.isfinite(weights).all():
        raise FederationError(f"weights became infinite in round {state.round + 1}: lower the learning rate")
    counts = state.round + 1 > training.average_from * training.rounds
    return State(
        weights,
        velocity,
        state.total + weights if counts else state.total,
        state.counted + counts,
        state.round + 1,
    )


def per_change(federation: Federation, round: int) -> float:
    """Return by how much a contribution must grow for the global weights to change by 1, in this round and what its
    momentum carries into later ones.
    """
    whole = federation.divisor(federation.hospitals.names) * (1 - federation.training.momentum)
    if federation.training.kind == "update":
        return whole
    return -whole / federation.training.rate(round)


def _learned(
    federation: Federation, name: str, state: State, random: np.random.Generator | None
) -> np.ndarray:
    """Return what the records alone contribute, float64 [d]: a sum of gradients, or a weighted update."""
    model = unflatten(federation.make_model(), state.weights)
    dataset, noise = federation.dataset(name), federation.noise
    if federation.training.kind == "gradient":
        private = noise.placement != "none" and noise.unit == "patient"
        return gradient_sum(model, dataset.train_x, dataset.train_y, noise.max_grad_norm if private else None)
    if noise.placement == "record":
        train_privately(model, dataset, federation, federation.sizes[name], state.round, random)
    else:
        train_locally(model, dataset, federation.training, state.round, random)
    update = flatten(model) - state.weights
    equal = noise.unit == "hospital" and noise.placement != "none"
    return update if equal else update * federation.sizes[name]


def _check(federation: Federation) -> None:
    """Refuse what could not be run, or would break the promise in silence."""
    names, noise, training = federation.hospitals.names, federation.noise, federation.training
    if noise.hospitals != len(names):
        raise FederationError(
            f"noise is meant for {noise.hospitals} hospitals; this federation has {len(names)}: give Noise(hospitals={len(names)})"
        )
    if strangers := set(federation.marks) - set(names):
        raise FederationError(f"marks name {sorted(strangers)}; expected hospitals of {list(names)}")
    private = noise.placement in ("central", "local", "distributed")
    wanted = {"patient": "gradient", "hospital": "update"}[noise.unit]
    if private and training.kind != wanted:
        raise FederationError(
            f"unit {noise.unit!r} with kind {training.kind!r}: a bound on one {noise.unit}'s influence needs "
            f"kind={wanted!r} (or placement 'record' for local training)"
        )
    if noise.placement == "record" and training.kind != "update":
        raise FederationError("placement 'record' sends what local DP-SGD learned: expected kind='update'")
    if not np.array_equal(flatten(federation.make_model()), flatten(federation.make_model())):
        raise FederationError(
            "make_model gives other weights at every call: fix its seed (functools.partial(make, seed=0)), or the hospitals "
            "would not start from one model"
        )
    _check_statistics(federation)
    _check_model(federation.make_model(), next(iter(federation.hospitals)).dataset)


def _check_statistics(federation: Federation) -> None:
    """Refuse a promise that does not count the private statistics that the features were made with."""
    noise, released = federation.noise, federation.hospitals.released
    if noise.placement == "none" or not released:
        return
    counted = (noise.statistics_multiplier, noise.statistics_full_at)
    if noise.unit == "hospital" or len(released) > 1 or not np.allclose(released[0], counted, rtol=1e-9):
        raise FederationError(
            f"the features come from private statistics (noise multiplier, full at): {list(released)}; the noise counts "
            f"{counted}: pass statistics_multiplier and statistics_full_at to calibrate, or take public features (`fixed`)"
        )


def _check_model(model: nn.Module, dataset: Dataset) -> None:
    """Refuse, by behaviour, a model that mixes records or remembers them outside of its parameters."""
    import torch

    from labkit.models import seeded

    x = dataset.train_x[:4]
    before = [b.clone() for b in model.buffers()]
    model.train()
    with torch.no_grad(), seeded(0):
        together = model(x)
        alone = torch.cat([model(one[None]) for one in x])
    if together.shape != (len(x), len(dataset.classes)):
        raise FederationError(
            f"the model gives {tuple(together.shape)} for {len(x)} records; expected one logit for each of "
            f"{len(dataset.classes)} classes"
        )
    if not torch.allclose(together, alone, atol=1e-4, rtol=1e-3):
        raise FederationError(
            "the model gives a record another answer in company than alone (BatchNorm, a batch mean, or dropout): "
            "one patient would then move the others' gradients, which no clipping bounds. Use GroupNorm or LayerNorm."
        )
    if any(not torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True)):
        raise FederationError(
            "the model's buffers change with the records it sees: they would leave without noise"
        )
