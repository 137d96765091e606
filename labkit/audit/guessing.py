"""From scores to guesses, and from guesses to evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.audit import bounds, fdp


@dataclass(frozen=True)
class Share:
    """How many guesses to make, as shares of the canaries: the top ones are called "in", the bottom ones "out".

    All between are abstained from. The shares are fixed before the scores are seen.
    """

    top: float
    bottom: float

    def __post_init__(self) -> None:
        if not (self.top >= 0 and self.bottom >= 0 and 0 < self.top + self.bottom <= 1):
            raise ValueError(
                f"got top={self.top}, bottom={self.bottom}; expected shares of at least 0 that add up to at most 1"
            )


# A few sure guesses, a fifth, a half, all: which pays depends on the leak, so each is tried, and each pays for it.
SHARES = (Share(0.05, 0.0), Share(0.1, 0.1), Share(0.25, 0.25), Share(0.5, 0.5))


@dataclass(frozen=True)
class Tally:
    """One piece of evidence: which scores, how many guesses, how many right.

    Attributes
    ----------
    name : str
    correct, guesses, canaries : int
        Right guesses, guesses made, and canaries that were ranked.
    called_in : int
        Guesses that said "in": the tops of the ranking.
    """

    name: str
    correct: int
    guesses: int
    canaries: int
    called_in: int

    def p_value(self, claim: fdp.Curve | tuple[float, float]) -> float:
        """Return the p-value of a claimed curve or (ε, δ) pair."""
        if isinstance(claim, fdp.Curve):
            return fdp.p_value(claim, self.correct, self.guesses, self.canaries)
        epsilon, delta = claim
        return bounds.one_run_p_value(
            self.correct, self.guesses, epsilon, delta=delta, canaries=self.canaries
        )

    def epsilon(self, delta: float, confidence: float) -> float:
        """Return the lower bound on ε without any assumption about the mechanism."""
        return bounds.one_run_epsilon(
            self.correct, self.guesses, delta=delta, canaries=self.canaries, confidence=confidence
        )

    def gaussian_epsilon(self, delta: float, confidence: float) -> float:
        """Return the lower bound on ε for a mechanism with a Gaussian's trade-off curve."""
        return fdp.one_run_epsilon(
            self.correct, self.guesses, delta=delta, canaries=self.canaries, confidence=confidence
        )

    def refutes(self, claim: fdp.Curve | tuple[float, float], correct: int, level: float) -> bool:
        """Return whether ``correct`` right guesses of as many would refute the claim at this error level."""
        if isinstance(claim, fdp.Curve):
            return not fdp.fits(claim, correct, self.guesses, self.canaries, level)
        return replace(self, correct=correct).p_value(claim) <= level

    @property
    def size(self) -> tuple[int, int, int]:
        """What `power` depends on."""
        return self.guesses, self.canaries, self.called_in

    def power(self, claim: fdp.Curve | tuple[float, float], level: float) -> Callable[[fdp.Curve], float]:
        """Return how probably guesses like these refute the claim, by the curve of the leak that they see whole."""
        from scipy.stats import binom

        needed = self._needed(claim, level)
        return lambda leak: float(binom.sf(needed - 1, self.guesses, self._accuracy(leak)))

    def _needed(self, claim: fdp.Curve | tuple[float, float], level: float) -> int:
        """Return the fewest right guesses that refute the claim; more than there are guesses if none does."""
        low, high = -1, self.guesses + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.refutes(claim, middle, level) else (middle, high)
        return high

    def _accuracy(self, leak: fdp.Curve) -> float:
        """Return the expected share of right guesses when canaries are ranked by the best score there is."""
        right = 0.0
        for tail in (
            self.called_in,
            self.guesses - self.called_in,
        ):  # by symmetry, "out" is the mirror of "in"
            low, high = 0.0, 1.0
            while tail and high - low > 1e-6:
                middle = (low + high) / 2
                above = (middle + leak.caught(middle)) / 2
                low, high = (middle, high) if above < tail / self.canaries else (low, middle)
            right += tail and self.canaries * leak.caught(high) / 2
        return min(1.0, right / self.guesses)


