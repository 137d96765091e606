"""Drawings of labs 10 to 14: masks that cancel, where noise goes, who sees what, claim to decision, what ε does to odds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.course.drawings import canvas
from labkit.course.drawings.canvas import BIG, BLUE, GREEN, INK, ORANGE, PINK, QUIET, RED, SMALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pairwise_masks(gone: str = "", modulus: int = 100, seed: int = 5) -> Figure:
    """Return three values under pair masks, what is sent, and what the sum of the sent words is.

    Parameters
    ----------
    gone : str
        A hospital of "A", "B" and "C" whose word never arrives.
    """
    rng = np.random.default_rng(seed)
    names, values = "ABC", dict(zip("ABC", rng.integers(2, 20, 3).tolist(), strict=True))
    masks = dict(zip(combinations(names, 2), rng.integers(11, modulus, 3).tolist(), strict=True))
    colours = dict(zip(masks, (GREEN, PINK, BLUE), strict=True))
    fig, ax = canvas.panels(3.7)
    canvas.blank(ax, 12, 6)
    columns = {"value": 2.2, **dict(zip(masks, (4.1, 5.7, 7.3), strict=True)), "sent": 10.3}
    for key, x in columns.items():
        head = key if isinstance(key, str) else f"mask {''.join(key)}"
        canvas.note(ax, x, 5.5, head, colours.get(key, INK), fontsize=BIG)  # type: ignore[call-overload]
    arrived = dict.fromkeys(masks, 0)
    total = 0
    for name, y in zip(names, (4.5, 3.4, 2.3), strict=True):
        lost = name == gone
        signs = {pair: 1 if name == pair[0] else -1 for pair in masks if name in pair}
        sent = (values[name] + sum(sign * masks[pair] for pair, sign in signs.items())) % modulus
        canvas.note(ax, 0.3, y, name, QUIET if lost else INK, fontsize=BIG + 3, ha="left")
        canvas.note(ax, 2.2, y, str(values[name]), QUIET if lost else INK, fontsize=BIG + 1)
        for pair, sign in signs.items():
            text = f"{'+' if sign > 0 else '−'} {masks[pair]}"
            canvas.note(ax, columns[pair], y, text, "#b5b5b5" if lost else colours[pair], fontsize=BIG + 1)
            arrived[pair] += 0 if lost else sign
        canvas.arrow(ax, (8.2, y), (9.2, y), QUIET, dashed=lost)
        text, colour = ("lost", RED) if lost else (str(sent), QUIET)
        canvas.box(ax, (10.3, y), (1.7, 0.8), text, colour, fontsize=BIG + 1, dashed=lost)
        total += 0 if lost else sent
    ax.plot([0.2, 11.6], [1.65, 1.65], color=INK, linewidth=1.2)
    meant = sum(value for name, value in values.items() if name != gone)
    canvas.note(ax, 0.3, 0.95, "sum", fontsize=BIG + 1, ha="left")
    canvas.note(ax, 2.2, 0.95, str(meant), fontsize=BIG + 1)
    for pair, left_over in arrived.items():
        text = "0" if not left_over else f"{'+' if left_over > 0 else '−'} {masks[pair]}"
        canvas.note(ax, columns[pair], 0.95, text, RED if left_over else colours[pair], fontsize=BIG + 1)
    right = total % modulus == meant % modulus
    canvas.box(ax, (10.3, 0.95), (1.7, 0.8), str(total % modulus), GREEN if right else RED, fontsize=BIG + 1)
    canvas.note(ax, 10.3, 0.22, f"(all modulo {modulus})", QUIET)
    said = (
        "the sum of the values"
        if right
        else f"not the {meant} that was meant, as two masks miss their opposite"
    )
    alt = (
        "Three hospitals, each with a value, plus one mask for each pair that it belongs to, added by one and subtracted by "
        f"the other.{f' {gone} is lost.' if gone else ''} The words sent look random; their sum modulo {modulus} is "
        f"{total % modulus}, {said}."
    )
    return plots.describe(fig, alt)


def where_noise_goes(hospitals: int = 5) -> Figure:
    """Return the three places for noise, who sees what, and how much of it ends in the sum."""
    fig, axes = canvas.panels(4.2, ncols=3)
    share = 1 / np.sqrt(hospitals)
    ways = (
        ("at the server", [0.0] * hospitals, 1.0, "server sees all", RED),
        ("all at each hospital", [1.0] * hospitals, 0.0, "server sees noise", GREEN),
        ("a share at each", [share] * hospitals, 0.0, "server sees the sum only", GREEN),
    )
    for ax, (name, local, central, seen, colour) in zip(axes, ways, strict=True):
        canvas.blank(ax, 6, 9)
        canvas.title(ax, name)
        masked = 0 < max(local) < 1
        canvas.box(ax, (3, 3.5), (3.6, 1.2), "sum" if masked else "server", QUIET, fontsize=SMALL)
        for i, deviation in enumerate(local):
            x = 0.7 + i * 4.6 / (hospitals - 1)
            ax.scatter([x], [7.8], s=170, marker="s", color=BLUE, zorder=3)
            if deviation:
                ax.scatter(
                    [x], [6.6], s=260 * deviation**2, color=ORANGE, edgecolor=INK, linewidth=1, zorder=3
                )
            canvas.arrow(ax, (x, 6.0), (3 + (x - 3) * 0.45, 4.2), QUIET, dashed=masked, width=1.3)
        if central:
            ax.scatter([3], [2.2], s=260, color=ORANGE, edgecolor=INK, linewidth=1, zorder=3)
        total = float(np.sqrt(np.sum(np.square(local)) + central**2))
        canvas.note(ax, 3, 1.2, f"noise in the sum: {total:.1f} σ", fontsize=BIG)
        canvas.note(ax, 3, 0.3, seen, colour, fontsize=SMALL)
    alt = (
        f"Three ways for {hospitals} hospitals. Noise at the server: one portion, but the server sees every vector. All "
        f"noise at each hospital: nothing is seen, and the sum has {np.sqrt(hospitals):.1f} times the noise. A share at each, "
        "under masks: the server sees the sum only, and the sum has one portion."
    )
    return plots.describe(fig, alt)


def who_sees_what() -> Figure:
    """Return a table of adversaries and of what reaches each, under secure aggregation."""
    seen = ("one update", "every round's sum", "final model")
    adversaries = {
        "user of the model": (0, 0, 1),
        "the server": (0, 1, 1),
        "another hospital": (0, 1, 1),
        "a server that lies": (2, 1, 1),
    }
    fig, ax = canvas.panels(3.5)
    canvas.blank(ax, 12, 6)
    for x, text in zip((5.2, 7.9, 10.6), seen, strict=True):
        canvas.note(ax, x, 5.5, text, fontsize=BIG)
    for y, (name, row) in zip((4.4, 3.4, 2.4, 1.4), adversaries.items(), strict=True):
        canvas.note(ax, 0.2, y, name, fontsize=BIG, ha="left")
        for x, sees in zip((5.2, 7.9, 10.6), row, strict=True):
            if sees == 2:
                canvas.note(ax, x, y, "tries to", RED, fontsize=BIG)
            else:
                canvas.marks(ax, x, [y], ["yes" if sees else "no"], size=210)
        ax.plot([0.2, 11.8], [y - 0.5, y - 0.5], color="#cccccc", linestyle="-", linewidth=1)
    canvas.note(ax, 0.2, 0.35, "●  sees     ○  does not     (under secure aggregation)", QUIET, ha="left")
    alt = (
        "A table. A user of the model sees the final model only. The server and another hospital also see the sum of every "
        "round. No honest party sees one hospital's update; a server that lies tries to."
    )
    return plots.describe(fig, alt)


def claim_to_decision() -> Figure:
    """Return the way from a claim through three kinds of evidence to a decision."""
    fig, ax = canvas.panels(3.6)
    canvas.blank(ax, 12, 6)
    canvas.box(ax, (1.4, 3.2), (2.5, 1.3), "claim\n“ε = …”", BLUE)
    evidence = {
        "stated facts:\nε, computed anew": 5.1,
        "logs:\nwhat was done": 3.2,
        "attacks:\nε from below": 1.3,
    }
    for text, y in evidence.items():
        canvas.box(ax, (5.6, y), (3.6, 1.35), text, ORANGE, fontsize=SMALL)
        canvas.arrow(ax, (2.7, 3.2), (3.75, y), QUIET)
    outcomes = {"approve": (5.1, GREEN), "with conditions": (3.2, QUIET), "reject": (1.3, RED)}
    for (text, (y, colour)), source in zip(outcomes.items(), evidence.values(), strict=True):
        canvas.box(ax, (10.5, y), (2.7, 1.0), text, colour, fontsize=SMALL)
        ax.plot([7.42, 8.4], [source, 3.2], color=QUIET, linestyle="-", linewidth=1.8)
        canvas.arrow(ax, (8.4, 3.2), (9.1, y), colour)
    ax.scatter([8.4], [3.2], s=70, color=INK, zorder=4)
    canvas.note(ax, 5.6, 0.2, "not run is not passed", RED, fontsize=BIG)
    alt = (
        "A claim meets three kinds of evidence: stated facts, from which ε is computed anew; logs of what was done; attacks, "
        "which give ε from below. Together they lead to one of three decisions: approve, with conditions, or reject."
    )
    return plots.describe(fig, alt)


def odds_of_a_belief(against: int = 24, epsilons: tuple[float, ...] = (0.0, 1.0, 2.0)) -> Figure:
    """Return odds as areas: one square for, ``against`` squares against, and the one grown by e^ε.

    Parameters
    ----------
    against : int
        Prior odds are 1 to ``against``.
    epsilons : tuple of float
        A panel each; pure ε-DP, one release.
    """
    from matplotlib.patches import Rectangle

    fig, axes = canvas.panels(2.9, ncols=len(epsilons))
    beliefs = []
    for ax, epsilon in zip(axes, epsilons, strict=True):
        canvas.blank(ax, 11, 8.2)
        ax.set_aspect("equal")
        canvas.title(ax, f"ε = {epsilon:g}" if epsilon else "before")
        for i in range(against):
            ax.add_patch(Rectangle((4.4 + i % 6 * 1.1, 3.4 + i // 6 * 1.1), 1, 1, color=QUIET, linewidth=0))
        side = float(np.exp(epsilon / 2))  # an area of e^ε
        ax.add_patch(Rectangle((3.6 - side, 3.4), side, side, color=RED, linewidth=0))
        canvas.note(ax, 3.6, 2.4, "for", RED, fontsize=BIG, ha="right", va="baseline")
        canvas.note(ax, 7.6, 2.4, "against", QUIET, fontsize=BIG, va="baseline")
        beliefs.append(side**2 / (side**2 + against))
        most = "≤ " if epsilon else ""
        canvas.note(ax, 5.5, 1.3, f"odds {most}{side**2:.1f} : {against}", fontsize=BIG)
        canvas.note(ax, 5.5, 0.2, f"belief {most}{beliefs[-1]:.0%}", fontsize=BIG)
    alt = (
        f"Odds as areas. Before a release one square speaks for a person being in the data and {against} against, a belief of "
        f"{1 / (1 + against):.0%}. A release lets the one square grow by at most e^ε while the others stay. At most: "
        + ", ".join(f"{b:.0%} at ε = {e:g}" for e, b in zip(epsilons, beliefs, strict=True) if e)
        + "."
    )
    return plots.describe(fig, alt)
