"""The first project, labs 02 and 03: their one-off work."""

from __future__ import annotations

from functools import partial

from labkit import data, profiles, progress
from labkit.dp.utility import runs
from labkit.dp.utility.cnn_pipeline import cnn_ceiling, cnn_pipeline
from labkit.dp.utility.features import features
from labkit.dp.utility.tradeoff import tradeoff
from labkit.scenarios import one_off
from labkit.training.many import side_by_side

DELTA = 1e-5  # what `labkit.dp.tradeoff` takes unless told otherwise


def prepare_dp_sgd() -> None:
    """Do the one-off work of lab 02: the network's runs for its accuracy-ε curve, cached one by one."""
    profile = profiles.current()
    epsilons = profile.pick(smoke=[8.0], laptop=[1.0, 3.0], full=[0.3, 1.0, 3.0, 8.0])
    seeds = profile.pick(smoke=2, laptop=5, full=5)
    jobs = [partial(_private_run, epsilon, seed) for epsilon in epsilons for seed in range(seeds)]
    jobs += [partial(_public_run, seed) for seed in range(seeds)]
    workers = profile.pick(smoke=1, laptop=None, full=None)  # a process starts longer than smoke trains
    with one_off.part(f"{len(jobs)} runs of the network, {seeds} of them without privacy"):
        for _ in progress.track(side_by_side(jobs, workers=workers), "runs of the network", total=len(jobs)):
            pass
        tradeoff(data.load("mnist"), epsilons, seeds=seeds, pipeline=cnn_pipeline, ceiling=cnn_ceiling)


def _private_run(epsilon: float, seed: int) -> None:
    """Make one run of the curve, in a worker: it stays in the cache, where the curve finds it."""
    runs.run_once(cnn_pipeline, data.load("mnist"), epsilon, DELTA, seed, {})


def _public_run(seed: int) -> None:
    """Make one run without privacy, in a worker."""
    runs.ceiling_once(cnn_ceiling, data.load("mnist"), seed)


def prepare_utility() -> None:
    """Make and cache the features that lab 03 trains on: three to four minutes of one core, once."""
    with one_off.part("features of all digits"):
        features(data.load("mnist"))
