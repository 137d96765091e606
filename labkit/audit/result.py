"""What an audit found: the lower bound, beside what was claimed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, plots
from labkit.audit import fdp
from labkit.audit.guessing import Tally
from labkit.audit.roc_point import Point

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True)
class AuditResult:
    """The outcome of an audit.

    Attributes
    ----------
    epsilon : float
        Lower bound on ε, valid for any mechanism.
    confidence : float
        With which the bound, and the refutation of the claim, hold: all its evidence together.
    delta : float
    method : str
        For example ``"one run, black-box, mislabelled canaries"``.
    evidence : tuple of Tally or Point
        All that was counted; each piece had its share of the allowed error (Bonferroni).
    claimed : PrivacyStatement, float or None
        What the training claims.
    p_value : float or None
        Of the claim: corrected for the number of pieces of evidence; ``None`` without a claim.
    source : str
        Where the data came from.
    seed : int
    """

    epsilon: float
    confidence: float
    delta: float
    method: str
    evidence: tuple[Tally | Point, ...] = field(repr=False)
    claimed: PrivacyStatement | float | None = None
    p_value: float | None = None
    source: str = ""
    seed: int = 0

    @property
    def claimed_epsilon(self) -> float | None:
        return getattr(self.claimed, "epsilon", self.claimed)

    @property
    def refuted(self) -> bool:
        """Whether the claim is refuted at the audit's confidence."""
        return self.p_value is not None and self.p_value <= 1 - self.confidence

    @cached_property
    def gaussian_epsilon(self) -> float | None:
        """Lower bound on ε for a mechanism with a Gaussian's trade-off curve (DP-SGD of many steps, roughly)."""
        if not self.delta:
            return None
        alone = 1 - (1 - self.confidence) / len(self.evidence)
        return max(test.gaussian_epsilon(self.delta, alone) for test in self.evidence)

    @cached_property
    def best(self) -> Tally | Point:
        """The test that certifies most."""
        return max(self.evidence, key=lambda test: test.epsilon(self.delta, 0.95))

    @property
    def verdict(self) -> str:
        """One sentence that can stand in a report."""
        found = f"ε >= {self.epsilon:.2f} at {self.confidence:.0%} confidence"
        if self.claimed is None:
            return f"{found}; nothing was claimed"
        claim = f"the claimed ε = {self.claimed_epsilon:.2f}"
        if self.refuted:
            return f"REFUTED: {claim} cannot be true (p = {self.p_value:.2g}; {found})"
        return f"not refuted: {claim} stands (p = {self.p_value:.2g}; {found}). An audit can refute a claim, never prove it"

    def __str__(self) -> str:
        return f"{self.verdict} [{self.method}; {self.source}]"

    def table(self) -> pd.DataFrame:
        """Return one row per test: guesses, right ones, and what the test certifies on its own."""
        import pandas as pd

        alone = 1 - (1 - self.confidence) / len(self.evidence)
        rows = [
            {
                "test": test.name,
                "guesses": test.guesses,
                "right": test.correct,
                "share right": test.correct / test.guesses,
                "ε at least": test.epsilon(self.delta, alone),
            }
            for test in self.evidence
        ]
        return pd.DataFrame(rows).set_index("test")

    def plot(self) -> Figure:
        """Draw the lower bounds beside the claimed ε."""
        return compare({"": self}, title=f"Audit: {self.method}")

    def save(self, path: str | Path) -> Path:
        """Write the result as JSON, atomically."""
        facts = {
            "epsilon lower bound": self.epsilon,
            "gaussian epsilon lower bound": self.gaussian_epsilon,
            "confidence": self.confidence,
            "delta": self.delta,
            "claimed": str(self.claimed),
            "p-value of the claim": self.p_value,
            "verdict": self.verdict,
            "method": self.method,
            "evidence": [vars(item) for item in self.evidence],
            "source": self.source,
            "seed": self.seed,
        }
        with cache.atomic_path(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")
        return Path(path)


def conclude(
    evidence: Sequence[Tally | Point],
    *,
    claimed: PrivacyStatement | float | None,
    delta: float,
    confidence: float = 0.95,
    method: str,
    source: str = "",
    seed: int = 0,
) -> AuditResult:
    """Turn the evidence of one audit into its result; each piece gets an equal part of the allowed error (Bonferroni)."""
    if not evidence:
        raise ValueError(
            "nothing to conclude from: no guess was made: raise the number of canaries or the shares of guesses"
        )
    alone = 1 - (1 - confidence) / len(evidence)
    curve: Any = None
    if hasattr(claimed, "delta_at"):
        delta, curve = claimed.delta, fdp.claimed_curve(claimed)
    elif claimed is not None:
        curve = (float(claimed), delta)
    p_value = None if curve is None else min(1.0, len(evidence) * min(t.p_value(curve) for t in evidence))
    return AuditResult(
        epsilon=max(t.epsilon(delta, alone) for t in evidence),
        confidence=confidence,
        delta=delta,
        method=method,
        evidence=tuple(evidence),
        claimed=claimed,
        p_value=p_value,
        source=source,
        seed=seed,
    )


def compare(
    results: dict[str, AuditResult], *, title: str = "ε from below, beside what was claimed"
) -> Figure:
    """Draw for each audit what it certifies and what was claimed: the truth lies right of the one, left of the other.

    Raises
    ------
    ValueError
        If there are no results.
    """
    if not results:
        raise ValueError("there are no audits to draw")
    fig, ax = plots.figure(6.8, 1.6 + 0.45 * len(results))
    said = []
    for row, (name, result) in enumerate(results.items()):
        ax.barh(
            row,
            result.epsilon,
            height=0.5,
            color=plots.COLOURS[1 if result.refuted else 0],
            hatch="/" * result.refuted,
        )
        ax.annotate(
            f"{result.epsilon:.2f}",
            (result.epsilon, row),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        if result.gaussian_epsilon:
            ax.plot(result.gaussian_epsilon, row, "o", color="black", markerfacecolor="none")
        claim = result.claimed_epsilon
        if claim is not None and math.isfinite(claim):
            ax.plot([claim, claim], [row - 0.36, row + 0.36], color="black", linestyle="-", linewidth=2.5)
        said.append(
            f"{name or result.method}: at least {result.epsilon:.2f}, claimed {claim if claim is None else round(claim, 2)}"
            + (", refuted" if result.refuted else "")
        )
    ax.set_yticks(range(len(results)), list(results))
    ax.invert_yaxis()
    first = next(iter(results.values()))
    ax.set(xlabel=f"ε at δ = {first.delta:g}", title=title)
    ax.set_xlim(left=0)
    _legend(fig, any(r.gaussian_epsilon for r in results.values()))
    return plots.describe(
        fig,
        f"Lower bounds on epsilon beside claims ({first.confidence:.0%} confidence). "
        + "; ".join(said)
        + ".",
    )


def _legend(fig: Figure, gaussian: bool) -> None:
    """Explain bar, circle and line under the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Patch(color=plots.COLOURS[0], label="certified from below"),
        Patch(facecolor=plots.COLOURS[1], hatch="/", label="... and the claim refuted"),
        Line2D([], [], color="black", linewidth=2.5, linestyle="-", label="claimed ε"),
    ]
    if gaussian:
        entries.append(
            Line2D(
                [], [], color="black", marker="o", markerfacecolor="none", linestyle="", label="if Gaussian"
            )
        )
    fig.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=8)
