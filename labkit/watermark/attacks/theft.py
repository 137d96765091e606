"""Thieves: models trained on a victim's answers, and how near to it they come for how many queries.

Random queries with soft labels are Knockoff nets (Orekondy et al., arXiv 1812.02766, section 4.1) when the records are
foreign to the task, and distillation (Hinton et al., arXiv 1503.02531) when they are not. Choosing by margin or by
k-centre over rounds is ActiveThief (Pal et al., AAAI 2020, section 4).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit import cache, profiles, stats, training
from labkit.results import Result, as_json
from labkit.training import shelf
from labkit.training.recipe import Recipe
from labkit.watermark.attacks.interface import Api, as_targets
from labkit.watermark.attacks.selection import by_k_centre, by_margin

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset

STRATEGIES = ("random", "margin", "k-center")


@dataclass(frozen=True)
class Point:
    """A thief after so many queries: test accuracy and agreement with the victim, Clopper-Pearson intervals."""

    queries: int
    accuracy: stats.Interval
    agreement: stats.Interval


@dataclass(frozen=True, eq=False, repr=False)
class Theft(Result):
    """A stolen model, what it cost and how near it came: see `steal`.

    Attributes
    ----------
    model : nn.Module
        The thief after the last query.
    curve : tuple of Point
        One for each budget, smallest first.
    victim : Interval
        The victim's own test accuracy.
    seconds : float
        Of this call; near zero where all thieves came from the cache.
    """

    model: nn.Module
    curve: tuple[Point, ...]
    victim: stats.Interval
    strategy: str
    answers: str
    source: str
    profile: str
    seed: int
    seconds: float

    @property
    def queries(self) -> int:
        """Records that were asked."""
        return self.curve[-1].queries

    @property
    def accuracy(self) -> stats.Interval:
        """Of the thief on the test records."""
        return self.curve[-1].accuracy

    @property
    def agreement(self) -> stats.Interval:
        """Share of the test records on which thief and victim give the same label."""
        return self.curve[-1].agreement

    @property
    def title(self) -> str:
        """Who stole how, for titles."""
        return f"{self.strategy} queries, {self.answers}"

    def table(self) -> pd.DataFrame:
        """Return one row a budget, with 95% intervals over the test records."""
        import pandas as pd

        rows = [
            {
                "queries": point.queries,
                "thief's accuracy": point.accuracy.percent(1),
                "agreement with the victim": point.agreement.percent(1),
                "victim's accuracy": self.victim.percent(1),
            }
            for point in self.curve
        ]
        return pd.DataFrame(rows).set_index("queries")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw accuracy and agreement against queries; on one ``ax``, agreement alone."""
        return plot_thefts({self.title: self}, ax)

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text, for JSON."""
        curve = [
            {"queries": p.queries, "accuracy": as_json(p.accuracy), "agreement": as_json(p.agreement)}
            for p in self.curve
        ]
        return {
            "strategy": self.strategy,
            "answers": self.answers,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "victim_accuracy": as_json(self.victim),
            "curve": curve,
        }

    def summary(self) -> str:
        """Return one line: how, with how many queries, and how near."""
        return (
            f"{self.title}: {self.queries:,} queries, accuracy {self.accuracy.percent(1)}, agreement "
            f"{self.agreement.percent(1)}; {self.source}; profile {self.profile}; seed {self.seed}"
        )


def steal(
    api: Api,
    queries_x: Tensor,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    *,
    test: Dataset,
    budgets: Sequence[int] | None = None,
    strategy: str = "random",
    seed: int = 0,
) -> Theft:
    """Train thieves on the victim's answers, one for each budget, and measure each.

    Parameters
    ----------
    api : Api
        Every record of the largest budget is asked once, and counted.
    queries_x : Tensor of shape (n, ...)
        The thief's unlabelled records: of the task, or foreign to it (see `labkit.watermark.attacks.selection.foreign_queries`).
    make_model : callable
        Returns a fresh thief; any architecture.
    recipe : Recipe
        Probabilities become soft labels, labels hard ones.
    test : Dataset
        Thief and victim are compared on its test records, outside the count; nothing is chosen on them.
    budgets : sequence of int, optional
        Queries at which a thief is trained, default all of ``queries_x``. The "margin" and "k-center" strategies
        choose each further part by the thief of the part before; their first part is random.
    strategy : {"random", "margin", "k-center"}

    Returns
    -------
    Theft

    Raises
    ------
    ValueError
        If the strategy is unknown or a budget exceeds the records.
    BudgetSpent
        If the interface has fewer queries left than the largest budget.

    Notes
    -----
    Thieves are cached by the answers that they learned from; queries are asked and counted anew in every call.
    """
    sizes = sorted(set(budgets or (len(queries_x),)))
    if strategy not in STRATEGIES or sizes[0] < 1 or sizes[-1] > len(queries_x):
        raise ValueError(
            f"got strategy={strategy!r} and budgets={sizes} for {len(queries_x):,} records; expected one of "
            f"{', '.join(STRATEGIES)} and budgets between 1 and the number of records"
        )
    start = time.perf_counter()
    ask = _ask_at_random if strategy == "random" else _ask_actively
    thieves = ask(api, queries_x, make_model, recipe, sizes, strategy, seed)
    truth = test.test_y
    owned = training.logits(api.model, test.test_x).argmax(1)
    curve = []
    for size, thief in zip(sizes, thieves, strict=True):
        given = training.logits(thief, test.test_x).argmax(1)
        curve.append(Point(size, _share(given == truth), _share(given == owned)))
    return Theft(
        model=thieves[-1],
        curve=tuple(curve),
        victim=_share(owned == truth),
        strategy=strategy,
        answers=api.describe(),
        source=test.source,
        profile=profiles.current().name,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def _share(hits: Tensor) -> stats.Interval:
    return stats.clopper_pearson(int(hits.sum()), len(hits))


def _ask_at_random(
    api: Api,
    x: Tensor,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    sizes: Sequence[int],
    strategy: str,
    seed: int,
) -> list[nn.Module]:
    """Ask a random order of the records; each budget is a beginning of it."""
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[: sizes[-1]]
    x = x[chosen]
    return _train(make_model, x, as_targets(api(x)), sizes, recipe, seed)


def _ask_actively(
    api: Api,
    x: Tensor,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    sizes: Sequence[int],
    strategy: str,
    seed: int,
) -> list[nn.Module]:
    """Ask in rounds; the thief so far chooses what to ask next."""
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[: sizes[0]]
    targets = as_targets(api(x[chosen]))
    thieves = _train(make_model, x[chosen], targets, sizes[:1], recipe, seed)
    for size in sizes[1:]:
        beliefs = training.logits(thieves[-1], x).softmax(1)
        select = by_margin if strategy == "margin" else by_k_centre
        more = select(beliefs, chosen, size - len(chosen))
        chosen = torch.cat([chosen, more])
        targets = torch.cat([targets, as_targets(api(x[more]))])
        thieves += _train(make_model, x[chosen], targets, [size], recipe, seed)
    return thieves


def _train(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    targets: Tensor,
    sizes: Sequence[int],
    recipe: Recipe,
    seed: int,
) -> list[nn.Module]:
    """Return a thief trained on each of the first ``sizes`` records."""
    key = cache.digest(x, targets, recipe, seed, *shelf.model_identity(make_model), list(shelf.CODE))[:32]
    paths = [cache.directory() / "thieves" / f"{key}-{size}.pt" for size in sizes]
    masks = torch.arange(len(x))[None, :] < torch.tensor(sizes)[:, None]
    states = shelf.train_missing(
        paths, make_model, x, targets, masks.numpy(), recipe, seeds=[seed] * len(sizes), what="thieves"
    )
    return [shelf.model_of(make_model, state) for state in states]


def plot_thefts(thefts: dict[str, Theft], ax: Axes | None = None) -> Figure:
    """Draw accuracy and agreement against queries, one line for each named theft, with the victim's accuracy.

    On one ``ax``, agreement alone.
    """
    from labkit import plots

    fig, axes = plots.figure(8.6, 3.8, ncols=2, sharex=True) if ax is None else (ax.figure, [ax])
    drawn = ("accuracy", "agreement") if ax is None else ("agreement",)
    budgets = sorted({point.queries for theft in thefts.values() for point in theft.curve})
    for ax, figure in zip(axes, drawn, strict=True):
        for name, theft in thefts.items():
            x = [point.queries for point in theft.curve]
            values = [getattr(point, figure) for point in theft.curve]
            (line,) = ax.plot(x, [100 * v.estimate for v in values], marker="o", markersize=4, label=name)
            low, high = [100 * v.low for v in values], [100 * v.high for v in values]
            plots.band(ax, x, low, high, color=line.get_color())
        ax.set(
            xlabel="queries", ylabel="thief's test accuracy (%)" if figure == "accuracy" else "agreement (%)"
        )
        ax.set_xscale("log")
        ax.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
        ax.minorticks_off()
    first = next(iter(thefts.values()))
    if "accuracy" in drawn:
        axes[0].axhline(
            100 * first.victim.estimate, color="#777777", linewidth=1, linestyle="-", label="the victim"
        )
    axes[0].set_title(f"Thieves against the victim\n{first.source}")
    axes[0].legend()
    seen = "; ".join(
        f"{name}: {t.queries:,} queries, {100 * t.accuracy.estimate:.1f}% accuracy, "
        f"{100 * t.agreement.estimate:.1f}% agreement"
        for name, t in thefts.items()
    )
    return plots.describe(fig, f"Thieves' accuracy and agreement against queries, {first.source}: {seen}.")
