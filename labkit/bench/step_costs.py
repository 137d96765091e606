"""What one private step costs over a plain one, engine by engine, timed in turns on the same network and batch.

Where the time goes, `time_shares` says. A plain step asks a convolution for one gradient of its weights, summed over the
batch; engine ``vmap`` asks for one a record, which torch computes as a convolution of as many groups as there are records
and channels, and it writes every record's gradient out, to read it twice (norm, weighted sum). Engine ``layers`` asks for the
same numbers as products of matrices and never writes a linear layer's: what it costs is about what any engine must.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit import models
from labkit.dp.training.engines import Mechanism, make_engine

Step = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Time of one step on one batch.

    Attributes
    ----------
    model, step : str
    seconds : tuple of float
        10%, 50% and 90% quantiles.
    ratio : float
        Median over rounds of this step's time over that of the plain step of the same round.
    same_layout : float
        The same over the plain step in the memory layout that this step's model has.
    """

    model: str
    step: str
    seconds: tuple[float, float, float]
    ratio: float
    same_layout: float


def time_in_turns(
    steps: dict[str, Step], rounds: int, *, baseline: str, model: str, layouts: dict[str, str] | None = None
) -> list[Cost]:
    """Time each step once per round, so that a busy machine slows all of them alike; two rounds warm up.

    ``layouts`` names, for a step in another memory layout than the baseline's, the plain step in that layout.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if done >= 2:
                times[name].append(time.perf_counter() - start)

    def over(taken: list[float], base: str) -> float:
        return statistics.median(t / b for t, b in zip(taken, times[base], strict=True))

    return [
        Cost(
            model,
            name,
            tuple(torch.tensor(taken).quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()),
            over(taken, baseline),
            over(taken, (layouts or {}).get(name, baseline)),
        )
        for name, taken in times.items()
    ]


def _plain(model: nn.Module, x: Tensor, y: Tensor) -> Step:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _private(engine: str, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    mechanism = Mechanism(1.0, 1.0, 0.01, float(len(x)))
    records = torch.utils.data.TensorDataset(x, y)
    made = make_engine(engine, model, optimizer, mechanism, torch.Generator().manual_seed(0), records)
    return lambda: made.step([(x, y)])


def _opacus(mode: str, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    """Opacus as its tutorials use it."""
    from opacus import PrivacyEngine

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=len(x))
    private, optimizer, _ = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        data_loader=loader,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        grad_sample_mode=mode,
    )

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(private(x), y).backward()
        optimizer.step()

    return step


def time_shares(step: Step, *, steps: int = 5) -> dict[str, float]:
    """Return each torch operation's own share of the time of ``steps`` calls, largest first, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    step()  # the first call allocates
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(steps):
            step()
    times = {row.key: row.self_cpu_time_total for row in watched.key_averages()}
    return {name: t / sum(times.values()) for name, t in sorted(times.items(), key=lambda item: -item[1])}


def profiles_of(engines: Sequence[str], batch_size: int, *, most: int = 8) -> dict[str, dict[str, float]]:
    """Return the ``most`` dearest operations of a plain step and of each engine's, on the small CNN, channels last."""
    cnn, x, y = _network(batch_size)
    fast = cnn.to(memory_format=torch.channels_last)
    steps = {"plain": _plain(copy.deepcopy(fast), x, y)}
    steps |= {engine: _private(engine, copy.deepcopy(fast), x, y) for engine in engines}
    return {name: dict(list(time_shares(step).items())[:most]) for name, step in steps.items()}


def _network(batch_size: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network of Opacus's MNIST example and a batch for it."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(batch_size, 1, 28, 28, generator=generator), torch.arange(batch_size) % 10
    return models.small_cnn("relu", seed=0), x, y


def step_costs(batch_size: int, rounds: int) -> list[Cost]:
    """Measure part (a): private steps over plain steps, on the small CNN and on softmax regression."""
    cnn, x, y = _network(batch_size)
    generator = torch.Generator().manual_seed(1)
    # Engines get the layout that `labkit.dp.training.run.Run` trains in; a plain step in either layout is there to compare with.
    fast = copy.deepcopy(cnn).to(memory_format=torch.channels_last)

    def on(model: nn.Module, make: Callable[..., Step], *first: str) -> Step:
        return make(*first, copy.deepcopy(model), x, y)

    steps = {
        "plain": on(cnn, _plain),
        "plain, channels last": on(fast, _plain),
        "Opacus hooks": on(cnn, _opacus, "hooks"),
        "Opacus functorch": on(cnn, _opacus, "functorch"),
        "engine opacus": on(fast, _private, "opacus"),
        "engine vmap": on(fast, _private, "vmap"),
        "engine layers": on(fast, _private, "layers"),
    }
    layouts = dict.fromkeys(
        ("plain, channels last", "engine opacus", "engine vmap", "engine layers"), "plain, channels last"
    )
    costs = time_in_turns(steps, rounds, baseline="plain", model="CNN", layouts=layouts)
    wide = torch.nn.functional.normalize(torch.randn(16 * batch_size, 512, generator=generator))
    labels = torch.arange(len(wide)) % 10
    steps = {
        "plain": _plain(models.logistic_regression(512), wide, labels),
        "engine linear": _private("linear", models.logistic_regression(512), wide, labels),
    }
    return costs + time_in_turns(
        steps, rounds, baseline="plain", model=f"softmax regression, {len(wide)} records"
    )
