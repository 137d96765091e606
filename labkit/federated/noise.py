"""Where the noise is added, who is protected from whom, and what may be said about it.

Four placements, one name each:

- ``central``: the server adds the noise to the sum that it saw exactly.
- ``local``: each hospital adds the full noise to its own contribution before it leaves the house.
- ``distributed``: each hospital adds a share of discrete Gaussian noise on the grid, inside secure aggregation; the
  shares of as many hospitals as must survive make up the full noise (Kairouz, Liu & Steinke 2021, arXiv 2102.06387).
- ``record``: each hospital trains by DP-SGD on its own records, with the full noise in every local step.

``unit`` says whose presence is hidden: a ``patient`` (one record) or a ``hospital`` (all of its records).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.dp.mechanisms.discrete_arrays import discrete_gaussian
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from labkit.dp.accounting.statement import PrivacyStatement

PLACEMENTS = ("none", "central", "local", "distributed", "record")
UNITS = ("patient", "hospital")
GRID_STEPS = 2**24  # in one clipping norm: rounding then costs a hundred-thousandth of the noise, or less
OBSERVERS = ("the server", "everyone who gets the model", "another hospital")


class NoiseError(ValueError):
    """Noise settings that cannot be meant, or that would promise what they do not keep."""


@dataclass(frozen=True)
class Noise:
    """How a federation's contributions are made private.

    Parameters
    ----------
    placement : {"none", "central", "local", "distributed", "record"}
    unit : {"patient", "hospital"}
    noise_multiplier : float
        Full noise: standard deviation over clipping norm. What "full" protects depends on the placement.
    max_grad_norm : float
        Bound on what one unit moves a contribution by: a patient's gradient, or a hospital's whole update.
    hospitals, threshold : int
        How many take part, and how many must survive a round for its sum to be opened.
    colluders : int
        Hospitals whose own noise share the others cannot count on (``distributed`` only).
    sample_rate : float
        Of the local DP-SGD batches (``record`` only); the other placements use every record in every round.
    local_steps : int
        DP-SGD steps a round (``record`` only).
    statistics_multiplier : float
        Full noise of the private statistics that preprocessing took first; 0 if it took none.
    statistics_full_at : int
        How many hospitals' shares make up that full noise: fewer honest ones leave less of it.

    Raises
    ------
    NoiseError
        For values out of range, or a combination whose promise would be empty.
    """

    placement: str = "none"
    unit: str = "patient"
    noise_multiplier: float = 0.0
    max_grad_norm: float = 1.0
    hospitals: int = 5
    threshold: int = 3
    colluders: int = 0
    sample_rate: float = 1.0
    local_steps: int = 1
    statistics_multiplier: float = 0.0
    statistics_full_at: int = 1

    def __post_init__(self) -> None:
        _check(self)

    @property
    def share_multiplier(self) -> float:
        """Standard deviation over clipping norm of what one hospital adds to its contribution."""
        if self.placement == "local":
            return self.noise_multiplier
        if self.placement == "distributed":
            return self.noise_multiplier / math.sqrt(self.threshold - self.colluders)
        return 0.0

    def against(self, observer: str, *, colluders: int = 0, survivors: int | None = None) -> float:
        """Return the noise multiplier that hides one unit from ``observer``, in a round of ``survivors`` hospitals.

        Parameters
        ----------
        observer : {"the server", "everyone who gets the model", "another hospital"}
            The server sees what the placement shows it: single contributions under ``local`` and ``record``, the sum
            otherwise. The other two see the model. Another hospital, alone or with ``colluders`` - 1 more, knows and
            subtracts its own noise.
        survivors : int, optional
            Hospitals whose contribution reached the sum; the threshold (the worst case) when left out.
        """
        if observer not in OBSERVERS:
            raise NoiseError(f"observer is {observer!r}; expected one of {', '.join(map(repr, OBSERVERS))}")
        survivors = self.threshold if survivors is None else survivors
        if observer == "another hospital":
            colluders = max(1, colluders)
        honest = survivors - colluders
        if honest < 1:
            raise NoiseError(f"{colluders} of {survivors} hospitals collude: nobody is left to be protected")
        if self.placement == "none":
            return 0.0
        if self.placement == "central":
            return 0.0 if observer == "the server" else self.noise_multiplier
        if self.placement == "distributed":
            return self.share_multiplier * math.sqrt(honest)
        if self.placement == "local" and observer != "the server":
            return self.noise_multiplier * math.sqrt(honest)
        return (
            self.noise_multiplier
        )  # one contribution at a time; and averages of local DP-SGD are no plain sums

    def statistics_against(self, observer: str, *, colluders: int = 0, survivors: int | None = None) -> float:
        """Return the noise multiplier of the statistics that hides one patient from ``observer``.

        They are one sum of noisy shares whatever the placement of the training's noise, opened with
        ``statistics_full_at`` hospitals at the least (the worst case, counted here). A patient is in it with the share of
        their own hospital, so one honest share is always left. Full noise at each (1) is counted like local noise.
        """
        if observer == "another hospital":
            colluders = max(1, colluders)
        full_at = self.statistics_full_at
        if full_at == 1:
            survivors = self.threshold if survivors is None else survivors
            honest = 1 if observer == "the server" else survivors - colluders
        else:
            honest = max(1, full_at - colluders)
        return self.statistics_multiplier * math.sqrt(honest / full_at)

    def events(self, rounds: int, noise_multiplier: float, statistics: float = 0.0) -> tuple[Any, ...]:
        """Return what one unit's records went through in ``rounds`` rounds, for the accountants.

        ``noise_multiplier`` and ``statistics`` are what an observer faces, see `against` and `statistics_against`.
        """
        from labkit.dp.accounting.statement import SampledGaussian

        if self.placement == "record":
            steps = rounds * self.local_steps
            training = SampledGaussian(noise_multiplier, steps, self.sample_rate, "poisson")
        else:
            training = SampledGaussian(noise_multiplier, rounds, 1.0, "full")
        return (training, SampledGaussian(statistics, 1, 1.0, "full")) if statistics else (training,)

    def statement(
        self,
        rounds: int,
        *,
        observer: str = "everyone who gets the model",
        colluders: int = 0,
        survivors: int | None = None,
        delta: float = 1e-5,
        n: int | None = None,
    ) -> PrivacyStatement | None:
        """Return the promise against ``observer`` after ``rounds`` rounds, or None where there is none.

        ``survivors`` is the fewest hospitals that any round ended with. For unit ``hospital``, "add/remove" means one
        hospital more or less among those whose number the protocol fixes: its contribution is there or is zero.
        """
        from labkit.dp.accounting.statement import privacy_statement

        multiplier = self.against(observer, colluders=colluders, survivors=survivors)
        statistics = self.statistics_against(observer, colluders=colluders, survivors=survivors)
        if multiplier == 0:
            return None
        return privacy_statement(self.events(rounds, multiplier, statistics), delta=delta, n=n)

    def grid(self, dimension: int) -> Grid:
        """Return the grid that ``distributed`` noise lives on, for vectors of ``dimension`` values."""
        return Grid(self.max_grad_norm, dimension, self.share_multiplier)


@dataclass(frozen=True)
class Grid:
    """Fixed-point numbers, and discrete Gaussian noise on them.

    A unit that moves the exact sum by at most C in Euclidean norm moves the rounded one by at most C / step + sqrt(d)
    grid steps: each coordinate is rounded once, to the nearest. The noise is scaled to that.

    The Rényi bounds of the discrete Gaussian are those of the continuous one (Canonne et al. 2020, arXiv 2004.00010,
    proposition 5). A sum of independent shares is not exactly discrete Gaussian, but within
    10 sum_k exp(-2 pi^2 sigma^2 k / (k + 1)) of it in divergence (Kairouz et al. 2021, theorem 1, with sigma of one
    share in grid steps): below 10^-1000 here, as a share has thousands of steps.
    """

    max_grad_norm: float
    dimension: int
    share_multiplier: float

    @property
    def step(self) -> float:
        """Grid step, in the unit of the values."""
        return self.max_grad_norm / GRID_STEPS

    @property
    def sensitivity(self) -> float:
        """Most that one unit moves the rounded sum by, in grid steps."""
        return GRID_STEPS + math.sqrt(self.dimension)

    @property
    def variance(self) -> Fraction:
        """Variance parameter of one share, in squared grid steps, rounded up to a whole number."""
        return Fraction(math.ceil(Fraction(self.share_multiplier * self.sensitivity) ** 2))

    def round(self, values: np.ndarray) -> np.ndarray:
        """Return the nearest grid indices, int64, same shape; refuse what int64 cannot hold."""
        values = np.asarray(values, dtype=np.float64)
        if not np.isfinite(values).all():
            raise NoiseError("the contribution has a NaN or infinite value: a hospital must not send it")
        scaled = values / self.step
        if np.abs(scaled).max(initial=0.0) >= 2.0**53:
            raise NoiseError(
                f"the largest value is {np.abs(values).max():g}; the grid of step {self.step:g} ends at "
                f"{2.0**53 * self.step:g}: raise max_grad_norm, or look at why the contribution is so large"
            )
        return np.rint(scaled).astype(np.int64)

    def noise(self, generator: np.random.Generator | None = None) -> np.ndarray:
        """Return one hospital's share for one round, int64 [dimension]; without a generator it cannot be redrawn."""
        return discrete_gaussian(self.variance, self.dimension, generator)

    def value(self, total: np.ndarray) -> np.ndarray:
        """Return grid indices as values, float64."""
        return total.astype(np.float64) * self.step


