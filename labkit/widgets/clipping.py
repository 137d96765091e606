"""What a private learner sees of its gradients: what clipping bends, and what noise hides."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

SOURCE = "softmax regression on 600 synthetic digits, half trained"


@lru_cache(maxsize=1)
def example_gradients() -> np.ndarray:
    """Return per-sample gradients to explore, shape [600, 7850]: `SOURCE`. The digits are drawn by code, so are public."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    from labkit import data, models
    from labkit.dp.training.gradients import per_sample_gradients

    x, y = data.strokes(600, seed=11)
    model = models.logistic_regression(784)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return torch.cat([g.flatten(1) for g in per_sample_gradients(model, x, y)[0].values()], dim=1).numpy()


def clipping_errors(
    gradients: np.ndarray,
    max_grad_norms: np.ndarray,
    *,
    noise_multiplier: float,
    expected_batch_size: float,
    steps: int,
) -> dict[str, np.ndarray]:
    """Return how far clipping and noise turn ``steps`` averaged steps away from the true mean gradient.

    Both errors are measured against the *signal*, the part of the clipped mean that points along the true mean: a
    learning rate can undo a shorter step, but not a turned one. Noise averages out over steps; bias does not.

    Parameters
    ----------
    gradients : array, shape [n, d]
        Per-sample gradients; their mean is the truth.
    max_grad_norms : array, shape [k]
        Clipping norms C.
    noise_multiplier : float
        Noise standard deviation over C.
    expected_batch_size : float
        Divisor of the noisy sum.
    steps : int
        Steps over which the noise averages out, as long as the gradients stay as they are.

    Returns
    -------
    dict of arrays, shape [k]
        ``bias``: the clipped mean's part across the true mean. ``noise``: expected length of the noise. ``total``: both
        together (root of the sum of squares). ``clipped``: share of records that are clipped, in [0, 1].

    Raises
    ------
    ValueError
        If there are no gradients, their mean is zero, or a setting is not positive.
    """
    gradients, norms = np.asarray(gradients, float), np.atleast_1d(np.asarray(max_grad_norms, float))
    if gradients.ndim != 2 or not len(gradients) or not np.linalg.norm(gradients.mean(0)) > 0:
        raise ValueError(
            f"gradients have shape {gradients.shape}; expected [n, d] with a mean that is not zero"
        )
    if not ((norms > 0).all() and noise_multiplier >= 0 and expected_batch_size > 0 and steps >= 1):
        raise ValueError(
            f"got C from {norms.min():g}, noise_multiplier={noise_multiplier}, expected_batch_size={expected_batch_size}, "
            f"steps={steps}; expected C and batch size above 0, noise of at least 0, and a step or more"
        )
    lengths = np.linalg.norm(gradients, axis=1)
    truth = gradients.mean(0) / np.linalg.norm(gradients.mean(0))
    means = np.stack(
        [np.minimum(1, c / np.maximum(lengths, 1e-12)) @ gradients / len(gradients) for c in norms]
    )
    signal = means @ truth
    bias = np.linalg.norm(means - signal[:, None] * truth, axis=1) / signal
    noise = noise_multiplier * norms * np.sqrt(gradients.shape[1] / steps) / expected_batch_size / signal
    clipped = (lengths > norms[:, None]).mean(1)
    return {"bias": bias, "noise": noise, "total": np.hypot(bias, noise), "clipped": clipped}


def clipping_figure(
    gradients: np.ndarray,
    *,
    max_grad_norm: float,
    noise_multiplier: float,
    expected_batch_size: float,
    steps: int,
    source: str = "",
) -> Figure:
    """Draw the norms with the clipping norm in them, and the errors for every other clipping norm.

    Parameters
    ----------
    gradients : array, shape [n, d]
    max_grad_norm, noise_multiplier, expected_batch_size, steps : float
        The choice to mark; see `clipping_errors`.
    source : str
        Where the gradients came from, for the title.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    lengths = np.linalg.norm(gradients, axis=1)
    grid = np.geomspace(max(lengths.min(), lengths.max() / 1e3) / 3, 2 * lengths.max(), 60)
    settings = {
        "noise_multiplier": noise_multiplier,
        "expected_batch_size": expected_batch_size,
        "steps": steps,
    }
    curves = clipping_errors(gradients, grid, **settings)
    here = {
        name: v[0] for name, v in clipping_errors(gradients, np.array([max_grad_norm]), **settings).items()
    }
    fig, (left, right) = plots.figure(9.2, 3.7, ncols=2)
    left.hist(lengths, bins=40, color=plots.COLOURS[4])
    left.axvline(max_grad_norm, color=plots.COLOURS[1], linestyle="--", label=f"C = {max_grad_norm:g}")
    left.set(xlabel="norm of one record's gradient", ylabel="records")
    left.set_title(f"{100 * here['clipped']:.0f}% of the records are clipped")
    left.legend()
    labels = {"bias": "bias of clipping", "noise": "noise", "total": "both"}
    for (name, label), colour, line in zip(labels.items(), plots.COLOURS, plots.LINES, strict=False):
        right.plot(grid, curves[name], label=label, color=colour, linestyle=line)
    right.plot(max_grad_norm, here["total"], "o", color="black", label="your choice")
    right.set(xscale="log", yscale="log", xlabel="clipping norm C", ylabel="error / signal")
    right.set_ylim(0.3 * curves["total"].min(), 1.5 * curves["total"].max())
    right.set_title(f"σ = {noise_multiplier:g}, expected batch {expected_batch_size:g}, {steps} steps")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    right.legend()
    if source:
        fig.suptitle(source, fontsize=9)
    best = grid[curves["total"].argmin()]
    return plots.describe(
        fig,
        f"Left: histogram of {len(lengths)} gradient norms from {lengths.min():.2g} to {lengths.max():.2g}; at C = "
        f"{max_grad_norm:g}, {100 * here['clipped']:.0f}% are clipped. Right: error relative to the signal "
        f"against C. The bias of clipping falls and the noise grows with C; at this choice they are {here['bias']:.2g} and "
        f"{here['noise']:.2g}. The least total is at C = {best:.2g}.",
    )


def clipping_explorer(gradients: np.ndarray | None = None, *, source: str = "") -> ipywidgets.Widget:
    """Return sliders for clipping norm, noise and batch size around `clipping_figure`.

    Parameters
    ----------
    gradients : array, shape [n, d], optional
        Per-sample gradients; `example_gradients` when left out.
    source : str
        Where they came from.
    """
    import ipywidgets

    if gradients is None:
        gradients, source = example_gradients(), SOURCE
    gradients = np.asarray(gradients)
    middle = float(np.median(np.linalg.norm(gradients, axis=1)))
    norms = [float(f"{middle * factor:.2g}") for factor in (0.01, 0.03, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 4)]

    def slider(options: list[float], value: float, description: str) -> Any:
        return ipywidgets.SelectionSlider(
            options=options,
            value=value,
            description=description,
            continuous_update=False,
            style={"description_width": "10em"},
            layout={"width": "32em"},
        )

    sliders = {
        "max_grad_norm": slider(norms, norms[6], "clipping norm C"),
        "noise_multiplier": slider([0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0], 1.0, "noise multiplier σ"),
        "expected_batch_size": slider([32, 64, 128, 256, 512, 1024, 4096], 256, "expected batch"),
        "steps": slider([1, 10, 100, 1000, 10_000], 100, "steps"),
    }

    def redraw(**settings: float) -> None:
        plots.show(clipping_figure(gradients, source=source, **settings))

    return ipywidgets.VBox([*sliders.values(), live.follow(redraw, sliders)])
