"""Train many models on many subsets of one data set: with stacked weights, in worker processes, or one by one.

All three ways do the same arithmetic, so a model does not depend on how it was trained (up to rounding); they differ
in speed alone. `speeds` measures them side by side; `choose` holds the rule that was read off such tables:

===================================  ==========================  =============================================
device, model                        fastest                     why
===================================  ==========================  =============================================
CPU, no convolution                  stacked                     a step costs more in overhead than arithmetic
CPU, convolutions, several cores     workers                     vmap turns them into slow grouped convolutions
CPU, convolutions, one core          loop                        nothing to share
GPU                                  stacked                     one small model leaves a GPU idle
===================================  ==========================  =============================================
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import profiles
from labkit.training import one_cycle

if TYPE_CHECKING:
    import pandas as pd

STRATEGIES = ("auto", "stacked", "workers", "loop")
STACK = 16  # models trained at once with stacked weights: bounds memory, and what an interrupt can lose
State = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one model is trained: SGD with Nesterov momentum, a one-cycle learning rate and shuffled batches.

    Parameters
    ----------
    epochs, batch_size : int
    learning_rate, momentum, weight_decay : float
        ``learning_rate`` is the peak of the cycle.
    label_smoothing : float
        Share of the target's mass spread over all classes.
    mirror : bool
        Flip each image left to right with probability one half.
    shift : int
        Largest random translation of a batch of images, in pixels.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    mirror: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"got epochs={self.epochs}, batch_size={self.batch_size}, learning_rate={self.learning_rate}; "
                "all must be positive and finite"
            )
        if not (0 <= self.momentum < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError(
                f"got momentum={self.momentum}, label_smoothing={self.label_smoothing}; both must be in [0, 1)"
            )
        if self.weight_decay < 0 or self.shift < 0:
            raise ValueError(
                f"got weight_decay={self.weight_decay}, shift={self.shift}; neither may be negative"
            )


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
        choice through ``joblib.parallel_config``.

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
        strategy = choose(make_model(), device, models=len(masks), workers=workers)
        if strategy == "stacked" and not _same_steps(masks, recipe):
            strategy = "workers" if workers > 1 and device.type == "cpu" else "loop"
    if strategy == "workers" and workers > 1:
        results = _with_workers(make_model, x, y, masks, recipe, seeds, workers)
    elif strategy == "stacked":
        results = _stacked(make_model, x, y, masks, recipe, seeds, device)
    else:
        results = (
            (k, _train_one(make_model, x[mask], y[mask], recipe, seeds[k], device))
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
    import joblib

    return joblib.cpu_count()


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


def _epoch(size: int, recipe: Recipe, images: bool, generator: torch.Generator) -> Iterator[tuple]:
    """Yield one epoch's batches: (positions, which to flip, (dx, dy)); the same draws whatever the strategy."""
    for positions in torch.randperm(size, generator=generator).split(recipe.batch_size):
        flips = torch.rand(len(positions), generator=generator) < 0.5 if images and recipe.mirror else None
        offset = (recipe.shift, recipe.shift)
        if images and recipe.shift:
            offset = tuple(torch.randint(0, 2 * recipe.shift + 1, (2,), generator=generator).tolist())
        yield positions, flips, offset


def _augment(x: Tensor, flips: Tensor | None, offset: tuple[int, int], most: int) -> Tensor:
    """Flip the chosen images and move the whole batch (n, C, H, W) by ``offset - most`` pixels."""
    if flips is not None:
        x = torch.where(flips.to(x.device)[:, None, None, None], x.flip(-1), x)
    if not most:
        return x
    height, width = x.shape[-2:]
    padded = F.pad(x, (most, most, most, most))
    return padded[..., offset[1] : offset[1] + height, offset[0] : offset[0] + width]


