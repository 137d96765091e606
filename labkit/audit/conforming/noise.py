"""Checks of noise: independent, Gaussian, and as strong as claimed at every step and in every coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.audit.conforming.check import Check, correlation_p_values, several, two_sided
from labkit.audit.conforming.probe import Reading

ZERO_RATE = 1e-6  # how often a float32 normal generator may give exactly 0, generously


@dataclass(frozen=True)
class Noise:
    """What the steps added besides pushes, over σ: standard normal numbers if the function conforms.

    Attributes
    ----------
    values : ndarray of shape (steps, dimension)
        NaN where pushes hide the noise.
    runs : int ndarray of shape (steps,)
    idle : bool ndarray of shape (dimension,)
        Coordinates that no record uses, so that noise is seen there in every run.
    layers : dict of slice
    """

    values: np.ndarray
    runs: np.ndarray
    idle: np.ndarray
    layers: dict[str, slice]


def see_noise(quiet: list[Reading], loud: list[Reading], left: np.ndarray | None) -> Noise:
    """Return the noise of all runs: in unused coordinates, and where pushes were explained (``left``) everywhere."""
    idle = quiet[0].unused
    rows = []
    for reading in quiet + loud:
        values = np.full(reading.sums.shape, np.nan)
        values[:, idle] = reading.sums[:, idle] / reading.settings.noise_multiplier
        rows.append(values)
    values = np.concatenate(rows)
    if left is not None:
        values[: len(left)] = left
    runs = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return Noise(values, runs, idle, quiet[0].layers)


def check_noise(noise: Noise) -> list[Check]:
    """Return all checks of noise."""
    size = float(np.sqrt(np.nanmean(noise.values**2)))
    scaled = noise.values / size if size else noise.values
    return [
        _strength(noise.values),
        _steps(noise),
        _layers(noise),
        _coordinates(noise),
        _zeros(noise.values),
        _shape(scaled),
        _in_a_row(scaled, noise.runs),
        _again(noise),
        _across(noise, scaled),
    ]


def _strength(values: np.ndarray) -> Check:
    from scipy import stats as laws

    seen = values[~np.isnan(values)]
    total, count = float((seen**2).sum()), seen.size
    low, high = (np.sqrt(total / laws.chi2.isf(level, count)) for level in (0.025, 0.975))
    ratio = np.sqrt(total / count)
    return Check(
        "strength of the noise",
        two_sided(laws.chi2(count), total),
        f"{ratio:.4f} of σ [{low:.4f}, {high:.4f}], 95% interval",
        "noise scaled by something other than noise_multiplier * max_grad_norm",
    )


def _share_p_values(energy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of each part's share of the total energy: Beta, whatever the strength of all."""
    from scipy import stats as laws

    total, everything = energy.sum(), sizes.sum()
    share = energy / total if total else np.zeros_like(energy)
    law = laws.beta(sizes / 2, np.maximum(everything - sizes, 1e-9) / 2)
    return 2 * np.minimum(law.cdf(share), law.sf(share))


def _steps(noise: Noise) -> Check:
    energy, sizes = np.nansum(noise.values**2, 1), (~np.isnan(noise.values)).sum(1)
    p_values = _share_p_values(energy, sizes)
    ratios = np.sqrt(energy / sizes)
    numbers = np.concatenate([np.arange(1, (noise.runs == run).sum() + 1) for run in np.unique(noise.runs)])
    worst = int(np.argmin(p_values))
    return Check(
        "noise of each step",
        several(p_values),
        f"{ratios.min():.3f} to {ratios.max():.3f} of σ; oddest at step {numbers[worst]}, {ratios[worst]:.3f}",
        "noise that is left out of a step (the last?), decays, or is divided by the size of the batch",
    )