def calibrate(
    placement: str,
    target_epsilon: float,
    *,
    rounds: int,
    unit: str = "patient",
    delta: float = 1e-5,
    n: int | None = None,
    **settings: Any,
) -> Noise:
    """Return the least noise for which the placement's own promise is at most ``target_epsilon``.

    What that promise is: ``central`` against whoever gets the model, ``local`` and ``record`` against the server too,
    one contribution at a time, ``distributed`` against the server and all others in rounds that end at the threshold,
    with ``colluders`` hospitals on their side. Colluders next to a server need a higher threshold of secure
    aggregation, too: `labkit.federated.secagg.least_threshold`.

    Parameters
    ----------
    settings : see `Noise`

    Examples
    --------
    >>> noise = calibrate("distributed", 3.0, rounds=60)
    >>> print(noise.statement(60, observer="the server").epsilon <= 3.0)
    True
    """
    from labkit.dp.accounting.statement import SampledGaussian, calibrate_noise

    if placement == "none":
        raise NoiseError("placement 'none' has no noise to calibrate: leave target_epsilon out")
    probe = Noise(placement, unit, 1.0, **settings)
    observer = OBSERVERS[1] if placement == "central" else OBSERVERS[0]
    faced = probe.statistics_against(observer, colluders=probe.colluders)
    first = (SampledGaussian(faced, 1, 1.0, "full"),) if faced else ()
    multiplier = calibrate_noise(
        target_epsilon,
        delta=delta,
        sample_rate=probe.sample_rate,
        steps=rounds * probe.local_steps,
        sampler="poisson" if placement == "record" else "full",
        other_events=first,
        n=n,
    )
    return replace(probe, noise_multiplier=multiplier)


