"""One map from records to features, the same in all hospitals, and its public constants.

A public range is drawn with wide margins. The bands below say where within it a usual patient lies; they are the same
for all features of a kind and no patient's value decides them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.data.dataset import Dataset
from labkit.federated.hospitals import Hospital, Hospitals
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from labkit.dp.accounting.events import Event

USUAL_BAND = (0.15, 0.35)  # Wisconsin's ranges begin at 0: a usual patient lies about a quarter up
LOG_FLOOR = 0.1  # of the range: below it the logarithm is nearly linear
HEART_BAND = (0.35, 0.65)  # heart's ranges are centred on an unremarkable patient


@dataclass(frozen=True, eq=False, repr=False)
class FeatureMap(Result):
    """Maps records in [0, 1] to features about 0 with width about 1, the same in every hospital.

    Attributes
    ----------
    columns : tuple of int
        Which input columns are used.
    missing : tuple of int
        For each of them, the input column that marks its value as missing, or -1. A missing value becomes 0.
    centre, width : array, shape [k]
        What is subtracted, then divided by, after the logarithm.
    log_floor : float, optional
        Where given, x becomes log(1 + x / log_floor) / log(1 + 1 / log_floor) first, which maps [0, 1] to itself.
    norm : float, optional
        Where given, longer records are scaled down to this L2 norm.
    how : str
        How the map was made, for titles.
    events : tuple of Event
        What it cost; empty where only constants were used. They belong into every statement on what is trained on it.
    full_at : tuple of int
        For each of them, how many hospitals' shares of noise make up the event's.
    """

    columns: tuple[int, ...]
    missing: tuple[int, ...]
    centre: np.ndarray
    width: np.ndarray
    log_floor: float | None = None
    norm: float | None = None
    how: str = ""
    events: tuple[Event, ...] = ()
    full_at: tuple[int, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Return features ``[n, k]`` of records ``[n, d]``.

        Raises
        ------
        ValueError
            If the records have fewer columns than the map asks for, or are images.
        """
        import torch

        z = torch.where(self.observed(x), self.scaled(x), 0.0)
        if self.norm is not None:
            z = z * (self.norm / z.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        return z

    def apply(self, hospitals: Hospitals) -> Hospitals:
        """Return the same hospitals with features for records. Each maps its own; nothing is sent.

        Raises
        ------
        TypeError
            For anything but `Hospitals`.
        """
        refuse_pooled(hospitals)
        source = f"{hospitals.source}, {self.how}"
        held = [
            Hospital(
                each.name,
                replace(
                    each.dataset,
                    train_x=self(each.dataset.train_x),
                    test_x=self(each.dataset.test_x),
                    source=f"{each.dataset.source}, {self.how}",
                    digest="",
                ),
            )
            for each in hospitals
        ]
        released = tuple(
            (event.noise_multiplier, count) for event, count in zip(self.events, self.full_at, strict=True)
        )
        return Hospitals(tuple(held), source, (*hospitals.released, *released))

    def numbers(self) -> dict[str, Any]:
        """Return constants and cost by name."""
        return {
            "how": self.how,
            "columns": list(self.columns),
            "centre": self.centre.tolist(),
            "width": self.width.tolist(),
            "log_floor": self.log_floor,
            "norm": self.norm,
            "released": [event.describe() for event in self.events],
        }

    def summary(self) -> str:
        """Return one line."""
        return f"{len(self.columns)} features, {self.how}; {len(self.events)} releases"

    def table(self) -> pd.DataFrame:
        """Return one row per feature: its input column, centre and width."""
        import pandas as pd

        rows = {"column": self.columns, "centre": self.centre, "width": self.width}
        return pd.DataFrame(rows).set_index("column")

    def scaled(self, x: Tensor) -> Tensor:
        """Return features ``[n, k]`` with whatever stands where values are missing."""
        if x.ndim != 2 or x.shape[1] <= max((*self.columns, *self.missing)):
            raise ValueError(
                f"records of shape {tuple(x.shape[1:])}; expected a table with at least "
                f"{max((*self.columns, *self.missing)) + 1} columns: make the map for this data set"
            )
        used = x[:, list(self.columns)]
        if self.log_floor is not None:
            used = (used / self.log_floor).log1p() / math.log1p(1 / self.log_floor)
        return (used - x.new_tensor(self.centre)) / x.new_tensor(self.width)

    def observed(self, x: Tensor) -> Tensor:
        """Return which values are there, ``[n, k]`` of bool."""
        import torch

        there = torch.ones(len(x), len(self.columns), dtype=torch.bool, device=x.device)
        for index, column in enumerate(self.missing):
            if column >= 0:
                there[:, index] = x[:, column] < 0.5
        return there


def fixed(
    ranges: str | Sequence[tuple[float, float]],
    *,
    log_floor: float | None = None,
    norm: float | None = None,
) -> FeatureMap:
    """Return a map of public constants: the middle of each band becomes 0, its ends -1 and 1.

    Parameters
    ----------
    ranges : {"breast_cancer", "heart"} or sequence of (low, high)
        The band in which usual patients lie, for each column, on the scale of the records; or the data set whose bands
        this module states. No record is taken: what cannot be passed cannot leak.
    log_floor : float, optional
        As in `FeatureMap`; ``"breast_cancer"`` takes a tenth of the range unless told otherwise.
    norm : float, optional
        As in `FeatureMap`.

    Raises
    ------
    ValueError
        For bands that are not ascending pairs of finite numbers, or other settings out of range.

    Examples
    --------
    >>> import torch
    >>> fixed([(0.2, 0.4), (0.0, 1.0)])(torch.tensor([[0.3, 1.0]])).tolist()
    [[0.0, 1.0]]
    """
    missing: tuple[int, ...] | None = None
    if isinstance(ranges, str):
        bands, missing, log_floor = _known(ranges, log_floor)
        name = f"public bands of {ranges}"
    else:
        bands, name = _checked(ranges), "public bands"
    for setting, value in (("log_floor", log_floor), ("norm", norm)):
        if value is not None:
            check_positive(setting, value)
    low, high = bands.T
    if log_floor is not None:
        if low.min() < 0:
            raise ValueError(f"a band begins at {low.min():g}: with log_floor, expected 0 or above")
        low, high = (np.log1p(end / log_floor) / math.log1p(1 / log_floor) for end in (low, high))
        name += f", logarithm from {log_floor:g}"
    return FeatureMap(
        columns=tuple(range(len(bands))),
        missing=missing or (-1,) * len(bands),
        centre=(low + high) / 2,
        width=(high - low) / 2,
        log_floor=log_floor,
        norm=norm,
        how=name,
    )


def _known(name: str, log_floor: float | None) -> tuple[np.ndarray, tuple[int, ...], float | None]:
    """Return bands, the column that marks each one missing, and the floor of the logarithm."""
    if name == "breast_cancer":
        from labkit.data import public_ranges

        d = len(public_ranges())
        return np.tile(USUAL_BAND, (d, 1)), (-1,) * d, LOG_FLOOR if log_floor is None else log_floor
    if name == "heart":
        from labkit.data.formats import heart

        used = heart.FEATURES[: heart.MEASURED]
        marks = {mark: heart.FEATURES.index(f"{mark} missing") for mark in heart.MAY_BE_MISSING}
        missing = tuple(next((at for mark, at in marks.items() if f.startswith(mark)), -1) for f in used)
        bands = [HEART_BAND if f in heart.PUBLIC_RANGES else (0.0, 1.0) for f in used]
        return np.array(bands), missing, log_floor
    raise ValueError(
        f"no bands are stated for {name!r}; expected 'breast_cancer', 'heart', or a (low, high) for each column"
    )


def _checked(ranges: Sequence[tuple[float, float]]) -> np.ndarray:
    bands = np.asarray(ranges, dtype=float)
    if bands.ndim != 2 or bands.shape[1] != 2 or not len(bands):
        raise ValueError(f"ranges have shape {bands.shape}; expected one (low, high) for each column")
    wrong = np.flatnonzero(~(np.isfinite(bands).all(1) & (bands[:, 0] < bands[:, 1])))
    if len(wrong):
        raise ValueError(
            f"range {wrong[0]} is {tuple(bands[wrong[0]].tolist())}; expected low < high, finite"
        )
    return bands


def check_positive(name: str, value: float) -> None:
    """Raise ValueError for anything but a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; expected a number above 0")


def refuse_pooled(hospitals: Hospitals) -> None:
    """Raise TypeError for records in one place, or anything else that is not hospitals."""
    if isinstance(hospitals, Dataset):
        raise TypeError(
            "got a pooled Dataset: statistics of hospitals are summed over hospitals, never taken from records in one "
            "place. Pass Hospitals: load_hospitals(...) or split(dataset, ...)"
        )
    if not isinstance(hospitals, Hospitals):
        raise TypeError(f"got a {type(hospitals).__name__}; expected Hospitals")
