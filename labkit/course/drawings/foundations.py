"""Drawings of labs 00 to 03: how an exercise goes, two worlds, clip and noise, what is public and what is private."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.course.drawings import canvas
from labkit.course.drawings.canvas import BIG, BLUE, GREEN, INK, ORANGE, QUIET, RED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def exercise_loop() -> Figure:
    """Return the way of an exercise: stub, check, hints, and whose function runs below."""
    fig, ax = canvas.panels(3.0)
    canvas.blank(ax, 10, 3.4)
    canvas.box(ax, (1.25, 2.3), (2.2, 1.0), "you write\na function")
    canvas.box(ax, (4.3, 2.3), (1.7, 1.0), "check", QUIET)
    canvas.box(ax, (8.1, 2.95), (3.6, 0.72), "✓ Passed: yours runs below", GREEN, fontsize=SMALL)
    canvas.box(ax, (8.1, 2.05), (3.6, 0.72), "✗ Not yet: the likely cause", RED, fontsize=SMALL)
    canvas.box(ax, (8.1, 1.15), (3.6, 0.72), "○ Not attempted", QUIET, fontsize=SMALL)
    canvas.arrow(ax, (2.4, 2.3), (3.4, 2.3))
    for y in (2.95, 2.05, 1.15):
        canvas.arrow(ax, (5.2, 2.3), (6.25, y))
    canvas.box(
        ax, (3.85, 0.42), (4.4, 0.72), "hint 1: idea   2: step   3: nearly code", ORANGE, fontsize=SMALL
    )
    canvas.arrow(ax, (8.1, 0.77), (6.1, 0.42), bend=-0.25)
    canvas.arrow(ax, (1.6, 0.42), (1.1, 1.75), bend=-0.35)
    alt = (
        "A function goes into the check. Three ways lead out: passed, and yours runs below; not yet, with the likely "
        "cause; not attempted. From the last two, three hints lead back to the function."
    )
    return plots.describe(fig, alt)


def two_worlds(epsilon: float = 1.0) -> Figure:
    """Return Laplace outputs for two neighbouring tables, and the log of the ratio of their densities."""
    out = np.linspace(-5, 6, 600)

    def log_density(centre: float) -> np.ndarray:
        return np.log(epsilon / 2) - epsilon * np.abs(
            out - centre
        )  # sensitivity 1, so the scale is 1 / epsilon

    ratio = log_density(0.0) - log_density(1.0)
    fig, (left, right) = canvas.panels(3.5, ncols=2)
    for centre, colour, line, name in ((0, BLUE, "-", "without you"), (1, RED, "--", "with you")):
        density = np.exp(log_density(centre))
        left.plot(out, density, color=colour, linestyle=line)
        left.fill_between(out, density, color=colour, alpha=0.12, linewidth=0)
        side = "right" if centre == 0 else "left"
        left.annotate(
            name,
            (centre, density.max()),
            (centre + (-0.5 if centre == 0 else 0.5), density.max() * 0.95),
            ha=side,
            fontsize=BIG,
            color=canvas.TEXT[colour],
        )
    canvas.title(left, "What comes out, in two worlds")
    left.set(yticks=[], xlabel="noisy answer", ylabel="how likely")
    right.plot(out, ratio, color=INK)
    for sign in (1, -1):
        right.axhline(sign * epsilon, color=GREEN, linestyle=":")
    right.text(6, np.max(ratio) + 0.07, f"largest gap: ε = {np.max(ratio):.2f}", ha="right", fontsize=BIG)
    right.set(ylim=(-1.5 * epsilon, 1.5 * epsilon), xlabel="noisy answer", ylabel="log of the ratio")
    canvas.title(right, "How much one answer can tell")
    for ax in (left, right):
        ax.xaxis.label.set_size(SMALL)
        ax.yaxis.label.set_size(SMALL)
    alt = (
        "Left, two overlapping pointed curves one unit apart: what a Laplace mechanism answers with and without one "
        f"person. Right, the logarithm of their ratio: it runs between minus and plus {np.max(ratio):.2f} and never leaves."
    )
    return plots.describe(fig, alt)


def clip_and_noise(seed: int = 5) -> Figure:
    """Return six gradients in the plane: as they are, clipped, and as sums under noise with and without one record."""
    rng = np.random.default_rng(seed)
    angles, lengths = rng.uniform(0.2, 2.9, 6), rng.uniform(0.5, 1.7, 6)
    gradients = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gradients[0] = (2.9, -1.3)  # the odd record
    bound, noise_multiplier = 1.0, 1.0
    clipped = gradients * np.minimum(1, bound / np.linalg.norm(gradients, axis=1, keepdims=True))
    fig, axes = canvas.panels(3.2, ncols=3)
    for ax, vectors, name in (
        (axes[0], gradients, "1 · one push per record"),
        (axes[1], clipped, "2 · clip each to length C"),
    ):
        _circle(ax, (0.0, 0.0), bound, INK)
        for i, vector in enumerate(vectors):
            canvas.arrow(
                ax,
                (0, 0),
                (float(vector[0]), float(vector[1])),
                RED if i == 0 else BLUE,
                width=2 if i else 2.6,
            )
        ax.set(xlim=(-1.5, 3.1), ylim=(-2.1, 2.1))
        canvas.title(ax, name)
    axes[0].text(2.95, -1.75, "an odd one", ha="right", fontsize=BIG, color=canvas.TEXT[RED])
    axes[1].text(2.95, -1.75, "no longer\nthan any", ha="right", fontsize=BIG, color=canvas.TEXT[RED])
    _noisy_sums(axes[2], clipped, noise_multiplier * bound, rng)
    for ax in axes:
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(False)
    alt = (
        "Three panels. Six arrows from one point, one far longer than a dashed circle of radius C. The same arrows, none "
        "of them outside the circle. Two clouds of noisy sums, with and without the odd record, that overlap."
    )
    return plots.describe(fig, alt)


def _circle(ax: Axes, centre: tuple[float, float], radius: float, colour: str) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle(centre, radius, fill=False, edgecolor=colour, linestyle="--", linewidth=1.4))


def _noisy_sums(ax: Axes, clipped: np.ndarray, deviation: float, rng: np.random.Generator) -> None:
    """Draw what may come out, with the odd record and without it."""
    for rows, colour, marker in ((clipped[1:], BLUE, "o"), (clipped, RED, "x")):
        centre = rows.sum(0)
        cloud = centre + rng.normal(0, deviation, size=(120, 2))
        ax.scatter(cloud[:, 0], cloud[:, 1], s=14, color=colour, marker=marker, alpha=0.45, linewidth=1)
        ax.scatter(
            centre[0],
            centre[1],
            s=90,
            color=colour,
            marker=marker,
            edgecolor="white" if marker == "o" else None,
            zorder=4,
        )
    middle = clipped[1:].sum(0)
    ax.set(xlim=(middle[0] - 3.6, middle[0] + 4.4), ylim=(middle[1] - 4.0, middle[1] + 3.3))
    ax.text(0.03, 0.03, "with it", transform=ax.transAxes, fontsize=BIG, color=canvas.TEXT[RED])
    ax.text(
        0.97, 0.03, "without it", transform=ax.transAxes, fontsize=BIG, color=canvas.TEXT[BLUE], ha="right"
    )
    canvas.title(ax, "3 · add noise to the sum")


def public_and_private() -> Figure:
    """Return which parts of a private pipeline read private records, and so cost ε."""
    fig, ax = canvas.panels(3.5)
    canvas.blank(ax, 10, 4)
    canvas.box(ax, (1.45, 3.2), (2.6, 0.9), "public knowledge\n(wavelets, strokes)", GREEN, fontsize=SMALL)
    canvas.box(ax, (1.45, 1.2), (2.6, 0.9), "private records", RED)
    canvas.box(ax, (4.75, 3.2), (2.2, 0.9), "features", GREEN)
    canvas.arrow(ax, (2.8, 3.2), (3.6, 3.2), GREEN)
    for shift in (0.24, 0.12, 0.0):
        text = "" if shift else "train a small\nmodel, privately"
        canvas.box(ax, (4.75 + shift, 1.2 + shift), (2.2, 0.9), text, RED, fontsize=SMALL)
    canvas.arrow(ax, (2.8, 1.2), (3.6, 1.2), RED)
    canvas.arrow(ax, (4.75, 2.72), (4.75, 1.93), GREEN)
    canvas.box(ax, (8.55, 1.2), (2.3, 0.9), "publish\nthe best", RED)
    canvas.arrow(ax, (6.15, 1.2), (7.35, 1.2), RED)
    canvas.note(ax, 6.1, 3.2, "reads no record: no ε", GREEN, fontsize=BIG, ha="left")
    canvas.note(ax, 4.85, 0.38, "each trial reads them: ε", RED, fontsize=BIG)
    canvas.note(ax, 8.55, 0.38, "so does the choice", RED, fontsize=BIG)
    alt = (
        "Public knowledge makes features, which reads no private record and costs no ε. Private records train a stack of "
        "small models on those features; each trial costs ε, and so does choosing the best of them."
    )
    return plots.describe(fig, alt)