def _fresh(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a model whose initial weights follow from ``seed``, leaving the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_model().train()


def _optimizer(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


def _steps(size: int, recipe: Recipe) -> int:
    return recipe.epochs * math.ceil(size / recipe.batch_size)


def _train_one(
    make_model: Callable[[], nn.Module], x: Tensor, y: Tensor, recipe: Recipe, seed: int, device: torch.device
) -> State:
    """Train one model on all of ``x`` and return its weights on the CPU."""
    images = x.ndim == 4
    layout = torch.channels_last if images else torch.contiguous_format
    model = _fresh(make_model, seed).to(device, memory_format=layout)
    x, y = x.to(device).contiguous(memory_format=layout), y.to(device)
    optimizer, steps, step = _optimizer(list(model.parameters()), recipe), _steps(len(x), recipe), 0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.epochs):
        for positions, flips, offset in _epoch(len(x), recipe, images, generator):
            chosen = positions.to(device)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            outputs = model(_augment(x[chosen], flips, offset, recipe.shift if images else 0))
            loss = F.cross_entropy(outputs, y[chosen], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _with_workers(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    seeds: Sequence[int],
    workers: int,
) -> Iterator[tuple[int, State]]:
    """Train in joblib workers; arrays go over as NumPy, which joblib shares by memory map instead of copying."""
    import joblib

    arrays = x.cpu().numpy(), y.cpu().numpy()
    threads = max(1, _cores() // workers)
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=workers)
    yield from parallel(
        joblib.delayed(_work)(make_model, *arrays, mask, recipe, seeds[k], k, threads)
        for k, mask in enumerate(masks)
    )


def _work(
    make_model: Callable[[], nn.Module],
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    recipe: Recipe,
    seed: int,
    row: int,
    threads: int,
) -> tuple[int, State]:
    """Do one model's training inside a worker process."""
    if os.environ.get("OMP_NUM_THREADS") != str(threads):
        torch.set_num_threads(threads)
    return row, _train_one(
        make_model, torch.from_numpy(x[mask]), torch.from_numpy(y[mask]), recipe, seed, torch.device("cpu")
    )


def _same_steps(masks: np.ndarray, recipe: Recipe) -> bool:
    return len({_steps(int(size), recipe) for size in masks.sum(1)}) <= 1


def _stacked(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    seeds: Sequence[int],
    device: torch.device,
) -> Iterator[tuple[int, State]]:
    """Train up to `STACK` models at once, their weights stacked and the gradient taken under ``vmap``."""
    if not _same_steps(masks, recipe):
        raise ValueError(
            "stacked training needs the same number of batches for every model: use another strategy"
        )
    x, y = x.to(device), y.to(device)
    for first in range(0, len(masks), STACK):
        rows = range(first, min(first + STACK, len(masks)))
        models = [_fresh(make_model, seeds[k]).to(device) for k in rows]
        states = _train_stack(models, x, y, [masks[k] for k in rows], recipe, [seeds[k] for k in rows])
        yield from zip(rows, states, strict=True)


def _train_stack(
    models: list[nn.Module],
    x: Tensor,
    y: Tensor,
    masks: list[np.ndarray],
    recipe: Recipe,
    seeds: Sequence[int],
) -> list[State]:
    parameters, buffers = torch.func.stack_module_state(models)
    optimizer = _optimizer(list(parameters.values()), recipe)
    members = [torch.from_numpy(np.flatnonzero(mask)).to(x.device) for mask in masks]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    skeleton, images = models[0], x.ndim == 4

    def loss(weights: State, constants: State, inputs: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        outputs = torch.func.functional_call(skeleton, (weights, constants), (inputs,))
        losses = F.cross_entropy(outputs, labels, reduction="none", label_smoothing=recipe.label_smoothing)
        return (losses * weight).sum() / weight.sum()

    gradients = torch.func.vmap(torch.func.grad(loss))
    steps, step = _steps(len(members[0]), recipe), 0
    for _ in range(recipe.epochs):
        epochs = [_epoch(len(m), recipe, images, g) for m, g in zip(members, generators, strict=True)]
        for batch in zip(*epochs, strict=True):
            inputs, labels, weight = _gather(x, y, members, batch, recipe.shift if images else 0)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(step, steps)
            for name, gradient in gradients(parameters, buffers, inputs, labels, weight).items():
                parameters[name].grad = gradient
            optimizer.step()
            step += 1
    merged = {**parameters, **buffers}
    return [
        {name: value[k].detach().cpu().clone() for name, value in merged.items()} for k in range(len(models))
    ]


def _gather(
    x: Tensor, y: Tensor, members: list[Tensor], batch: tuple, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each model's batch, stacked; a model that is a record or two short repeats one at weight zero."""
    longest = max(len(positions) for positions, _, _ in batch)
    inputs, labels, weights = [], [], []
    for chosen, (positions, flips, offset) in zip(members, batch, strict=True):
        missing = longest - len(positions)
        taken = chosen[positions.to(chosen.device)]
        pictures = _augment(x[taken], flips, offset, most)
        inputs.append(torch.cat([pictures, pictures[:1].expand(missing, *pictures.shape[1:])]))
        labels.append(torch.cat([y[taken], y[taken][:1].expand(missing, *y.shape[1:])]))
        weights.append(torch.cat([torch.ones(len(taken)), torch.zeros(missing)]).to(x.device))
    return torch.stack(inputs), torch.stack(labels), torch.stack(weights)


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
