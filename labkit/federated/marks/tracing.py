"""Who gave this model away? Every hospital gets a copy of its own, a little beside the global model.

A copy is the global model plus or minus a small step at secret places, by the hospital's word of a Tardos code
(`labkit.federated.marks.tardos`). Each of its places is a group of weights with secret signs. Whoever handed the copies out
keeps the model itself, subtracts it from a copy that turned up, and scores every hospital.

Copies are made after training and follow from the model and a key: they cost no privacy, and a little accuracy.

**Against whom.** Tracing tells apart recipients who have their copy and no more. A hospital that took part in training was
handed the weights of every round, and can rebuild the unmarked model from them (`labkit.federated.marks.leaks.rebuilt`):
what it then gives away carries no word, and nobody is accused. That cannot be mended by a word for each hospital in the
rounds: all must start a round from one model. The bound on accusing innocents holds either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, stats
from labkit.federated.marks.enrolment import Enrolment, MarkError
from labkit.federated.marks.titles import entitle
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

LIMIT = 2.0  # steps: a single weight that was cut or tuned far away speaks no louder than this


@dataclass(frozen=True, eq=False)
class TraceReport(Result):
    """Who a copy is traced to: see `trace`.

    Attributes
    ----------
    scores : dict of str to float
        By hospital, over the standard deviation of an innocent's score on these readings.
    bounds : dict of str to float
        Chance at most that an innocent hospital scores so high on this copy, whatever was done to it.
    ranks : dict of str to float
        Share of words drawn anew that score as high, own one counted in.
    threshold : float
        Score at which a hospital is accused.
    accused : tuple of str
    false_accusation : float
        For this copy, at most, over all hospitals together.
    innocents : ndarray
        Scores of words drawn anew.
    suspect, source, profile : str
    """

    scores: dict[str, float]
    bounds: dict[str, float]
    ranks: dict[str, float]
    threshold: float
    accused: tuple[str, ...]
    false_accusation: float
    innocents: np.ndarray
    suspect: str
    source: str
    profile: str

    def numbers(self) -> dict[str, Any]:
        return {
            "suspect": self.suspect,
            "source": self.source,
            "profile": self.profile,
            "accused": list(self.accused),
            "scores": dict(self.scores),
            "p (rank among redrawn words)": dict(self.ranks),
            "p at most (Chernoff)": dict(self.bounds),
            "threshold": self.threshold,
            "false accusation at most, this copy": self.false_accusation,
            "redrawn words": len(self.innocents),
        }

    def summary(self) -> str:
        who = ", ".join(self.accused) or "nobody"
        return (
            f"{self.suspect}: traced to {who} (threshold {self.threshold:.2f}, chance of accusing anybody innocent at most "
            f"{self.false_accusation:g} for this copy); {self.source}; {self.profile}"
        )

    def table(self) -> pd.DataFrame:
        """One row per hospital."""
        import pandas as pd

        rows = [
            {
                "hospital": name,
                "score": round(score, 2),
                f"p (rank, {len(self.innocents):,} words)": f"{self.ranks[name]:.2g}",
                "p at most (Chernoff)": stats.p_text(self.bounds[name], digits=1),
                "accused": "yes" if name in self.accused else "no",
            }
            for name, score in self.scores.items()
        ]
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each hospital's score, the threshold, and the scores of words that nobody holds."""
        fig, ax = plots.figure(6.4, 3.0) if ax is None else (ax.figure, ax)
        names = list(self.scores)
        guilty = [name in self.accused for name in names]
        colours = [plots.COLOURS[1] if each else plots.COLOURS[0] for each in guilty]
        ax.barh(names, list(self.scores.values()), color=colours)
        low, high = float(self.innocents.min()), float(self.innocents.max())
        ax.axvspan(
            low,
            high,
            color=plots.COLOURS[4],
            alpha=0.25,
            zorder=0,
            label=f"{len(self.innocents):,} redrawn words",
        )
        if np.isfinite(self.threshold):
            ax.axvline(self.threshold, color="#000000", linestyle="--", label="accused from here")
        ax.invert_yaxis()
        ax.set_xlabel("score (an innocent hospital: mean 0, standard deviation 1)")
        entitle(ax, self.suspect, self.source)
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2)
        said = "; ".join(f"{name} {score:.1f}" for name, score in self.scores.items())
        return plots.describe(
            fig,
            f"Accusation scores as bars, threshold {self.threshold:.1f}: {said}. Accused: {', '.join(self.accused) or 'nobody'}.",
        )


