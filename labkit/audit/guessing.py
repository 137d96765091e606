"""From scores to guesses, and from guesses to evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """One piece of evidence: which scores, how many guesses, how many right."""

    name: str
    correct: int
    guesses: int
    canaries: int

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
    """Return (right guesses, all guesses)."""
    made = guesses != 0
    return int(((guesses > 0) == np.asarray(included, dtype=bool))[made].sum()), int(made.sum())


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
    """
    included = np.asarray(included, dtype=bool)
    groups = {"all": np.arange(len(included))} if groups is None else groups
    found = []
    for kind, values in scores.items():
        for group, members in groups.items():
            for share in shares:
                marks = guess(np.asarray(values)[members], share, seed=seed)
                correct, made = count_right(marks, included[members])
                if made:
                    where = "" if len(groups) == 1 else f" in {group}"
                    what = f"{kind}{where}, {made:,} guesses"
                    found.append(Tally(what, correct, made, len(members)))
    return found