def guess(scores: np.ndarray, share: Share, *, seed: int = 0) -> np.ndarray:
    """Return +1 ("in") for the top share of ``scores`` (m,), -1 ("out") for the bottom share, 0 for no guess.

    Ties are broken at random, by ``seed``: their order in the array must not help.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    scores = np.asarray(scores, dtype=float)
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN: has training diverged?")
    count = len(scores)
    top, bottom = round(share.top * count), round(share.bottom * count)
    bottom = min(bottom, count - top)
    tie = np.random.default_rng(seed).permutation(count)
    order = np.lexsort((tie, scores))
    guesses = np.zeros(count, dtype=int)
    guesses[order[count - top :]] = 1
    guesses[order[:bottom]] = -1
    return guesses


def count_right(guesses: np.ndarray, included: np.ndarray) -> tuple[int, int]:
    """Return (right guesses, all guesses).

    Raises
    ------
    ValueError
        If the coins do not fit the guesses: see `coins_for`.
    """
    made = guesses != 0
    return int(((guesses > 0) == coins_for(included, len(guesses)))[made].sum()), int(made.sum())


def coins_for(included: np.ndarray, count: int) -> np.ndarray:
    """Return the coins of ``count`` canaries as bool, shape (count,).

    Raises
    ------
    ValueError
        Unless there is one coin for each canary, true or false (1 or 0). A list of the numbers of those who were in
        is no such thing, and would be read wrongly without a word.
    """
    coins = np.asarray(included)
    if coins.shape != (count,) or not np.isin(coins, (0, 1)).all():
        raise ValueError(
            f"got coins of shape {coins.shape} and type {coins.dtype} for {count:,} scores; expected one coin for each "
            "score, in the same order: true (or 1) for the canaries that trained, false (or 0) for the others"
        )
    return coins.astype(bool)


def tallies(
    scores: dict[str, np.ndarray],
    included: np.ndarray,
    *,
    groups: dict[str, np.ndarray] | None = None,
    shares: Sequence[Share] = SHARES,
    seed: int = 0,
) -> list[Tally]:
    """Return the outcome of guessing for each kind of score, group of canaries and share of guesses.

    Parameters
    ----------
    scores : dict of array (m,)
        Higher means "more likely in"; several kinds see different bugs.
    included : array of bool, shape (m,)
    groups : dict of int array, optional
        Numbers of the canaries that are ranked among each other (such as the layer they sit in); all in one by default.

    Raises
    ------
    ValueError
        If there is not one coin and one score for each canary, a score is NaN, or a group names canaries that are not
        there, or names one twice.
    """
    lengths = {kind: np.shape(values) for kind, values in scores.items()}
    for kind, shape in lengths.items():
        if len(shape) != 1:
            raise ValueError(f"the scores {kind!r} have shape {shape}; expected one number for each canary")
        included = coins_for(included, shape[0])
    groups = {"all": np.arange(len(included))} if groups is None else groups
    for group, members in groups.items():
        _check_group(group, np.asarray(members), len(included))
    found = []
    for kind, values in scores.items():
        for group, members in groups.items():
            for share in shares:
                marks = guess(np.asarray(values)[members], share, seed=seed)
                correct, made = count_right(marks, included[members])
                if made:
                    where = "" if len(groups) == 1 else f" in {group}"
                    what = f"{kind}{where}, {made:,} guesses"
                    found.append(Tally(what, correct, made, len(members), int((marks > 0).sum())))
    return found


def _check_group(name: str, members: np.ndarray, count: int) -> None:
    numbers = np.issubdtype(members.dtype, np.integer)
    if (
        not numbers
        or len(set(members.tolist())) < len(members)
        or not ((members >= 0) & (members < count)).all()
    ):
        raise ValueError(
            f"group {name!r} must hold whole numbers of canaries, from 0 to {count - 1:,}, each once (not a mask)"
        )
