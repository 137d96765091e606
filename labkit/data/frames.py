"""A pandas table as records: what became of each column, learned on train rows alone, and said.

Numbers are standardised (or scaled by public bounds), categories become one column each ("one-hot"), missing values are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labkit.data import arrays
from labkit.data.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from labkit.data.dataset import Dataset

MISSING = ("refuse", "indicate")
NO_VALUE = "missing"  # the category of a value that is not there


@dataclass(frozen=True)
class Column:
    """What becomes of one column of numbers: ``(value - centre) / scale``, after clipping where there are bounds.

    Attributes
    ----------
    name : str
    centre, scale : float
    bounds : (float, float) or None
        Public bounds; without them, centre and scale are mean and standard deviation of the train rows.
    fill : float
        Takes the place of a missing value, before scaling.
    indicated : bool
        Whether a column of its own says where values were missing.
    """

    name: str
    centre: float
    scale: float
    bounds: tuple[float, float] | None
    fill: float
    indicated: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} is missing") if self.indicated else (self.name,)

    def encode(self, values: pd.Series) -> np.ndarray:
        """Return (n, 1) numbers, or (n, 2) with the indicator."""
        given = values.astype("float64").to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.where(np.isnan(given), self.fill, given)
        clipped = known if self.bounds is None else np.clip(known, *self.bounds)
        scaled = (clipped - self.centre) / self.scale
        return np.stack([scaled, np.isnan(given)] if self.indicated else [scaled], axis=1)

    def __str__(self) -> str:
        if self.bounds is not None:
            return f"{self.name}: scaled to [0, 1] by public bounds {self.bounds[0]:g} to {self.bounds[1]:g}"
        return f"{self.name}: standardised by the train rows' mean {self.centre:.4g} and deviation {self.scale:.4g}"


@dataclass(frozen=True)
class Category:
    """What becomes of one column of categories: a column of 0 and 1 for each of ``levels``; all 0 for an unknown one.

    Attributes
    ----------
    declared : bool
        Whether the levels were declared (pandas ``category``) instead of read from the train rows.
    """

    name: str
    levels: tuple[Any, ...]
    declared: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name} = {level}" for level in self.levels)

    def encode(self, values: pd.Series) -> np.ndarray:
        """Return (n, levels) of 0 and 1."""
        known = values.astype(object).where(values.notna(), NO_VALUE).to_numpy()
        return np.stack([known == level for level in self.levels], axis=1).astype(np.float64)

    def unknown(self, values: pd.Series) -> list[Any]:
        """Return what is no level, sorted by its text."""
        return sorted(set(values[values.notna()].tolist()) - set(self.levels), key=str)

    def __str__(self) -> str:
        found = "declared" if self.declared else "found in the train rows"
        return f"{self.name}: one-hot, {len(self.levels)} categories {found} ({', '.join(map(str, self.levels[:6]))})"


@dataclass(frozen=True)
class TableEncoding:
    """How a table's columns became numbers: see `Dataset.from_frame`.

    Attributes
    ----------
    parts : tuple of Column or Category
    label : str
    notes : tuple of str
        Missing values and categories that the train rows do not have, with their numbers.
    """

    parts: tuple[Column | Category, ...]
    label: str
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each number in a record."""
        return tuple(name for part in self.parts for name in part.columns)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the numbers that each column of the table became."""
        ends = np.cumsum([len(part.columns) for part in self.parts])
        return tuple(
            tuple(range(end - len(part.columns), end)) for part, end in zip(self.parts, ends, strict=True)
        )

    @property
    def read_from_train(self) -> tuple[str, ...]:
        """Columns whose mean, deviation or categories were read from the train rows, without noise."""
        private = [p.bounds is None if isinstance(p, Column) else not p.declared for p in self.parts]
        return tuple(part.name for part, read in zip(self.parts, private, strict=True) if read)

    def encode(self, frame: pd.DataFrame, dtype: str = "float32") -> Tensor:
        """Return rows of a table with the same columns as records (n, d); the label's column need not be there.

        Raises
        ------
        DataError
            If a column is missing.
        """
        if lost := [part.name for part in self.parts if part.name not in frame.columns]:
            raise DataError(
                f"the table has no column {', '.join(map(repr, lost))}; expected {len(self.parts)} columns"
            )
        blocks = [part.encode(frame[part.name]) for part in self.parts]
        return torch.from_numpy(np.concatenate(blocks, axis=1).astype(dtype))

    def __str__(self) -> str:
        lines = [*map(str, self.parts), *self.notes]
        if self.read_from_train:
            lines.append(
                f"Read from the train rows without noise, and covered by no privacy statement: {', '.join(self.read_from_train)}. "
                "Public ranges= and declared categories avoid it"
            )
        return "\n".join(lines)


def dataset(
    given: arrays.Given,
    frame: pd.DataFrame,
    label: str,
    test: pd.DataFrame | None,
    test_share: float | None,
    seed: int,
    ranges: dict[str, tuple[float, float]],
    missing: str,
) -> Dataset:
    """Return the data set of a table: see `Dataset.from_frame`."""
    _check(given.name, frame, label, test, ranges, missing)
    arrays.one_of_two(given.name, (test, test), test_share)
    more: dict[str, Any] = {}
    source, train = given.source, frame
    if test_share is not None:
        rows, held = arrays.split(given.name, len(frame), test_share, seed)
        train, test = frame.iloc[rows], frame.iloc[held]
        source, more = (
            arrays.drawn(source, len(held), len(frame), seed),
            {"train_rows": rows, "test_rows": held},
        )
    encoding = learn(given.name, train, test, label, ranges, missing)
    labels = [
        arrays.own_labels(given.name, f"column {label!r}", part[label].to_numpy(), len(part))
        for part in (train, test)
    ]
    x, test_x = (encoding.encode(part, given.dtype) for part in (train, test))
    if encoding.read_from_train:
        scaled = len(encoding.read_from_train)
        columns = "column" if scaled == 1 else "columns"
        source = f"{source}, {scaled} {columns} scaled by the train rows without noise"
    return arrays.built(given, (x, labels[0]), (test_x, labels[1]), source, encoding=encoding, **more)


def learn(
    name: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    ranges: dict[str, tuple[float, float]],
    missing: str,
) -> TableEncoding:
    """Return the encoding that the train rows (and declared categories and ranges) give."""
    features = [column for column in train.columns if column != label]
    _refuse_missing(name, train, test, features, label, missing)
    parts, notes = [], []
    for column in features:
        part = _part(name, train[column], ranges.get(column), missing)
        parts.append(part)
        gaps = [int(frame[column].isna().sum()) for frame in (train, test)]
        if any(gaps):
            notes.append(f"{column}: {gaps[0]:,} train and {gaps[1]:,} test values missing, {_kept(part)}")
        if isinstance(part, Category) and (strange := part.unknown(test[column])):
            notes.append(
                f"{column}: {', '.join(map(str, strange[:5]))} in the test rows alone, all its columns 0"
            )
    return TableEncoding(tuple(parts), label, tuple(notes))


def _kept(part: Column | Category) -> str:
    """Return what stands in the place of a missing value."""
    if isinstance(part, Category):
        return "a category of its own" if NO_VALUE in part.levels else "all its columns 0"
    return f"filled with {part.fill:.4g}" + (", and said in a column of its own" if part.indicated else "")


def _part(
    name: str, values: pd.Series, bounds: tuple[float, float] | None, missing: str
) -> Column | Category:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        return _number(name, values, bounds, missing)
    if bounds is not None:
        raise DataError(
            f"{name}: ranges names {values.name!r}, which holds {values.dtype}; expected a column of numbers"
        )
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise DataError(
            f"{name}: column {values.name!r} holds {values.dtype}; expected numbers or categories: turn it into numbers first, "
            "such as days since a date"
        )
    declared = isinstance(values.dtype, pd.CategoricalDtype)
    levels = list(values.cat.categories) if declared else sorted(values.dropna().unique().tolist(), key=str)
    if not declared and len(levels) > max(20, len(values) // 5):
        raise DataError(
            f"{name}: column {values.name!r} holds {len(levels):,} different values in {len(values):,} rows, such as "
            f"{levels[0]!r}: that is a name or an identifier, not a category. Drop it, or declare it with .astype('category')"
        )
    if missing == "indicate" and values.isna().any():
        levels.append(NO_VALUE)
    return Category(str(values.name), tuple(levels), declared)


def _number(name: str, values: pd.Series, bounds: tuple[float, float] | None, missing: str) -> Column:
    given = values.astype("float64").to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(given).any():
        raise DataError(
            f"{name}: column {values.name!r} holds an infinite value in row {int(np.isinf(given).argmax())}: repair it"
        )
    if np.isnan(given).all():
        raise DataError(f"{name}: column {values.name!r} holds no value in the train rows: drop it")
    indicated = missing == "indicate" and bool(np.isnan(given).any())
    if bounds is None:
        mean, deviation = float(np.nanmean(given)), float(np.nanstd(given))
        return Column(str(values.name), mean, deviation or 1.0, None, mean, indicated)
    low, high = bounds
    if not low < high:
        raise DataError(f"{name}: ranges[{values.name!r}] is {bounds}; expected (low, high) with low < high")
    return Column(
        str(values.name),
        float(low),
        float(high - low),
        (float(low), float(high)),
        (low + high) / 2,
        indicated,
    )


def _check(
    name: str, frame: Any, label: str, test: Any, ranges: dict[str, tuple[float, float]], missing: str
) -> None:
    import pandas as pd

    for what, table in (("frame", frame), ("test", test)):
        if table is not None and not isinstance(table, pd.DataFrame):
            raise DataError(f"{name}: {what} is a {type(table).__name__}; expected a pandas DataFrame")
    if missing not in MISSING:
        raise DataError(f"{name}: missing is {missing!r}; expected one of {', '.join(map(repr, MISSING))}")
    for table in (frame, test):
        if table is not None and label not in table.columns:
            raise DataError(
                f"{name}: no column {label!r} to take labels from; there are {', '.join(map(str, table.columns))}"
            )
    if twice := frame.columns[frame.columns.duplicated()].tolist():
        raise DataError(f"{name}: column {twice[0]!r} is there twice: rename one")
    if test is not None and (lost := set(frame.columns) ^ set(test.columns)):
        raise DataError(
            f"{name}: train and test tables differ in column {', '.join(sorted(map(str, lost)))}; expected the same"
        )
    if strange := set(ranges) - set(frame.columns):
        raise DataError(f"{name}: ranges names {', '.join(sorted(map(repr, strange)))}, which is no column")
    if len(frame.columns) < 2:
        raise DataError(f"{name}: the table has no column besides the label {label!r}")


def _refuse_missing(
    name: str, train: pd.DataFrame, test: pd.DataFrame, features: list[str], label: str, missing: str
) -> None:
    """Refuse rows without a label, and missing values that nobody decided on."""
    both = {"train": train, "test": test}
    if gaps := {part: table[label].isna() for part, table in both.items() if table[label].isna().any()}:
        part, gap = next(iter(gaps.items()))
        raise DataError(
            f"{name}: {int(gap.sum()):,} {part} rows have no {label!r}, first row {gap[gap].index[0]}: drop them with "
            f"frame.dropna(subset=[{label!r}])"
        )
    found = {column: sum(int(table[column].isna().sum()) for table in both.values()) for column in features}
    gaps_by_column = {column: count for column, count in found.items() if count}
    if missing == "refuse" and gaps_by_column:
        listed = ", ".join(f"{column} ({count:,})" for column, count in gaps_by_column.items())
        raise DataError(
            f"{name}: missing values in {listed}: drop or fill them, or pass missing='indicate' to fill them and say where"
        )
