"""One privacy statement for everything a pipeline took from the records, and noise for a wanted ε.

Examples
--------
>>> from labkit.dp.accounting.statement import SampledGaussian, privacy_statement
>>> print(privacy_statement([SampledGaussian(1.3, steps=3750, sample_rate=1 / 250)]))
ε = 0.834 (PLD) / 0.844 (PRV) / 0.922 (RDP), δ = 1e-5, Poisson q = 0.004, 3750 steps, add/remove, 1 run
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from labkit.dp.accounting import accountants, ceiling
from labkit.dp.accounting.accountants import gdp_epsilon
from labkit.dp.accounting.calibration import calibrate_noise
from labkit.dp.accounting.ceiling import roc_ceiling
from labkit.dp.accounting.events import (
    Event,
    LaplaceEvent,
    Neighbouring,
    NotAccountable,
    PureDP,
    SampledGaussian,
    as_events,
)
from labkit.dp.accounting.loader_check import check_loader
from labkit.dp.accounting.tuning_cost import TuningCost
from labkit.dp.limits import check_delta, check_neighbouring

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LaplaceEvent",
    "NotAccountable",
    "PrivacyStatement",
    "PureDP",
    "SampledGaussian",
    "TuningCost",
    "calibrate_noise",
    "check_loader",
    "gdp_epsilon",
    "privacy_statement",
    "roc_ceiling",
]


@dataclass(frozen=True)
class PrivacyStatement:
    """What may be said about the privacy of a release, with all that the figure depends on.

    Attributes
    ----------
    events : tuple of Event
        Everything that was released from the records, composed.
    delta : float
    neighbouring : {"add/remove", "replace-one"}
    epsilons : dict[str, float]
        ε by accountant, the headline first: PLD, then PRV and RDP as far as they apply.
    unavailable : dict[str, str]
        Accountants without a valid answer, and why.
    n : int, optional
        Number of records, against which δ was checked.
    tuning : TuningCost, optional
        Training runs that the choice of settings took; `epsilons` include them.
    """

    events: tuple[Event, ...]
    delta: float
    neighbouring: Neighbouring
    epsilons: dict[str, float] = field(compare=False)
    unavailable: dict[str, str] = field(default_factory=dict, compare=False)
    n: int | None = None
    tuning: TuningCost | None = None

    @property
    def epsilon(self) -> float:
        """The headline: PLD where it applies, else the first accountant that does."""
        return next(iter(self.epsilons.values()))

    @property
    def main(self) -> SampledGaussian | None:
        """The event with the most steps (the training), if any step was Gaussian."""
        gaussians = [event for event in self.events if isinstance(event, SampledGaussian)]
        return max(gaussians, key=lambda event: event.steps, default=None)

    @property
    def sampler(self) -> str | None:
        return self.main.sampler if self.main else None

    @property
    def sample_rate(self) -> float | None:
        return self.main.sample_rate if self.main else None

    @property
    def noise_multiplier(self) -> float | None:
        return self.main.noise_multiplier if self.main else None

    @property
    def steps(self) -> int | None:
        return self.main.steps if self.main else None

    @property
    def tuning_runs(self) -> float:
        """Training runs behind the release, in expectation where their number was drawn."""
        return self.tuning.mean_runs if self.tuning else 1

    def roc_ceiling(self, fpr: np.ndarray) -> np.ndarray:
        """Largest true positive rate of any membership attack at these false positive rates, by (ε, δ) alone.

        Parameters
        ----------
        fpr : array, shape [k]

        Returns
        -------
        array, shape [k]
        """
        return ceiling.roc_ceiling(fpr, self.epsilon, self.delta)

    def delta_at(self, epsilon: float | np.ndarray) -> float | np.ndarray:
        """δ for which the release is (`epsilon`, δ)-DP, as an upper bound; same shape as `epsilon`.

        Raises
        ------
        ValueError
            For a negative ε or NaN.
        """
        points, where = np.unique(epsilon, return_inverse=True)  # dp-accounting wants them ascending
        if not np.all(points >= 0):
            raise ValueError(f"epsilon={epsilon}: expected numbers >= 0")
        if "PLD" in self.epsilons:
            runs = self.tuning.certain_runs if self.tuning else 1
            deltas = accountants.pld(self.events, self.neighbouring, runs=runs).get_delta_for_epsilon(points)
        else:
            from dp_accounting.rdp import rdp_privacy_accountant as rdp

            curve = _rdp_curve(self.events, self.neighbouring, self.tuning)
            deltas = [rdp.compute_delta(accountants.orders(), curve, point)[0] for point in points]
        deltas = np.clip(deltas, 0.0, 1.0)[where].reshape(np.shape(epsilon))
        return deltas if deltas.ndim else float(deltas)

    def tradeoff_curve(self, fpr: np.ndarray) -> np.ndarray:
        """As `roc_ceiling`, tighter: the least over many (ε, δ(ε)) of one mechanism (its f-DP curve).

        Parameters
        ----------
        fpr : array, shape [k]

        Returns
        -------
        array, shape [k]
            Largest true positive rate, which is 1 - f(fpr) in the notation of arXiv 1905.02383.
        """
        epsilons = np.append(np.linspace(0.0, 2 * self.epsilon + 1, 400), self.epsilon)
        return ceiling.tradeoff_ceiling(fpr, epsilons, self.delta_at(epsilons))

    def table(self) -> pd.DataFrame:
        """One row per accountant: ε, or why there is none."""
        import pandas as pd

        rows = [{"accountant": name, "epsilon": value, "note": ""} for name, value in self.epsilons.items()]
        rows += [{"accountant": k, "epsilon": math.nan, "note": why} for k, why in self.unavailable.items()]
        return pd.DataFrame(rows).set_index("accountant")

    def __str__(self) -> str:
        values = " / ".join(f"{_figure(value)} ({name})" for name, value in self.epsilons.items())
        missing = "".join(f", {name} n/a" for name in self.unavailable)
        return f"ε = {values}{missing}, {self.conditions()}"

    def conditions(self) -> str:
        """What the figures hold for: δ, sampler, q, steps, neighbours, runs."""
        shown = np.format_float_scientific(self.delta, precision=2, trim="-", exp_digits=1)
        # The training goes first; what was released besides follows.
        ordered = sorted(self.events, key=lambda event: event is not self.main)
        releases = " + ".join(event.describe() for event in ordered)
        runs = self.tuning.describe() if self.tuning else "1 run"
        # With batches in a fixed order a record that left would shift all others: its place is emptied instead.
        fixed = any(getattr(event, "sampler", "") == "fixed" for event in self.events)
        neighbours = "zero-out" if fixed and self.neighbouring == "add/remove" else self.neighbouring
        return f"δ = {shown}, {releases}, {neighbours}, {runs}"

    def _repr_html_(self) -> str:
        rows = [(name, _figure(value), "") for name, value in self.epsilons.items()]
        rows += [(name, "n/a", why) for name, why in self.unavailable.items()]
        cells = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
        return (
            f"<table><caption>{html.escape(self.conditions())}</caption>"
            f"<tr><th>accountant</th><th>ε</th><th></th></tr>{cells}</table>"
        )


def privacy_statement(
    events: Event | Iterable[Event],
    *,
    delta: float = 1e-5,
    n: int | None = None,
    neighbouring: Neighbouring = "add/remove",
    tuning: TuningCost | None = None,
) -> PrivacyStatement:
    """Account for all `events` together.

    Parameters
    ----------
    events : Event or iterable of Event
        All that was released from the same records, statistics and discarded models included.
    n : int, optional
        Number of records: δ is then checked against 1/n.
    tuning : TuningCost, optional
        The runs it took to choose settings. Every run is charged all of `events`.

    Raises
    ------
    ValueError
        For an invalid δ, no events, or events that no accountant covers (the message has each one's reason).
    """
    events = as_events(events)
    check_delta(delta, n)
    check_neighbouring(neighbouring)
    if not (tuning is None or isinstance(tuning, TuningCost)):
        raise TypeError(f"tuning={tuning!r}: expected TuningCost(runs), for example TuningCost(5) for 5 runs")
    runs = tuning.certain_runs if tuning else 1
    random_runs = "no accountant but RDP covers a random number of runs (arXiv 2110.03620)"

    def exact(accountant: Callable[..., float]) -> Callable[[], float]:
        def epsilon() -> float:
            if runs is None:
                raise NotAccountable(random_runs)
            return accountant(events, delta, neighbouring, runs)

        return epsilon

    asked: dict[str, Callable[[], float]] = {
        "PLD": exact(accountants.pld_epsilon),
        "PRV": exact(accountants.prv_epsilon),
        "RDP": lambda: _rdp_epsilon(events, delta, neighbouring, tuning),
    }
    epsilons, unavailable = {}, {}
    for name, compute in asked.items():
        try:
            epsilons[name] = compute()
        except NotAccountable as reason:
            unavailable[name] = str(reason)
    if not any(math.isfinite(value) for value in epsilons.values()):
        reasons = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise ValueError(f"no accountant covers these events under {neighbouring}: {reasons}")
    return PrivacyStatement(events, delta, neighbouring, epsilons, unavailable, n, tuning)


def _rdp_curve(
    events: tuple[Event, ...], neighbouring: Neighbouring, tuning: TuningCost | None
) -> np.ndarray:
    if tuning and tuning.certain_runs is None:
        return tuning.rdp_curve(events, neighbouring)
    return accountants.rdp_curve(events, neighbouring, tuning.certain_runs if tuning else 1)


def _rdp_epsilon(
    events: tuple[Event, ...], delta: float, neighbouring: Neighbouring, tuning: TuningCost | None
) -> float:
    from dp_accounting import rdp

    return float(
        rdp.compute_epsilon(accountants.orders(), _rdp_curve(events, neighbouring, tuning), delta)[0]
    )


def _figure(value: float) -> str:
    """Three digits below 1 and from a million on, two decimals between; infinity as such."""
    return f"{value:.2f}" if 0.995 <= value < 1e6 else f"{value:#.3g}"