@dataclass(frozen=True)
class Promises(Result):
    """Who is protected from whom, row by row: see `promises`."""

    noise: Noise
    rounds: int
    rows: tuple[tuple[str, int, int, PrivacyStatement | None], ...]

    def numbers(self) -> dict[str, Any]:
        return {
            "placement": self.noise.placement,
            "unit": self.noise.unit,
            "rounds": self.rounds,
            "against": [
                {
                    "observer": who,
                    "colluders": k,
                    "survivors": s,
                    "statement": str(found) if found else "no promise",
                }
                for who, k, s, found in self.rows
            ],
        }

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "observer": who + (f", {k} colluding" if k > 1 else ""),
                "survivors": s,
                "unit": self.noise.unit,
                "promise": str(found) if found else "none: sees it exactly",
            }
            for who, k, s, found in self.rows
        ]
        return pd.DataFrame(rows).set_index("observer")

    def summary(self) -> str:
        return (
            f"noise placed {self.noise.placement}, unit of privacy: {self.noise.unit}, {self.rounds} rounds"
        )


def promises(noise: Noise, rounds: int, *, delta: float = 1e-5, n: int | None = None) -> Promises:
    """Return the promise against each observer, without and with dropouts, and as more hospitals collude."""
    rows = []
    for survivors in sorted({noise.hospitals, noise.threshold}, reverse=True):
        cases = [(who, 0) for who in OBSERVERS[:2]]
        cases += [(OBSERVERS[2], k) for k in range(1, survivors)]
        for who, k in cases:
            found = noise.statement(rounds, observer=who, colluders=k, survivors=survivors, delta=delta, n=n)
            rows.append((who, k, survivors, found))
    return Promises(noise, rounds, tuple(rows))


def _check(noise: Noise) -> None:
    """Refuse settings whose promise would be empty or false."""
    for name, allowed in (("placement", PLACEMENTS), ("unit", UNITS)):
        if getattr(noise, name) not in allowed:
            raise NoiseError(f"{name} is {getattr(noise, name)!r}; expected one of {', '.join(allowed)}")
    if noise.placement != "none":
        for name in ("noise_multiplier", "max_grad_norm"):
            value = getattr(noise, name)
            if not (math.isfinite(value) and value > 0):
                raise NoiseError(
                    f"{name} is {value}; expected a positive number for placement {noise.placement!r}"
                )
    if not 1 <= noise.threshold <= noise.hospitals:
        raise NoiseError(
            f"threshold is {noise.threshold} of {noise.hospitals} hospitals; expected 1 to {noise.hospitals}"
        )
    if not 0 <= noise.colluders < noise.threshold:
        raise NoiseError(
            f"colluders is {noise.colluders}; expected 0 to {noise.threshold - 1}: with as many colluders as the "
            "threshold asks for, no honest noise needs to be in a sum"
        )
    if noise.colluders and noise.placement != "distributed":
        raise NoiseError(
            f"colluders={noise.colluders} changes nothing under {noise.placement!r}: leave it out"
        )
    if not (math.isfinite(noise.statistics_multiplier) and noise.statistics_multiplier >= 0):
        raise NoiseError(
            f"statistics_multiplier is {noise.statistics_multiplier}; expected 0 or a positive number"
        )
    if not 1 <= noise.statistics_full_at <= noise.hospitals:
        raise NoiseError(
            f"statistics_full_at is {noise.statistics_full_at}; expected 1 to {noise.hospitals} hospitals"
        )
    if noise.statistics_multiplier and noise.unit == "hospital":
        raise NoiseError(
            "statistics of patients hide no hospital: take public features (`fixed`) for unit 'hospital'"
        )
    if noise.placement == "record" and noise.unit != "patient":
        raise NoiseError("placement 'record' hides a patient; expected unit='patient'")
    if noise.placement != "record" and (noise.sample_rate != 1 or noise.local_steps != 1):
        raise NoiseError("sample_rate and local_steps belong to placement 'record': leave them out")
