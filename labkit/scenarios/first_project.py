"""The first project, labs 02 and 03: their one-off work."""

from __future__ import annotations

from labkit import data, profiles
from labkit.dp.utility.cnn_pipeline import cnn_ceiling, cnn_pipeline
from labkit.dp.utility.features import features
from labkit.dp.utility.tradeoff import tradeoff


def prepare_dp_sgd() -> None:
    """Do the one-off work of lab 02: the network's runs for its accuracy-ε curve, cached one by one."""
    epsilons = profiles.current().pick(smoke=[8.0], laptop=[1.0, 3.0], full=[0.3, 1.0, 3.0, 8.0])
    tradeoff(data.load("mnist"), epsilons, pipeline=cnn_pipeline, ceiling=cnn_ceiling)


def prepare_utility() -> None:
    """Make and cache the features that lab 03 trains on: about two minutes on 2 cores, once."""
    features(data.load("mnist"))
