"""What `labkit.federated.marks.verify` returns: which hospitals' marks a model carries, and on what grounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.marks.titles import entitle
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NULLS = 20  # fewer federations are a rehearsal: a rank among k is never below 1 / (k + 1)


@dataclass(frozen=True)
class Line:
    """What one kind of mark shows for one hospital.

    Attributes
    ----------
    kind : {"bits", "answers"}
    statistic : float
        Strength z of the bits, or triggers hit.
    right, asked : int
        Coded bits (or triggers) that read right, of how many.
    rank : float
        Share of redrawn keys that do as well, the hospital's own counted in: (1 + as good) / (1 + keys).
    bound : float
        For bits, at most; for answers, exact.
    null_rank : float or None
        The same among null federations; None without any.
    best_null : float or None
    found : bool
        Whether the bound is at most alpha, no redrawn key does as well, and no null federation does.
    """

    kind: str
    statistic: float
    right: int
    asked: int
    rank: float
    bound: float
    null_rank: float | None
    best_null: float | None
    found: bool


@dataclass(frozen=True, eq=False)
class MarkReport(Result):
    """Which hospitals' marks a model carries: see `verify`.

    Attributes
    ----------
    lines : dict of str to tuple of Line
        By hospital.
    messages : dict of str to int
        Message bits that the error-correcting code gives back right.
    message_bits : int
    redraws : dict of str to ndarray of shape [keys]
        By kind, what keys that nobody holds read from the same model.
    nulls : int
        Null federations.
    alpha : float
        For one hospital and one kind, fixed before the model is read.
    suspect, source, profile : str
    seed : int
        Of the redrawn keys.
    """

    lines: dict[str, tuple[Line, ...]]
    messages: dict[str, int]
    message_bits: int
    redraws: dict[str, np.ndarray]
    nulls: int
    alpha: float
    suspect: str
    source: str
    profile: str
    seed: int

    def found(self, kind: str = "bits") -> tuple[str, ...]:
        """Return the hospitals whose mark of this kind is in the model."""
        return tuple(n for n, lines in self.lines.items() if any(x.found for x in lines if x.kind == kind))

    def numbers(self) -> dict[str, Any]:
        return {
            "suspect": self.suspect,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "alpha": self.alpha,
            "redrawn keys": {kind: len(values) for kind, values in self.redraws.items()},
            "null federations": self.nulls,
            "hospitals": {
                name: {"message bits right": self.messages[name], "lines": list(lines)}
                for name, lines in self.lines.items()
            },
        }

    def summary(self) -> str:
        keys = len(next(iter(self.redraws.values())))
        kinds = [line.kind for line in next(iter(self.lines.values()))]
        said = "; ".join(
            f"{kind} of {len(self.found(kind))} of {len(self.lines)} hospitals" for kind in kinds
        )
        nulls = f"{self.nulls} null federations" if self.nulls else "no null federation"
        if 0 < self.nulls < NULLS:
            nulls += f" (a rehearsal: {NULLS} are needed for a claim)"
        return (
            f"{self.suspect}: found {said}, at alpha {self.alpha:g} each, against {keys:,} redrawn keys and {nulls}; "
            f"{self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per hospital and kind of mark, p-values from the strongest ground to the weakest."""
        import pandas as pd

        rows = []
        for name, lines in self.lines.items():
            for line in lines:
                keys = len(self.redraws[line.kind])
                bounded = "<= " if line.kind == "bits" and line.bound >= stats.EXACT else ""
                rows.append(
                    {
                        "hospital": name,
                        "mark": line.kind,
                        "statistic": round(line.statistic, 2),
                        "right": f"{line.right} of {line.asked}",
                        f"p (rank, {keys:,} keys)": f"{'<= ' if line.rank * (keys + 1) < 1.5 else ''}{line.rank:.2g}",
                        "p (model-based)": bounded + stats.p_text(line.bound, digits=1),
                        f"p (rank, {self.nulls} nulls)": "none"
                        if line.null_rank is None
                        else f"{line.null_rank:.2g}",
                        "found": "yes" if line.found else "no",
                    }
                )
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each hospital's strength beside what redrawn keys read from the same model."""
        fig, ax = plots.figure(6.6, 3.4) if ax is None else (ax.figure, ax)
        null = self.redraws["bits"]
        ax.hist(null, bins=30, density=True, color=plots.COLOURS[4], label=f"{len(null):,} redrawn keys")
        top = ax.get_ylim()[1]
        for index, (name, lines) in enumerate(self.lines.items()):
            z = lines[0].statistic
            ax.plot(
                [z, z],
                [0, 0.8 * top],
                color=plots.COLOURS[index % 7],
                linestyle=plots.LINES[index % 7],
                label=name,
            )
        ax.set_xlabel("strength of the bits, z (an independent key: mean 0, standard deviation 1)")
        ax.set_ylabel("density")
        entitle(ax, self.suspect, self.source)
        ax.legend(fontsize=8)
        said = "; ".join(f"{name} {lines[0].statistic:.1f}" for name, lines in self.lines.items())
        return plots.describe(
            fig, f"Strength of each hospital's bits in {self.suspect}, against redrawn keys around 0: {said}."
        )
