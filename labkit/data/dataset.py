"""The one shape in which every data set reaches models, attacks and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labkit.data.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from torch import Tensor

    from labkit.data.frames import TableEncoding

TYPES = ("float32", "float64", "int64")


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
        Images ``[n, C, H, W]`` in [0, 1], or features ``[n, d]``; for models that want them, sequences ``[n, T, d]``,
        float64, or tokens ``[n, T]`` of int64.
    train_y, test_y : Tensor, int64 ``[n]``
        Class indices, from 0 to ``len(classes) - 1``.
    classes : tuple of str
        Name of each class.
    digest : str, optional
        Hash of the content, for cache keys; computed when left out, and anew when ``dataclasses.replace`` puts other
        records or labels in. One that is given is believed.
    train_rows, test_rows : int array of shape (n,), optional
        Where each record stood in what the caller handed in, when a part was drawn from it: see `from_numpy`. `take` and
        `holdout` keep count.
    encoding : TableEncoding, optional
        How a table's columns became numbers: see `from_frame`.

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
    train_rows: np.ndarray | None = None
    test_rows: np.ndarray | None = None
    encoding: TableEncoding | None = None

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

    @classmethod
    def from_numpy(
        cls,
        x: Any,
        y: Any,
        *,
        test_x: Any = None,
        test_y: Any = None,
        test_share: float | None = None,
        seed: int = 0,
        classes: Sequence[Any] | None = None,
        dtype: str = "float32",
        name: str = "own",
        source: str | None = None,
        real: bool = True,
    ) -> Dataset:
        """Return a data set of your own arrays.

        Parameters
        ----------
        x : array of shape (n, ...)
            Features (n, d), images (n, C, H, W) in [0, 1], sequences (n, T, d), or tokens (n, T) with ``dtype="int64"``.
        y : array of shape (n,)
            Class indices, or labels of any kind (text, bools, -1 and 1), which are numbered in sorted order.
        test_x, test_y : arrays, optional
            Records to measure on; they and the train records keep their order.
        test_share : float, optional
            Instead of ``test_x``: draw this share of the records for testing, by ``seed``. Both parts keep the caller's
            order; ``train_rows`` and ``test_rows`` of what is returned say where each record stood, and ``source`` says
            that a part was drawn.
        classes : sequence, optional
            Names of the classes 0, 1, ..., or the labels in the order in which they are to be numbered.
        dtype : {"float32", "float64", "int64"}
            What the model wants: "float64" for a model made ``.double()``, "int64" for one that looks tokens up.
        real : bool
            False for made-up records: they then say so wherever they are shown.

        Raises
        ------
        DataError
            Naming the value, what was expected and the fix.

        Examples
        --------
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> own = Dataset.from_numpy(rng.normal(size=(10, 3)), ["no", "yes"] * 5, test_share=0.2)
        >>> own.classes, len(own.train_y), own.test_rows.tolist()
        (('no', 'yes'), 8, [4, 6])
        """
        from labkit.data import arrays

        given = arrays.Given(name, source or f"{name} (arrays)", real, classes, dtype)
        return arrays.dataset(given, x, y, test_x, test_y, test_share, seed)

    @classmethod
    def from_torch(
        cls, train: Any, *, test: Any = None, test_share: float | None = None, **settings: Any
    ) -> Dataset:
        """Return a data set of tensors ``(x, y)``, or of a ``torch.utils.data.Dataset`` that yields such pairs.

        Parameters
        ----------
        train, test : (Tensor, Tensor), or map-style Dataset
            Each is read once, in its own order, into memory.
        test_share, **settings
            As in `from_numpy`; ``dtype`` is by default that of the tensors where it is one of float32, float64, int64.

        Raises
        ------
        DataError
            As `from_numpy`, and where a data set does not yield pairs of one shape.

        Examples
        --------
        >>> import torch
        >>> tokens = torch.arange(24).reshape(6, 4)
        >>> Dataset.from_torch((tokens, torch.arange(6) % 2), test_share=0.5).train_x.dtype
        torch.int64
        """
        from labkit.data import arrays

        return arrays.from_torch(train, test, test_share, settings)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        label: str,
        test: pd.DataFrame | None = None,
        test_share: float | None = None,
        seed: int = 0,
        classes: Sequence[Any] | None = None,
        ranges: dict[str, tuple[float, float]] | None = None,
        missing: str = "refuse",
        dtype: str = "float32",
        name: str = "own",
        source: str | None = None,
        real: bool = True,
    ) -> Dataset:
        """Return a data set of a pandas table: categories one-hot, numbers standardised, both as the train rows have them.

        Parameters
        ----------
        frame, test : DataFrame
            Columns of numbers or bools, and of text or pandas categories.
        label : str
            The column with the class.
        test_share, seed, classes, dtype, name, source, real
            As in `from_numpy`.
        ranges : dict of (low, high), optional
            Public bounds of columns of numbers, which are then clipped and scaled to [0, 1] by them; nothing of such a column is
            read from the records. A category column declared as pandas' ``category`` takes its declared categories.
        missing : {"refuse", "indicate"}
            What to do about missing values: name them and stop; or fill in the column's mean, give a category "missing",
            and add a column that says where.

        Returns
        -------
        Dataset
            Its ``encoding`` says what was done to each column, and does the same to new rows.

        Raises
        ------
        DataError
            Naming column, rows and fix.

        Notes
        -----
        Means, standard deviations and lists of categories are read from the train rows **without noise**: no privacy statement
        of a model trained on them covers that. ``ranges`` and declared categories avoid it; ``encoding`` says which is which.

        Examples
        --------
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"age": [20, 30, 40, 50], "town": ["x", "y", "x", "y"], "ill": [0, 1, 0, 1]})
        >>> own = Dataset.from_frame(rows, label="ill", test=rows, ranges={"age": (0, 100)})
        >>> own.encoding.columns, own.train_x[0].tolist()
        (('age', 'town = x', 'town = y'), [0.20000000298023224, 1.0, 0.0])
        """
        from labkit.data import arrays, frames

        given = arrays.Given(name, source or f"{name} (table)", real, classes, dtype)
        return frames.dataset(given, frame, label, test, test_share, seed, ranges or {}, missing)

    def take(self, n_train: int, n_test: int | None = None, *, seed: int = 0) -> Dataset:
        """Return ``n_train`` train and ``n_test`` test records (default: all), drawn without replacement.

        The same seed draws the same records; the order is random too: ``train_rows`` and ``test_rows`` of what is returned
        say where each record stood.

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
            train_rows=_rows(self.train_rows, train),
            test_rows=self.test_rows if n_test is None else _rows(self.test_rows, test),
        )

    def holdout(self, size: int, *, seed: int = 0) -> Dataset:
        """Return a set to tune on: ``size`` train records become its test set; the real test set is gone from it.

        Both parts are in random order: ``train_rows`` and ``test_rows`` say where each record stood among the train records.

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
            train_rows=_rows(self.train_rows, kept),
            test_rows=_rows(self.train_rows, held),
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


def _rows(before: np.ndarray | None, chosen: Tensor) -> np.ndarray:
    """Return where chosen records stood in what the caller handed in, or among the records that they were drawn from."""
    rows = chosen.numpy()
    return rows if before is None else before[rows]


def _validate(data: Dataset) -> None:
    """Refuse what would fail later and further away."""
    for part in ("train", "test"):
        _validate_part(data, part)
    if data.train_x.shape[1:] != data.test_x.shape[1:] or data.train_x.dtype != data.test_x.dtype:
        raise DataError(
            f"{data.name}: train records are {_type(data.train_x)} of shape {data.shape}, test records "
            f"{_type(data.test_x)} of shape {tuple(data.test_x.shape[1:])}; expected the same"
        )


def _validate_part(data: Dataset, part: str) -> None:
    import torch

    x, y = getattr(data, f"{part}_x"), getattr(data, f"{part}_y")
    if _type(x) not in TYPES:
        raise DataError(
            f"{data.name}: {part}_x is {_type(x)}; expected float32, float64 (for a model in double precision) or int64 "
            f"(tokens): convert it with {part}_x.float()"
        )
    if x.ndim < 2:
        raise DataError(
            f"{data.name}: {part}_x has shape {tuple(x.shape)}; expected [n, d] or images [n, C, H, W], a record in each row: "
            f"for one feature a record, {part}_x[:, None]"
        )
    if y.ndim != 1 or y.dtype != torch.int64 or len(y) != len(x):
        raise DataError(
            f"{data.name}: {part}_y is {_type(y)} of shape {tuple(y.shape)}; expected int64 [{len(x)}], a class index for each "
            "record: convert indices with .long(), and one-hot rows with .argmax(1)"
        )
    if len(x) == 0:
        raise DataError(f"{data.name}: no {part} records")
    if not bool(torch.isfinite(x.sum())):  # one pass: any NaN or infinity survives a sum
        bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
        raise DataError(
            f"{data.name}: {part}_x has a NaN or infinite value, first in record {bad}: drop or repair it"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= len(data.classes):
        raise DataError(
            f"{data.name}: {part}_y runs from {low} to {high}; expected 0 to {len(data.classes) - 1}, "
            f"one number for each of {len(data.classes)} classes"
        )


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
