"""What a malicious hospital does to marks: removing others', overwriting them, wearing another's, riding along for free.

Each is an attack as in `labkit.federated.threats.poisoning`. Whoever removes knows how marks are made, and no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.federated.rounds import (
    Federation,
    FederationError,
    Mark,
    State,
    contribute,
    flatten,
    per_change,
    unflatten,
)
from labkit.federated.threats.poisoning import change_to_values, selfish, send, weight

RIDES = ("zero", "noise", "last update")
COPIES, JITTER = 8, 0.5  # of each record for distillation, and how far they are moved, in features' widths
STEPS, RATE = 150, 0.02  # of Adam in distillation


@dataclass(frozen=True)
class Disturb:
    """Add a random direction to the global weights, ``ratio`` times as long as they are: no knowledge, no aim."""

    ratio: float = 0.5

    @property
    def title(self) -> str:
        return f"marks: noise of {self.ratio:g} of the weights' length"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        weights = states[-1].weights
        noise = _draws(federation, name, states, seed).standard_normal(len(weights))
        length = self.ratio * float(np.linalg.norm(weights)) / float(np.linalg.norm(noise))
        return replacing(federation, name, states[-1], weights + length * noise)


@dataclass(frozen=True)
class Subtract:
    """Push against whatever moved the global model beyond what the own records explain, round after round.

    Marks pull in the same direction as long as they are not in; others' learning does not. The estimate is the mean,
    over past rounds, of (global change - own honest change); what it catches of the others' learning is lost with it.
    """

    strength: float = 1.0

    @property
    def title(self) -> str:
        return "marks: unexplained drift subtracted"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        own = selfish(federation, name, federation.dataset(name), states[-1], seed)
        if len(states) < 2:
            return send(federation, name, own)
        drift = (states[-1].weights - states[0].weights) / (len(states) - 1)
        unexplained = drift - _sign(federation, states[-1]) * own
        against = _whole(federation, name, states[-1], -self.strength * unexplained)
        return send(federation, name, own + against)


@dataclass(frozen=True)
class Distil:
    """Replace the global model by a fresh one that answers alike and shares no weight with it.

    The fresh model learns the global model's answers on the own records and on moved copies of them. White-box marks
    live in weights, so none can survive; what is lost in accuracy is the price. Honest until the last ``share`` of the
    rounds (at least one), then aiming at the same fresh model in each.
    """

    share: float = 0.0

    title = "marks: model distilled afresh"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        rounds = federation.training.rounds
        start = rounds - max(1, round(self.share * rounds))
        if states[-1].round < start:
            return contribute(federation, name, states[-1], seed=seed)
        then = states[: start + 1]
        fresh = distilled(federation, name, then[-1].weights, _draws(federation, name, then, seed))
        return replacing(federation, name, states[-1], fresh)


@dataclass(frozen=True)
class Overwrite:
    """Contribute honestly and pull for a mark of one's own ``factor`` times as hard as agreed."""

    mark: Mark
    factor: float = 20.0

    @property
    def title(self) -> str:
        return f"marks: own mark, {self.factor:g} times the pull"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        own = selfish(federation, name, federation.dataset(name), states[-1], seed)
        change = self.factor * self.mark.pull(states[-1].weights, states[-1].round)
        return send(federation, name, own + _whole(federation, name, states[-1], change))


@dataclass(frozen=True)
class FreeRide:
    """Contribute nothing learned: zero, noise as long as the last global change, or that change itself.

    With ``mark`` it pulls for its mark as agreed: a mark shows that someone with the key took part, not what else they
    sent (Lin et al. 2019, arXiv 1911.12560, describe such free-riders and how averages of updates give them away).
    """

    ride: str
    mark: Mark | None = None

    def __post_init__(self) -> None:
        if self.ride not in RIDES:
            raise FederationError(f"ride is {self.ride!r}; expected one of {', '.join(RIDES)}")

    @property
    def title(self) -> str:
        return f"free ride: {self.ride}" + (", with mark" if self.mark else "")

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        state = states[-1]
        change = state.weights - states[-2].weights if len(states) > 1 else np.zeros(len(state.weights))
        if self.ride == "zero":
            change = np.zeros_like(change)
        elif self.ride == "noise":
            noise = _draws(federation, name, states, seed).standard_normal(len(change))
            change = noise * float(np.linalg.norm(change)) / float(np.linalg.norm(noise))
        values = change / _sign(federation, state)
        if self.mark is not None:
            values = values + _whole(federation, name, state, self.mark.pull(state.weights, state.round))
        return send(federation, name, values)


@dataclass(frozen=True)
class Wear:
    """Contribute honestly, with another hospital's mark in place of the own: its key has leaked."""

    mark: Mark

    title = "marks: an absent hospital's, by its leaked key"

    def __call__(
        self, federation: Federation, name: str, states: Sequence[State], seed: int | None
    ) -> np.ndarray:
        disguised = replace(federation, marks={**federation.marks, name: self.mark})
        return contribute(disguised, name, states[-1], seed=seed)


def replacing(federation: Federation, name: str, state: State, wanted: np.ndarray) -> np.ndarray:
    """Return what to send so that the model after this round is ``wanted``, as far as others stand still.

    After the last round that is the model handed out, a mean of weights where the training averages.
    """
    training = federation.training
    last = state.round + 1 == training.rounds
    if last and state.counted:  # the model is a mean, and these weights are its last summand
        wanted = (state.counted + 1) * wanted - state.total
    values = change_to_values(federation, state, wanted - state.weights)
    share = federation.divisor(federation.hospitals.names) / federation.divisor((name,))
    return send(federation, name, share * values)


def distilled(
    federation: Federation, name: str, weights: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return the weights [d] of a fresh model that learned the answers of ``weights`` around one hospital's records."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    x = federation.dataset(name).train_x.repeat(COPIES, *[1] * (federation.dataset(name).train_x.ndim - 1))
    moved = x + JITTER * torch.from_numpy(random.standard_normal(tuple(x.shape))).to(x.dtype)
    moved[: len(x) // COPIES] = x[: len(x) // COPIES]
    with torch.no_grad():
        answers = unflatten(federation.make_model(), weights)(moved).softmax(1)
    # A start of the attacker's own: the public one is what the marked weights began as.
    spread = float(np.std(flatten(federation.make_model()))) or 0.01
    model = unflatten(federation.make_model(), spread * random.standard_normal(len(weights)))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(moved), answers).backward()
        optimizer.step()
    return flatten(model)


def _sign(federation: Federation, state: State) -> float:
    """Return the change of the weights that a mean contribution of 1 makes."""
    return 1.0 if federation.training.kind == "update" else -federation.training.rate(state.round)


def _whole(federation: Federation, name: str, state: State, change: np.ndarray) -> np.ndarray:
    """Return the mean contribution of this hospital that pulls the *global* weights by ``change``, as marks do."""
    return change * per_change(federation, state.round) / weight(federation, name)


def _draws(
    federation: Federation, name: str, states: Sequence[State], seed: int | None
) -> np.random.Generator:
    """Return the attacker's own generator, new in every round."""
    party = federation.hospitals.names.index(name)
    return np.random.default_rng(None if seed is None else [seed, states[-1].round, party, 4])
