"""Work on several workers: as many as the backend has, one data transfer, one lost worker loses one model."""

import os
import signal
import warnings
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from labkit import training
from labkit.dp.accounting.events import SampledGaussian
from labkit.training import spreading

RECIPE = training.Recipe(epochs=1, batch_size=16)
X = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
MASKS = np.random.default_rng(0).random((4, 600)) < 0.5


def make():
    return nn.Linear(4, 2)


def trained(**settings):
    return dict(training.train_many(make, X, Y, MASKS, RECIPE, seeds=range(4), **settings))


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip(
        "distributed", reason='dask is not installed: pip install "labkit[cluster]"'
    )
    # Threads, not processes: the scheduler, its scattering and joblib's backend are the same, and start at once.
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None
        ) as made,
        distributed.Client(made) as client,
    ):
        yield client


def test_dask_trains_the_same_models_with_as_many_workers_as_it_has(cluster, monkeypatch):
    here = trained(strategy="loop")
    asked = []
    original = spreading.spread
    monkeypatch.setattr(
        spreading, "spread", lambda tasks, workers: (asked.append(workers), original(tasks, workers))[1]
    )
    with joblib.parallel_config(backend="dask"):
        assert spreading.cores() == 3
        there = trained(strategy="workers")
    assert asked == [3]
    for row in here:
        for name, value in here[row].items():
            assert torch.allclose(there[row][name], value, atol=1e-6)


def seen(number, data, rows):
    return number, len(data[rows])


def test_dask_is_sent_the_records_once(cluster):
    data, rows = np.zeros((200_000, 4)), np.arange(10)
    sent = []
    original = type(cluster).scatter

    def scatter(self, values, *args, **options):
        sent.append(sum(np.asarray(value).nbytes for value in values if isinstance(value, np.ndarray)))
        return original(self, values, *args, **options)

    patch = pytest.MonkeyPatch()
    patch.setattr(type(cluster), "scatter", scatter)
    with joblib.parallel_config(backend="dask"):
        tasks = {k: joblib.delayed(seen)(k, *spreading.sent(data), rows) for k in range(8)}
        found = dict(spreading.spread(tasks, 3))
    patch.undo()
    assert found == dict.fromkeys(range(8), 10)
    assert data.nbytes <= sum(sent) < 2 * data.nbytes


def dies_once(folder, number):
    """Kill the worker that does task 1, the first time."""
    flag = folder / "died"
    if number == 1 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid()


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_lost_worker_loses_one_task(tmp_path):
    tasks = {k: joblib.delayed(dies_once)(tmp_path, k) for k in range(3)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = dict(spreading.spread(tasks, 2))
    assert sorted(found) == [0, 1, 2]
    assert any(
        issubclass(w.category, spreading.LostWorkerWarning) and "Out of memory" in str(w.message)
        for w in told
    )


class DiesOnce(nn.Linear):
    """A model whose second making kills the process that makes it, once: a Dask worker in the middle of its work."""

    def __init__(self, folder, caller):
        super().__init__(4, 2)
        if os.getpid() == caller:  # this process makes one, too, to know the architecture
            return
        made = len(list(folder.glob("made-*")))
        (folder / f"made-{made}").touch()
        if made == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_dask_worker_loses_one_model_and_the_rest_is_kept(tmp_path, monkeypatch):
    distributed = pytest.importorskip(
        "distributed", reason='dask is not installed: pip install "labkit[cluster]"'
    )
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    here = trained(strategy="loop")
    make_one = partial(DiesOnce, tmp_path, os.getpid())
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as made,
        distributed.Client(made),
        joblib.parallel_config(backend="dask"),
    ):
        rows = training.train_many(make_one, X, Y, MASKS, RECIPE, seeds=range(4), strategy="workers")
        there = dict(rows)
    assert len(list(tmp_path.glob("made-*"))) >= 5  # the lost one was made again
    assert sorted(there) == [0, 1, 2, 3]
    for row in here:
        for name, value in here[row].items():
            assert torch.allclose(there[row][name], value, atol=1e-6)


def fails(number):
    raise ZeroDivisionError(f"task {number}")


def test_what_a_task_raises_is_raised_at_once():
    with joblib.parallel_config(backend="threading"), pytest.raises(ZeroDivisionError, match="task 0"):
        list(spreading.spread({0: joblib.delayed(fails)(0)}, 1))


def test_no_scheduler_changes_nothing_and_a_silent_one_names_the_fix():
    before = spreading.backend()
    with spreading.scheduler(None):
        assert spreading.backend() == before
    pytest.importorskip("distributed")
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9: start one"),
        spreading.scheduler("tcp://127.0.0.1:9", seconds=1),
    ):
        pass


def test_two_searches_share_one_study(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from labkit import data, dp, stats
    from labkit.dp.utility.search import Range

    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    own = data.Dataset.from_torch((X, Y), test_share=0.2)

    def formula(dataset, *, target_epsilon, delta, seed, peak=1.0):
        event = SampledGaussian(2 / target_epsilon, 10, sample_rate=0.1)
        privacy = SimpleNamespace(epsilon=target_epsilon, events=(event,))
        return SimpleNamespace(privacy=privacy, accuracy=stats.Interval(0.9 - 0.01 / peak, 0, 1), seconds=0.1)

    ask = partial(
        dp.search, own, pipeline=formula, space={"peak": Range(1, 4)}, storage=str(tmp_path / "study.log")
    )
    assert len(ask(trials=2, seed=1).runs) == 2
    both = ask(trials=3, seed=2)
    assert len(both.runs) == 5
    assert len({run.settings["peak"] for run in both.runs}) == 5


@pytest.mark.slow
def test_ray_trains_the_same_models_and_is_sent_the_records_once(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'labkit[simulation]'")
    here = trained(strategy="loop")
    put = []
    original = ray.put
    monkeypatch.setattr(ray, "put", lambda value: (put.append(value.nbytes), original(value))[1])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import this file's model
    ray.init(num_cpus=2, include_dashboard=False)  # a dashboard takes longer to start than all else
    try:
        with spreading.scheduler("ray"):
            assert spreading.cores() == 2
            there = trained(strategy="workers")
    finally:
        ray.shutdown()
    assert put == [X.numpy().nbytes, Y.numpy().nbytes]
    for row in here:
        for name, value in here[row].items():
            assert torch.allclose(there[row][name], value, atol=1e-6)
