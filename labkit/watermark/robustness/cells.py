"""One cell of the robustness matrix, and a scheme's cells under one attack over doses and seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labkit import stats

NONE = "none"  # the column of models that nobody attacked
ALLOWED = 0.05  # accuracy that an attack may cost


@dataclass(frozen=True)
class Cell:
    """One marked model after one dose of one attack.

    Attributes
    ----------
    dose : int
        Which of the attack's doses, the gentlest is 0.
    strength : Interval
        Share of triggers (or bits) that still answer as marked, Clopper-Pearson.
    p_value : float
        See `labkit.watermark.verification.verify.Verdict`.
    verified : bool
        Whether it is below alpha.
    accuracy : Interval
        On the test records.
    lost : float
        Accuracy of the marked model before the attack, less that after it, on the same records.
    seconds : float
        Of the attack, when it was made; without what the caller's own part of it took.
    """

    scheme: str
    attack: str
    seed: int
    strength: stats.Interval
    p_value: float
    verified: bool
    accuracy: stats.Interval
    lost: float
    seconds: float
    dose: int = 0

    @property
    def beaten(self) -> bool:
        """Whether an attack succeeded: mark not verified, at most five points of accuracy lost."""
        return self.attack != NONE and not self.verified and self.lost <= ALLOWED


def best_dose(cells: Iterable[Cell]) -> Cell:
    """Return what the attacker would have chosen among doses on one model.

    The cheapest dose that beats the mark; else the cheapest that takes it at all; else, of those within the price, the one
    that leaves least of it; else the gentlest.
    """
    cells = sorted(cells, key=lambda cell: cell.dose)
    for fits, order in (
        (lambda c: c.beaten, lambda c: c.lost),
        (lambda c: not c.verified, lambda c: c.lost),
        (lambda c: c.lost <= ALLOWED, lambda c: c.strength.estimate),
    ):
        if found := [cell for cell in cells if fits(cell)]:
            return min(found, key=order)
    return cells[0]


@dataclass(frozen=True)
class Pooled:
    """The cells of one scheme and attack over seeds, each at the attacker's best dose: means and counts.

    Over several seeds intervals are Student's t. With a single seed the interval is that cell's own (over triggers, over
    records), since one seed has no spread.
    """

    cells: tuple[Cell, ...]

    @property
    def strength(self) -> stats.Interval:
        if len(self.cells) == 1:
            return self.cells[0].strength
        return stats.mean_share([cell.strength.estimate for cell in self.cells])

    @property
    def lost(self) -> stats.Interval:
        """Share of accuracy lost; with one seed the interval is that of the accuracy after the attack, shifted."""
        if len(self.cells) > 1:
            return stats.mean_interval([cell.lost for cell in self.cells])
        (cell,) = self.cells
        before = cell.lost + cell.accuracy.estimate
        return stats.Interval(
            cell.lost, before - cell.accuracy.high, before - cell.accuracy.low, 0.95, cell.accuracy.method
        )

    @property
    def p_value(self) -> float:
        """The largest over seeds: what the least lucky owner would have to show."""
        return max(cell.p_value for cell in self.cells)

    @property
    def verified(self) -> int:
        return sum(cell.verified for cell in self.cells)

    @property
    def beaten(self) -> int:
        return sum(cell.beaten for cell in self.cells)

    @property
    def verdict(self) -> str:
        """One word on all seeds.

        The mark "holds" in every seed or is "beaten" in every seed; it is gone from every seed, but at too high a
        price in one or more: "costly"; or seeds "differ".
        """
        runs = len(self.cells)
        if self.verified == runs:
            return "holds"
        if self.beaten == runs:
            return "beaten"
        return "differ" if self.verified else "costly"

    def text(self, figure: str) -> str:
        """Return one of `FIGURES` for a table."""
        runs = len(self.cells)
        return {
            "strength": self.strength.percent(1),
            "p-value": stats.p_text(self.p_value, stats.SUPPORTED),
            "accuracy lost": points(self.lost),
            "verified": f"{self.verified} of {runs}",
            "beaten": f"{self.beaten} of {runs}",
        }[figure]


def gap(first: Pooled, second: Pooled) -> stats.Interval:
    """Return the strength that one attack leaves minus what another does, on the same marked models: mean and 95% interval.

    Over seeds it is Student's t of the differences; it is never narrower than what the triggers alone leave open (Newcombe,
    "Interval estimation for the difference between independent proportions", Statistics in Medicine 17, 1998, method 10,
    from Clopper-Pearson ends). Both attacks are asked the same triggers, so that part errs on the wide side. With one seed
    it is all there is.

    Raises
    ------
    ValueError
        If the two are not of the same seeds.
    """
    one, two = ({cell.seed: cell.strength for cell in pooled.cells} for pooled in (first, second))
    if set(one) != set(two):
        raise ValueError(f"got seeds {sorted(one)} and {sorted(two)}; expected the same marked models")
    pairs = [(one[seed], two[seed]) for seed in one]
    down = sum((a.estimate - a.low) ** 2 + (b.high - b.estimate) ** 2 for a, b in pairs) ** 0.5 / len(pairs)
    up = sum((a.high - a.estimate) ** 2 + (b.estimate - b.low) ** 2 for a, b in pairs) ** 0.5 / len(pairs)
    found = stats.mean_interval([a.estimate - b.estimate for a, b in pairs])
    low, high = found.estimate - down, found.estimate + up
    if len(pairs) > 1:
        low, high = min(low, found.low), max(high, found.high)
    return stats.Interval(found.estimate, max(-1.0, low), min(1.0, high), 0.95, found.method)


def points(value: stats.Interval) -> str:
    """Return a difference of shares in points, such as ``+1.2 [+0.4, +2.0]``."""
    return f"{100 * value.estimate:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"
