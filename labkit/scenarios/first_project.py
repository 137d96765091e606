"""The first project, labs 02 and 03: their one-off work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from labkit import data, profiles, progress
from labkit.data import Dataset
from labkit.dp.utility import runs
from labkit.dp.utility.cnn_pipeline import cnn_ceiling, cnn_pipeline
from labkit.dp.utility.features import features
from labkit.dp.utility.linear_pipeline import linear_ceiling, linear_pipeline, linear_prior
from labkit.dp.utility.runs import Pipeline
from labkit.dp.utility.tradeoff import tradeoff
from labkit.scenarios import one_off
from labkit.training.many import side_by_side

DELTA = 1e-5  # what `labkit.dp.tradeoff` takes unless told otherwise


def prepare_dp_sgd() -> None:
    """Do the one-off work of lab 02: both curves of accuracy against ε, each run cached as soon as it ends."""
    profile = profiles.current()
    seeds = profile.pick(smoke=2, laptop=5, full=5)
    network = profile.pick(smoke=[8.0], laptop=[1.0, 3.0], full=[0.3, 1.0, 3.0, 8.0])
    linear = profile.pick(smoke=[1.0, 8.0], laptop=[0.3, 1.0, 3.0, 8.0], full=[0.1, 0.3, 1.0, 3.0, 8.0])
    with one_off.part("the network's curve"):
        _curve(cnn_pipeline, [cnn_ceiling], network, seeds)
        tradeoff(data.load("mnist"), network, seeds=seeds, pipeline=cnn_pipeline, ceiling=cnn_ceiling)
    with one_off.part("features of all digits"):
        features(data.load("mnist"))
    with one_off.part("the linear model's curve"):
        _curve(linear_pipeline, [linear_ceiling, linear_prior], linear, seeds)
        tradeoff(data.load("mnist"), linear, seeds=seeds)


def _curve(pipeline: Pipeline, public: Sequence[Pipeline], epsilons: Sequence[float], seeds: int) -> None:
    """Make a curve's runs side by side."""
    jobs = [partial(_private_run, pipeline, epsilon, seed) for epsilon in epsilons for seed in range(seeds)]
    jobs += [partial(_public_run, train, seed) for train in public for seed in range(seeds)]
    # At smoke, a process takes longer to start than a run.
    workers = profiles.current().pick(smoke=1, laptop=None, full=None)
    for _ in progress.track(side_by_side(jobs, workers=workers), "runs", total=len(jobs)):
        pass


def _records(pipeline: Pipeline) -> Dataset:
    mnist = data.load("mnist")
    return mnist if pipeline in (cnn_pipeline, cnn_ceiling) else features(mnist)


def _private_run(pipeline: Pipeline, epsilon: float, seed: int) -> None:
    """Make one run of a curve, in a worker: it stays in the cache, where the curve finds it."""
    runs.run_once(pipeline, _records(pipeline), epsilon, DELTA, seed, {})


def _public_run(train: Pipeline, seed: int) -> None:
    """Make one run without privacy, or without private records, in a worker."""
    runs.ceiling_once(train, _records(train), seed)


def prepare_utility() -> None:
    """Do the one-off work of lab 03: the features of all digits, which lab 02's curve needs too."""
    with one_off.part("features of all digits"):
        features(data.load("mnist"))
