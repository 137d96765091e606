"""Features on one scale in all hospitals, without anybody seeing all records: two ways behind one map.

`fixed` uses public constants alone and costs no privacy. `private_statistics` improves such a map by the mean and
variance of each feature: every hospital sums bounded contributions of its train records, rounds them to a grid, adds
its share of discrete Gaussian noise there, and only the sum over hospitals is opened, by secure aggregation. The map
that comes back carries the event that this costs, for the privacy statement of the training that follows. There is no
third way here: standardising the pooled records would need them in one place, and its statistics are released like
everything else.

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

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.federated.feature_map import FeatureMap, check_positive, fixed, refuse_pooled
from labkit.federated.hospitals import Hospitals
from labkit.federated.noise import Grid
from labkit.federated.secagg import Encoding, fresh_round_id, least_threshold, secure_sum_integers
from labkit.federated.secagg.terms import STAGES
from labkit.federated.splitting import LEAST_TRAIN

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureMap", "contribution", "fixed", "private_statistics"]

CAP = 2.5  # half bands from the middle: where a value stops to count more in the statistics
COUNT, SQUARES = 3.0, 0.5  # weights of the record itself, and of squares, beside values in a contribution
NARROWEST, WIDEST = 0.5, 2.0  # of the prior's width: how far a noisy variance may move it
DOUBT = 0.5  # standard deviation of a variance about the prior's, in the prior's units
EARLY = STAGES[:3]  # who vanishes at one of these is not in the sum


def private_statistics(
    hospitals: Hospitals,
    prior: FeatureMap | None = None,
    *,
    noise_multiplier: float,
    norm: float | None = None,
    threshold: int | None = None,
    secure: bool = True,
    drop: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> FeatureMap:
    """Return `prior` with each feature's centre and width moved to a private mean and standard deviation.

    One release: the noisy sum, over all hospitals' train records, of the vector that `contribution` clips to `norm`.
    Sums are taken on the grid of `labkit.federated.noise.Grid`, whose noise covers what rounding adds to a record's
    influence. Each hospital adds discrete Gaussian noise of noise multiplier ``noise_multiplier / sqrt(threshold)``
    to its own part, so that the sum of any `threshold` hospitals carries at least ``noise_multiplier``. Hospitals
    that collude know their own noise: against c of them the rest must be at least `threshold` for the statement to
    hold. What follows is post-processing: the noisy means and variances are drawn towards the prior by as much as
    their noise is large (the posterior mean under a normal prior), and variances are kept within bounds.

    Parameters
    ----------
    hospitals : Hospitals
        Never a pooled data set.
    prior : FeatureMap, optional
        The map to improve: `fixed` of the data set's name by default.
    noise_multiplier : float
        Standard deviation of the noise in the sum / what one record moves it by.
    norm : float, optional
        L2 bound of one record's vector. By default that of a record that is standard normal after `prior`,
        sqrt(9 + 1.5 k) for k features: a constant.
    threshold : int, optional
        How many hospitals' shares make up the full noise; with fewer left, nothing is opened. All by default.
        Secure aggregation itself asks for more than half, whatever is given here.
    secure : bool
        Whether the sum is taken by secure aggregation, with fresh keys. False adds the same whole numbers in the
        clear: the same map, bit for bit, without the protocol's protection; its title says so.
    drop : mapping of str to str, optional
        Stage at which a hospital vanishes ("advertise", "share", "masked", "consistency", "unmask"), as in
        `labkit.federated.federate`.
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
        For a setting out of range, before any record is read.
    labkit.federated.secagg.SecAggError
        Before any record is read, for fewer than three hospitals, which the protocol cannot protect.
    """
    refuse_pooled(hospitals)
    check_positive("noise_multiplier", noise_multiplier)
    threshold = len(hospitals) if threshold is None else threshold
    drop = drop or {}
    _check(hospitals, threshold, secure, drop)
    prior = prior or fixed(hospitals.hospitals[0].dataset.name)
    if norm is None:
        norm = math.sqrt(COUNT**2 + (1 + 2 * SQUARES**2) * len(prior.columns))
    check_positive("norm", norm)
    from labkit.dp.accounting.events import SampledGaussian

    event = SampledGaussian(float(noise_multiplier), steps=1, sampler="full")
    size = 1 + len(_gaps(prior)) + 2 * len(prior.columns)
    grid = Grid(float(norm), size, noise_multiplier / math.sqrt(threshold))
    streams = [None] * len(hospitals) if seed is None else np.random.SeedSequence(seed).spawn(len(hospitals))
    noisy = {
        each.name: grid.round(contribution(each.dataset.train_x, prior, norm))
        + grid.noise(None if stream is None else np.random.default_rng(stream))
        for each, stream in zip(hospitals, streams, strict=True)
    }
    total, count = _sum(noisy, grid, prior, threshold, secure, drop)
    own = math.sqrt(grid.variance) * grid.step
    centre, width = _moved(prior, grid.value(total), own * math.sqrt(count), LEAST_TRAIN * count)
    how = f"private mean and variance (noise multiplier {noise_multiplier:g}, L2 norm {norm:.3g}, patients)"
    if not secure:
        how += ", summed in clear"
    released = {"events": (*prior.events, event), "full_at": (*prior.full_at, threshold)}
    return replace(prior, centre=centre, width=width, how=how, **released)


def _check(hospitals: Hospitals, threshold: int, secure: bool, drop: Mapping[str, str]) -> None:
    """Refuse, before any record is read, terms under which the promise would not be kept."""
    count = len(hospitals)
    if threshold not in range(1, count + 1):
        raise ValueError(f"threshold is {threshold!r}; expected a whole number from 1 to {count}")
    if set(drop) - set(hospitals.names) or set(drop.values()) - set(STAGES):
        raise ValueError(
            f"drop is {dict(drop)}; expected hospitals of {list(hospitals.names)}, each with a stage of {STAGES}"
        )
    if secure:
        threshold = max(threshold, least_threshold(count))
    if count - len(drop) < threshold:
        raise ValueError(
            f"{count - len(drop)} hospitals would be left; the threshold is {threshold}: the noise that is promised "
            "would not be in the sum"
        )


def _sum(
    noisy: Mapping[str, np.ndarray],
    grid: Grid,
    prior: FeatureMap,
    threshold: int,
    secure: bool,
    drop: Mapping[str, str],
) -> tuple[np.ndarray, int]:
    """Return the sum of those vectors that arrived, int64 [m], and their number."""
    if not secure:
        arrived = [vector for name, vector in noisy.items() if drop.get(name) not in EARLY]
        return np.sum(arrived, axis=0), len(arrived)
    found = secure_sum_integers(
        noisy,
        threshold=max(threshold, least_threshold(len(noisy))),
        # A ring of 64 bits, and room on the grid for any noise that is sane, as for the rounds of training.
        encoding=Encoding(scale=1 / grid.step, bits=64, parties=len(noisy), bound=2.0**52 * grid.step),
        round_id=fresh_round_id(),
        model_digest=hashlib.sha256(prior.centre.tobytes() + prior.width.tobytes()).digest(),
        drop=drop,
    )
    return found.integers, len(found.survivors)


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
