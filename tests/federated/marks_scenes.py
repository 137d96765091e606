"""A small marked federation that the tests of marks share: trained once, read by many."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from labkit import federated
from labkit.federated import marks
from labkit.federated.hospitals import Hospitals
from labkit.federated.preprocessing import fixed
from labkit.models import perceptron

TRAINING = federated.Training(rounds=20, kind="update", learning_rate=0.1, batch_size=64, average_from=0.8)


def make_model() -> nn.Module:
    """Return a perceptron of 1,058 weights, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perceptron(30, 32)


D = sum(p.numel() for p in make_model().parameters())


def load(seed: int) -> Hospitals:
    """Return five hospitals by size: each has enough records in every split."""
    return fixed("breast_cancer").apply(federated.load_hospitals("breast_cancer", by="size", seed=seed))


def federation(seed: int, pulls: dict | None = None) -> federated.Federation:
    return federated.Federation(load(seed), make_model, TRAINING, marks=pulls or {})


@lru_cache
def enrolment(triggers: int = 12) -> marks.Enrolment:
    hospitals = load(0)
    return marks.enrol(
        hospitals.names,
        0,
        D,
        triggers=triggers,
        make_model=make_model,
        dataset=hospitals.hospitals[0].dataset,
        rate=1.0,
    )


@lru_cache
def trained(marked: bool = True) -> np.ndarray:
    """Return the final weights of the federation on split 0."""
    return _states(marked)[-1].model


@lru_cache
def opened() -> np.ndarray:
    """Return the weights that opened each round of the marked one, shape [rounds, d]: every hospital was handed them."""
    return np.stack([state.weights for state in _states(True)[:-1]])


@lru_cache
def _states(marked: bool) -> tuple[federated.rounds.State, ...]:
    pulls = enrolment().marks if marked else {}
    return federated.federate(federation(0, pulls), seed=0, secure=False, keep_states=True).states


@lru_cache
def weights(seed: int = 0, dimension: int = 2114) -> np.ndarray:
    """Return weights that nobody trained, of two scales, for tests that need no answers."""
    random = np.random.default_rng(seed)
    return random.standard_normal(dimension) * np.where(random.random(dimension) < 0.1, 1.0, 0.1)
