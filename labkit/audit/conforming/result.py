"""What a conformance audit found: each check with its p-value, and one verdict over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.audit.conforming.check import Check
from labkit.results import Result
from labkit.stats import p_text, p_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What no look at steps can show, whoever looks.
NEVER = (
    "records that are treated differently from those of the audit",
    "settings chosen on private records",
    "losses or checkpoints that are released besides the weights",
    "whether the noise can be predicted or read off its last bits",
    "the accountant",
)


@dataclass(frozen=True)
class ConformanceResult(Result):
    """The outcome of `labkit.audit.conformance`.

    Attributes
    ----------
    checks : tuple of Check
    level : float
        Probability that a function which conforms fails any check at all, at most.
    not_checked : tuple of str
        What this run could not see, besides what no such audit sees (`NEVER`).
    smallest : dict
        Deviations, in shares, that an audit of this size sees 4 times in 5: of noise, of pushes, of the sampling rate.
    runs, steps, seed : int
    noise_multipliers : tuple of float
        Of the quiet runs and of the others.
    """

    checks: tuple[Check, ...]
    level: float
    not_checked: tuple[str, ...]
    smallest: dict[str, float]
    runs: int
    steps: int
    noise_multipliers: tuple[float, float]
    seed: int

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed, the oddest first (each had an equal part of ``level``)."""
        failed = [check for check in self.checks if check.p_value <= self.level / len(self.checks)]
        return tuple(sorted(failed, key=lambda check: check.p_value))

    @property
    def deviates(self) -> bool:
        """Whether the function does something else than its settings say."""
        return bool(self.failed)

    @property
    def p_value(self) -> float:
        """Of conforming, corrected for the number of checks."""
        return min(1.0, len(self.checks) * min(check.p_value for check in self.checks))

    @property
    def power(self) -> str:
        """What an audit of this size sees."""
        return "sees, 4 times in 5, " + ", ".join(
            f"{name} off by {share:.1%}" for name, share in self.smallest.items()
        )

    def summary(self) -> str:
        size = f"{self.runs} runs of {self.steps} steps, {len(self.checks)} checks, seed {self.seed}"
        alarm = f"false alarms in at most {self.level:.0%} of audits"
        unseen = f" Not checked: {'; '.join(self.not_checked)}." if self.not_checked else ""
        if self.deviates:
            said = "; ".join(
                f"{check.name}: {check.found} ({p_words(check.p_value, digits=1)})" for check in self.failed
            )
            return f"DEVIATES from its settings ({size}; {alarm}). {said}.{unseen}"
        return (
            f"no deviation found ({size}; {alarm}; {self.power}). That proves nothing about what was not looked at."
            f"{unseen}"
        )

    def numbers(self) -> dict[str, Any]:
        return {
            "deviates": self.deviates,
            "p-value": self.p_value,
            "false alarms at most": self.level,
            "checks": {check.name: check.p_value for check in self.checks},
            "found": {check.name: check.found for check in self.checks},
            "smallest deviation seen": self.smallest,
            "not checked": [*self.not_checked, *NEVER],
            "runs": self.runs,
            "steps": self.steps,
            "noise multipliers": list(self.noise_multipliers),
            "seed": self.seed,
        }

    def table(self) -> pd.DataFrame:
        """Return one row a check, those that failed first."""
        import pandas as pd

        rest = [check for check in self.checks if check not in self.failed]
        rows = [
            {
                "check": check.name,
                "failed": check in self.failed,
                "p-value": p_text(check.p_value),
                "found": check.found,
                "suspect": check.meaning if check in self.failed else "",
            }
            for check in (*self.failed, *rest)
        ]
        return pd.DataFrame(rows).set_index("check")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the p-value of each check, and the line below which a check fails."""
        fig, ax = plots.figure(6.8, 1.2 + 0.24 * len(self.checks)) if ax is None else (ax.figure, ax)
        depth = [min(20.0, -np.log10(max(check.p_value, 1e-20))) for check in self.checks]
        failed = [check in self.failed for check in self.checks]
        ax.barh(
            range(len(depth)),
            depth,
            color=[plots.COLOURS[int(bad)] for bad in failed],
            hatch=["/" * bad for bad in failed],
        )
        line = -np.log10(self.level / len(self.checks))
        ax.axvline(line, color="black", linestyle=":", label=f"fails (all together {self.level:.0%})")
        ax.set_yticks(range(len(depth)), [check.name for check in self.checks])
        ax.invert_yaxis()
        verdict = "deviates" if self.deviates else "no deviation found"
        ax.set(
            xlabel="-log10 p (20 and more drawn as 20)",
            title=f"Conformance, {self.runs} runs, seed {self.seed}: {verdict}",
        )
        ax.legend(fontsize=8)
        said = ", ".join(check.name for check in self.failed) or "none"
        return plots.describe(
            fig, f"Bars of -log10 p for {len(depth)} checks of a training function. Failed: {said}."
        )
