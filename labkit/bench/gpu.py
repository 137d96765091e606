"""``labkit bench gpu``: every way of training on a GPU against this machine's CPU, then the models of profile full.

Meant for one sitting of ten minutes at a borrowed GPU. The first part gives ratios at equal work; the second trains what
only a GPU makes bearable: the second project's victim at profile full, and the laptop's sixteen shadow models.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit import data, dp, models, profiles, training
from labkit.bench.report import Bench, Line, machine
from labkit.dp.training.engines import ENGINES
from labkit.training import precision
from labkit.training.many import train_many
from labkit.training.recipe import Recipe, train_one

if TYPE_CHECKING:
    from labkit.data import Dataset

BUDGET = 540.0  # seconds after which nothing new is begun
WANTED = 0.93  # test accuracy of the victim at profile full


@dataclass(frozen=True)
class Size:
    """How much work each way of training gets.

    Attributes
    ----------
    records, epochs : int
    models : int
        Of the ensemble.
    width : int
        Of the networks.
    """

    records: int = 5000
    epochs: int = 2
    models: int = 16
    width: int = 32


SMOKE = Size(records=64, epochs=1, models=2, width=8)


def ways(images: Dataset, size: Size) -> dict[str, Callable[[torch.device], object]]:
    """Return every way of training by name, as a function of the device; all train on the first ``size.records``."""
    x, y = images.train_x[: size.records], images.train_y[: size.records]
    few = replace(images, train_x=x, train_y=y, test_x=x[:50], test_y=y[:50], digest="")
    rows = replace(few, train_x=x.flatten(1), test_x=x[:50].flatten(1))
    masks = np.stack([np.random.default_rng(k).permutation(len(x)) < len(x) // 2 for k in range(size.models)])
    recipe = Recipe(epochs=size.epochs, batch_size=min(128, size.records // 4), mirror=True, shift=2)
    fast, batch = partial(models.fast_cnn, size.width), partial(models.fast_cnn, size.width, norm="batch")
    small = partial(models.strided_cnn, size.width)

    def ensemble(strategy: str, device: torch.device) -> object:
        return list(
            train_many(small, x, y, masks, recipe, seeds=range(size.models), strategy=strategy, device=device)
        )

    def bank(device: torch.device) -> object:
        model = small().to(device)
        return [training.logits(model, view) for view in (x, x.flip(-1))]

    def private(engine: str, device: torch.device) -> object:
        linear = engine == "linear"
        model = models.logistic_regression(rows.train_x.shape[1]) if linear else small()
        settings = {
            "noise_multiplier": 1.0,
            "steps": 4 * size.epochs,
            "expected_batch_size": size.records // 4,
        }
        return dp.train_private(
            model, rows if linear else few, engine=engine, seed=0, device=device, **settings
        )

    return {
        "one model, float32": lambda device: train_one(fast, x, y, recipe, 0, device),
        "one model, bfloat16 and BatchNorm": lambda device: train_one(
            batch, x, y, replace(recipe, precision="bfloat16"), 0, device
        ),
        f"{size.models} models, one by one": partial(ensemble, "loop"),
        f"{size.models} models, weights stacked": partial(ensemble, "stacked"),
        "a bank's two questions about every record": bank,
        **{f"private training, engine {engine}": partial(private, engine) for engine in ENGINES},
    }


def seconds(work: Callable[[torch.device], object], device: torch.device) -> float:
    """Return what ``work`` takes on ``device`` once it is warm."""
    for _ in range(2):
        start = time.perf_counter()
        work(device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - start


def run(
    device: torch.device, *, size: Size | None = None, images: Dataset | None = None, whole: bool = True
) -> Bench:
    """Measure every way of training on ``device`` and on the CPU; then train the large models, if there is time.

    Parameters
    ----------
    device : torch.device
    size : Size, optional
    images : Dataset, optional
        Of 3x32x32 (default: CIFAR-10).
    whole : bool
        Train the victim and the shadow models, too.
    """
    size, start = size or Size(), time.perf_counter()
    images = images or data.load("cifar10")
    lines, notes = [], [f"precision there: {precision.described(device)}"]
    for what, work in ways(images, size).items():
        lines.append(Line(what, seconds(work, device), seconds(work, torch.device("cpu")), "the CPU"))
    for train in (victim, shadows) if whole else ():
        if time.perf_counter() - start > BUDGET:
            notes.append(f"{train.__name__}: not begun, {BUDGET:.0f} s were over")
        else:
            notes.append(train(images, device))
    return Bench(tuple(lines), machine() | {"device": str(device), "data": images.source}, tuple(notes))


def victim(images: Dataset, device: torch.device) -> str:
    """Train the second project's network of profile full on all train records, and say what it reaches."""
    recipe = Recipe(
        epochs=40,
        learning_rate=0.2,
        weight_decay=5e-4,
        mirror=True,
        shift=4,
        precision=precision.quickest(device),
    )
    make_model, start = partial(models.cifar_cnn, 128, norm="batch"), time.perf_counter()
    state = train_one(make_model, images.train_x, images.train_y, recipe, 1, device)
    model = make_model().to(device)
    model.load_state_dict(state)
    reached = training.evaluate(model, images.test_x, images.test_y).accuracy
    return (
        f"victim of profile full on {len(images.train_y):,} records: test accuracy {reached.percent(1)}, "
        f"{time.perf_counter() - start:.0f} s; wanted {100 * WANTED:.0f}%: "
        f"{'reached' if reached.estimate >= WANTED else 'NOT reached'} (seed 1, interval over test records)"
    )


def shadows(images: Dataset, device: torch.device) -> str:
    """Train the laptop's sixteen CIFAR-10 shadow models and say what it took."""
    from labkit.membership.shadows.presets import preset
    from labkit.membership.shadows.training import balanced_masks

    wanted = preset("cifar10", profiles.Profile("laptop"))
    pool = min(wanted.pool or len(images.train_y), len(images.train_y)) // 2 * 2
    masks = balanced_masks(16, pool, seed=0)
    recipe, start = replace(wanted.recipe, precision=precision.quickest(device)), time.perf_counter()
    records = images.train_x[:pool], images.train_y[:pool]
    done = list(train_many(wanted.make_model, *records, masks, recipe, seeds=range(16), device=device))
    return f"{len(done)} shadow models of profile laptop: {time.perf_counter() - start:.0f} s"


def main(arguments: Sequence[str] = ()) -> int:
    """Run ``labkit bench gpu``; return 2 where no GPU is present."""
    parser = argparse.ArgumentParser(prog="labkit bench gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args(list(arguments))
    if not torch.cuda.is_available():
        print(
            "labkit bench gpu: there is no GPU that torch can use here, so there is nothing to measure "
            f"(torch {torch.__version__}); run it on a machine with one",
            file=sys.stderr,
        )
        return 2
    found = run(profiles.device())
    print(found)
    if options.json:
        found.save(options.json)
    return 0
