"""The robustness matrix as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labkit.watermark.grid import Matrix, Pooled

FRAME = plots.COLOURS[1]


def draw(matrix: Matrix) -> Figure:
    """Draw one cell a scheme and attack: the mark's mean strength (colour and number), change of accuracy, verdict.

    A frame says that the attack beat the mark in most seeds, a dotted one that it cost too much; each cell says the
    same in a word, so that nothing hangs on colour.
    """
    from matplotlib.patches import Rectangle

    schemes, attacks = matrix.schemes, matrix.attacks
    cells = [[matrix.pooled(scheme, attack) for attack in attacks] for scheme in schemes]
    strength = np.array([[cell.strength.estimate for cell in row] for row in cells])
    fig, ax = plots.figure(1.6 + 0.78 * len(attacks), 1.5 + 0.62 * len(schemes))
    # Cividis is read alike with and without colour blindness (Nunez et al. 2018).
    image = ax.imshow(100 * strength, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    ax.grid(False)
    for row, scheme in enumerate(cells):
        for column, cell in enumerate(scheme):
            light = strength[row, column] > 0.55
            change = round(-100 * cell.lost.estimate, 1) + 0.0  # no minus zero
            label = f"{100 * strength[row, column]:.0f}%\n{change:+.1f}\n{_word(cell)}"
            colour = "black" if light else "white"
            ax.text(column, row, label, ha="center", va="center", fontsize=7.5, color=colour)
            if _word(cell) in ("beaten", "costly"):
                style = "-" if _word(cell) == "beaten" else ":"
                box = Rectangle(
                    (column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=FRAME, lw=2, ls=style
                )
                ax.add_patch(box)
    ax.set_xticks(range(len(attacks)), [name.replace(" ", "\n") for name in attacks], fontsize=8)
    ax.set_yticks(range(len(schemes)), schemes, fontsize=9)
    ax.tick_params(length=0)
    ax.set_title("What attacks leave of marks: strength, change of accuracy (points), verdict")
    ax.set_xlabel(matrix.note, fontsize=8)
    fig.colorbar(image, ax=ax, label="mark strength (%)", fraction=0.03)
    return plots.describe(fig, _alt(matrix, cells))


def _word(cell: Pooled) -> str:
    """Return the verdict over seeds: the mark holds, is beaten, or went together with the accuracy."""
    if 2 * cell.verified >= len(cell.cells):
        return "holds"
    return "beaten" if 2 * cell.beaten > len(cell.cells) else "costly"


def _alt(matrix: Matrix, cells: list[list[Pooled]]) -> str:
    rows = [
        f"{scheme}: "
        + ", ".join(
            f"{attack} {100 * cell.strength.estimate:.0f}% ({_word(cell)})"
            for attack, cell in zip(matrix.attacks, row, strict=True)
        )
        for scheme, row in zip(matrix.schemes, cells, strict=True)
    ]
    return f"Heat map of mark strength by scheme and attack ({matrix.note}). " + "; ".join(rows) + "."
