"""Train many models on many subsets of one data set: with stacked weights, in worker processes, or one by one.

All three ways do the same arithmetic, so a model does not depend on how it was trained (up to rounding); they differ
in speed alone. `speeds` measures them side by side; `choose` holds the rule that was read off such tables:

===================================  ========  ==================================================================
device, model                        choice    why
===================================  ========  ==================================================================
CPU, no convolution                  stacked   a step costs more in overhead than in arithmetic
CPU, convolutions, several cores     workers   one thread each; vmap makes slow grouped convolutions of them
CPU, convolutions, one core          loop      nothing to share
GPU                                  stacked   one small model leaves a GPU idle
===================================  ========  ==================================================================

Behind it: 16 models on one CPU thread (AMD EPYC, torch 2.13), stacked against the loop in processor time, took 0.46
of it for a perceptron of 30-64-2, 0.60 for 30-256-2, 0.86 for softmax regression on 784 pixels, but 2.3 times as long
for `models.small_cnn` and 3.7 times for a strided CNN 32 channels wide. Workers divide the loop's time by the cores,
less the seconds that their start takes. On one H100 (torch 2.11), 16 strided CNNs on 5,000 CIFAR-10 records took 2.6
s one by one and 0.76 s stacked, 0.29 of it (``labkit bench gpu``, once each when warm). A model that cannot be
stacked without changing it (dropout, BatchNorm on batches of several lengths, see `labkit.training.stacked.refusal`)
goes to the workers, or to the loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import profiles
from labkit.training import spreading
from labkit.training.recipe import Recipe, State, fresh, train_one
from labkit.training.stacked import refusal, train_stacked

if TYPE_CHECKING:
    import pandas as pd

STRATEGIES = ("auto", "stacked", "workers", "loop")


def train_many(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    strategy: str = "auto",
    workers: int | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[int, State]]:
    """Train one model per row of ``masks`` and yield ``(row, state_dict)`` as each is done.

    The caller saves what it receives; to resume, it passes the rows and seeds that are missing.

    Parameters
    ----------
    make_model : callable
        Returns a fresh model; called after seeding, so its initial weights follow from the seed.
    x : Tensor of shape (n, ...), float
    y : Tensor of shape (n,), int64, or (n, classes), float
        Labels, or soft labels that sum to one (for distillation).
    masks : bool array of shape (models, n)
        Which records each model is trained on.
    seeds : sequence of int, one per model
        Fixes initial weights, order of records and augmentation.
    strategy : {"auto", "stacked", "workers", "loop"}
    workers : int, optional
        Processes for "workers" (default: one per core, at most one per model). The joblib backend is the caller's
        choice through ``joblib.parallel_config``, and the default follows it: see `labkit.training.spreading`.

    Raises
    ------
    ValueError
        If shapes do not fit, a model has no record, or the strategy is unknown or cannot be used here.
    FloatingPointError
        If a model's weights end as NaN or infinite.
    """
    masks = np.asarray(masks)
    _check(x, y, masks, seeds, strategy)
    device = device or profiles.device()
    workers = min(workers or _cores(), len(masks))
    if strategy == "auto":
        strategy = choose(fresh(make_model, 0), device, models=len(masks), workers=workers)
        if strategy == "stacked" and refusal(make_model, x, masks, recipe):
            strategy = "workers" if workers > 1 and device.type == "cpu" else "loop"
    elif strategy == "stacked" and (why := refusal(make_model, x, masks, recipe)):
        raise ValueError(f"these models cannot be stacked: {why}; use another strategy")
    if strategy == "workers" and workers > 1:
        results = _with_workers(make_model, x, y, masks, recipe, seeds, workers)
    elif strategy == "stacked":
        results = train_stacked(make_model, x, y, masks, recipe, seeds, device)
    else:
        results = (
            (k, train_one(make_model, x[mask], y[mask], recipe, seeds[k], device))
            for k, mask in enumerate(masks)
        )
    for row, state in results:
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise FloatingPointError(
                f"model {row} (seed {seeds[row]}) ended with NaN or infinite weights: "
                f"lower learning_rate={recipe.learning_rate}"
            )
        yield row, state


def choose(model: nn.Module, device: torch.device, *, models: int, workers: int) -> str:
    """Return the fastest strategy by the table above (reproduce it with `speeds`)."""
    convolutions = any(isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) for part in model.modules())
    if models == 1:
        return "loop"
    if device.type != "cpu" or not convolutions:
        return "stacked"
    return "workers" if workers > 1 else "loop"


def _cores() -> int:
    return spreading.cores()


def _check(x: Tensor, y: Tensor, masks: np.ndarray, seeds: Sequence[int], strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is unknown; expected one of {', '.join(STRATEGIES)}")
    if masks.dtype != bool or masks.ndim != 2 or masks.shape[1] != len(x) or len(x) != len(y):
        raise ValueError(
            f"got masks of {masks.dtype} {masks.shape}, {len(x)} inputs and {len(y)} labels; "
            "expected a boolean array of shape (models, n), n inputs and n labels"
        )
    if len(seeds) != len(masks):
        raise ValueError(f"got {len(seeds)} seeds for {len(masks)} models; expected one each")
    if len(masks) and not masks.any(1).all():
        raise ValueError(f"model {int(np.argmin(masks.any(1)))} has no record to train on")
    if not torch.isfinite(x).all():
        raise ValueError("the inputs hold NaN or infinity: drop or repair those records before training")


def _with_workers(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    seeds: Sequence[int],
    workers: int,
) -> Iterator[tuple[int, State]]:
    """Train in joblib workers; arrays go over as NumPy, once: see `labkit.training.spreading`."""
    import joblib

    arrays = spreading.sent(x.cpu().numpy(), y.cpu().numpy())
    threads = max(1, _cores() // workers)
    tasks = {
        k: joblib.delayed(_work)(make_model, *arrays, mask, recipe, seeds[k], k, threads)
        for k, mask in enumerate(masks)
    }
    yield from spreading.spread(tasks, workers)


def _work(
    make_model: Callable[[], nn.Module],
    x: Any,
    y: Any,
    mask: np.ndarray,
    recipe: Recipe,
    seed: int,
    row: int,
    threads: int,
) -> tuple[int, State]:
    """Do one model's training inside a worker process."""
    x, y = spreading.received(x), spreading.received(y)
    if os.environ.get("OMP_NUM_THREADS") != str(threads):
        torch.set_num_threads(threads)
    return row, train_one(
        make_model, torch.from_numpy(x[mask]), torch.from_numpy(y[mask]), recipe, seed, torch.device("cpu")
    )


