"""``labkit bench watermark``: null models against a plain loop, and the queries that prove each scheme's mark."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit import profiles
from labkit.bench.membership import command
from labkit.bench.report import Bench, Line, machine, plain_loop

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from labkit.data import Dataset
    from labkit.training.recipe import Recipe

ALPHA = 1e-6
SCHEMES = (
    "patch",
    "content",
    "noise",
    "unrelated",
    "abstract",
    "ood",
    "composite",
    "class-feature",
    "margin",
)
LOOPED = 2  # models that the plain loop trains: its time per model does not depend on how many


@dataclass(frozen=True)
class Need:
    """Queries that prove one scheme's mark on the marked model itself.

    Attributes
    ----------
    rate, null_rate : float
        Share of triggers that hit: measured on the marked model, and the rate that H0 is tested at.
    triggers : int
        How many the rates were measured on.
    queries : int or None
        For p < `ALPHA` with probability 90%; None where the mark does not stand out from the null models.
    """

    scheme: str
    rate: float
    null_rate: float
    triggers: int
    queries: int | None


@dataclass(frozen=True)
class MarkBench:
    """Times and needs: see `run`."""

    times: Bench
    needs: tuple[Need, ...]
    source: str
    null_models: int

    def table(self) -> pd.DataFrame:
        """Return one row a scheme."""
        import pandas as pd

        rows = [
            {
                "scheme": need.scheme,
                f"queries for p < {ALPHA:g}": "not provable" if need.queries is None else str(need.queries),
                "hits on the marked model": f"{need.rate:.1%} of {need.triggers}",
                "rate under H0": f"{need.null_rate:.1%}",
            }
            for need in self.needs
        ]
        return pd.DataFrame(rows).set_index("scheme")

    def save(self, path: str | Path) -> Path:
        """Write times, needs and machine as JSON, atomically, and return the path."""
        from labkit.results import write_json

        content = {
            "machine": self.times.machine,
            "lines": [asdict(line) | {"ratio": line.ratio} for line in self.times.lines],
            "source": self.source,
            "null_models": self.null_models,
            "alpha": ALPHA,
            "queries_needed": [asdict(need) for need in self.needs],
        }
        return write_json(path, content)

    def __str__(self) -> str:
        head = f"one small marked model a scheme, seed 0, {self.null_models} null models, {self.source}"
        return f"{self.times}\n\n{head}\n{self.table().to_string()}"


def run(schemes: Sequence[str] = SCHEMES) -> MarkBench:
    """Train small null models (timed) and one small marked model a scheme, and count the queries needed."""
    from labkit import models
    from labkit.training.recipe import Recipe

    profile, facts = profiles.current(), machine()
    data = _data()
    make_model = partial(models.fast_cnn, profile.pick(smoke=8, laptop=16, full=32))
    recipe = Recipe(epochs=profile.pick(smoke=1, laptop=6, full=12), learning_rate=0.1)
    line, nulls = null_line(data, make_model, recipe, profile.pick(smoke=3, laptop=20, full=20))
    needs = tuple(need(scheme, data, make_model, recipe, nulls) for scheme in schemes)
    return MarkBench(Bench((line,), facts), needs, data.source, len(nulls))


def _data() -> Dataset:
    """Return CIFAR-10 cut to a size that is trained in seconds; drawn objects in a smoke run."""
    from labkit import data

    if profiles.current().name != "smoke":
        size = profiles.current().pick(smoke=0, laptop=5000, full=20_000)
        return data.load("cifar10").take(size, 4000)
    (train_x, train_y), (test_x, test_y) = data.objects(600, 1), data.objects(600, 2)
    classes = tuple(map(str, range(10)))
    return data.Dataset("objects", "drawn objects", False, train_x, train_y, test_x, test_y, classes)


def null_line(data: Dataset, make_model: partial, recipe: Recipe, count: int) -> tuple[Line, list[nn.Module]]:
    """Time ``count`` null models through `train_many` and a few through a plain loop; return the models too.

    Both train without augmentation. The start of worker processes is part of our time, as it is of a learner's.
    """
    from labkit.training import many

    masks = np.ones((count, len(data.train_y)), dtype=bool)
    start = time.perf_counter()
    trained = list(
        many.train_many(
            make_model, data.train_x, data.train_y, masks, recipe, seeds=range(1000, 1000 + count)
        )
    )
    ours = (time.perf_counter() - start) / count
    start = time.perf_counter()
    plain_loop(make_model, data.train_x, data.train_y, masks[:LOOPED], recipe.epochs)
    peer = (time.perf_counter() - start) / LOOPED
    nulls = []
    for _, state in trained:
        model = make_model()
        model.load_state_dict(state)
        nulls.append(model.eval())
    what = f"one null model, {len(data.train_y):,} records x {recipe.epochs} epochs"
    return Line(what, ours, peer, "DataLoader loop, one model after another"), nulls


def need(scheme: str, data: Dataset, make_model: partial, recipe: Recipe, nulls: Sequence[nn.Module]) -> Need:
    """Mark one model and return how many queries prove it against the null models."""
    from labkit.watermark.marks import embed
    from labkit.watermark.marks.keys import Key
    from labkit.watermark.verification import verify

    mark = embed.embed(scheme, make_model(seed=0), data, Key.from_phrase("bench"), recipe=recipe)
    verdict = verify.verify(mark.model, mark.triggers, nulls, alpha=ALPHA, minimum=2)
    rate, null_rate = verdict.rate.estimate, verdict.null_rate
    try:
        queries = verify.queries_needed(rate, null_rate, ALPHA)
    except ValueError:  # no query budget proves a mark that null models show as often
        queries = None
    return Need(scheme, rate, null_rate, verdict.n, queries)


def main(arguments: Sequence[str] = ()) -> int:
    """Run ``labkit bench watermark``."""
    return command("watermark", __doc__, run, arguments)
