"""``labkit bench watermark``: null models against a plain loop, queries that prove each mark, and trials of innocents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.bench.membership import command
from labkit.bench.report import Bench, Line, bars, machine, plain_loop
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from labkit.data import Dataset
    from labkit.training.recipe import Recipe
    from labkit.watermark.court.simulation import SimulatedTrials

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


@dataclass(frozen=True, repr=False)
class MarkBench(Result):
    """Times, needs, and how often the court convicts innocents: see `run`."""

    times: Bench
    needs: tuple[Need, ...]
    source: str
    null_models: int
    trials: SimulatedTrials | None = None

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

    def numbers(self) -> dict[str, Any]:
        """Return times, machine, needs and trials."""
        return {
            **self.times.numbers(),
            "source": self.source,
            "null_models": self.null_models,
            "alpha": ALPHA,
            "queries_needed": [asdict(need) for need in self.needs],
            "trials_of_innocents": None if self.trials is None else self.trials.numbers(),
        }

    def summary(self) -> str:
        """Return the queries that each scheme needs in one line."""
        return f"queries for p < {ALPHA:g}: " + ", ".join(
            f"{need.scheme} {'not provable' if need.queries is None else need.queries}" for need in self.needs
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the queries that each provable scheme needs, on a log axis.

        Raises
        ------
        NotImplementedError
            If no scheme's mark is provable.
        """
        provable = [need for need in self.needs if need.queries is not None]
        if not provable:
            raise NotImplementedError("no mark is provable: there is nothing to draw")
        names, queries = [need.scheme for need in provable], [need.queries for need in provable]
        ax = bars(ax, names, queries, f"queries for p < {ALPHA:g} (log)")
        return plots.describe(ax.figure, f"Bars by scheme, {self.source}. {self.summary()}.")

    def __str__(self) -> str:
        head = f"one small marked model a scheme, seed 0, {self.null_models} null models, {self.source}"
        trials = "" if self.trials is None else f"\n\n{self.trials}\n{self.trials.table().to_string()}"
        return f"{self.times}\n\n{head}\n{self.table().to_string()}{trials}"


def run(schemes: Sequence[str] = SCHEMES) -> MarkBench:
    """Train small null models (timed) and a marked model a scheme, count queries, and try innocents in a thousand trials."""
    from labkit import models
    from labkit.training.recipe import Recipe
    from labkit.watermark.court.simulation import simulate_trials

    profile, facts = profiles.current(), machine()
    data = _data()
    make_model = partial(models.fast_cnn, profile.pick(smoke=8, laptop=16, full=32))
    recipe = Recipe(epochs=profile.pick(smoke=1, laptop=6, full=12), learning_rate=0.1)
    line, nulls = null_line(data, make_model, recipe, profile.pick(smoke=3, laptop=20, full=20))
    needs = tuple(need(scheme, data, make_model, recipe, nulls) for scheme in schemes)
    trials = simulate_trials(profile.pick(smoke=2, laptop=1000, full=1000))
    return MarkBench(Bench((line,), facts), needs, data.source, len(nulls), trials)


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
