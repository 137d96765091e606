"""Features on one scale in all hospitals, without anybody seeing all records: two ways behind one map.

`fixed` uses public constants alone and costs no privacy. `private_statistics` improves such a map by the mean and
variance of each feature: every hospital sums bounded contributions of its train records, adds its share of Gaussian
noise, and only the sum over hospitals is used. The map that comes back carries the event that this costs, for the
privacy statement of the training that follows. There is no third way here: standardising the pooled records would
need them in one place, and its statistics are released like everything else.

Examples
--------
>>> from labkit.dp import privacy_statement
>>> from labkit.federated import load_hospitals
>>> from labkit.federated.preprocessing import fixed, private_statistics
>>> clinics = load_hospitals("breast_cancer", seed=0)
>>> features = private_statistics(clinics, noise_multiplier=10.0, seed=0)
>>> clinics = features.apply(clinics)
>>> fixed("breast_cancer").events
()
>>> print(privacy_statement(features.events, neighbouring="add/remove").conditions())
δ = 1e-5, full batch, 1 step, add/remove, 1 run
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.federated.feature_map import FeatureMap, check_positive, fixed, refuse_pooled
from labkit.federated.hospitals import Hospitals
from labkit.federated.splitting import LEAST_TRAIN

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureMap", "contribution", "fixed", "plain_sum", "private_statistics"]

SecureSum = Callable[[dict[str, np.ndarray]], np.ndarray]

CAP = 2.5  # half bands from the middle: where a value stops to count more in the statistics
COUNT, SQUARES = 3.0, 0.5  # weights of the record itself, and of squares, beside values in a contribution
NARROWEST, WIDEST = 0.5, 2.0  # of the prior's width: how far a noisy variance may move it
DOUBT = 0.5  # standard deviation of a variance about the prior's, in the prior's units


def plain_sum(contributions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Add up vectors **in clear**: the server sees every hospital's own. Stands in for secure aggregation.

    Parameters
    ----------
    contributions : dict of str to array, shape [m]
        Vector of each hospital.
    """
    return np.sum(list(contributions.values()), axis=0)


def private_statistics(
    hospitals: Hospitals,
    prior: FeatureMap | None = None,
    *,
    noise_multiplier: float,
    norm: float | None = None,
    threshold: int | None = None,
    secure_sum: SecureSum = plain_sum,
    seed: int | None = None,
) -> FeatureMap:
    """Return `prior` with each feature's centre and width moved to a private mean and standard deviation.

    One release: the noisy sum, over all hospitals' train records, of the vector that `contribution` clips to `norm`.
    Each hospital adds Gaussian noise of standard deviation ``noise_multiplier * norm / sqrt(threshold)`` to its own
    part, so that the sum of any `threshold` hospitals carries at least ``noise_multiplier * norm``. Hospitals that
    collude know their own noise: against c of them the rest must be at least `threshold` for the statement to hold.
    What follows is post-processing: the noisy means and variances are drawn towards the prior by as much as their
    noise is large (the posterior mean under a normal prior), and variances are kept within bounds.

    Parameters
    ----------
    hospitals : Hospitals
        Never a pooled data set.
    prior : FeatureMap, optional
        The map to improve: `fixed` of the data set's name by default.
    noise_multiplier : float
        Standard deviation of the noise in the sum / `norm`.
    norm : float, optional
        L2 bound of one record's vector. By default that of a record that is standard normal after `prior`,
        sqrt(9 + 1.5 k) for k features: a constant.
    threshold : int, optional
        Fewest hospitals whose sum is used. All by default.
    secure_sum : callable
        Takes each hospital's vector by name, returns the sum of those that survived, shape [m]. The default adds up in
        clear.
    seed : int, optional
        For experiments that can be repeated. Left out, the noise comes from the operating system's entropy, which is
        what a deployment needs: who knows the seed can subtract the noise.

    Returns
    -------
    FeatureMap
        Its `events` hold the release, with patients as the unit of privacy.

    Raises
    ------
    TypeError
        For a pooled `Dataset`.
    ValueError
        For a setting out of range, or a sum of the wrong shape or with values that are not finite.
    """
    refuse_pooled(hospitals)
    check_positive("noise_multiplier", noise_multiplier)
    threshold = len(hospitals) if threshold is None else threshold
    if threshold not in range(1, len(hospitals) + 1):
        raise ValueError(f"threshold is {threshold!r}; expected a whole number from 1 to {len(hospitals)}")
    prior = prior or fixed(hospitals.hospitals[0].dataset.name)
    if norm is None:
        norm = math.sqrt(COUNT**2 + (1 + 2 * SQUARES**2) * len(prior.columns))
    check_positive("norm", norm)
    from labkit.dp.events import SampledGaussian

    event = SampledGaussian(float(noise_multiplier), steps=1, sampler="full")
    own = noise_multiplier * norm / math.sqrt(threshold)
    streams = np.random.SeedSequence(seed).spawn(len(hospitals))
    noisy = {
        each.name: (clean := contribution(each.dataset.train_x, prior, norm))
        + own * np.random.default_rng(stream).standard_normal(len(clean))
        for each, stream in zip(hospitals, streams, strict=True)
    }
    total = np.asarray(secure_sum(noisy), dtype=float)
    expected = next(iter(noisy.values())).shape
    if total.shape != expected or not np.isfinite(total).all():
        raise ValueError(
            f"secure_sum returned shape {total.shape}; expected {expected}, all finite: it must add up the vectors"
        )
    centre, width = _moved(prior, total, own * math.sqrt(len(hospitals)), LEAST_TRAIN * threshold)
    how = f"private mean and variance (noise multiplier {noise_multiplier:g}, L2 norm {norm:.3g}, patients)"
    if secure_sum is plain_sum:
        how += ", summed in clear"
    return replace(prior, centre=centre, width=width, how=how, events=(*prior.events, event))


