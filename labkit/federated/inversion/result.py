"""What an attack on updates got, beside what a guess gets and what the guarantee allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.results import Result
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE, PSNR = "share", "PSNR, dB"


@dataclass(frozen=True)
class Leakage(Result):
    """One attack on one kind of observation.

    Attributes
    ----------
    attack, adversary, knowledge : str
        What was done, by whom, and what that party knows.
    observed : str
        What the server saw: one update, a sum of k hospitals, with which noise.
    label : str
        `observed` in a few words, for figures.
    unit : {"share", "PSNR, dB"}
        Of `value`, `control` and `bound`. More is worse in both.
    measure : str
        What `value` is.
    value : Interval
    interval_of : str
        What the interval is an interval of.
    control : float
        The same measure for a guess that does not look at the update.
    control_is : str
    privacy : str
        The privacy statement of what was observed, with its unit, or why there is none.
    bound : float, optional
        Largest value that the privacy statement allows *any* attacker; None where there is no guarantee.
    source, profile : str
    seeds : tuple of int
    """

    attack: str
    adversary: str
    knowledge: str
    observed: str
    label: str
    unit: str
    measure: str
    value: Interval
    interval_of: str
    control: float
    control_is: str
    privacy: str
    source: str
    profile: str
    seeds: tuple[int, ...]
    bound: float | None = None

    def numbers(self) -> dict[str, Any]:
        names = ("attack", "adversary", "knowledge", "observed", "measure", "unit")
        texts = {name: getattr(self, name) for name in names}
        return texts | {
            "value": self.value.estimate,
            "low": self.value.low,
            "high": self.value.high,
            "interval": f"{self.value.confidence:.0%} {self.value.method}, of {self.interval_of}",
            "control": self.control,
            "control is": self.control_is,
            "bound": self.bound,
            "privacy": self.privacy,
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
        }

    def shown(self) -> str:
        """Return the value as people read it: a percentage or dB, with its interval."""
        if self.unit == RATE:
            return self.value.percent(1)
        return f"{self.value.estimate:.1f} dB [{self.value.low:.1f}, {self.value.high:.1f}]"

    def summary(self) -> str:
        allowed = "" if self.bound is None else f", any attacker at most {_figure(self.bound, self.unit)}"
        return (
            f"{self.attack} on {self.observed}: {self.measure} {self.shown()} ({self.interval_of}); "
            f"{self.control_is} {_figure(self.control, self.unit)}{allowed}; {self.privacy}; "
            f"{self.source}, {self.profile}, seeds {', '.join(map(str, self.seeds))}"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the value, its interval, the control and the bound."""
        return _bars([self], self.unit, ax)


@dataclass(frozen=True)
class Study(Result):
    """Several attacks side by side: the defences from none to differential privacy.

    Attributes
    ----------
    leakages : tuple of Leakage
    """

    leakages: tuple[Leakage, ...]

    def numbers(self) -> dict[str, Any]:
        return {"leakages": [each.numbers() for each in self.leakages]}

    def summary(self) -> str:
        sources = dict.fromkeys(each.source for each in self.leakages)
        statements = dict.fromkeys(each.privacy for each in self.leakages if each.bound is not None)
        return (
            f"{len(self.leakages)} attacks on updates; {' and '.join(sources)}; profile {self.leakages[0].profile}; "
            + ("; ".join(statements) or "no privacy guarantee")
        )

    def select(self, *, attack: str = "", observed: str = "", measure: str = "") -> tuple[Leakage, ...]:
        """Return those whose texts contain what is given."""
        return tuple(
            each
            for each in self.leakages
            if attack in each.attack and observed in each.observed and measure in each.measure
        )

    def table(self) -> pd.DataFrame:
        """Return one row an attack; adversary, knowledge and statements in full are in `numbers`."""
        import pandas as pd

        rows = [
            {
                "observed": each.observed,
                "attack": each.attack,
                "measure": each.measure,
                "value [95%]": each.shown(),
                "interval of": each.interval_of,
                "guess": _figure(each.control, each.unit),
                "any attacker at most": "no bound" if each.bound is None else _figure(each.bound, each.unit),
                "adversary": each.adversary,
                "source": each.source,
                "profile": each.profile,
                "seeds": ", ".join(map(str, each.seeds)),
            }
            for each in self.leakages
        ]
        return pd.DataFrame(rows).set_index(["observed", "attack"])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw all shares, or on two axes shares and PSNR where there are both (``ax`` then takes the shares)."""
        from labkit import plots

        # Explained variance is no rate of success: it stays in the table.
        shares = [each for each in self.leakages if each.unit == RATE and "variance" not in each.measure]
        pictures = [each for each in self.leakages if each.unit == PSNR]
        if ax is not None or not pictures:
            return _bars(shares, RATE, ax)
        if not shares:
            return _bars(pictures, PSNR, None)
        fig, axes = plots.figure(
            9.0,
            0.24 * len(shares + pictures) + 2.2,
            nrows=2,
            gridspec_kw={"height_ratios": [len(shares) + 1, len(pictures) + 1]},
        )
        one, two = _bars(shares, RATE, axes[0]).alt_text, _bars(pictures, PSNR, axes[1]).alt_text
        return plots.describe(fig, f"{one} {two}")


def _figure(value: float, unit: str) -> str:
    if unit == PSNR:
        return f"{value:.1f} dB"
    if 0 < value < 1e-6:
        return "< 1e-6"
    return f"{value:.1%}" if value == 0 or value >= 1e-3 else f"{value:.1e}"


def _bars(leakages: Sequence[Leakage], unit: str, ax: Axes | None) -> Figure:
    """Draw one line an attack: interval and estimate, the guess as a tick, the bound as a cap."""
    from labkit import plots

    if ax is None:
        _, ax = plots.figure(9.0, 0.24 * len(leakages) + 1.4)
    fig = ax.figure
    for height, each in enumerate(leakages):
        value = each.value
        low, high = (max(value.low, 0.0), min(value.high, 1.0 if unit == RATE else 110.0))
        ax.plot([low, high], [height] * 2, "-", color=plots.COLOURS[0], linewidth=2.5)
        ax.plot(value.estimate, height, "o", color=plots.COLOURS[0], label="attack" if not height else None)
        ax.plot(each.control, height, "|", color="black", markersize=11, label=None if height else "guess")
    bounded = [(each.bound, height) for height, each in enumerate(leakages) if each.bound is not None]
    if bounded:
        ax.plot(*zip(*bounded, strict=True), "x", color=plots.COLOURS[1], label="any attacker at most")
    labels = [f"{each.label}: {each.attack}" for each in leakages]
    ax.set_yticks(range(len(leakages)), labels, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(
        "success rate (95% intervals; what counts as success: see the table)"
        if unit == RATE
        else "PSNR, dB (95% intervals)"
    )
    source = " and ".join(dict.fromkeys(each.source for each in leakages))
    ax.set_title(f"{source}, profile {leakages[0].profile}", fontsize=9)
    ax.legend(loc="upper center", bbox_to_anchor=(0.2, -0.12 - 1.2 / len(leakages)), ncols=3)
    said = "; ".join(
        f"{each.attack} on {each.observed}, {each.measure} {each.shown()}, guess {_figure(each.control, unit)}"
        for each in leakages
    )
    return plots.describe(fig, f"Intervals, one an attack, on {source}: {said}.")
