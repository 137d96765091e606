"""How hard an attack strikes: mark strength and accuracy against its dose, such as the share of weights pruned."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import cache, profiles, stats
from labkit.results import Result, as_json
from labkit.watermark.attacks import removal
from labkit.watermark.robustness import measure as matrix
from labkit.watermark.robustness.jobs import Job, Plan, attack_key
from labkit.watermark.verification import verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset
    from labkit.watermark.marks.marked import MarkedModel


@dataclass(frozen=True)
class Point:
    """One marked model after one dose: strength of the mark and test accuracy, Clopper-Pearson intervals."""

    scheme: str
    seed: int
    dose: float
    strength: stats.Interval
    accuracy: stats.Interval


@dataclass(frozen=True, eq=False, repr=False)
class Doses(Result):
    """What each dose leaves: see `doses`.

    Attributes
    ----------
    option : str
        Of the attack's own function.
    usual : tuple of float
        The doses of the robustness matrix.
    """

    attack: str
    option: str
    usual: tuple[float, ...]
    points: tuple[Point, ...]
    source: str
    profile: str

    @property
    def note(self) -> str:
        """Where the figures come from."""
        seeds = ", ".join(str(seed) for seed in sorted({point.seed for point in self.points}))
        return f"{self.source}; profile {self.profile}; seed {seeds}"

    def of(self, scheme: str) -> list[Point]:
        """Return one scheme's points, smallest dose first."""
        return sorted((p for p in self.points if p.scheme == scheme), key=lambda point: point.dose)

    @property
    def schemes(self) -> list[str]:
        return list(dict.fromkeys(point.scheme for point in self.points))

    def table(self) -> pd.DataFrame:
        """Return one row a scheme and dose, with 95% intervals over triggers and over test records."""
        import pandas as pd

        rows = [
            {
                "scheme": point.scheme,
                self.option: point.dose,
                "strength": point.strength.percent(1),
                "accuracy": point.accuracy.percent(1),
            }
            for scheme in self.schemes
            for point in self.of(scheme)
        ]
        return pd.DataFrame(rows).set_index(["scheme", self.option])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw strength and accuracy against the dose, one line a scheme; dotted lines are the matrix's doses.

        Given one ``ax``, strength alone.
        """
        from labkit import plots

        fig, axes = plots.figure(8.8, 3.5, ncols=2, sharex=True) if ax is None else (ax.figure, [ax])
        labels = {"strength": "mark strength (%)", "accuracy": "test accuracy (%)"}
        for ax, (figure, label) in zip(axes, labels.items(), strict=False):
            for scheme in self.schemes:
                found = [(point.dose, getattr(point, figure)) for point in self.of(scheme)]
                at = [dose for dose, _ in found]
                (line,) = ax.plot(at, [100 * v.estimate for _, v in found], marker="o", ms=4, label=scheme)
                low, high = [100 * v.low for _, v in found], [100 * v.high for _, v in found]
                plots.band(ax, at, low, high, color=line.get_color(), alpha=0.12)
            for usual in self.usual:
                ax.axvline(usual, color="black", linestyle=":", linewidth=1)
            ax.set(xlabel=f"{self.attack}: {self.option}", ylabel=label, ylim=(-3, 103))
        axes[0].set_title(f"{self.note}\n(dotted: the matrix's doses)", fontsize=9)
        axes[-1].legend(fontsize=8)
        return plots.describe(fig, f"{self._alt()} {self.note}.")

    def _alt(self) -> str:
        ends = []
        for scheme in self.schemes:
            first, *_, last = self.of(scheme)
            ends.append(
                f"{scheme}: strength {100 * first.strength.estimate:.0f}% to {100 * last.strength.estimate:.0f}%, "
                f"accuracy {100 * first.accuracy.estimate:.0f}% to {100 * last.accuracy.estimate:.0f}%"
            )
        doses = [point.dose for point in self.points]
        return (
            f"Mark strength and test accuracy against {self.option} of {self.attack}, from {min(doses):g} to "
            f"{max(doses):g}. {'; '.join(ends)}."
        )

    def numbers(self) -> dict[str, Any]:
        """Return all points as plain numbers and text."""
        points = [
            {
                "scheme": p.scheme,
                "seed": p.seed,
                "dose": p.dose,
                "strength": as_json(p.strength),
                "accuracy": as_json(p.accuracy),
            }
            for p in self.points
        ]
        return {
            "attack": self.attack,
            "option": self.option,
            "doses of the matrix": list(self.usual),
            "source": self.source,
            "profile": self.profile,
            "points": points,
        }

    def summary(self) -> str:
        """Return one line: what was varied, and where it comes from."""
        return f"{self.option} of {self.attack} ({self.note})"


def doses(
    marked: Sequence[MarkedModel],
    attack: str,
    option: str,
    values: Sequence[float],
    data: Dataset,
    *,
    records: int = 2000,
) -> Doses:
    """Attack marked models with several doses, and measure what each leaves.

    Parameters
    ----------
    marked : sequence of MarkedModel
        One of each scheme.
    attack : str
        A key of `labkit.watermark.attacks.removal.REMOVALS`.
    option : str
        A number that the attack's own function takes, such as ``share`` of "prune".
    values : sequence of float
        At least two.
    data : Dataset
        The attacker's train records; accuracy is measured on the first ``records`` test records.

    Raises
    ------
    ValueError
        If the attack has no such option, or there are fewer than two values.
    """
    parameters = inspect.signature(removal.REMOVALS[attack].run).parameters
    if option not in parameters or len(values) < 2:
        raise ValueError(
            f"got option {option!r} of {attack!r} and {len(values)} values; expected one of {', '.join(parameters)}, "
            "and at least two values"
        )
    points = tuple(
        _point(mark, attack, {option: float(value)}, data, records) for mark in marked for value in values
    )
    usual = tuple(dose[option] for dose in removal.REMOVALS[attack].doses if option in dose)
    return Doses(attack, option, usual, points, data.source, profiles.current().name)


def _point(mark: MarkedModel, attack: str, dose: dict[str, float], data: Dataset, records: int) -> Point:
    def measure() -> Point:
        model = removal.remove(attack, mark.model, data, seed=mark.seed, **dose)
        hit = matrix.hits(mark, model)
        right = verify.answers(model, data.test_x[:records]) == data.test_y[:records].numpy()
        (value,) = dose.values()
        shares = (stats.clopper_pearson(int(found.sum()), len(found)) for found in (hit, right))
        return Point(mark.scheme, mark.seed, value, *shares)

    plan = Plan({attack: dose}, {}, "float32")
    settings: dict[str, Any] = {
        "cell": attack_key(Job(mark, attack, 0), plan, data),
        "asked": matrix.asked_of(mark),
        "records": records,
    }
    return cache.cached("doses", settings, measure, code=[_point])
