"""What may be said of a data loader: samplers that weigh or repeat are refused, and the advice is an upper bound."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from labkit import dp
from labkit.dp.accounting.loader_check import check_loader

N = 1000
RECORDS = TensorDataset(torch.zeros(N, 1))


def event(q: float = 0.1, sampler: str = "fixed") -> dp.SampledGaussian:
    return dp.SampledGaussian(1.0, 100, q, sampler)


class Fresh(Sampler):
    """A batch of 100 drawn afresh at each of 10 steps; or with one record always in it."""

    def __init__(self, always: int | None = None) -> None:
        self.always = always

    def __iter__(self):
        for _ in range(10):
            batch = torch.randperm(N)[:100].tolist()
            yield batch if self.always is None else [*batch, self.always]

    def __len__(self) -> int:
        return 10


def weights() -> torch.Tensor:
    return torch.cat([torch.full((10,), 50.0), torch.ones(N - 10)])


REFUSED = {
    "weighted": DataLoader(RECORDS, 100, sampler=WeightedRandomSampler(weights(), N)),
    "replacing": DataLoader(RECORDS, 100, sampler=RandomSampler(RECORDS, replacement=True)),
    "replacing, few": DataLoader(RECORDS, 100, sampler=RandomSampler(RECORDS, True, num_samples=2)),
    "twice through": DataLoader(RECORDS, 100, sampler=RandomSampler(RECORDS, num_samples=2 * N)),
    "a list with a record twice": DataLoader(RECORDS, 100, sampler=[*range(N - 1), 0]),
    "one record in every batch": DataLoader(RECORDS, batch_sampler=[[0, i] for i in range(1, 500)]),
    "batch sampler around a weighted one": DataLoader(
        RECORDS, batch_sampler=BatchSampler(WeightedRandomSampler(weights(), N), 100, False)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("sampler", ["fixed", "without-replacement", "poisson"])
def test_samplers_that_weigh_or_repeat_are_refused(name: str, sampler: str) -> None:
    """meta-pytorch/opacus #600, #813: the event counts a record once a pass."""
    with pytest.raises(ValueError, match=r"Fix:"):
        check_loader(REFUSED[name], event(sampler=sampler))


@pytest.mark.parametrize(
    ("loader", "batches"),
    [
        (DataLoader(RECORDS, batch_sampler=BatchSampler(SequentialSampler(RECORDS), 100, False)), 10),
        (DataLoader(RECORDS, batch_sampler=[list(range(i, N, 7)) for i in range(7)]), 7),
        (DataLoader(RECORDS, 100, sampler=RandomSampler(RECORDS, num_samples=500)), 5),
        (DataLoader(RECORDS, 300, drop_last=True), 3),
    ],
)
def test_the_advice_counts_every_meeting_of_a_record(loader: DataLoader, batches: int) -> None:
    """One in ``batches`` steps may hold a record: q = 1/n (once the advice for batch_sampler=) said one in 1,000."""
    with pytest.raises(ValueError, match=r"Fix: account with") as refusal:
        check_loader(loader, event(1 / N))
    advised = float(re.search(r"sample_rate=([\d.]+\d)", str(refusal.value))[1])
    meetings = dp.SampledGaussian(1.0, 100, round(1 / advised) ** -1, "fixed").releases
    assert meetings == -(-100 // batches)
    check_loader(loader, event(1 / batches))


def test_full_batches_hold_every_record() -> None:
    check_loader(DataLoader(RECORDS, N), event(1.0, "full"))
    with pytest.raises(ValueError, match=r"q = 0\.1, yet the event says 1"):
        check_loader(DataLoader(RECORDS, 100), event(1.0, "full"))


def test_fresh_draws_pass_only_as_fresh_draws_of_their_size() -> None:
    loader = DataLoader(RECORDS, batch_sampler=Fresh())
    check_loader(loader, event(0.1, "without-replacement"))
    with pytest.raises(ValueError, match="expected one size"):
        check_loader(loader, event(0.2, "without-replacement"))
    with pytest.raises(ValueError, match="in several batches"):
        check_loader(loader, event(0.1, "fixed"))


def test_the_look_leaves_random_generators_where_they_were() -> None:
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(RECORDS, 100, sampler=RandomSampler(RECORDS, generator=generator))
    before, ambient = generator.get_state(), torch.get_rng_state()
    check_loader(loader, event())
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), ambient)


def test_a_stream_of_records_is_refused() -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(3))

        def __len__(self) -> int:
            return 3

    with pytest.raises(ValueError, match="IterableDataset hides"):
        check_loader(DataLoader(Stream(), 1), event())
