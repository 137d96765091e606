"""Drawings of labs 04 to 06: the gap in the losses, shadow models in and out, coins and guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import audit, membership, plots
from labkit.course.drawings import canvas
from labkit.course.drawings.canvas import BIG, BLUE, GREEN, INK, QUIET, RED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def loss_gap(seed: int = 0) -> Figure:
    """Return made-up losses of members and of others on a log scale, cut by one threshold."""
    rng = np.random.default_rng(seed)
    members = np.exp(rng.normal(-2.2, 1.0, 4000))
    others = np.exp(rng.normal(-1.0, 1.2, 4000))
    edges = np.geomspace(0.002, 12, 55)
    threshold = edges[25]
    fig, ax = canvas.panels(3.5)
    for losses, colour, hatch in ((others, RED, ""), (members, BLUE, "///")):
        options = {"bins": edges, "color": colour, "linewidth": 1.8}
        ax.hist(losses, histtype="step", **options)
        ax.hist(losses[losses <= threshold], alpha=0.25, hatch=hatch, edgecolor=colour, **options)
    top = ax.get_ylim()[1]
    ax.set_ylim(0, top * 1.15)
    ax.axvline(threshold, color=INK, linewidth=1.8)
    ax.text(threshold * 0.93, top * 1.05, "← called members", ha="right", fontsize=BIG)
    caught, alarms = (np.mean(losses <= threshold) for losses in (members, others))
    ax.text(0.0022, top * 0.72, f"{caught:.0%} of the members", color=canvas.TEXT[BLUE], fontsize=BIG)
    ax.text(
        0.0022,
        top * 0.58,
        f"{alarms:.0%} of the others:\nfalse alarms",
        color=canvas.TEXT[RED],
        fontsize=BIG,
        va="top",
    )
    ax.text(1.3, top * 0.72, "others:\nlarger losses", color=canvas.TEXT[RED], fontsize=BIG)
    ax.set(xscale="log", yticks=[], ylabel="records")
    ax.set_xlabel("loss of a record (made-up numbers)", fontsize=SMALL)
    ax.yaxis.label.set_size(SMALL)
    ax.xaxis.set_major_formatter("{x:g}")
    alt = (
        "Two overlapping histograms of losses. Those of members lie further left. A vertical threshold calls all on its "
        f"left members: that catches {caught:.0%} of the members and, wrongly, {alarms:.0%} of the others."
    )
    return plots.describe(fig, alt)


def in_and_out(seed: int = 10) -> Figure:
    """Return who trains which shadow model, and the two bells that one record's confidences make."""
    rng = np.random.default_rng(seed)
    masks = membership.balanced_masks(16, 12, seed=seed)
    record = 4
    centres, deviation, seen = {True: 2.8, False: 0.4}, 1.0, 1.5
    confidences = np.array([rng.normal(centres[bool(inside)], deviation) for inside in masks[:, record]])
    fig, (left, right) = canvas.panels(3.8, ncols=2, width_ratios=(1, 1.5))
    _grid(left, masks, record)
    x = np.linspace(-3.2, 6.6, 400)
    heights = {}
    for inside, colour, line in ((True, BLUE, "-"), (False, RED, "--")):
        values = confidences[masks[:, record] == inside]
        mean, spread = values.mean(), values.std(ddof=1)

        def bell(at: np.ndarray, mean: float = mean, spread: float = spread) -> np.ndarray:
            return np.exp(-(((at - mean) / spread) ** 2) / 2) / spread / np.sqrt(2 * np.pi)

        right.plot(x, bell(x), color=colour, linestyle=line)
        right.scatter(values, np.full(len(values), -0.025), s=34, color=colour, marker="o" if inside else "x")
        heights[inside] = bell(np.array(seen))
        right.text(
            mean,
            bell(np.array(mean)) * 1.04,
            "in" if inside else "out",
            color=canvas.TEXT[colour],
            fontsize=BIG,
            ha="center",
        )
    right.axvline(seen, color=INK, linewidth=1.8, ymax=0.86)
    top = right.get_ylim()[1]
    right.set_ylim(-0.06, top * 1.22)
    ratio = heights[True] / heights[False]
    right.text(
        seen + 0.15,
        top * 1.08,
        f"the target says this: {ratio:.2g} × likelier in",
        fontsize=SMALL,
        ha="center",
    )
    right.set(yticks=[], xlim=(x[0], x[-1]))
    right.set_xlabel("confidence of a model on it (logit, made-up numbers)", fontsize=SMALL)
    canvas.title(right, "… makes two bells")
    alt = (
        "Left, a table of 16 shadow models and 12 records, filled where the model was trained on the record; one column is "
        "framed. Right, that record's confidences: one bell for models that saw it, one for the rest, and the target's "
        f"value, which is {ratio:.2g} times likelier under the first."
    )
    return plots.describe(fig, alt)