def fingerprint(weights: np.ndarray, enrolment: Enrolment) -> dict[str, np.ndarray]:
    """Return each hospital's copy of the global weights, shape [d] each.

    Keep ``weights`` secret: tracing subtracts them, and who has them, or the weights of the rounds, can wipe a copy clean.

    Raises
    ------
    MarkError
        If the weights have another shape than was enrolled, or are not finite.
    """
    _check(weights, enrolment)
    order, signs = enrolment.chips
    copies = {}
    for name, word in zip(enrolment.names, enrolment.code.words, strict=True):
        copy = weights.copy()
        copy[order] += step_of(weights, enrolment) * signs * (2 * word[:, None] - 1)
        copies[name] = copy
    return copies


def step_of(weights: np.ndarray, enrolment: Enrolment) -> float:
    """Return how far a copy's weights lie from the model's, each."""
    return enrolment.copy_strength * float(np.sqrt(np.mean(weights**2)))


def trace(
    suspect_weights: np.ndarray,
    enrolment: Enrolment,
    original: np.ndarray | None = None,
    *,
    make_model: Callable[[], nn.Module] | None = None,
    suspect: str = "a copy that turned up",
    source: str = "",
) -> TraceReport:
    """Score every hospital on a copy that turned up; accuse those above the threshold, nobody by default.

    Parameters
    ----------
    suspect_weights : ndarray of shape [d]
    enrolment : Enrolment
    original : ndarray of shape [d], optional
        The weights that `fingerprint` was given. Without them the model itself drowns the code: the bound on false
        accusations holds all the same, and few leaks are found.
    make_model : callable, optional
        With it, hidden units that were reordered or rescaled are first put back
        (`labkit.federated.marks.alignment`).
    suspect, source : str
        For titles.

    Raises
    ------
    MarkError
        If weights have another shape than was enrolled, or are not finite.
    """
    _check(suspect_weights, enrolment)
    if make_model is not None:
        if original is None:
            raise MarkError("make_model= puts hidden units back beside the original: pass original= too")
        from labkit.federated.marks.alignment import aligned

        suspect_weights = aligned(suspect_weights, original, make_model)
    readings = read(suspect_weights, enrolment, original)
    code = enrolment.code
    norm = float(np.linalg.norm(readings)) or 1.0
    raw = code.scores(readings)
    level = enrolment.false_accusation / len(enrolment.names)
    threshold = code.threshold(readings, level)
    innocents = code.scores(readings, enrolment.strangers)
    names = enrolment.names
    return TraceReport(
        scores=dict(zip(names, (raw / norm).tolist(), strict=True)),
        bounds={name: code.chance(score, readings) for name, score in zip(names, raw, strict=True)},
        ranks={
            name: (1 + int((innocents >= score).sum())) / (1 + len(innocents))
            for name, score in zip(names, raw, strict=True)
        },
        threshold=threshold / norm,
        accused=tuple(name for name, score in zip(names, raw, strict=True) if score >= threshold),
        false_accusation=enrolment.false_accusation,
        innocents=innocents / norm,
        suspect=suspect,
        source=source,
        profile=profiles.current().name,
    )


def read(weights: np.ndarray, enrolment: Enrolment, original: np.ndarray | None = None) -> np.ndarray:
    """Return what each place of the code says, in steps, shape [places].

    A copy that was scaled as a whole is scaled back first.
    """
    order, signs = enrolment.chips
    if original is None:
        return (signs * weights[order]).mean(1) / step_of(weights, enrolment)
    _check(original, enrolment)
    along = float(weights @ original) / float(original @ original)
    scale = along if along > 0 else 1.0
    moved = (weights / scale - original)[order] / step_of(original, enrolment)
    return (signs * moved).clip(-LIMIT, LIMIT).mean(1)


def _check(weights: np.ndarray, enrolment: Enrolment) -> None:
    expected = (enrolment.terms.dimension,)
    if np.shape(weights) != expected or not np.isfinite(weights).all():
        raise MarkError(
            f"weights have shape {np.shape(weights)}; expected {expected} finite numbers, as enrolled"
        )
