"""Does a data loader sample the way its privacy statement says?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from labkit.dp.accounting.events import SampledGaussian

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


def check_loader(loader: DataLoader, event: SampledGaussian) -> None:
    """Raise unless `loader` draws its batches as `event` is accounted.

    Parameters
    ----------
    loader : DataLoader
        Opacus's ``DPDataLoader`` draws Poisson batches; a plain loader cuts batches of one size.
    event : SampledGaussian
        What the accountant is told: sampler and sample rate.

    Raises
    ------
    ValueError
        For fixed batches accounted as Poisson ones, for whole epochs accounted as fresh draws, and for a
        sample rate other than the loader's own. Opacus takes 1 / len(loader), which rounds: 300 of 1,000
        records become q = 0.25.
    """
    rate = getattr(loader.batch_sampler, "sample_rate", None)
    if rate is None:
        _check_fixed(loader, event)
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


def _check_fixed(loader: DataLoader, event: SampledGaussian) -> None:
    from torch.utils.data import RandomSampler, SequentialSampler

    rate = (loader.batch_size or 1) / max(1, len(loader.dataset))
    if event.sampler in ("fixed", "without-replacement") and not math.isclose(
        rate, event.sample_rate, rel_tol=1e-6
    ):
        raise ValueError(
            f"the loader's batches hold {loader.batch_size} of {len(loader.dataset)} records, q = {rate:.6g}, yet the "
            f"event says {event.sample_rate:.6g}. Fix: account with sample_rate={rate:.6g}."
        )
    if event.sampler == "poisson" and event.sample_rate < 1:
        raise ValueError(
            "the loader cuts fixed batches, yet the event is accounted as Poisson sampling: its ε would be far too "
            "low, as nothing hides which batch a record is in. Fix: "
            "opacus.data_loader.DPDataLoader.from_data_loader(loader), or account with sampler='fixed'."
        )
    if (
        isinstance(loader.sampler, (RandomSampler, SequentialSampler))
        and event.sampler == "without-replacement"
    ):
        raise ValueError(
            "the loader goes through whole epochs, which is not a fresh draw at each step; reshuffled epochs have no "
            "tight bound (arXiv 2403.17673). Fix: Poisson batches, or account with sampler='fixed'."
        )
