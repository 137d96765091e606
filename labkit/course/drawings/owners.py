"""Drawings of labs 07 to 09: a mark on trial, where each attack touches a network, keys drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.course.drawings import canvas
from labkit.course.drawings.canvas import BIG, BLUE, GREEN, QUIET, RED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trigger_trial(queries: int = 40, rate: float = 0.1, hits: int = 11) -> Figure:
    """Return the way of a mark from owner to thief to judge, and how often an innocent would hit as often by luck."""
    from scipy.stats import binom

    fig, (left, right) = canvas.panels(4.0, ncols=2, width_ratios=(1.2, 1))
    canvas.blank(left, 10, 9)
    canvas.box(left, (2.2, 7.6), (4.0, 1.8), "owner: key\nmakes triggers", BLUE, fontsize=SMALL)
    canvas.box(left, (7.8, 7.6), (4.0, 1.8), "marked model", BLUE, fontsize=SMALL)
    canvas.box(left, (7.8, 4.5), (4.0, 1.8), "thief's copy", RED, fontsize=SMALL)
    canvas.box(left, (5.0, 1.3), (5.4, 1.6), "judge counts hits", GREEN, fontsize=SMALL)
    canvas.arrow(left, (4.25, 7.6), (5.75, 7.6), BLUE)
    canvas.arrow(left, (7.8, 6.65), (7.8, 5.45), RED)
    canvas.note(left, 7.5, 6.05, "answers, bought", RED, ha="right")
    canvas.arrow(left, (7.8, 3.55), (6.9, 2.15), RED)
    canvas.note(left, 7.9, 2.75, "its answers", RED, ha="left")
    canvas.arrow(left, (2.2, 6.65), (3.4, 2.15), BLUE)
    canvas.note(left, 2.45, 4.2, "triggers", BLUE, ha="right")
    counts = np.arange(15)
    chance = binom.pmf(counts, queries, rate)
    p_value = float(binom.sf(hits - 1, queries, rate))
    right.bar(counts, chance, color=[RED if k >= hits else QUIET for k in counts], width=0.8)
    right.axvline(hits, color=RED, linewidth=1.8, linestyle="--", ymax=0.55)
    top = float(chance.max())
    right.text(
        14.4,
        top * 0.72,
        f"the suspect: {hits}\np = {p_value:.1g}",
        color=canvas.TEXT[RED],
        fontsize=BIG,
        ha="right",
    )
    right.text(6.3, top * 1.0, "an innocent, by luck", color=QUIET, fontsize=BIG)
    right.set(yticks=[], xticks=range(0, 15, 2), ylim=(0, top * 1.15))
    right.set_xlabel(f"hits on {queries} triggers (made-up numbers)", fontsize=SMALL)
    canvas.title(right, "Could luck do that?")
    alt = (
        "Left, a key makes triggers and a marked model; a thief buys answers and trains a copy; a judge asks the copy the "
        f"triggers. Right, bars of how many of {queries} triggers an innocent model hits by luck, few at the {hits} hits "
        f"of the suspect: p = {p_value:.1g}."
    )
    return plots.describe(fig, alt)


def where_attacks_touch() -> Figure:
    """Return a network from input to answer, where marks sit below it, and where attacks reach it above it."""
    fig, ax = canvas.panels(4.2)
    canvas.blank(ax, 12, 6)
    stations = {"input": 1.1, "layers": 4.0, "last layer": 7.1, "answer": 10.4}
    for name, x in stations.items():
        canvas.box(ax, (x, 3.0), (2.0, 0.9), name, QUIET)
    for start, end in zip(list(stations.values())[:-1], list(stations.values())[1:], strict=True):
        canvas.arrow(ax, (start + 1.05, 3.0), (end - 1.05, 3.0), QUIET)
    reaching = {
        "blur, noise": (1.1,),
        "prune, round,\nfine-tune": (4.0, 7.1),
        "retrain\nthe last": (7.1,),
        "distil, extract:\na new network": (10.4,),
    }
    for (text, targets), x in zip(reaching.items(), (1.1, 4.0, 7.1, 10.4), strict=True):
        canvas.note(ax, x, 5.15, text, RED, fontsize=SMALL)
        for target in targets:
            canvas.arrow(ax, (x if target == x else x + 0.9, 4.65), (target - 0.35 * (target != x), 3.5), RED)
    sitting = {"odd inputs\n(patch)": 1.1, "signs of weights\n(bits)": 4.0, "features\n(entangled)": 7.1}
    for text, x in {**sitting, "sold answers\n(answers)": 10.4}.items():
        canvas.note(ax, x, 0.9, text, BLUE, fontsize=SMALL)
        canvas.arrow(ax, (x, 1.4), (x, 2.5), BLUE)
    canvas.note(ax, 0.1, 5.85, "attacks reach", RED, fontsize=BIG, ha="left")
    canvas.note(ax, 0.1, 0.2, "marks sit", BLUE, fontsize=BIG, ha="left")
    alt = (
        "A network as four boxes: input, layers, last layer, answer. Above, attacks point at what they touch: blur and "
        "noise at the input; pruning, rounding and fine-tuning at layers and last layer; retraining at the last layer; "
        "distillation and extraction at the answers. Below, marks sit in odd inputs, weights, features and sold answers."
    )
    return plots.describe(fig, alt)


def redrawn_keys(keys: int = 199, triggers: int = 60, seed: int = 0) -> Figure:
    """Return one suspect under its owner's key and under keys drawn anew, with the rank that is the p-value."""
    from labkit.watermark import Key

    rng = np.random.default_rng(seed)
    strangers, owner = rng.binomial(triggers, 0.1, keys), int(rng.binomial(triggers, 0.33))
    fig, (left, right) = canvas.panels(3.6, ncols=2, width_ratios=(1, 1.3))
    canvas.blank(left, 10, 10)
    rows = [("owner's key", "owner", owner, RED)]
    rows += [(f"new key {i + 1}", f"stranger {i}", int(strangers[i]), QUIET) for i in range(3)]
    for (name, phrase, hits, colour), y in zip(rows, (8.6, 6.1, 3.9, 1.7), strict=True):
        _pattern(left, Key.from_phrase(phrase).uniform("patch", (5, 5)) < 0.5, (0.3, y - 0.85), 1.7, colour)
        canvas.note(left, 2.6, y, name, colour, ha="left", fontsize=BIG)
        canvas.note(left, 9.8, y, f"{hits} hits", colour, ha="right", fontsize=BIG)
    canvas.title(left, f"One suspect, {keys + 1} keys")
    counts = np.arange(0, max(owner, strangers.max()) + 2)
    right.bar(counts, [(strangers == k).sum() for k in counts], color=QUIET, width=0.8)
    top = right.get_ylim()[1]
    right.axvline(owner, color=RED, linewidth=2.4, ymax=0.6)
    p_value = (1 + int((strangers >= owner).sum())) / (1 + keys)
    right.text(
        owner + 0.4,
        top * 0.72,
        f"owner's key\np = {p_value:.3f}",
        color=canvas.TEXT[RED],
        fontsize=BIG,
        ha="right",
    )
    right.text(counts[-1] * 0.42, top * 0.98, f"{keys} new keys", color=QUIET, fontsize=BIG)
    right.set(yticks=[], ylim=(0, top * 1.1), xlim=(-1, counts[-1]))
    right.set_xlabel(f"hits on {triggers} triggers (made-up suspect)", fontsize=SMALL)
    canvas.title(right, "Is the owner's key a stranger?")
    alt = (
        f"Left, four keyed patterns and the suspect's hits under each: the owner's {owner}, strangers fewer. Right, bars of "
        f"the hits under {keys} new keys, with the owner's key far to the right: p = {p_value:.3f}."
    )
    return plots.describe(fig, alt)


def _pattern(ax: Axes, bits: np.ndarray, corner: tuple[float, float], side: float, colour: str) -> None:
    """Draw a square of black and white pixels."""
    from matplotlib.patches import Rectangle

    cell = side / len(bits)
    for (i, j), bit in np.ndenumerate(bits):
        place = (corner[0] + j * cell * 0.75, corner[1] + i * cell)
        ax.add_patch(Rectangle(place, cell * 0.75, cell, color=colour if bit else "white", linewidth=0))
    ax.add_patch(Rectangle(corner, side * 0.75, side, fill=False, edgecolor=colour, linewidth=1.4))
