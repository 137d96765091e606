"""Does a data loader sample the way its privacy statement says? Found out by drawing one pass of indices from it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from labkit.dp.accounting.events import SampledGaussian

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

REWEIGH = (
    "Fix: Poisson batches, opacus.data_loader.DPDataLoader.from_data_loader(loader); for rare classes, weights in the loss, "
    "which clipping still bounds."
)


def check_loader(loader: DataLoader, event: SampledGaussian) -> None:
    """Raise unless `loader` draws its batches as `event` is accounted.

    Parameters
    ----------
    loader : DataLoader
        Opacus's ``DPDataLoader`` draws Poisson batches. Of any other, one pass of indices is drawn (not the records;
        random generators are put back).
    event : SampledGaussian
        What the accountant is told: sampler and sample rate.

    Raises
    ------
    ValueError
        For fixed batches accounted as Poisson ones, for samplers that weigh or repeat records, for whole epochs
        accounted as fresh draws, and for a sample rate other than the loader's own. Opacus takes 1 / len(loader),
        which rounds: 300 of 1,000 records become q = 0.25.
    """
    rate = getattr(loader.batch_sampler, "sample_rate", None)
    if rate is None:
        _check_batches(loader, event)
    elif event.sampler != "poisson":
        raise ValueError(
            f"the loader draws Poisson batches with q = {rate:.4g}, yet the event says sampler={event.sampler!r}. "
            "Fix: SampledGaussian(..., sampler='poisson')."
        )
    elif not math.isclose(rate, event.sample_rate, rel_tol=1e-6):
        raise ValueError(
            f"the loader draws each record with q = {rate:.6g}, yet the event says {event.sample_rate:.6g}. Opacus "
            "takes q = 1 / len(loader), the batch count rounded up. Fix: account with the loader's own q, "
            "or build the DPDataLoader with sample_rate=expected_batch_size / n."
        )


def _check_batches(loader: DataLoader, event: SampledGaussian) -> None:
    if event.sampler == "poisson" and event.sample_rate < 1:
        raise ValueError(
            "the loader cuts fixed batches, yet the event is accounted as Poisson sampling: its ε would be far too "
            "low, as nothing hides which batch a record is in. Fix: "
            "opacus.data_loader.DPDataLoader.from_data_loader(loader), or account with sampler='fixed'."
        )
    if getattr(loader.sampler, "replacement", False):
        raise ValueError(
            f"{type(loader.sampler).__name__} draws with replacement: a record may be in a batch twice, or in many batches "
            f"of a pass, and the event counts it once. {REWEIGH}"
        )
    from torch.utils.data import BatchSampler

    n, batches = len(loader.dataset), _one_pass(loader)
    if any(len(set(batch)) < len(batch) for batch in batches):
        raise ValueError(f"a batch holds the same record twice: clipping bounds each copy alone. {REWEIGH}")
    repeated = max(Counter(index for batch in batches for index in batch).values()) > 1
    if event.sampler == "without-replacement":
        # torch's own BatchSampler cuts up one long list of indices, whichever sampler made that.
        _check_fresh(batches, repeated and type(loader.batch_sampler) is not BatchSampler, n, event)
    elif repeated:
        raise ValueError(
            f"one pass of the loader uses a record in several batches, the event in one. {REWEIGH}"
        )
    else:
        _check_rate(batches, n, event)


def _one_pass(loader: DataLoader) -> list[list[int]]:
    """Return the indices of each batch in one pass; raises for a loader that has none."""
    import torch
    from torch.utils.data import IterableDataset

    from labkit import models

    if isinstance(loader.dataset, IterableDataset):
        raise ValueError(
            "an IterableDataset hides which records are in a batch: draw batches from a data set with a length"
        )
    samplers: list[Any] = [s for s in (loader.sampler, loader.batch_sampler) if s is not None]
    samplers += [s.sampler for s in samplers if hasattr(s, "sampler")]
    own = {id(g): g for s in samplers if isinstance(g := getattr(s, "generator", None), torch.Generator)}
    states = {key: generator.get_state() for key, generator in own.items()}
    with models.seeded(0):
        drawn = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        batches = [
            [int(batch)] if loader.batch_sampler is None else [int(i) for i in batch] for batch in drawn
        ]
    for key, generator in own.items():
        generator.set_state(states[key])
    if not any(batches):
        raise ValueError("the loader has no batches")
    return batches


def _check_fresh(batches: list[list[int]], fresh: bool, n: int, event: SampledGaussian) -> None:
    """Refuse whole epochs, and batches of another size, where each batch should be a fresh draw of one size."""
    if not fresh:
        raise ValueError(
            "the loader cuts whole epochs, which is not a fresh draw at each step; reshuffled epochs have no "
            "tight bound (arXiv 2403.17673). Fix: Poisson batches, or account with sampler='fixed'."
        )
    sizes = {len(batch) for batch in batches}
    if not all(math.isclose(size / n, event.sample_rate, rel_tol=1e-6) for size in sizes):
        raise ValueError(
            f"batches hold {min(sizes)} to {max(sizes)} of {n} records, yet the event says q = {event.sample_rate:.6g}: "
            "expected one size, q times n. Fix: account with the size that is drawn"
        )


def _check_rate(batches: list[list[int]], n: int, event: SampledGaussian) -> None:
    """Compare q with how often a pass comes round to the same record: one batch in ``len(batches)``."""
    largest, held = max(map(len, batches)), sum(map(len, batches))
    # Batches of one size through all records are also known by their share, whose last batch is cut short.
    uniform = held == n and all(len(batch) == largest for batch in batches[:-1])
    rate = largest / n if uniform else 1 / len(batches)
    if not any(math.isclose(event.sample_rate, known, rel_tol=1e-6) for known in (rate, 1 / len(batches))):
        raise ValueError(
            f"the loader has {len(batches)} batches of at most {largest} of {n} records, q = {rate:.6g}, yet the event says "
            f"{event.sample_rate:.6g}. Fix: account with sample_rate={rate:.6g}."
        )
