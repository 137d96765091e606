"""A collusion-aware code: who gave away a copy, even if several mixed theirs.

Tardos, "Optimal probabilistic fingerprint codes" (STOC 2003), with the symmetric score of Škorić, Katzenbeisser &
Celik, "Symmetric Tardos fingerprinting codes for arbitrary alphabet sizes" (2008). Biases are drawn once, before the
first copy; each hospital's word is drawn from them.

What protects an innocent is not a model of the attack: their word played no part in the leaked copy, so given
whatever was read from that copy, the score is a sum of independent terms with known values. `TardosCode.chance`
bounds its tail by Chernoff's inequality for just these readings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from labkit.watermark.keys import Key


def length(parties: int, colluders: int, false_accusation: float, missed: float = 0.01) -> int:
    """Return how many places a code needs.

    The score of an innocent is about normal with variance m; two or more colluders who mix their words cannot push
    their own average below 2 m / (pi c) (Škorić et al. 2008, section 3, in the Gaussian approximation). Both tails must
    fit between: sqrt(m) >= (pi c / 2) (z of the false accusations + z of the misses).

    Parameters
    ----------
    parties : int
        Hospitals that get a copy.
    colluders : int
        How many may mix their copies.
    false_accusation : float
        Most that the chance of accusing anybody innocent may be, for one leaked copy.
    missed : float
        Chance that one colluder stays below the threshold, under this approximation.

    Examples
    --------
    >>> length(5, 2, 1e-3)
    341
    """
    from scipy.stats import norm

    if not (parties >= 2 and 1 <= colluders <= parties):
        raise ValueError(
            f"got {parties} parties and {colluders} colluders; expected 1 <= colluders <= parties, 2 up"
        )
    for name, value in (("false_accusation", false_accusation), ("missed", missed)):
        if not 0 < value < 0.5:
            raise ValueError(f"{name} is {value}; expected a chance above 0 and below 0.5, such as 0.001")
    tails = float(norm.isf(false_accusation / parties) + norm.isf(missed))
    return math.ceil((math.pi * colluders / 2 * tails) ** 2)


@dataclass(frozen=True, eq=False)
class TardosCode:
    """Biases and words.

    Attributes
    ----------
    biases : ndarray of shape [m]
        Chance of a 1 at each place; secret until a copy is traced.
    words : ndarray of shape [parties, m], 0 or 1
    """

    biases: np.ndarray
    words: np.ndarray

    @classmethod
    def draw(cls, key: Key, parties: int, places: int, colluders: int) -> TardosCode:
        """Draw biases from the arcsine density cut off at 1 / (300 c), then a word for each party."""
        cut = math.asin(math.sqrt(1 / (300 * colluders)))
        angles = cut + (math.pi / 2 - 2 * cut) * key.uniform("tardos/biases", places)
        biases = np.sin(angles) ** 2
        words = (key.uniform("tardos/words", (parties, places)) < biases).astype(np.int64)
        return cls(biases, words)

    def scores(self, readings: np.ndarray, words: np.ndarray | None = None) -> np.ndarray:
        """Return each party's score: readings times the symmetric weight of its word.

        Parameters
        ----------
        readings : array, shape [m]
            Above 0 where a copy speaks for a 1, below for a 0; about 0 where it says nothing.
        words : array, shape [k, m], optional
            Others than the code's own, to see how innocents score.

        Returns
        -------
        array, shape [k]
        """
        return self._weights(self.words if words is None else words) @ readings

    def chance(self, score: float, readings: np.ndarray) -> float:
        """Bound the chance that an innocent reaches ``score`` on these readings (Chernoff), however they came about."""
        if score <= 0 or not np.any(readings):
            return 1.0
        return min(1.0, math.exp(self._least(readings, score)))

    def threshold(self, readings: np.ndarray, false_accusation: float) -> float:
        """Return the least score whose `chance` is at most ``false_accusation``."""
        from scipy.optimize import brentq

        if not np.any(readings):
            return math.inf
        goal = math.log(false_accusation)
        most = float(self._extremes(readings)[1].sum())
        if self._least(readings, most * (1 - 1e-9)) > goal:
            return math.inf  # so few places speak that not even a perfect match would convince
        return float(brentq(lambda s: self._least(readings, s) - goal, 1e-9 * most, most * (1 - 1e-9)))

    def innocents(self, key: Key, count: int) -> np.ndarray:
        """Return words of ``count`` parties that do not exist, shape [count, m], drawn from the same biases."""
        draws = key.uniform("tardos/innocents", (count, len(self.biases)))
        return (draws < self.biases).astype(np.int64)

    def _weights(self, words: np.ndarray) -> np.ndarray:
        odds = np.sqrt((1 - self.biases) / self.biases)
        return np.where(words == 1, odds, -1 / odds)

    def _extremes(self, readings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = np.stack([readings * self._weights(np.full(len(readings), bit)) for bit in (0, 1)])
        return both.min(0), both.max(0)

    def _least(self, readings: np.ndarray, score: float) -> float:
        """Return the least of log E[exp(t S)] - t score over t > 0; S is an innocent's score."""
        from scipy.optimize import minimize_scalar

        odds = np.sqrt((1 - self.biases) / self.biases)
        one, zero = readings * odds, -readings / odds
        with np.errstate(divide="ignore"):
            log_one, log_zero = np.log(self.biases), np.log1p(-self.biases)

        def exponent(log_t: float) -> float:
            t = math.exp(log_t)
            return float(np.logaddexp(log_one + t * one, log_zero + t * zero).sum() - t * score)

        scale = math.log(max(float(np.linalg.norm(readings)), 1e-300))
        found = minimize_scalar(exponent, bounds=(-12 - scale, 8 - scale), method="bounded")
        return min(0.0, float(found.fun))
