"""How many queries a proof takes: suspects' p-values against the number of records asked, line by line of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.widgets import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ipywidgets
    from matplotlib.figure import Figure

    from labkit.watermark.fingerprints.evidence_line import Line
    from labkit.watermark.verification.verdict import Verdict

FLOOR = 1e-6  # model-based p-values below it are drawn on it: twenty null models carry no more digits


def suspects_p_values(
    verdicts: Mapping[str, Verdict | Line], queries: int, *, alpha: float | None = None
) -> Figure:
    """Draw each suspect's p-value after every number of queries, and mark one number.

    The verdicts hold the answers already: nothing is asked again. The curves show what other numbers of queries would
    have given; a test is valid for the one number that was fixed in advance.

    Parameters
    ----------
    verdicts : mapping of str to Verdict or Line
        Name of each suspect and what `labkit.watermark.verification.verify.verify` said, or a line of evidence that is a share of
        records.
    queries : int
        To mark; suspects with fewer answers are marked at their last.
    alpha : float, optional
        Line to cross (default: the smallest of the verdicts').

    Raises
    ------
    ValueError
        If there is no verdict, or ``queries`` is out of range.
    """
    most = max((verdict.n for verdict in verdicts.values()), default=0)
    if not 1 <= queries <= most:
        raise ValueError(
            f"got queries={queries} and {len(verdicts)} verdicts; expected at least one verdict, and 1 to {most} queries"
        )
    alpha = min(verdict.alpha for verdict in verdicts.values()) if alpha is None else alpha
    fig, ax = plots.figure(7.0, 4.2)
    found = {}
    for name, verdict in verdicts.items():
        counts = np.unique(np.geomspace(1, verdict.n, 60).round().astype(int))
        curve = [max(verdict.after(int(n)).p_value, FLOOR) for n in counts]
        (line,) = ax.plot(counts, curve, label=name)
        here = min(queries, verdict.n)
        found[name] = verdict.after(here).p_value
        ax.plot(here, max(found[name], FLOOR), "o", color=line.get_color())
    ax.axhline(alpha, color="black", linestyle=":", linewidth=1, label=f"alpha = {alpha:g}")
    ax.axvline(queries, color="black", linewidth=0.8, alpha=0.5)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="records asked (for a mark: triggers of each key)",
        ylabel="p-value",
        ylim=(FLOOR / 2, 2),
    )
    sources = sorted({verdict.source for verdict in verdicts.values() if verdict.source})
    nulls = min(len(verdict.null_hit) for verdict in verdicts.values())
    few = "" if all(verdict.enough_nulls for verdict in verdicts.values()) else ", too few for a claim"
    ax.set_title(f"{queries} queries, {nulls} null models{few}\n{', '.join(sources)}".rstrip())
    ax.legend(loc="lower left")
    listed = ", ".join(f"{name} {p:.2g}" for name, p in found.items())
    return plots.describe(
        fig,
        f"P-values of {len(verdicts)} suspects against the number of queries, both axes logarithmic. After {queries} "
        f"queries: {listed}; alpha is {alpha:g}.",
    )


def suspects_explorer(evidence: Mapping[str, Mapping[str, Verdict | Line]]) -> ipywidgets.Widget:
    """Return controls for the line of evidence, the number of queries and alpha.

    Parameters
    ----------
    evidence : mapping of str to mapping
        Line of evidence to its verdicts by suspect, such as `labkit.watermark.court.trial.Verdicts.by_line` returns.
    """
    import ipywidgets

    style = {"style": {"description_width": "8em"}, "layout": {"width": "34em"}}
    look = {"continuous_update": False, **style}
    every = [verdict for verdicts in evidence.values() for verdict in verdicts.values()]
    own = min(verdict.alpha for verdict in every)
    most = {line: max(verdict.n for verdict in verdicts.values()) for line, verdicts in evidence.items()}
    first = next(iter(most.values()))
    sliders = {
        "line": ipywidgets.Dropdown(options=list(evidence), description="evidence", **style),
        "queries": ipywidgets.IntSlider(value=first, min=1, max=first, description="queries", **look),
        "alpha": ipywidgets.SelectionSlider(
            options=[(f"{a:.2g}", a) for a in sorted({0.05, 0.01, 1e-3, 1e-6, own}, reverse=True)],
            value=own,
            description="alpha",
            **look,
        ),
    }

    def redraw(line: str, queries: int, alpha: float) -> None:
        plots.show(suspects_p_values(evidence[line], min(queries, most[line]), alpha=alpha))

    def fit(change: dict) -> None:
        sliders["queries"].max = most[change["new"]]
        sliders["queries"].value = most[change["new"]]

    shown = live.follow(redraw, sliders)
    sliders["line"].observe(fit, names="value")
    return ipywidgets.VBox([*sliders.values(), shown])
