"""A point of a ROC curve as evidence: the classic audit, over many independent runs with one canary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from labkit import stats
from labkit.audit import bounds, fdp


@dataclass(frozen=True)
class Point:
    """True and false positives at a threshold that was fixed before these runs were made.

    It offers the same questions as `labkit.audit.guessing.Tally`.

    Attributes
    ----------
    name : str
    true_positives, positives, false_positives, negatives : int
    aimed_at : float
        The false positive rate for which the threshold was set.
    """

    name: str
    true_positives: int
    positives: int
    false_positives: int
    negatives: int
    aimed_at: float = 0.02

    @property
    def correct(self) -> int:
        return self.true_positives + self.negatives - self.false_positives

    @property
    def guesses(self) -> int:
        return self.positives + self.negatives

    def epsilon(self, delta: float, confidence: float) -> float:
        """Return the lower bound on ε without any assumption about the mechanism."""
        counts = (self.true_positives, self.positives, self.false_positives, self.negatives)
        return bounds.many_run_epsilon(*counts, delta=delta, confidence=confidence)

    def gaussian_epsilon(self, delta: float, confidence: float) -> float:
        """Return the lower bound on ε for a mechanism with a Gaussian's trade-off curve (arXiv 2302.07956)."""
        from scipy.special import ndtri

        caught, alarms = self._rates(confidence)
        mu = ndtri(caught) - ndtri(alarms) if caught > 0 and alarms < 1 else 0.0
        return fdp.gaussian_epsilon(max(0.0, float(mu)), delta)

    def p_value(self, claim: fdp.Curve | tuple[float, float]) -> float:
        """Return the p-value of a claimed curve or (ε, δ) pair: the least error level that refutes it, to within 1%."""
        curve = claim if isinstance(claim, fdp.Curve) else fdp.lines_curve(*claim, "claim")
        return _least_level(lambda level: self._refutes(curve, 1 - level))

    @property
    def size(self) -> tuple[float, ...]:
        """What `power` depends on."""
        return self.positives, self.negatives, self.aimed_at

    def power(self, claim: fdp.Curve | tuple[float, float], level: float) -> Callable[[fdp.Curve], float]:
        """Return how probably as many runs refute the claim, by the curve of the leak that they see whole.

        False alarms are taken at their expected number; the chance is that of enough true ones.
        """
        from scipy.stats import binom

        curve = claim if isinstance(claim, fdp.Curve) else fdp.lines_curve(*claim, "claim")
        alarms = round(self.aimed_at * self.negatives)
        low, high = -1, self.positives + 1
        while high - low > 1:
            middle = (low + high) // 2
            seen = replace(self, true_positives=middle, false_positives=alarms)
            low, high = (low, middle) if seen._refutes(curve, 1 - level) else (middle, high)
        return lambda leak: float(binom.sf(high - 1, self.positives, leak.caught(self.aimed_at)))

    def _refutes(self, curve: fdp.Curve, confidence: float) -> bool:
        caught, alarms = self._rates(confidence)
        return (
            curve.floor(caught) > alarms
        )  # "in" answers of probability `caught` cannot get rarer than the floor

    def _rates(self, confidence: float) -> tuple[float, float]:
        """Return (least plausible TPR, largest plausible FPR), wrong together with probability 1 - confidence."""
        caught = stats.clopper_pearson(self.true_positives, self.positives, confidence)
        alarms = stats.clopper_pearson(self.false_positives, self.negatives, confidence)
        return caught.low, alarms.high


def _least_level(refuted: Callable[[float], bool]) -> float:
    """Return the least level in [1e-12, 1] at which ``refuted`` holds, rounded up by at most 1%."""
    low, high = math.log(1e-12), math.log(1 - 1e-9)
    if not refuted(math.exp(high)):
        return 1.0
    if refuted(1e-12):
        return 1e-12
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(math.exp(middle)) else (middle, high)
    return math.exp(high)
