"""The one shape in which every data set reaches models, attacks and tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit.data.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Digest(str):
    """A digest that remembers which tensors it was taken of (see `_held`); otherwise text like any other."""

    of: tuple

    def __new__(cls, text: str, of: tuple = ()) -> Digest:
        made = super().__new__(cls, text)
        made.of = of
        return made

    def __str__(self) -> str:
        return self[:]  # plain text, which is believed of any tensors


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A labelled train and test set in memory, with where it came from.

    Parameters
    ----------
    name : str
        Short name, as passed to :func:`labkit.data.load`.
    source : str
        Where the records came from, for titles and tables: ``"MNIST"`` or ``"stand-in for MNIST (...)"``.
    real : bool
        False for a stand-in.
    train_x, test_x : Tensor, float32
        Images ``[n, C, H, W]`` in [0, 1], or features ``[n, d]``.
    train_y, test_y : Tensor, int64 ``[n]``
        Class indices, from 0 to ``len(classes) - 1``.
    classes : tuple of str
        Name of each class.
    digest : str, optional
        Hash of the content, for cache keys; computed when left out, and anew when ``dataclasses.replace`` puts other
        records or labels in. One that is given is believed.

    Raises
    ------
    DataError
        If shapes, label ranges or values (NaN, infinite) are wrong.
    """

    name: str
    source: str
    real: bool
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: tuple[str, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        _validate(self)
        held = _held(self)
        # `replace` hands the old digest on, which then speaks of other tensors than these.
        inherited = isinstance(self.digest, Digest) and self.digest.of != held
        if not self.digest or inherited:
            from labkit import cache

            content = (self.train_x, self.train_y, self.test_x, self.test_y, self.classes)
            object.__setattr__(self, "digest", cache.digest(*content))
        object.__setattr__(self, "digest", Digest(self.digest, held))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one record: ``(C, H, W)`` or ``(d,)``."""
        return tuple(self.train_x.shape[1:])

    def __repr__(self) -> str:
        kind = "real" if self.real else "stand-in"
        size = f"{len(self.train_y):,} train, {len(self.test_y):,} test"
        return f"Dataset({self.source}; {kind}; {size}; records of shape {self.shape}; {len(self.classes)} classes)"

    def take(self, n_train: int, n_test: int | None = None, *, seed: int = 0) -> Dataset:
        """Return ``n_train`` train and ``n_test`` test records (default: all), drawn without replacement.

        The same seed draws the same records; the order is random too.

        Raises
        ------
        DataError
            If more records are asked for than there are.
        """
        train = _draw(len(self.train_y), n_train, "train", seed)
        total = len(self.test_y)
        test = slice(None) if n_test is None else _draw(total, n_test, "test", seed + 1)
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=self.train_y[train],
            test_x=self.test_x[test],
            test_y=self.test_y[test],
            source=f"{self.source}, {n_train:,} train records",
            digest=_derived(self.digest, "take", n_train, n_test, seed),
        )

    def holdout(self, size: int, *, seed: int = 0) -> Dataset:
        """Return a set to tune on: ``size`` train records become its test set; the real test set is gone from it.

        Raises
        ------
        DataError
            If ``size`` leaves no record to train on.
        """
        n = len(self.train_y)
        if not 0 < size < n:
            raise DataError(f"holdout of {size:,} out of {n:,} train records: expected 1 to {n - 1:,}")
        order = _draw(n, n, "train", seed)
        held, kept = order[:size], order[size:]
        return replace(
            self,
            train_x=self.train_x[kept],
            train_y=self.train_y[kept],
            test_x=self.train_x[held],
            test_y=self.train_y[held],
            source=f"{self.source}, validation split of {size:,} train records",
            digest=_derived(self.digest, "holdout", size, seed),
        )

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same records on another device."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
            digest=str(self.digest),  # the content is the same
        )


def _held(data: Dataset) -> tuple:
    """Return what a digest was taken of, without reading it: where each tensor lies, its shape, and its version.

    The version counts changes in place. Two data sets of one chain of `replace` are alive together, so no address is
    used twice.
    """
    parts = (data.train_x, data.train_y, data.test_x, data.test_y)
    return (*((p.data_ptr(), tuple(p.shape), p.stride(), p._version) for p in parts), data.classes)


def _derived(digest: str, *how: object) -> str:
    """Hash of a subset: the hash of the whole and how it was drawn say it all."""
    from labkit import cache

    return cache.digest(digest, *how)


def _draw(n: int, size: int, part: str, seed: int) -> Tensor:
    """Return ``size`` distinct indices below ``n``, in random order, fixed by ``seed``."""
    import torch

    if not 0 < size <= n:
        raise DataError(f"asked for {size:,} {part} records; this data set has {n:,}: ask for 1 to {n:,}")
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:size]


def _validate(data: Dataset) -> None:
    """Refuse what would fail later and further away."""
    import torch

    for part in ("train", "test"):
        x, y = getattr(data, f"{part}_x"), getattr(data, f"{part}_y")
        if x.ndim not in (2, 4) or x.dtype != torch.float32:
            raise DataError(
                f"{data.name}: {part}_x is {x.dtype} of shape {tuple(x.shape)}; expected float32 [n, C, H, W] or [n, d]"
            )
        if y.ndim != 1 or y.dtype != torch.int64 or len(y) != len(x):
            raise DataError(
                f"{data.name}: {part}_y is {y.dtype} of shape {tuple(y.shape)}; expected int64 [{len(x)}]"
            )
        if len(x) == 0:
            raise DataError(f"{data.name}: no {part} records")
        if not bool(torch.isfinite(x.sum())):  # one pass: any NaN or infinity survives a sum
            bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise DataError(f"{data.name}: {part}_x has a NaN or infinite value, first in record {bad}")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(data.classes):
            raise DataError(
                f"{data.name}: {part}_y runs from {low} to {high}; expected 0 to {len(data.classes) - 1}, "
                f"one number for each of {len(data.classes)} classes"
            )
    if data.train_x.shape[1:] != data.test_x.shape[1:]:
        raise DataError(
            f"{data.name}: train records have shape {data.shape}, test records {tuple(data.test_x.shape[1:])}; "
            "expected the same"
        )