def contribution(x: Tensor, prior: FeatureMap, norm: float) -> np.ndarray:
    """Return the sum over records of their vectors, each clipped to L2 norm `norm`.

    A record's vector is a 3 (so that the number of records, which divides all else, gets least noise), a 1 for each
    value that is missing, then its features z under `prior`, cut at 2.5 either side, then (z² - 1) / 2; missing values
    count 0. One record more or less moves the sum by at most `norm`.

    Parameters
    ----------
    x : Tensor, shape [n, d]
    prior : FeatureMap
    norm : float

    Returns
    -------
    array, shape [1 + (features that may be missing) + 2 k]
    """
    there = prior.observed(x).cpu().numpy().astype(float)
    z = prior.scaled(x).double().cpu().numpy().clip(-CAP, CAP)
    one = np.full((len(z), 1), COUNT)
    rows = np.hstack([one, 1 - there[:, _gaps(prior)], there * z, there * SQUARES * (z**2 - 1)])
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.minimum(1, norm / length)).sum(0)


def _moved(prior: FeatureMap, total: np.ndarray, noise: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and width from the noisy sum: ratios, drawn towards the prior by their noise."""
    gaps, k = _gaps(prior), len(prior.columns)
    counted = 1 + len(gaps)
    records = np.full(k, total[0] / COUNT)
    records[gaps] -= total[1:counted]
    # Noise may say fewer than hospitals must have, or more than there are: then the doubt is large.
    error = noise / np.maximum(records - 2 * noise / COUNT, least)
    records = np.maximum(records, least)
    mean = total[counted : counted + k] / records / (1 + error**2)
    square = 1 + total[counted + k :] / records / SQUARES
    variance = 1 + (square - mean**2 - 1) / (1 + (error / SQUARES / DOUBT) ** 2)
    deviation = np.sqrt(variance.clip(NARROWEST**2, WIDEST**2))
    return prior.centre + prior.width * mean, prior.width * deviation


def _gaps(prior: FeatureMap) -> list[int]:
    """Return the features whose values may be missing."""
    return [index for index, column in enumerate(prior.missing) if column >= 0]
