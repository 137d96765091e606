"""What an audit found: the lower bound, beside what was claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkit import plots
from labkit.audit import fdp
from labkit.audit.guessing import Tally
from labkit.audit.power import Caught, smallest_caught
from labkit.audit.roc_point import Point
from labkit.results import Result
from labkit.stats import p_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True)
class AuditResult(Result):
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
    def refuted_as_curve(self) -> bool:
        """Whether the claim is refuted though its ε is not: what cannot be true is its curve, at small ε.

        A statement claims δ(ε) for every ε. Evidence at small ε can refute that curve while the one ε that is printed
        stands, because the audit is far too small to reach it.
        """
        return self.refuted and hasattr(self.claimed, "delta_at") and self.epsilon < self.claimed_epsilon

    @cached_property
    def caught_from(self) -> Caught | None:
        """The least leak that an audit of this size would have caught, 4 times in 5: see `labkit.audit.power`.

        ``None`` at δ = 0, where Gaussian noise has no finite ε.
        """
        if not self.delta:
            return None
        alone = (1 - self.confidence) / len(self.evidence)
        return smallest_caught(self.evidence, self.claimed, alone, self.delta)

    @property
    def power(self) -> str:
        """One sentence on what an audit of this size could have seen."""
        caught = self.caught_from
        if caught is None:
            return "What an audit of this size would have caught has no figure at δ = 0"
        if math.isinf(caught.epsilon):
            how = "" if caught.noise is None else f" down to {caught.noise:.2g} of the claimed noise"
            return f"An audit of this size would have missed every leak{how}"
        how = (
            "of a Gaussian mechanism"
            if caught.noise is None
            else f"or noise at {caught.noise:.2f} of the claim's"
        )
        return (
            f"An audit of this size would have caught ε >= {caught.epsilon:.2f} at δ = {self.delta:g}, {how} "
            "(4 times in 5, if its scores saw all there is to see)"
        )

    @property
    def verdict(self) -> str:
        """What can stand in a report: the finding, and what the audit could have found."""
        found = f"ε >= {self.epsilon:.2f} at {self.confidence:.0%} confidence"
        if self.claimed is None:
            return f"{found}; nothing was claimed. {self.power}"
        claim = f"the claimed ε = {self.claimed_epsilon:.2f}"
        if self.refuted_as_curve:
            return (
                f"REFUTED: the claimed curve is refuted at small ε ({p_words(self.p_value)}; {found}); "
                f"{claim} itself is not. {self.power}"
            )
        if self.refuted:
            return f"REFUTED: {claim} cannot be true ({p_words(self.p_value)}; {found}). {self.power}"
        return (
            f"not refuted: {claim} stands ({p_words(self.p_value)}; {found}). {self.power}. An audit can refute a claim, "
            "never prove it"
        )

    def summary(self) -> str:
        return f"{self.verdict} [{self.method}; {self.source}; seed {self.seed}]"

    def numbers(self) -> dict[str, Any]:
        return {
            "epsilon lower bound": self.epsilon,
            "gaussian epsilon lower bound": self.gaussian_epsilon,
            "confidence": self.confidence,
            "delta": self.delta,
            "claimed": None if self.claimed is None else str(self.claimed),
            "p-value of the claim": self.p_value,
            "refuted": self.refuted,
            "refuted as a curve only": self.refuted_as_curve,
            "would have caught": self.caught_from and self.caught_from.epsilon,
            "verdict": self.verdict,
            "method": self.method,
            "evidence": [vars(item) for item in self.evidence],
            "source": self.source,
            "seed": self.seed,
        }

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

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the lower bounds beside the claimed ε."""
        return compare({"": self}, title=f"Audit: {self.method}", ax=ax)


def _curve(claimed: PrivacyStatement | float | None, delta: float) -> fdp.Curve | tuple[float, float] | None:
    """Return a claim in the form in which evidence is tested against it."""
    if hasattr(claimed, "delta_at"):
        return fdp.claimed_curve(claimed)
    return None if claimed is None else (float(claimed), delta)


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
    delta = getattr(claimed, "delta", delta)
    curve = _curve(claimed, delta)
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
    results: dict[str, AuditResult],
    *,
    title: str = "ε from below, beside what was claimed",
    ax: Axes | None = None,
) -> Figure:
    """Draw for each audit what it certifies and what was claimed: the truth lies right of the one, left of the other.

    A claim that is refuted as a curve only (`AuditResult.refuted_as_curve`) is drawn in a look of its own.

    Raises
    ------
    ValueError
        If there are no results.
    """
    if not results:
        raise ValueError("there are no audits to draw")
    fig, ax = plots.figure(6.8, 1.6 + 0.45 * len(results)) if ax is None else (ax.figure, ax)
    for row, result in enumerate(results.values()):
        _draw(ax, row, result)
    # The figures stand in the margin: beside the bars they would lie under circles and claims.
    ax.set_yticks(
        range(len(results)), [f"{name}  ≥ {result.epsilon:.2f}".strip() for name, result in results.items()]
    )
    ax.invert_yaxis()
    first = next(iter(results.values()))
    ax.set(xlabel=f"ε at δ = {first.delta:g}", title=title)
    ax.set_xlim(left=0)
    _legend(fig, list(results.values()))
    said = "; ".join(_said(name or result.method, result) for name, result in results.items())
    return plots.describe(
        fig, f"Lower bounds on epsilon beside claims ({first.confidence:.0%} confidence). {said}."
    )


LOOKS = {  # (refuted, refuted as a curve only): colour, hatch, legend
    (False, False): (plots.COLOURS[0], "", "certified from below"),
    (True, False): (plots.COLOURS[1], "/", "... and the claimed ε refuted"),
    (True, True): (plots.COLOURS[2], ".", "... and the claimed curve refuted at small ε"),
}


def _draw(ax: Axes, row: int, result: AuditResult) -> None:
    colour, hatch, _ = LOOKS[result.refuted, result.refuted_as_curve]
    ax.barh(row, result.epsilon, height=0.5, color=colour, hatch=hatch)
    if result.gaussian_epsilon:
        ax.plot(result.gaussian_epsilon, row, "o", color="black", markerfacecolor="none")
    claim = result.claimed_epsilon
    if claim is not None and math.isfinite(claim):
        ax.plot([claim, claim], [row - 0.36, row + 0.36], color="black", linestyle="-", linewidth=2.5)


def _said(name: str, result: AuditResult) -> str:
    claim = result.claimed_epsilon
    end = ", the curve refuted at small epsilon" if result.refuted_as_curve else ", refuted" * result.refuted
    return (
        f"{name}: at least {result.epsilon:.2f}, claimed {claim if claim is None else round(claim, 2)}{end}"
    )


def _legend(fig: Figure, results: list[AuditResult]) -> None:
    """Explain the bars that occur, circle and line under the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    seen = {(result.refuted, result.refuted_as_curve) for result in results}
    entries = [
        Patch(facecolor=colour, hatch=hatch, label=label)
        for key, (colour, hatch, label) in LOOKS.items()
        if key in seen
    ]
    entries.append(Line2D([], [], color="black", linewidth=2.5, linestyle="-", label="claimed ε"))
    if any(result.gaussian_epsilon for result in results):
        entries.append(
            Line2D(
                [], [], color="black", marker="o", markerfacecolor="none", linestyle="", label="if Gaussian"
            )
        )
    fig.legend(handles=entries, loc="outside lower center", ncols=2, fontsize=8)
