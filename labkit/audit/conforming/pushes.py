"""Checks of clipping: nobody pushes further than the bound, over all layers together, and only along the clipped gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.audit.conforming.check import Check, several
from labkit.audit.conforming.probe import Reading

READABLE = 0.25  # largest standard error of a part at which 0 and 1 can be told apart


@dataclass(frozen=True)
class Parts:
    """Who took part in which step of the quiet runs.

    Attributes
    ----------
    estimates, errors : ndarray of shape (steps, n)
        Least squares; 0 for who stayed out, 1 for who was in, and normal noise.
    counts : int ndarray of shape (steps, n)
        The nearest whole numbers, at least 0.
    runs : int ndarray of shape (steps,)
        Which run each step belongs to.
    """

    estimates: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    runs: np.ndarray


def read_parts(quiet: list[Reading]) -> Parts | None:
    """Return who took part, or ``None`` where noise is too loud to tell."""
    found = [reading.estimated_parts() for reading in quiet]
    estimates, errors = (np.concatenate(column) for column in zip(*found, strict=True))
    idle = np.concatenate([reading.sums[:, reading.unused].ravel() for reading in quiet])
    louder = np.sqrt(np.mean(idle**2)) / quiet[0].settings.noise_multiplier
    if np.median(errors) * max(louder, 1.0) > READABLE:
        return None
    runs = np.repeat(np.arange(len(quiet)), [len(reading.sums) for reading in quiet])
    return Parts(estimates, errors, np.rint(estimates).clip(min=0).astype(int), runs)


def check_pushes(quiet: list[Reading], parts: Parts) -> list[Check]:
    """Return the checks of how far, and where to, single records push."""
    return [_length(parts), _layers(quiet, parts), _unexplained(quiet, parts)]


def _length(parts: Parts) -> Check:
    """Mean push of those who were in, pooled and record by record."""
    from scipy import stats as laws

    took_part, once = parts.counts >= 1, parts.counts == 1
    # Who was in twice has a check of its own; but where "twice" is the rule, it is pushes that are too long.
    inside = once if 2 * once.sum() >= took_part.sum() else took_part
    scaled = np.where(inside, (parts.estimates - 1) / parts.errors, 0.0)
    by_record = scaled.sum(0) / np.sqrt(np.maximum(inside.sum(0), 1))
    pooled = scaled.sum() / np.sqrt(max(inside.sum(), 1))
    weights = np.where(inside, 1 / parts.errors**2, 0.0)
    total = max(float(weights.sum()), 1e-12)
    mean, half = float((weights * parts.estimates).sum()) / total, 1.96 / np.sqrt(total)
    return Check(
        "length of one record's push",
        several([2 * laws.norm.sf(abs(pooled)), several(2 * laws.norm.sf(np.abs(by_record)))]),
        f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}] of 1 C, 95% interval of the mean",
        "gradients are not clipped one by one, or not over all parameters together, or scaled afterwards",
    )


def _layers(quiet: list[Reading], parts: Parts) -> Check:
    """How far the batch pushed each layer, of what its clipped gradients say."""
    from scipy import stats as laws

    sums = np.concatenate([reading.sums for reading in quiet])
    expected = np.einsum(
        "ti,tid->td", parts.counts, np.concatenate([reading.pushes for reading in quiet]), optimize=True
    )
    p_values, texts = [], []
    for name, part in quiet[0].layers.items():
        aims = expected[:, part]
        energy = float((aims**2).sum())
        if energy == 0:
            continue
        gain = float((sums[:, part] * aims).sum()) / energy
        error = quiet[0].settings.noise_multiplier / np.sqrt(energy)
        p_values.append(2 * laws.norm.sf(abs(gain - 1) / error))
        texts.append(f"{name} {gain:.3f} [{gain - 1.96 * error:.3f}, {gain + 1.96 * error:.3f}]")
    return Check(
        "push in each layer",
        several(p_values),
        f"{', '.join(texts)} of what it should be, 95% intervals",
        "each layer is clipped by itself, or a layer is left out of the norm",
    )


def unexplained(quiet: list[Reading], parts: Parts) -> np.ndarray:
    """Return what is left of the sums after the pushes of those who took part, over σ, (steps, dimension)."""
    left = [
        reading.sums - np.einsum("ti,tid->td", parts.counts[parts.runs == run], reading.pushes, optimize=True)
        for run, reading in enumerate(quiet)
    ]
    return np.concatenate(left) / quiet[0].settings.noise_multiplier


def _unexplained(quiet: list[Reading], parts: Parts) -> Check:
    """Whether coordinates that records use move more than those that nobody uses."""
    from scipy import stats as laws

    left, unused = unexplained(quiet, parts), quiet[0].unused
    used, idle = left[:, ~unused], left[:, unused]
    quiet_power = float((idle**2).mean())
    ratio = float((used**2).mean()) / quiet_power if quiet_power else np.inf
    p = float(laws.f.sf(ratio, used.size, idle.size)) if np.isfinite(ratio) else 0.0
    return Check(
        "pushes other than the clipped gradients",
        p,
        f"variance {ratio:.3f} times that of the noise alone",
        "something other than scaling whole gradients down: clamped coordinates, clipped groups, a divisor that depends "
        "on the batch",
    )
