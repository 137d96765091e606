"""Sliders that train: noise, clipping, batch size and epochs, and where each choice lands on accuracy against ε."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import dp, models, plots
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.data import Dataset
    from labkit.dp.accounting.statement import PrivacyStatement
    from labkit.stats import Interval


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what came of it."""

    settings: dict[str, float]
    privacy: PrivacyStatement
    accuracy: Interval
    source: str


def try_settings(
    dataset: Dataset,
    *,
    noise_multiplier: float,
    max_grad_norm: float,
    expected_batch_size: int,
    epochs: int,
    seed: int = 0,
) -> Trial:
    """Train softmax regression on ``dataset`` privately and measure it on the dataset's test records.

    Parameters
    ----------
    dataset : Dataset
        Pass ``dataset.holdout(...)``: whoever moves sliders tunes, and must not tune on the test set.
    """
    settings = {
        "noise_multiplier": noise_multiplier,
        "max_grad_norm": max_grad_norm,
        "expected_batch_size": expected_batch_size,
        "epochs": epochs,
    }
    result = dp.train_private(
        models.logistic_regression(dataset.train_x[0].numel()),
        dataset,
        engine="linear",
        # Short of the bias of clipping, a step is as long as C: dividing by it keeps the learning rate comparable.
        learning_rate=4.0 / max_grad_norm,
        schedule="linear",
        seed=seed,
        **settings,
    )
    return Trial(settings, result.privacy, result.accuracy, result.source)


def trials_figure(trials: Sequence[Trial]) -> Figure:
    """Draw accuracy against ε for all trials, the last one filled, with its settings as the title.

    Raises
    ------
    ValueError
        If there are no trials.
    """
    if not trials:
        raise ValueError("there are no trials to draw: run try_settings first")
    fig, ax = plots.figure(6.8, 3.8)
    for trial in trials:
        last = trial is trials[-1]
        accuracy = trial.accuracy
        ax.errorbar(
            trial.privacy.epsilon,
            100 * accuracy.estimate,
            yerr=[[100 * (accuracy.estimate - accuracy.low)], [100 * (accuracy.high - accuracy.estimate)]],
            fmt="o" if last else "s",
            color=plots.COLOURS[1 if last else 0],
            markerfacecolor=plots.COLOURS[1] if last else "none",
            capsize=3,
        )
    last = trials[-1]
    plots.epsilon_axis(ax, f"ε (PLD, δ = {last.privacy.delta:g}, Poisson, add/remove)")
    ax.set_ylabel("validation accuracy (%), 95% interval")
    ax.set_title(f"{_caption(last)}\n{last.source}", fontsize=9)
    alt = (
        f"Validation accuracy against epsilon; trials so far: {len(trials)}; the last, {_caption(last)}, "
        f"reaches {last.accuracy.percent(1)} at epsilon {last.privacy.epsilon:.2f}."
    )
    return plots.describe(fig, alt)


def _caption(trial: Trial) -> str:
    s = trial.settings
    epochs = f"{s['epochs']:g} epoch{'s' if s['epochs'] != 1 else ''}"
    return (
        f"σ = {s['noise_multiplier']:g}, C = {s['max_grad_norm']:g}, expected batch {s['expected_batch_size']:g}, "
        f"{epochs}: ε = {trial.privacy.epsilon:.2f}, accuracy {100 * trial.accuracy.estimate:.1f}%"
    )


def training_explorer(dataset: Dataset) -> ipywidgets.Widget:
    """Return sliders that train softmax regression on ``dataset`` whenever one is let go.

    Parameters
    ----------
    dataset : Dataset
        With validation records in the place of the test set: ``dataset.holdout(...)``.
    """
    import ipywidgets

    def options(values: Sequence[float], value: float, description: str) -> dict[str, Any]:
        return {
            "options": values,
            "value": value,
            "description": description,
            "continuous_update": False,
            "style": {"description_width": "10em"},
            "layout": {"width": "32em"},
        }

    size = len(dataset.train_y)
    batches = [size // k for k in (1000, 300, 100, 30, 10)]
    sliders = {
        "noise_multiplier": ipywidgets.SelectionSlider(
            **options([0.5, 0.7, 1, 1.5, 2, 4, 8], 1, "noise multiplier σ")
        ),
        "max_grad_norm": ipywidgets.SelectionSlider(
            **options([0.01, 0.1, 0.3, 1, 3, 10, 30], 1, "clipping norm C")
        ),
        "expected_batch_size": ipywidgets.SelectionSlider(**options(batches, batches[2], "expected batch")),
        "epochs": ipywidgets.SelectionSlider(**options([1, 2, 4, 8], 1, "epochs")),
    }
    trials: list[Trial] = []

    def redraw(**settings: Any) -> None:
        trials.append(try_settings(dataset, **settings))
        plots.show(trials_figure(trials))

    return ipywidgets.VBox([*sliders.values(), live.follow(redraw, sliders)])
