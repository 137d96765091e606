"""Whether two tools draw their noise from one law: tests that state how often they fail by chance.

Both tests are exact enough where they are used: the Kolmogorov-Smirnov bound is that of Massart (1990) for samples of
thousands, and chi-square cells are pooled until each is expected to hold at least ten draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from labkit.bridges.agreement import FALSE_FAILURE, Line

LEAST_EXPECTED = 10.0  # draws in a cell, below which chi-square's law is no longer that of its statistic


def two_samples(
    what: str, ours: np.ndarray, theirs: np.ndarray, false_failure: float = FALSE_FAILURE
) -> Line:
    """Return a line on two samples of real numbers: the largest gap between their distribution functions.

    Parameters
    ----------
    ours, theirs : arrays of shape (n,), (m,)
        Independent draws; the line shows their standard deviations.
    false_failure : float
        Probability that the line fails although both come from one law.
    """
    from scipy.stats import ks_2samp

    one, two = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    n, m = len(one), len(two)
    allowed = math.sqrt(-math.log(false_failure / 2) / 2) * math.sqrt((n + m) / (n * m))
    distance = float(ks_2samp(one, two).statistic)
    measure = (
        f"KS distance, {n:,} and {m:,} draws, standard deviations shown; fails by chance {false_failure:g}"
    )
    return Line(what, float(one.std()), float(two.std()), distance, allowed, measure)


def whole_numbers(
    what: str,
    log_pmf: Callable[[np.ndarray], np.ndarray],
    theirs: np.ndarray,
    false_failure: float = FALSE_FAILURE,
) -> Line:
    """Return a line on whole numbers that a tool drew, against the law that we state: Pearson's chi-square.

    Parameters
    ----------
    log_pmf : callable
        Whole numbers (k,) to the natural log of their probabilities (k,).
    theirs : int array of shape (n,)
        What the tool drew; the line shows both standard deviations.

    Raises
    ------
    ValueError
        If there are too few draws for two cells.
    """
    from scipy.stats import chi2

    drawn = np.asarray(theirs).astype(int)
    reach = int(np.abs(drawn).max()) + 200
    support = np.arange(-reach, reach + 1)
    law = np.exp(log_pmf(support))
    law /= law.sum()
    observed = np.bincount(drawn + reach, minlength=len(support))
    cells = _cells(law * len(drawn))
    if len(cells) < 2:
        raise ValueError(f"{what}: {len(drawn)} draws fill {len(cells)} cell; draw more")
    expected = np.add.reduceat(law * len(drawn), cells)
    counted = np.add.reduceat(observed, cells)
    statistic = float((np.square(counted - expected) / expected).sum())
    allowed = float(chi2.isf(false_failure, len(cells) - 1))
    measure = f"chi-square of {len(cells)} cells, {len(drawn):,} draws, standard deviations shown; fails by chance {false_failure:g}"
    spread = math.sqrt(float((law * support.astype(float) ** 2).sum()))
    return Line(what, spread, float(drawn.std()), statistic, allowed, measure)


def _cells(expected: np.ndarray) -> np.ndarray:
    """Return where cells begin, each expected to hold `LEAST_EXPECTED` draws; what is left at the end joins the last."""
    starts, held = [0], 0.0
    for i, value in enumerate(expected):
        held += value
        if held >= LEAST_EXPECTED and expected[i + 1 :].sum() >= LEAST_EXPECTED:
            starts.append(i + 1)
            held = 0.0
    return np.array(starts)
