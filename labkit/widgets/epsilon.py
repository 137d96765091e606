"""How much noise buys how much privacy: ε against the noise multiplier, by every accountant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.dp.accounting import accountants
from labkit.dp.accounting.events import NotAccountable, SampledGaussian
from labkit.dp.limits import check_delta
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

NOISE = tuple(float(x) for x in np.geomspace(0.6, 8.0, 10))

# (sample rate, steps); the first three are the runs of Opacus's MNIST example, 240 of 60,000 records a batch.
PRESETS = {
    "Opacus MNIST, 15 epochs": (1 / 250, 3750),
    "Opacus MNIST, 45 epochs": (1 / 250, 11250),
    "Opacus MNIST, 60 epochs": (1 / 250, 15000),
    "large batches, few steps": (0.1, 200),
    "every record at every step": (1.0, 50),
}
OWN = "your own"  # what the menu of presets says once the sliders have left all of them
SAMPLE_RATES = (0.001, 0.002, 1 / 250, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
STEPS = (1, 10, 50, 200, 1000, 3750, 11250, 15000, 50000)
DELTAS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)


@lru_cache(maxsize=64)
def epsilon_values(
    sample_rate: float, steps: int, delta: float, noise_multipliers: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """ε by accountant at each noise multiplier; NaN where an accountant has no answer.

    PLD on a coarse grid (errs upwards, by less than a line's width) and PRV at every third point keep a slider's
    answer to a second or two. A `PrivacyStatement` computes each figure with care.

    Returns
    -------
    dict of arrays, shape [len(noise_multipliers)]
        Keys PLD, PRV, RDP and GDP.
    """
    check_delta(delta)
    events = [SampledGaussian(noise, steps, sample_rate) for noise in noise_multipliers]

    def by_pld(event: SampledGaussian) -> float:
        rough = accountants.rdp_epsilon([event], delta)
        grid = accountants.pld([event], "add/remove", max(2e-4, rough / 5000))
        return grid.get_epsilon_for_delta(delta)

    def by_gdp(event: SampledGaussian) -> float:
        return accountants.gdp_epsilon(event.noise_multiplier, steps, sample_rate, delta=delta)

    values = {
        "PLD": [_or_nan(by_pld, event) for event in events],
        "PRV": [
            _or_nan(lambda e: accountants.prv_epsilon((e,), delta), event) if i % 3 == 1 else math.nan
            for i, event in enumerate(events)
        ],
        "RDP": [accountants.rdp_epsilon([event], delta) for event in events],
        "GDP": [_or_nan(by_gdp, event) for event in events],
    }
    return {name: np.array(column) for name, column in values.items()}


def _or_nan(accountant: Callable[[SampledGaussian], float], event: SampledGaussian) -> float:
    try:
        return float(accountant(event))
    except (
        NotAccountable,
        ValueError,
        OverflowError,
    ):  # the last two from GDP, whose root lies beyond its bracket
        return math.nan


def epsilon_curves(
    sample_rate: float, steps: int, delta: float, noise_multipliers: Sequence[float] = NOISE
) -> Figure:
    """Draw ε against the noise multiplier by PLD, PRV and RDP, and by GDP for comparison.

    Parameters
    ----------
    sample_rate : float
        q of Poisson sampling, in (0, 1].
    steps : int
    delta : float
    noise_multipliers : sequence of float, shape [k]
        Noise standard deviation / clipping norm.

    Raises
    ------
    ValueError
        For a setting outside its range, or no noise multiplier at all.
    """
    noise = tuple(sorted(float(x) for x in noise_multipliers))
    if not noise:
        raise ValueError("noise_multipliers is empty: expected at least one, such as [0.7, 1.0, 1.3]")
    values = epsilon_values(sample_rate, steps, delta, noise)
    lines = {
        "PLD": {"label": "PLD (tight)", "color": plots.COLOURS[0], "linestyle": "-"},
        "PRV": {"label": "PRV (tight, upper end of ±0.01)", "color": plots.COLOURS[2], "marker": "o"},
        "RDP": {"label": "RDP (looser bound)", "color": plots.COLOURS[1], "linestyle": "-."},
        "GDP": {"label": gdp_label(values), "color": plots.COLOURS[3], "linestyle": "--"},
    }
    lines["PRV"] |= {"linestyle": "none", "markerfacecolor": "none"}
    fig, (left, right) = plots.figure(9.0, 4.2, ncols=2)
    for name, style in lines.items():
        left.plot(noise, values[name], **style)
        right.plot(noise, values[name] / values["PLD"], **style)
    left.set(xscale="log", yscale="log", xlabel="noise multiplier σ", ylabel=f"ε at δ = {delta:g}")
    right.set(xscale="log", ylim=(0.6, 1.4), xlabel="noise multiplier σ", ylabel="ε relative to PLD")
    _plain_ticks(left.xaxis, left.yaxis, right.xaxis)
    fig.suptitle(
        f"Poisson q = {sample_rate:.3g}, {steps} step{'s' if steps != 1 else ''}, add/remove", fontsize=11
    )
    fig.legend(handles=left.get_lines(), loc="outside lower center", ncols=2, frameon=False)
    return plots.describe(fig, _alt(noise, values, sample_rate, steps, delta))


def gdp_label(values: dict[str, np.ndarray]) -> str:
    """What GDP does here: it is a limit, not a bound, and mostly (not always) lies below the truth."""
    return "GDP (under-reports)" if np.any(values["GDP"] < 0.995 * values["PLD"]) else "GDP (no bound)"


def _plain_ticks(*axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _alt(
    noise: tuple[float, ...], values: dict[str, np.ndarray], sample_rate: float, steps: int, delta: float
) -> str:
    at = [0, len(noise) // 2, -1]
    points = ", ".join(
        f"{values['PLD'][i]:.3g} (PLD), {values['RDP'][i]:.3g} (RDP) and {values['GDP'][i]:.3g} (GDP) at {noise[i]:.2g}"
        for i in dict.fromkeys(at[: len(noise)])
    )
    return (
        f"Epsilon against the noise multiplier for Poisson sampling at rate {sample_rate:.3g}, {steps} steps, delta "
        f"{delta:g}. All curves fall as noise grows: {points}. PRV lies on PLD or up to 0.01 above. "
        "A second panel shows each curve divided by PLD."
    )


def epsilon_explorer() -> ipywidgets.Widget:
    """Return sliders for sample rate, steps and δ around `epsilon_curves`, with presets."""
    import ipywidgets

    def slider(options: Sequence[float], value: float, description: str) -> ipywidgets.SelectionSlider:
        return ipywidgets.SelectionSlider(
            options=[(f"{option:.3g}" if option < 1000 else f"{option}", option) for option in options],
            value=value,
            description=description,
            continuous_update=False,
            style={"description_width": "10em"},
            layout={"width": "32em"},
        )

    preset = ipywidgets.Dropdown(
        options=[*PRESETS, OWN],
        description="preset",
        style={"description_width": "10em"},
        layout={"width": "27em"},
    )
    rate, steps = PRESETS[preset.value]
    sliders = {
        "sample_rate": slider(SAMPLE_RATES, rate, "sample rate q"),
        "steps": slider(STEPS, steps, "steps"),
        "delta": slider(DELTAS, 1e-5, "δ"),
    }
    picture = live.Picture()
    loading = False

    def redraw() -> None:
        picture.draw(lambda: plots.show(epsilon_curves(**{name: s.value for name, s in sliders.items()})))

    def load(change: dict[str, Any]) -> None:
        nonlocal loading
        if loading or change["new"] == OWN:
            return
        loading = True  # a preset moves two sliders, and draws once
        sliders["sample_rate"].value, sliders["steps"].value = PRESETS[change["new"]]
        loading = False
        redraw()

    def moved(_: dict[str, Any]) -> None:
        nonlocal loading
        if loading:
            return
        at = (sliders["sample_rate"].value, sliders["steps"].value)
        loading = True
        preset.value = next((name for name, place in PRESETS.items() if place == at), OWN)
        loading = False
        redraw()

    preset.observe(load, "value")
    for one in sliders.values():
        one.observe(moved, "value")
    redraw()
    return ipywidgets.VBox([preset, *sliders.values(), picture.widget])
