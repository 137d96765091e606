"""``labkit bench dp``: what privacy costs in time on this machine, against Opacus's stock loop.

(a) One private step over one plain step, for each engine, on the same network and batch, timed in turns.
(b) Seconds until the accuracy that Opacus's stock MNIST loop ends with, for that loop and for ours, at the same ε.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from labkit import plots
from labkit.bench.race import Race, races
from labkit.bench.report import bars
from labkit.bench.step_costs import Cost, profiles_of, step_costs
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset


@dataclass(frozen=True, repr=False)
class Bench(Result):
    """What `run` measured, on which machine."""

    machine: dict[str, str]
    batch_size: int
    costs: tuple[Cost, ...]
    races: tuple[Race, ...]

    def speedup(self, loop: str) -> float | None:
        """Return how many times sooner than the stock loop ``loop`` is there, or ``None`` if it is less accurate."""
        stock, ours = self.races[0], next(race for race in self.races if race.loop == loop)
        return stock.seconds / ours.seconds if ours.accuracy >= stock.accuracy else None

    def table(self) -> pd.DataFrame:
        """Return part (a): one row per model and step."""
        import pandas as pd

        rows = [
            {
                "model": cost.model,
                "step": cost.step,
                "ms (median)": 1e3 * cost.seconds[1],
                "ms (10% to 90%)": f"{1e3 * cost.seconds[0]:.1f} to {1e3 * cost.seconds[2]:.1f}",
                "over a plain step": cost.ratio,
                "in its layout": cost.same_layout,
            }
            for cost in self.costs
        ]
        return pd.DataFrame(rows).set_index(["model", "step"]).round(2)

    def race_table(self) -> pd.DataFrame:
        """Return part (b): one row per loop."""
        import pandas as pd

        rows = [
            {
                "loop": race.loop,
                "seconds": round(race.seconds, 1),
                "accuracy (%)": round(100 * race.accuracy, 2),
                "epsilon": round(race.epsilon, 3),
                "at ε = 0 (%)": None if race.prior is None else round(100 * race.prior, 2),
                "times faster": "not as accurate" if (s := self.speedup(race.loop)) is None else f"{s:.1f}",
            }
            for race in self.races
        ]
        return pd.DataFrame(rows).set_index("loop")

    def __str__(self) -> str:
        facts = "\n".join(f"{key}: {value}" for key, value in self.machine.items())
        text = f"{facts}\n\n(a) One step on {self.batch_size} records\n{self.table().to_string()}"
        if self.races:
            text += f"\n\n(b) Training on {self.races[0].source}\n{self.race_table().to_string()}"
        return text

    def numbers(self) -> dict[str, Any]:
        """Return everything."""
        return asdict(self)

    def summary(self) -> str:
        """Return each step's cost in one line."""
        return "; ".join(
            f"{cost.model}, {cost.step}: {cost.ratio:.2f} times a plain step" for cost in self.costs
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each step's time over the plain one's, on a log axis."""
        names = [f"{cost.model}, {cost.step}" for cost in self.costs]
        ax = bars(ax, names, [cost.ratio for cost in self.costs], "time over a plain step's, median")
        return plots.describe(ax.figure, f"Bars of times. {self.summary()}.")


def machine() -> dict[str, str]:
    """Return what a reader needs to know of the machine."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": f"{os.cpu_count()}, threads used {torch.get_num_threads()}, load before the start {load:.1f}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": f"torch {torch.__version__}, opacus {version('opacus')}",
    }


def run(*, quick: bool = False, dataset: Dataset | None = None, race: bool = True) -> Bench:
    """Measure everything; ten to fifteen minutes, or seconds with ``quick`` (which shows that it works, and nothing more).

    Parameters
    ----------
    dataset : Dataset, optional
        For part (b); MNIST by default.
    race : bool
        Whether to do part (b).
    """
    from labkit import data

    facts, batch_size = machine(), 32 if quick else 256
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus's reminders; they are the same at every step
        costs = step_costs(batch_size, 3 if quick else 40)
        found: list[Race] = []
        if race:
            dataset = dataset or data.load("mnist")
            for one in races(dataset.take(1200, 300) if quick else dataset, quick=quick):
                found.append(one)
                # Each as it ends: the whole takes minutes, and an interruption should not lose what was measured.
                print(f"{one.loop}: {one.seconds:.1f} s, {one.accuracy:.2%}", file=sys.stderr, flush=True)
    return Bench(facts, batch_size, tuple(costs), tuple(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line: print the tables, write the JSON."""
    parser = argparse.ArgumentParser(prog="labkit bench dp", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--steps-only", action="store_true", help="part (a) only")
    parser.add_argument(
        "--profile", action="store_true", help="only where the time of a step goes, by operation"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args(arguments)
    if options.json and options.json.suffix != ".json":
        parser.error(f"{options.json} does not end in .json")
    if options.profile:
        for name, shares in profiles_of(("vmap", "layers", "opacus"), 32 if options.quick else 256).items():
            print(f"{name}: " + ", ".join(f"{op} {share:.0%}" for op, share in shares.items()))
        return 0
    bench = run(quick=options.quick, race=not options.steps_only)
    print(bench)
    if options.json:
        print(f"\nwritten to {bench.save(options.json)}")
    return 0
