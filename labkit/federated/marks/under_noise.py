"""Marks against privacy: what noise does to a mark, and what no mark can do under hospital-level noise.

**Patient-level** privacy does not limit a mark: it follows from a key and public weights, so it is post-processing.
The noise does blur it, and a stronger pull buys it back, at the cost of accuracy.

**Hospital-level** privacy hides whether a hospital took part. To find its mark is to find that out: a membership test. At
a false positive rate of a, no mark of any strength is found more often than the trade-off curve of the noise allows
(Dong, Roth & Su, arXiv 1905.02383); `labkit.dp` gives both that curve and the weaker ceiling by (ε, δ) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit import profiles, progress, stats
from labkit.federated.marks import bits
from labkit.federated.marks.enrolment import MarkError, enrol
from labkit.federated.marks.noise_curve import Point, PrivacyCurve
from labkit.federated.marks.titles import splits
from labkit.federated.noise import Noise, calibrate
from labkit.federated.rounds import Federation, Training
from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    from torch import nn

    from labkit.federated.hospitals import Hospitals

FPR = 0.01
STRENGTHS = {
    "patient": (0.2 * bits.STRENGTH, bits.STRENGTH),
    "hospital": (bits.STRENGTH, 10 * bits.STRENGTH),
}


def privacy_curve(
    load: Callable[[int], Hospitals],
    make_model: Callable[[], nn.Module],
    *,
    unit: str = "patient",
    epsilons: Sequence[float] | None = None,
    training: Training | None = None,
    max_grad_norm: float = 0.5,
    strengths: Sequence[float] | None = None,
    federations: int | None = None,
    fpr: float = FPR,
    redraws: int | None = None,
    delta: float = 1e-5,
    seed: int = 0,
) -> PrivacyCurve:
    """Train federations at several noise levels, marked and unmarked, and look for the marks.

    Parameters
    ----------
    load : callable
        Takes a seed, returns hospitals with preprocessed records.
    make_model : callable
    unit : {"patient", "hospital"}
        Noise is "distributed"; all hospitals survive every round.
    epsilons : sequence of float, optional
        (3,) (smoke), (1, 3, 8) (laptop) or (.5, 1, 3, 8, 20) (full); a point without noise comes first.
    training : Training, optional
        Of every point; its kind must be the unit's (gradient for patients, update for hospitals).
    max_grad_norm : float
        Clipping norm of a patient's gradient, or of a hospital's contribution with its mark.
    strengths : sequence of float, optional
        Of the pull. For patients a faint one, which noise blurs, and the usual; for hospitals the usual, and one that
        takes up all that clipping leaves.
    federations : int, optional
        2 (smoke), 4 (laptop) or 20 (full) seeds a point, the same for all points.
    fpr : float
        At which marks are looked for; fixed in advance.
    redraws : int, optional
        199 (smoke), 999 (laptop) or 9,999 (full).
    """
    profile = profiles.current()
    count = federations or profile.pick(smoke=2, laptop=4, full=20)
    redraws = redraws or profile.pick(smoke=199, laptop=999, full=9999)
    wanted = epsilons or profile.pick(smoke=(3.0,), laptop=(1.0, 3.0, 8.0), full=(0.5, 1.0, 3.0, 8.0, 20.0))
    if not 1 / (redraws + 1) <= fpr < 1:
        raise MarkError(f"fpr is {fpr}; {redraws} redrawn keys give ranks of {1 / (redraws + 1):.2g} to 1")
    if unit not in STRENGTHS:
        raise MarkError(f"unit is {unit!r}; expected 'patient' or 'hospital'")
    strengths = STRENGTHS[unit] if strengths is None else strengths
    training = training or _terms(unit, profile)
    setups = []
    for epsilon in (np.inf, *wanted):
        noise = _noise(epsilon, unit, training, max_grad_norm, delta, len(load(seed)))
        setups.append((float(epsilon), noise))
    points = []
    with progress.bar(len(setups) * count * (1 + len(strengths)), "marks under noise") as shown:
        for epsilon, noise in setups:
            runs = []
            for own in range(seed, seed + count):
                federation = Federation(load(own), make_model, training, noise)
                runs.append(_runs(federation, strengths, redraws, own))
                shown.update(1 + len(strengths))
            points += _points(epsilon, noise, unit, training, strengths, runs, fpr, delta)
    clips = (
        "patients' gradients are" if unit == "patient" else "hospitals' contributions, marks included, are"
    )
    differs = f"without noise nothing is clipped; with it {clips} clipped to {max_grad_norm:g}, and only the noise differs"
    source = splits(load(seed).source, count)
    return PrivacyCurve(tuple(points), unit, fpr, redraws, count, differs, source, profile.name, seed)


def _terms(unit: str, profile: profiles.Profile) -> Training:
    rounds = profile.pick(smoke=10, laptop=30, full=60)
    if unit == "patient":
        return Training(rounds, "gradient", 0.5, momentum=0.9, schedule="linear", average_from=0.5)
    rounds = profile.pick(smoke=5, laptop=20, full=20)
    return Training(rounds, "update", 0.1, average_from=0.5, batch_size=64)


def _noise(
    epsilon: float, unit: str, training: Training, max_grad_norm: float, delta: float, hospitals: int
) -> Noise:
    if not np.isfinite(epsilon):
        return Noise(hospitals=hospitals)
    return calibrate(
        "distributed",
        epsilon,
        rounds=training.rounds,
        unit=unit,
        delta=delta,
        max_grad_norm=max_grad_norm,
        hospitals=hospitals,
        threshold=hospitals,
    )


def _runs(
    federation: Federation, strengths: Sequence[float], redraws: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray, float, float]]:
    """Return, for each strength, ranks and strengths by hospital, accuracy, and accuracy minus the unmarked one."""
    from labkit.federated.loop import federate

    plain = 100 * federate(federation, seed=seed, secure=False, quiet=True).accuracy.estimate
    found = []
    for strength in strengths:
        enrolment = enrol(
            federation.hospitals.names, seed, federation.dimension, strength=strength, colluders=0
        )
        result = federate(replace(federation, marks=enrolment.marks), seed=seed, secure=False, quiet=True)
        z = np.array([mark.strength_in(result.weights) for mark in enrolment.bit_marks.values()])
        some = next(iter(enrolment.bit_marks.values()))
        drawn = bits.redrawn(some, result.weights, redraws, Key.from_phrase(f"redrawn keys {seed}"))
        ranks = (1 + (drawn[None] >= z[:, None]).sum(1)) / (1 + redraws)
        accuracy = result.accuracy.estimate
        found.append((ranks, z, accuracy, 100 * accuracy - plain))
    return found


def _points(
    epsilon: float,
    noise: Noise,
    unit: str,
    training: Training,
    strengths: Sequence[float],
    runs: list[list[tuple[np.ndarray, np.ndarray, float, float]]],
    fpr: float,
    delta: float,
) -> list[Point]:
    statement = noise.statement(training.rounds, survivors=noise.hospitals, delta=delta)
    bounded = statement is not None and unit == "hospital"
    rate = np.array([fpr])
    ceiling = float(statement.tradeoff_curve(rate)[0]) if bounded else None
    loose = float(statement.roc_ceiling(rate)[0]) if bounded else None
    points = []
    for at, strength in enumerate(strengths):
        ranks = np.stack([run[at][0] for run in runs])
        points.append(
            Point(
                epsilon,
                float(strength),
                statement,
                ranks,
                stats.mean_interval([float(run[at][1].mean()) for run in runs]),
                stats.mean_share((ranks <= fpr).mean(1)),
                ceiling,
                loose,
                stats.mean_share([run[at][2] for run in runs]),
                stats.mean_interval([run[at][3] for run in runs]),
            )
        )
    return points
