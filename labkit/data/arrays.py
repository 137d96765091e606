"""A data set of the caller's own arrays or tensors: what each value was, what was expected, and the fix.

Nothing is reordered: what is handed in as train and test stays as it is, and a part that is drawn keeps its order and says
where each of its records stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.data.dataset import TYPES, Dataset
from labkit.data.errors import DataError


@dataclass(frozen=True)
class Given:
    """What the caller says of the records beside the records: see `Dataset.from_numpy`."""

    name: str
    source: str
    real: bool
    classes: Sequence[Any] | None
    dtype: str

    def __post_init__(self) -> None:
        if str(self.dtype).removeprefix("torch.") not in TYPES:
            raise DataError(f"{self.name}: dtype is {self.dtype!r}; expected one of {', '.join(TYPES)}")


def dataset(
    given: Given, x: Any, y: Any, test_x: Any, test_y: Any, test_share: float | None, seed: int
) -> Dataset:
    """Return the data set of arrays: see `Dataset.from_numpy`."""
    name = given.name
    one_of_two(name, (test_x, test_y), test_share)
    numbers, labels = records(name, "x", x, given.dtype), own_labels(name, "y", y, len(x))
    if test_share is None:
        test_numbers = records(name, "test_x", test_x, given.dtype)
        test_labels = own_labels(name, "test_y", test_y, len(test_x))
        return built(given, (numbers, labels), (test_numbers, test_labels), given.source)
    train, test = split(name, len(labels), test_share, seed)
    return built(
        given,
        (numbers[train], labels[train]),
        (numbers[test], labels[test]),
        drawn(given.source, len(test), len(labels), seed),
        train_rows=train,
        test_rows=test,
    )


def built(
    given: Given,
    train: tuple[Tensor, np.ndarray],
    test: tuple[Tensor, np.ndarray],
    source: str,
    **more: Any,
) -> Dataset:
    """Return the data set of records and labels of any kind: labels are numbered as `class_names` has them."""
    together = "train_rows" in more  # one set of records, so one set of classes
    classes = class_names(given, np.concatenate([train[1], test[1]]) if together else train[1])
    return Dataset(
        name=given.name,
        source=source,
        real=given.real,
        train_x=train[0],
        train_y=numbered(given.name, train[1], classes, "train"),
        test_x=test[0],
        test_y=numbered(given.name, test[1], classes, "test"),
        classes=tuple(str(text) for text in (given.classes or classes)),
        **more,
    )


def from_torch(train: Any, test: Any, test_share: float | None, settings: dict[str, Any]) -> Dataset:
    """Return the data set of tensors or of torch's data sets: see `Dataset.from_torch`."""
    name = settings.get("name", "own")
    one_of_two(name, (test, test), test_share)
    x, y = _pair(name, "train", train)
    test_x, test_y = (None, None) if test is None else _pair(name, "test", test)
    kind = str(x.dtype).removeprefix("torch.")
    settings = {"dtype": kind if kind in TYPES else "float32", "source": f"{name} (tensors)"} | settings
    return Dataset.from_numpy(x, y, test_x=test_x, test_y=test_y, test_share=test_share, **settings)


def _pair(name: str, part: str, given: Any) -> tuple[Tensor, Any]:
    """Return inputs and labels of a pair of tensors, or of all that a map-style data set yields, in its order."""
    if isinstance(given, tuple | list) and len(given) == 2 and all(hasattr(p, "shape") for p in given):
        return torch.as_tensor(given[0]), given[1]
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise DataError(
            f"{name}: {part} is a {type(given).__name__}; expected a pair of tensors (x, y) or a map-style "
            "torch.utils.data.Dataset, not a loader or an iterator: pass loader.dataset"
        )
    rows = [given[position] for position in range(len(given))]
    if not rows or not all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        raise DataError(
            f"{name}: {part} yields {type(rows[0]).__name__ if rows else 'nothing'}; expected pairs (x, y)"
        )
    shapes = {tuple(np.shape(x)) for x, _ in rows}
    if len(shapes) > 1:
        raise DataError(
            f"{name}: {part} yields records of {len(shapes)} shapes, such as {sorted(shapes)[:2]}; expected one: crop or pad "
            "them in the data set's transform"
        )
    return torch.stack([torch.as_tensor(np.asarray(x)) for x, _ in rows]), np.array([y for _, y in rows])


def one_of_two(name: str, test: tuple[Any, Any], test_share: float | None) -> None:
    """Refuse anything but test records or a share to draw."""
    missing = [part is None for part in test]
    if any(missing) != all(missing):
        raise DataError(f"{name}: got one of test_x and test_y; expected both")
    if all(missing) == (test_share is None):
        raise DataError(
            f"{name}: got {'neither' if test_share is None else 'both'} test records and test_share; expected one of them: "
            "records to measure on, or the share of these to draw for it, such as test_share=0.2"
        )


