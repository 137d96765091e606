"""The whole table of leakage from updates, sized by the profile."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from labkit import data, profiles
from labkit.federated.inversion import pictures, tabular
from labkit.federated.inversion.result import Study

SIZES = (1, 2, 4, 8)


def study(
    hospitals_count: int = 5,
    *,
    batches: int | None = None,
    seeds: Sequence[int] | None = None,
    target_epsilon: float = 8.0,
    delta: float = 1e-5,
    rounds: int = 20,
) -> Study:
    """Attack updates in clear, sums of hospitals, and every noise placement; return all of it as one table.

    Parameters
    ----------
    hospitals_count : int
        Hospitals in a sum, at least 2.
    batches : int, optional
        Attacked batches of the table per line; from the profile.
    seeds : sequence of int, optional
        One batch of pictures per seed; the first one also seeds the attacks on the table. From the profile.
    target_epsilon, delta : float
        The guarantee for one patient over all `rounds`.
    rounds : int
        Full-batch rounds that the server may use for its questions; noise is calibrated to all of them.

    Raises
    ------
    ValueError
        For a setting out of range, before any work.
    """
    profile = profiles.current()
    batches = profile.pick(smoke=10, laptop=100, full=400) if batches is None else batches
    seeds = tuple(range(profile.pick(smoke=2, laptop=3, full=20)) if seeds is None else seeds)
    if hospitals_count < 2 or batches < 1 or len(seeds) < 2 or rounds < 1:
        raise ValueError(
            f"got hospitals_count={hospitals_count}, batches={batches}, {len(seeds)} seeds, rounds={rounds}; "
            "expected at least 2 hospitals, 1 batch, 2 seeds (for an interval) and 1 round"
        )
    scene = _table(hospitals_count, batches, seeds, profile)
    lines = tabular.in_clear(scene, SIZES)
    lines += tabular.under_noise(
        scene,
        target_epsilon=target_epsilon,
        delta=delta,
        rounds=rounds,
        trials=profile.pick(smoke=20, laptop=300, full=3000),
        namings=profile.pick(smoke=500, laptop=4000, full=20_000),
    )
    guarded = next(each for each in lines if "distributed noise" in each.observed)
    noise = tabular.calibrate_noise(
        target_epsilon, delta=delta, sample_rate=1.0, steps=rounds, sampler="full"
    )
    x, y, source = _digits()
    lines += pictures.picture_lines(
        x,
        y,
        hospitals=hospitals_count,
        plan=profile.pick(
            smoke=((1, 80), (4, 120)),
            laptop=((1, 150), (2, 250), (4, 400), (8, 500), (16, 300)),
            full=((1, 300), (2, 500), (4, 1000), (8, 2000), (16, 2000)),
        ),
        noises=profile.pick(smoke=(1e-3,), laptop=(1e-4, 1e-3, 1e-2), full=(1e-4, 1e-3, 1e-2)),
        noise_multiplier=noise,
        rounds=rounds,
        privacy=guarded.privacy,
        facts={"source": source, "profile": profile.name, "seeds": seeds},
    )
    return Study(tuple(lines))


def _table(hospitals: int, batches: int, seeds: tuple[int, ...], profile: profiles.Profile) -> tabular.Scene:
    """Return the Wisconsin records, standardised by statistics that federated preprocessing made public."""
    found = data.load("breast_cancer")
    x = found.train_x.double()
    facts = {"source": f"{found.source}, standardised", "profile": profile.name, "seeds": seeds[:1]}
    return tabular.Scene(
        (x - x.mean(0)) / x.std(0), found.train_y, perceptron_of, hospitals, batches, seeds[0], facts
    )


def perceptron_of(seed: int) -> nn.Module:
    """Return an untrained 30-64-2 perceptron in float64, the same for the same seed; no global seed is touched."""
    from labkit.models import perceptron, seeded

    with seeded(seed):
        return perceptron(30).double()


def _digits() -> tuple[torch.Tensor, torch.Tensor, str]:
    """Return 2,000 digits at 16x16 in [0, 1], labels, and their source."""
    found = data.load("mnist")
    small = F.interpolate(found.train_x[:2000], size=(16, 16), mode="area").double()
    return small, found.train_y[:2000], f"{found.source} at 16x16"
