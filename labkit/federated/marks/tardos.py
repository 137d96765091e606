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
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labkit.watermark.marks.keys import Key


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
    340
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
        """Bound the chance that an innocent reaches ``score`` on these readings (Chernoff), however they came about.

        With K(t) = log E[exp(t S)] of an innocent's score S, it is the least of exp(K(t) - t score) over t > 0, which
        lies where K'(t) = score.
        """
        if score <= 0 or not np.any(readings):
            return 1.0
        from scipy.optimize import brentq

        high = self._beyond(readings, lambda t: self._cumulant(t, readings)[1] >= score)
        if not high:  # no t gets there: the score is at the end of what is possible
            t = self._last(readings)
        else:
            t = brentq(lambda t: self._cumulant(t, readings)[1] - score, 0.0, high)
        return min(1.0, math.exp(self._cumulant(t, readings)[0] - t * score))

    def threshold(self, readings: np.ndarray, false_accusation: float) -> float:
        """Return the least score whose `chance` is at most ``false_accusation``; infinity if there is none."""
        if not np.any(readings):
            return math.inf
        from scipy.optimize import brentq

        def excess(t: float) -> float:
            k, slope = self._cumulant(t, readings)
            return k - t * slope - math.log(false_accusation)

        high = self._beyond(readings, lambda t: excess(t) <= 0)
        if not high:
            return math.inf  # so few places speak that not even a perfect match would convince
        return self._cumulant(brentq(excess, 0.0, high), readings)[1]

    def innocents(self, key: Key, count: int) -> np.ndarray:
        """Return words of ``count`` parties that do not exist, shape [count, m], drawn from the same biases."""
        draws = key.uniform("tardos/innocents", (count, len(self.biases)))
        return (draws < self.biases).astype(np.int64)

    def _weights(self, words: np.ndarray) -> np.ndarray:
        odds = np.sqrt((1 - self.biases) / self.biases)
        return np.where(words == 1, odds, -1 / odds)

    def _cumulant(self, t: float, readings: np.ndarray) -> tuple[float, float]:
        """Return K(t), the logarithm of E[exp(t S)] for an innocent's score S, and its slope K'(t)."""
        odds = np.sqrt((1 - self.biases) / self.biases)
        one, zero = readings * odds, -readings / odds
        with_one, with_zero = np.log(self.biases) + t * one, np.log1p(-self.biases) + t * zero
        each = np.logaddexp(with_one, with_zero)
        return float(each.sum()), float(
            (one * np.exp(with_one - each) + zero * np.exp(with_zero - each)).sum()
        )

    def _last(self, readings: np.ndarray) -> float:
        return 2.0**40 / float(np.linalg.norm(readings))

    def _beyond(self, readings: np.ndarray, there: Callable[[float], bool]) -> float:
        """Return a t > 0 that lies beyond what is looked for, doubling from a small one; 0 if none does."""
        t = 1 / float(np.linalg.norm(readings))
        while not there(t):
            t *= 2
            if t > self._last(readings):
                return 0.0
        return t
