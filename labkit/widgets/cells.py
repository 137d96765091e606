"""One cell of the robustness matrix, opened: what an attack did to the marked models of one scheme, seed by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import plots
from labkit.stats import SUPPORTED, p_words
from labkit.watermark.robustness.cells import ALLOWED, NONE
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.watermark.robustness.matrix import Matrix

MARKERS = "osD^v"


def cell_picture(matrix: Matrix, scheme: str, attack: str) -> Figure:
    """Draw strength and accuracy before and after an attack's best dose, one line a seed, with 95% intervals.

    Parameters
    ----------
    matrix : Matrix
        See `labkit.watermark.robustness_matrix`. Nothing is attacked again.

    Raises
    ------
    ValueError
        If the matrix has no such cell.
    """
    before, after = matrix.pooled(scheme, NONE).cells, matrix.pooled(scheme, attack).cells
    fig, axes = plots.figure(8.4, 3.4, ncols=2)
    for ax, figure, label in zip(
        axes, ("strength", "accuracy"), ("mark strength (%)", "test accuracy (%)"), strict=True
    ):
        for row, (first, second) in enumerate(zip(before, after, strict=True)):
            values = [getattr(first, figure), getattr(second, figure)]
            ends = [
                [100 * (v.estimate - v.low) for v in values],
                [100 * (v.high - v.estimate) for v in values],
            ]
            at = [place + 0.06 * row for place in (0, 1)]
            marker, name = MARKERS[row % len(MARKERS)], f"seed {first.seed}, dose {second.dose + 1}"
            name += f", {p_words(second.p_value, SUPPORTED)}" if figure == "strength" else ""
            estimates = [100 * v.estimate for v in values]
            ax.errorbar(at, estimates, yerr=ends, marker=marker, capsize=3, label=name)
        ax.set_xticks([0, 1], ["marked", attack])
        ax.set(ylabel=label, ylim=(-3, 103), xlim=(-0.3, 1.5))
    floor = 100 * (min(cell.accuracy.estimate for cell in before) - ALLOWED)
    axes[1].axhline(floor, color="black", linestyle=":", linewidth=1, label="what may be lost")
    word = matrix.verdict(scheme, attack)
    axes[0].set_title(f"{scheme} under {attack}: {word}")
    axes[1].set_title(matrix.source, fontsize=9)
    for ax in axes:
        ax.legend(fontsize=8)
    said = "; ".join(
        f"seed {b.seed}: strength {b.strength.percent(0)} to {a.strength.percent(0)}, {p_words(a.p_value, SUPPORTED)}, accuracy "
        f"{b.accuracy.percent(1)} to {a.accuracy.percent(1)}"
        for b, a in zip(before, after, strict=True)
    )
    return plots.describe(fig, f"The {scheme} mark under {attack}: {word} ({matrix.note}). {said}.")


def cell_explorer(matrix: Matrix) -> ipywidgets.Widget:
    """Return two menus, for scheme and attack, around `cell_picture`."""
    import ipywidgets

    look = {"style": {"description_width": "6em"}, "layout": {"width": "20em"}}
    attacks = [attack for attack in matrix.attacks if attack != NONE]
    menus = {
        "scheme": ipywidgets.Dropdown(options=matrix.schemes, description="scheme", **look),
        "attack": ipywidgets.Dropdown(options=attacks, value=attacks[-1], description="attack", **look),
    }

    def redraw(scheme: str, attack: str) -> None:
        plots.show(cell_picture(matrix, scheme, attack))

    return ipywidgets.VBox([ipywidgets.HBox(list(menus.values())), live.follow(redraw, menus)])