def _grid(ax: Axes, masks: np.ndarray, record: int) -> None:
    """Draw who trains which shadow model, one record framed."""
    from matplotlib.patches import Rectangle

    models, records = masks.shape
    for model in range(models):
        kinds = ["yes" if inside else "no" for inside in masks[model]]
        for column, kind in enumerate(kinds):
            canvas.marks(ax, column, [model], [kind], size=34)
    ax.add_patch(Rectangle((record - 0.5, -0.6), 1, models + 0.2, fill=False, edgecolor=INK, linewidth=2))
    ax.set(xlim=(-0.8, records - 0.2), ylim=(models - 0.2, -0.8), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_xlabel("records (● trained on)", fontsize=SMALL)
    ax.set_ylabel("shadow models", fontsize=SMALL)
    canvas.title(ax, "In or out, by coin …")


def coins_and_guesses(seed: int = 4) -> Figure:
    """Return canaries with their coins, scores, guesses at both ends, and the bound that the right ones prove."""
    rng = np.random.default_rng(seed)
    coins = rng.permutation(np.arange(20) < 10)
    order = np.argsort(-(rng.normal(size=20) + 2.4 * coins))
    coins, sure = coins[order], 6
    guesses = np.array([1] * sure + [-1] * (20 - 2 * sure) + [0] * sure)  # -1 abstains
    right = (guesses == coins) & (guesses >= 0)
    count, asked = int(right.sum()), 2 * sure
    bound = audit.one_run_epsilon(count, asked)
    fig, ax = canvas.panels(3.3)
    canvas.blank(ax, 24, 8.4)
    for name, y in (("coin", 6.2), ("guess", 4.3), ("right?", 2.7)):
        canvas.note(ax, 0.2, y, name, ha="left", fontsize=BIG)
    for i, (coin, guess) in enumerate(zip(coins, guesses, strict=True)):
        x = 4.0 + i
        canvas.marks(ax, x, [6.2], ["yes" if coin else "no"], size=120)
        canvas.note(ax, x, 4.3, {1: "in", 0: "out", -1: "·"}[int(guess)], INK if guess >= 0 else QUIET)
        if guess >= 0:
            canvas.note(ax, x, 2.7, "✓" if right[i] else "✗", GREEN if right[i] else RED, fontsize=BIG + 2)
    canvas.note(ax, 3.6, 7.7, "canaries: ● was in, ○ was out", ha="left", fontsize=BIG)
    canvas.note(ax, 18.2, 7.7, "score falls", QUIET, ha="right", fontsize=BIG)
    canvas.arrow(ax, (18.6, 7.7), (23.3, 7.7), QUIET)
    canvas.note(ax, 13.5, 3.0, "no guess:\nnot sure", QUIET)
    text = f"{count} of {asked} guesses right   →   ε is at least {bound:.2f}, with 95% confidence"
    canvas.note(ax, 13.0, 0.8, text, fontsize=BIG)
    alt = (
        "Twenty canaries in the order of their scores. A coin had put each in or out. The six highest are guessed in, the "
        f"six lowest out, the rest not at all; {count} of {asked} guesses are right, which proves ε of at least {bound:.2f}."
    )
    return plots.describe(fig, alt)
