"""The robustness matrix as a picture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labkit.watermark.grid import Matrix, Pooled

FRAME = plots.COLOURS[1]
FRAMES = {"beaten": "-", "differ": "--", "costly": ":"}


def draw(matrix: Matrix) -> Figure:
    """Draw one cell a scheme and attack: the mark's mean strength (colour and number), change of accuracy, verdict.

    A frame says that the attack beat the mark, a dashed one that seeds differ, a dotted one that it cost too much; each
    cell says the same in a word, so that nothing hangs on colour.
    """
    from matplotlib.patches import Rectangle

    schemes, attacks = matrix.schemes, matrix.attacks
    cells = [[matrix.pooled(scheme, attack) for attack in attacks] for scheme in schemes]
    strength = np.array([[cell.strength.estimate for cell in row] for row in cells])
    width = max(7.6, 1.6 + 0.78 * len(attacks))
    fig, ax = plots.figure(width, 1.5 + 0.62 * len(schemes))
    # Cividis is read alike with and without colour blindness (Nunez et al. 2018).
    image = ax.imshow(100 * strength, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    ax.grid(False)
    for row, scheme in enumerate(cells):
        for column, cell in enumerate(scheme):
            light = strength[row, column] > 0.55
            change = round(-100 * cell.lost.estimate, 1) + 0.0  # no minus zero
            word = matrix.verdict(schemes[row], attacks[column])
            label = f"{100 * strength[row, column]:.0f}%\n{change:+.1f}\n{word}"
            colour = "black" if light else "white"
            ax.text(column, row, label, ha="center", va="center", fontsize=7.5, color=colour)
            if word in FRAMES:
                place, look = (column - 0.46, row - 0.46), {"edgecolor": FRAME, "lw": 2, "ls": FRAMES[word]}
                ax.add_patch(Rectangle(place, 0.92, 0.92, fill=False, **look))
    ax.set_xticks(range(len(attacks)), [name.replace(" ", "\n") for name in attacks], fontsize=8)
    ax.set_yticks(range(len(schemes)), schemes, fontsize=9)
    ax.tick_params(length=0)
    ax.set_title("What attacks leave of marks: strength, change of accuracy (points), verdict", fontsize=10)
    ax.set_xlabel(textwrap.fill(matrix.note, int(13 * width)), fontsize=8)
    fig.colorbar(image, ax=ax, label="mark strength (%)", fraction=0.03)
    return plots.describe(fig, _alt(matrix, cells))


def _alt(matrix: Matrix, cells: list[list[Pooled]]) -> str:
    rows = [
        f"{scheme}: "
        + ", ".join(
            f"{attack} {100 * cell.strength.estimate:.0f}% ({matrix.verdict(scheme, attack)})"
            for attack, cell in zip(matrix.attacks, row, strict=True)
        )
        for scheme, row in zip(matrix.schemes, cells, strict=True)
    ]
    return f"Heat map of mark strength by scheme and attack ({matrix.note}). " + "; ".join(rows) + "."
