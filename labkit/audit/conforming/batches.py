"""Checks of sampling: every record joins every step by its own coin flip, at the rate that is accounted for."""

from __future__ import annotations

import itertools

import numpy as np

from labkit import stats
from labkit.audit.conforming.check import Check, several, spread_p_value, two_sided
from labkit.audit.conforming.pushes import Parts

CERTAIN = 1e-4  # a rate found off at this level is replaced by the realised one in all further checks


def check_batches(parts: Parts, sample_rate: float, *, pushes_fit: bool = True) -> list[Check]:
    """Return the checks of who was in which batch.

    Parameters
    ----------
    parts : Parts
    sample_rate : float
        That is accounted for.
    pushes_fit : bool
        Whether single records push as far as they should: if not, "twice" cannot be told from "too far".
    """
    joined = (parts.counts > 0).astype(int)
    rate = _rate(joined, sample_rate)
    realised = float(joined.mean())
    q = sample_rate if rate.p_value > CERTAIN or not 0 < realised < 1 else realised
    return [
        rate,
        _twice(parts, pushes_fit),
        _sizes(joined, q),
        _uses(joined, q),
        _neighbours(joined, parts.runs, q),
        _together(joined, q),
        _runs(joined, parts.runs, q),
    ]


def _rate(joined: np.ndarray, q: float) -> Check:
    from scipy import stats as laws

    hits = int(joined.sum())
    return Check(
        "sampling rate",
        two_sided(laws.binom(joined.size, q), hits),
        f"{stats.clopper_pearson(hits, joined.size)} of {q:g}",
        "records join more or less often than accounted for",
    )


def _twice(parts: Parts, pushes_fit: bool) -> Check:
    """A record cannot be twice in a Poisson batch; what is read as twice may be noise, at a known rate."""
    from scipy import stats as laws

    inside = parts.counts >= 1
    double = int((parts.counts >= 2).sum())
    slip = float(laws.norm.sf(0.5 / parts.errors[inside]).max()) if inside.any() else 0.0
    return Check(
        "a record twice in one batch",
        float(laws.binom.sf(double - 1, int(inside.sum()), slip)) if double and pushes_fit else 1.0,
        f"{double} of {int(inside.sum())} parts" if pushes_fit else "not told from pushes that are too long",
        "drawing with replacement, or gradients left over from the last step",
    )


def _sizes(joined: np.ndarray, q: float) -> Check:
    sizes = joined.sum(1)
    return Check(
        "sizes of batches",
        spread_p_value(sizes, joined.shape[1], q),
        f"variance {sizes.var():.2f}, {joined.shape[1] * q * (1 - q):.2f} for coin flips",
        "batches of one size (drawn or shuffled), accounted for as coin flips",
    )


def _uses(joined: np.ndarray, q: float) -> Check:
    from scipy import stats as laws

    uses, law = joined.sum(0), laws.binom(len(joined), q)
    single = several([two_sided(law, count) for count in uses])
    return Check(
        "uses of each record",
        several([spread_p_value(uses, len(joined), q), single]),
        f"{uses.min()} to {uses.max()}, variance {uses.var():.2f}, {law.var():.2f} for coin flips",
        "records that join more often than others, or take turns (shuffled epochs)",
    )


def _overlap(first: np.ndarray, second: np.ndarray, q: float) -> tuple[float, int, int]:
    """Return the p-value of how many records of ``first`` are in ``second`` too, that number, and how many might be."""
    from scipy import stats as laws

    shared, chances = int((first * second).sum()), int(first.sum())
    return two_sided(laws.binom(chances, q), shared), shared, chances


def _neighbours(joined: np.ndarray, runs: np.ndarray, q: float) -> Check:
    """Overlap of each batch with the next; even and odd steps apart, so that each half is independent."""
    p_values, shared, chances = [], 0, 0
    same = runs[1:] == runs[:-1]
    for start in (0, 1):
        pick = np.arange(start, len(joined) - 1, 2)
        pick = pick[same[pick]]
        p, both, possible = _overlap(joined[pick], joined[pick + 1], q)
        p_values.append(p)
        shared, chances = shared + both, chances + possible
    return Check(
        "batches in a row",
        several(p_values),
        f"{shared} of {chances} parts are in the next batch too, {chances * q:.0f} by chance",
        "batches used for several steps, gradients left over, or shuffled epochs",
    )


def _together(joined: np.ndarray, q: float) -> Check:
    from scipy import stats as laws

    pairs = joined.T @ joined
    upper = pairs[np.triu_indices(joined.shape[1], 1)]
    p = several(laws.binom.sf(upper - 1, len(joined), q * q))
    return Check(
        "records that come together",
        p,
        f"at most {upper.max()} times, {len(joined) * q * q:.1f} by chance",
        "batches cut once and used again in every epoch",
    )


def _runs(joined: np.ndarray, runs: np.ndarray, q: float) -> Check:
    p_values, most = [], 0.0
    for a, b in itertools.combinations(np.unique(runs), 2):
        length = min((runs == a).sum(), (runs == b).sum())
        p, shared, chances = _overlap(joined[runs == a][:length], joined[runs == b][:length], q)
        p_values.append(p)
        most = max(most, shared / max(chances, 1))
    return Check(
        "batches of two runs",
        several(p_values),
        f"at most {most:.0%} shared, {q:.0%} by chance" if p_values else "one run only",
        "a sampler whose seed does not depend on the run's",
    )
