"""What choosing among several private training runs costs (Papernot & Steinke, arXiv 2110.03620).

Publishing the best of k runs is a release of all k. Two ways to account for it:

- a number of runs that was **fixed** in advance: plain composition of k runs, by any accountant;
- a number of runs **drawn at random** and never disclosed, only the best run published: a cost that grows
  with log k. The drawn number must be used, no run may cost more than the stated one, and each draws its
  settings without a look at the others' results: random search qualifies, a search that learns does not.

Either way the score that picks the best must come from records outside the statement (or be private and
accounted itself).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from labkit.dp.accounting import accountants
from labkit.dp.accounting.events import Event, Neighbouring, NotAccountable, SampledGaussian, library_rdp

Runs = Literal["fixed", "poisson", "geometric", "logarithmic", "negative-binomial"]
SHAPES = {"poisson": math.inf, "geometric": 1.0, "logarithmic": 0.0}


@dataclass(frozen=True)
class TuningCost:
    """How many training runs the choice of settings took.

    Parameters
    ----------
    mean_runs : float
        Number of runs (``fixed``), or the mean of the distribution that it was drawn from.
    distribution : {"fixed", "poisson", "geometric", "logarithmic", "negative-binomial"}
        Theorem 6 of the paper covers Poisson, Theorem 2 the rest: truncated negative binomial (at least one run), of
        which geometric (shape 1) and logarithmic (shape 0) are special cases. ``fixed`` is plain composition.
    shape : float, optional
        η of the negative binomial; for that distribution only.

    Raises
    ------
    ValueError
        For fewer than one run, an unknown distribution, or a shape where none belongs.
    """

    mean_runs: float
    distribution: Runs = "fixed"
    shape: float | None = None

    def __post_init__(self) -> None:
        known = ("fixed", *SHAPES, "negative-binomial")
        if self.distribution not in known:
            raise ValueError(
                f"distribution={self.distribution!r}: expected one of {', '.join(map(repr, known))}"
            )
        if not (math.isfinite(self.mean_runs) and self.mean_runs >= 1):
            raise ValueError(f"mean_runs={self.mean_runs}: expected at least 1, the run that was published")
        if self.distribution == "fixed" and self.mean_runs != int(self.mean_runs):
            raise ValueError(f"mean_runs={self.mean_runs}: a fixed number of runs is a whole number")
        if self.distribution in ("geometric", "logarithmic", "negative-binomial") and self.mean_runs == 1:
            raise ValueError("mean_runs=1 leaves nothing random. Fix: leave tuning out of the statement")
        if (self.distribution == "negative-binomial") != (self.shape is not None):
            raise ValueError(
                f"shape={self.shape} with distribution={self.distribution!r}: shape belongs to "
                "'negative-binomial', which needs it"
            )
        if self.shape is not None and not (math.isfinite(self.shape) and self.shape > 0):
            raise ValueError(f"shape={self.shape}: expected a finite number > 0")

    @property
    def certain_runs(self) -> int | None:
        """The number of runs where it was fixed in advance, else None."""
        return int(self.mean_runs) if self.distribution == "fixed" else None

    def describe(self) -> str:
        """For people: '20 runs', '20 runs expected (geometric)'."""
        runs = f"{self.mean_runs:g} run{'s' if self.mean_runs != 1 else ''}"
        return runs if self.distribution == "fixed" else f"{runs} expected ({self.distribution})"

    def rdp_curve(self, events: Sequence[Event], neighbouring: Neighbouring) -> np.ndarray:
        """Rényi divergences of the best of a random number of runs, at `labkit.dp.accounting.accountants.orders()`.

        Raises
        ------
        NotAccountable
            Under replace-one, for which the library's bound for the runs is not set up here.
        """
        from dp_accounting import dp_event

        drawn = any(isinstance(e, SampledGaussian) and e.sampler == "without-replacement" for e in events)
        if neighbouring != "add/remove" or drawn:
            raise NotAccountable("a random number of runs is accounted for add/remove neighbours only")
        run = dp_event.ComposedDpEvent([event.dp_event() for event in events])
        shape = SHAPES.get(self.distribution, self.shape)
        best = dp_event.RepeatAndSelectDpEvent(run, self.mean_runs, shape)
        return library_rdp(best, accountants.orders())

    def draw_runs(self, rng: np.random.Generator) -> int:
        """Draw the number of runs to make. Keep it, and `rng`'s seed, to yourself: only the best run is covered.

        A Poisson draw may be 0: then nothing is trained, and nothing may be published but a default.
        """
        if self.distribution == "fixed":
            return int(self.mean_runs)
        if self.distribution == "poisson":
            return int(rng.poisson(self.mean_runs))
        if self.distribution == "geometric":
            return int(rng.geometric(1 / self.mean_runs))
        if self.distribution == "logarithmic":
            return int(rng.logseries(1 - self._gamma(0.0)))
        gamma = self._gamma(self.shape)
        while (runs := int(rng.negative_binomial(self.shape, gamma))) == 0:  # truncated: zero is drawn again
            pass
        return runs

    def _gamma(self, shape: float) -> float:
        """γ in (0, 1) of the truncated negative binomial with this mean (Definition 1 of the paper)."""
        from scipy.optimize import brentq

        def mean(log_gamma: float) -> float:
            gamma = math.exp(log_gamma)
            if shape == 0:
                return (1 / gamma - 1) / -log_gamma
            return shape * (1 - gamma) / (gamma * -math.expm1(shape * log_gamma))

        return math.exp(brentq(lambda x: math.log(mean(x) / self.mean_runs), -60.0, -1e-9))