def side_by_side(
    jobs: Sequence[Callable[[], object]], *, workers: int | None = None, device: torch.device | None = None
) -> Iterator[int]:
    """Do jobs that keep what they make, one worker per core, one thread each; yield each one's position when it is done.

    For trainings that share neither records nor recipe, which `train_many` wants. What a job returns stays in its
    worker: it has to write its work to the cache, from where it is read afterwards.

    Parameters
    ----------
    jobs : sequence of callables without arguments
        Small to send: a ``functools.partial`` of a function of a module, which finds its data itself.
    workers : int, optional
        Default: one per core, at most one per job; 1 does the jobs here, one by one, as happens on a GPU.
    """
    import joblib

    device = device or profiles.device()
    workers = min(workers or _cores(), len(jobs))
    if workers <= 1 or device.type != "cpu":
        for position, job in enumerate(jobs):
            job()
            yield position
        return
    threads = max(1, _cores() // workers)
    tasks = {position: joblib.delayed(_job)(position, job, threads) for position, job in enumerate(jobs)}
    yield from (position for position, _ in spreading.spread(tasks, workers))


def _job(position: int, job: Callable[[], object], threads: int) -> tuple[int, None]:
    """Do one job inside a worker process, without a progress bar of its own."""
    os.environ["LABKIT_PROGRESS"] = "0"
    if os.environ.get("OMP_NUM_THREADS") != str(threads):
        torch.set_num_threads(threads)
    job()
    return position, None


def speeds(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    models: int = 4,
    recipe: Recipe | None = None,
    workers: int | None = None,
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Train a few models in each of the ways that this machine allows and return the table of times.

    Parameters
    ----------
    models : int
        Trained by each strategy, each on a random half of the records.
    recipe : Recipe, optional
        Default: two epochs.

    Returns
    -------
    DataFrame
        One row a strategy: seconds per model, and the speed-up over the loop. Start-up of workers is included.
    """
    import pandas as pd

    device, recipe = device or profiles.device(), recipe or Recipe(epochs=2)
    workers = workers or _cores()
    masks = np.zeros((models, len(x)), dtype=bool)
    for k in range(models):
        masks[k, np.random.default_rng(k).permutation(len(x))[: max(1, len(x) // 2)]] = True
    ways = ["loop", "stacked"] + (["workers"] if workers > 1 and device.type == "cpu" else [])
    seconds = {}
    for way in ways:
        start = time.perf_counter()
        for _ in train_many(
            make_model, x, y, masks, recipe, seeds=range(models), strategy=way, workers=workers, device=device
        ):
            pass
        seconds[way] = (time.perf_counter() - start) / models
    table = pd.DataFrame({"seconds per model": seconds})
    table["speed-up over loop"] = seconds["loop"] / table["seconds per model"]
    return table.rename_axis(f"{device.type}, {models} models")