def _layers(noise: Noise) -> Check:
    energy, sizes = np.nansum(noise.values**2, 0), (~np.isnan(noise.values)).sum(0)
    parts = {name: (energy[s].sum(), sizes[s].sum()) for name, s in noise.layers.items() if sizes[s].sum()}
    pairs = np.array(list(parts.values()), dtype=float)
    p = several(_share_p_values(pairs[:, 0], pairs[:, 1])) if len(pairs) > 1 else 1.0
    text = ", ".join(f"{name} {np.sqrt(e / n):.3f}" for name, (e, n) in parts.items())
    missing = [name for name in noise.layers if name not in parts]
    return Check(
        "noise of each layer",
        p,
        f"{text} of σ" + (f"; not seen: {', '.join(missing)}" if missing else ""),
        "a layer or parameter group that gets no noise, or other noise",
    )


def _coordinates(noise: Noise) -> Check:
    energy, sizes = np.nansum(noise.values**2, 0), (~np.isnan(noise.values)).sum(0)
    seen = sizes > 0
    p_values = _share_p_values(energy[seen], sizes[seen])
    ratios = np.sqrt(energy[seen] / sizes[seen])
    level = 0.001 / len(p_values)
    return Check(
        "noise of each coordinate",
        several(p_values),
        f"{ratios.min():.3f} to {ratios.max():.3f} of σ; {int((p_values < level).sum())} of {len(p_values)} odd",
        "single weights, or a share of them, that get no noise",
    )


def _zeros(values: np.ndarray) -> Check:
    from scipy import stats as laws

    seen = values[~np.isnan(values)]
    zeros = int((seen == 0).sum())
    return Check(
        "exact zeros",
        float(laws.binom.sf(zeros - 1, seen.size, ZERO_RATE)) if zeros else 1.0,
        f"{zeros:,} of {seen.size:,} numbers",
        "no noise at all where nothing was pushed",
    )


def _shape(scaled: np.ndarray) -> Check:
    from scipy import stats as laws

    seen = scaled[~np.isnan(scaled)]
    kurtosis = float(np.mean(seen**4) / np.mean(seen**2) ** 2) if seen.any() else 0.0
    error = np.sqrt(24 / seen.size)
    return Check(
        "distribution of the noise",
        float(2 * laws.norm.sf(abs(kurtosis - 3) / error)),
        f"kurtosis {kurtosis:.3f} [{kurtosis - 1.96 * error:.3f}, {kurtosis + 1.96 * error:.3f}], 3 for a Gaussian",
        "noise that is not Gaussian (Laplace, uniform, cut off), or of changing strength",
    )


def _in_a_row(scaled: np.ndarray, runs: np.ndarray) -> Check:
    from scipy import stats as laws

    same = runs[1:] == runs[:-1]
    products = (scaled[1:] * scaled[:-1])[same]
    products = products[~np.isnan(products)]
    scale = np.sqrt(np.sum(products**2))
    z = float(products.sum() / scale) if scale else 0.0
    return Check(
        "noise from one step to the next",
        float(2 * laws.norm.sf(abs(z))),
        f"correlation {products.mean():.4f} +- {1.96 * scale / products.size:.4f}",
        "noise that is kept for several steps, or left over in a buffer",
    )


def _again(noise: Noise) -> Check:
    """Correlation of the noise of any two steps, of one run or of two."""
    rows = noise.values[:, noise.idle]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    r = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    p_values = correlation_p_values(r, rows.shape[1])
    level = 0.001 / len(p_values)
    return Check(
        "the same noise again",
        several(p_values),
        f"largest correlation of two steps {np.abs(r).max():.2f}; {int((p_values < level).sum()):,} of {len(r):,} pairs odd",
        "a seed that is set inside a step, or does not depend on the run's",
    )


def _across(noise: Noise, scaled: np.ndarray) -> Check:
    """Correlation of any two coordinates over the steps in which both were seen."""
    full = ~np.isnan(scaled).any(1)
    rows = scaled[full] if full.sum() > 2 else scaled[:, noise.idle]
    columns = rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    r = (columns.T @ columns)[np.triu_indices(columns.shape[1], 1)]
    p_values = correlation_p_values(r, len(rows))
    level = 0.001 / len(p_values)
    return Check(
        "noise from one coordinate to the next",
        several(p_values),
        f"largest correlation of two coordinates {np.abs(r).max():.2f}; {int((p_values < level).sum()):,} of {len(r):,} "
        "pairs odd",
        "one draw that is used for many coordinates",
    )