def split(name: str, n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those to test on, each ascending: a share drawn by ``seed``."""
    count = round(share * n) if 0 < share < 1 else 0
    if not 0 < count < n:
        raise DataError(
            f"{name}: test_share is {share} of {n:,} records; expected a share between 0 and 1 that leaves a record on both "
            "sides, such as 0.2"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[count:]), np.sort(order[:count])


def drawn(source: str, count: int, n: int, seed: int) -> str:
    """Return a source that says that its test records were drawn from it."""
    return f"{source}, {count:,} of {n:,} records drawn for testing (seed {seed})"


def records(name: str, what: str, x: Any, dtype: str) -> Tensor:
    """Return the caller's records as a tensor of ``dtype``, in their order."""
    found = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    wanted = str(dtype).removeprefix("torch.")
    if found.dtype == object or found.dtype.kind not in "fiub":
        raise DataError(
            f"{name}: {what} holds {found.dtype}, not numbers: pass a table with text to Dataset.from_frame, or turn it into "
            "numbers first"
        )
    if found.ndim < 2:
        raise DataError(
            f"{name}: {what} has shape {found.shape}; expected a record in each row, (n, d) or (n, C, H, W): "
            f"for one feature a record, {what}[:, None]"
        )
    _images(name, what, found)
    if wanted == "int64" and found.dtype.kind == "f" and not (found == np.floor(found)).all():
        raise DataError(
            f"{name}: {what} holds {found.dtype} with fractions; expected whole numbers for dtype='int64' (tokens): leave "
            "dtype='float32' for a model that takes real numbers"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found).reshape(len(found), -1).all(1))[0])
        raise DataError(
            f"{name}: {what} has a NaN or infinite value, first in record {bad}; expected finite numbers: drop or repair it"
        )
    return torch.from_numpy(np.array(found, dtype=wanted))  # a copy: the caller's array stays the caller's


def _images(name: str, what: str, x: np.ndarray) -> None:
    """Refuse pictures in a layout or on a scale that every model would take, and none would learn from as meant."""
    if x.ndim != 4:
        return
    if x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        raise DataError(
            f"{name}: {what} has shape {x.shape}, channels last; expected (n, C, H, W): {what}.transpose(0, 3, 1, 2)"
        )
    if x.dtype.kind in "iu" and x.size and x.max() > 1:
        raise DataError(
            f"{name}: {what} holds {x.dtype} images up to {x.max()}; expected values in [0, 1]: {what} / {max(255, x.max())}"
        )


def own_labels(name: str, what: str, y: Any, n: int) -> np.ndarray:
    """Return the caller's labels as an array (n,) of whatever they are."""
    found = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or len(found) != n:
        raise DataError(
            f"{name}: {what} has shape {found.shape} for {n:,} records; expected ({n},), a label for each"
            + (
                ": one-hot rows become labels by .argmax(1)"
                if found.ndim == 2
                else ": each record needs its own"
            )
        )
    if found.dtype.kind == "f":
        if not (np.isfinite(found).all() and (found == np.floor(found)).all()):
            raise DataError(
                f"{name}: {what} holds real numbers such as {found[found != np.floor(found)][:1].tolist() or 'NaN'}; expected "
                "classes: this kit classifies, so bin what is to be regressed"
            )
        found = found.astype(np.int64)
    return found


def class_names(given: Given, labels: np.ndarray) -> tuple[Any, ...]:
    """Return the labels in the order of their numbers: 0, 1, ... themselves, else sorted, or as the caller lists them."""
    found = set(labels.tolist())
    if given.classes is not None:
        listed = tuple(given.classes)
        return listed if found <= set(listed) else tuple(range(len(listed)))
    try:
        return tuple(sorted(found))
    except TypeError:  # labels of several types: a missing one, most often
        raise DataError(
            f"{given.name}: the labels are of several kinds, such as {sorted(map(repr, found))[:3]}; expected one "
            "kind: drop rows without a label first"
        ) from None


def numbered(name: str, labels: np.ndarray, classes: tuple[Any, ...], part: str) -> Tensor:
    """Return the labels as int64 class indices."""
    place = {label: index for index, label in enumerate(classes)}
    unknown = sorted({repr(label) for label in labels.tolist() if label not in place})
    if unknown:
        raise DataError(
            f"{name}: {part} labels hold {', '.join(unknown[:3])}; expected one of {', '.join(map(repr, classes[:10]))}: name "
            "all classes with classes=[...]"
        )
    return torch.tensor([place[label] for label in labels.tolist()], dtype=torch.int64)
