"""Who holds what: hospitals with records of their own, from one data set that is split or from four real centres.

A split takes any :class:`labkit.data.Dataset` apart in one of three ways that differ between hospitals: which classes
they see (Hsu, Qi & Brown 2019, arXiv 1909.06335, section 2: a Dirichlet draw for each class), how many patients they
have, or how their devices measure (:mod:`labkit.federated.sites`). Train and test records of a hospital follow the
same draw, so that a hospital is tested on patients like its own.

Examples
--------
>>> from labkit.federated import load_hospitals
>>> clinics = load_hospitals("breast_cancer", seed=0)
>>> clinics.names
('Hospital A', 'Hospital B', 'Hospital C', 'Hospital D', 'Hospital E')
>>> len(clinics.pooled().train_y)
455
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import cache
from labkit.data.dataset import Dataset
from labkit.federated import splitting
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Hospital:
    """One hospital and the records that never leave it.

    Attributes
    ----------
    name : str
    dataset : Dataset
        Its own train and test records.
    """

    name: str
    dataset: Dataset

    @property
    def missing(self) -> int | None:
        """Values that were missing in its records before they were filled; None where the data set marks none."""
        from labkit.data.formats import heart

        if self.dataset.name != "heart" or self.dataset.shape != (len(heart.FEATURES),):
            return None
        return heart.missing_values(self.dataset.train_x) + heart.missing_values(self.dataset.test_x)

    def __repr__(self) -> str:
        return (
            f"Hospital({self.name}: {len(self.dataset.train_y):,} train, {len(self.dataset.test_y):,} test)"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Hospitals(Result):
    """Hospitals that may train together, in a fixed order.

    Attributes
    ----------
    hospitals : tuple of Hospital
    source : str
        Where the records came from and how they were split, for titles and tables.
    released : tuple of (float, int)
        Private statistics that these features were made with: noise multiplier, and how many hospitals' shares make it
        up. A promise on what is trained on them must count them (`labkit.federated.Federation` refuses otherwise).
    """

    hospitals: tuple[Hospital, ...]
    source: str
    released: tuple[tuple[float, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.hospitals) < 2:
            raise ValueError(f"{len(self.hospitals)} hospitals: expected at least 2 that train together")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"hospitals {self.names}: expected a name of its own for each")
        kinds = {(hospital.dataset.shape, hospital.dataset.classes) for hospital in self.hospitals}
        if len(kinds) > 1:
            raise ValueError(f"hospitals hold records of different kinds: {sorted(kinds)}; expected one kind")

    def __len__(self) -> int:
        return len(self.hospitals)

    def __iter__(self) -> Iterator[Hospital]:
        return iter(self.hospitals)

    def __repr__(self) -> str:
        return f"Hospitals({self.summary()})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(hospital.name for hospital in self.hospitals)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, the same everywhere."""
        return self.hospitals[0].dataset.classes

    @cached_property
    def digest(self) -> str:
        """Hash of who holds what, for cache keys."""
        return cache.digest([[hospital.name, hospital.dataset.digest] for hospital in self.hospitals])

    def pooled(self) -> Dataset:
        """Return all records in one data set, hospital after hospital: what no hospital and no server ever holds.

        It is the yardstick that a federation is compared with, and what the whole federation is tested on.
        """
        import torch

        first = self.hospitals[0].dataset
        parts = {
            part: torch.cat([getattr(hospital.dataset, part) for hospital in self.hospitals])
            for part in ("train_x", "train_y", "test_x", "test_y")
        }
        return replace(first, **parts, source=f"{self.source}, pooled", digest="")

    def counts(self, part: str = "train") -> np.ndarray:
        """Return how many records of each class each hospital has.

        Parameters
        ----------
        part : {"train", "test"}

        Returns
        -------
        array of int, shape [hospitals, classes]
        """
        if part not in ("train", "test"):
            raise ValueError(f"part is {part!r}; expected 'train' or 'test'")
        labels = [getattr(hospital.dataset, f"{part}_y").cpu().numpy() for hospital in self.hospitals]
        return np.stack([np.bincount(each, minlength=len(self.classes)) for each in labels])

    def numbers(self) -> dict[str, Any]:
        """Return the source, the digest, and who holds what."""
        train, test = self.counts("train"), self.counts("test")
        held = {
            hospital.name: {
                "train": dict(zip(self.classes, train[row].tolist(), strict=True)),
                "test": dict(zip(self.classes, test[row].tolist(), strict=True)),
                "missing": hospital.missing,
            }
            for row, hospital in enumerate(self.hospitals)
        }
        return {"source": self.source, "digest": self.digest, "hospitals": held}

    def summary(self) -> str:
        """Return one line: the source, and the records that hospitals have."""
        sizes = self.counts().sum(1)
        return f"{self.source}; {len(self)} hospitals with {sizes.min():,} to {sizes.max():,} train records"

    def table(self) -> pd.DataFrame:
        """Return one row per hospital: records, share of each class in train, values that were missing."""
        import pandas as pd

        train, test = self.counts("train"), self.counts("test")
        shares = train / train.sum(1, keepdims=True)
        rows = []
        for row, hospital in enumerate(self.hospitals):
            shown = {"hospital": hospital.name, "train": train[row].sum(), "test": test[row].sum()}
            shown |= {
                f"{name} (share of train)": round(float(share), 3)
                for name, share in zip(self.classes, shares[row], strict=True)
            }
            if hospital.missing is not None:
                shown["missing values"] = hospital.missing
            rows.append(shown)
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw who holds what: a bar of train records for each hospital, in pieces for its classes."""
        from labkit import plots

        train, most = self.counts("train"), len(plots.COLOURS)
        columns = min(3, len(self.classes))
        alone = ax is None
        if alone:
            # 0.35 inch a bar, and room for the axis, the title and the rows of the legend.
            fig, ax = plots.figure(
                7.4, 1.5 + 0.35 * len(self) + 0.22 * math.ceil(len(self.classes) / columns)
            )
        else:
            fig = ax.figure
        left = np.zeros(len(self))
        for index, name in enumerate(self.classes):
            look = {"color": plots.COLOURS[index % most], "hatch": "///" if index >= most else ""}
            ax.barh(self.names, train[:, index], left=left, label=name, edgecolor="white", **look)
            left += train[:, index]
        for row, size in enumerate(left):
            ax.annotate(f"{int(size):,}", (size, row), (4, 0), textcoords="offset points", va="center")
        ax.invert_yaxis()
        ax.margins(x=0.09)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("train records")
        ax.set_title(_wrapped(self.source), fontsize=10, loc="left")
        if alone:  # below the axes, where it covers no bar
            handles, labels = ax.get_legend_handles_labels()
            fig.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        else:
            ax.legend(ncols=columns, fontsize=8)
        held = "; ".join(
            f"{name}: " + ", ".join(f"{n} {c}" for n, c in zip(row, self.classes, strict=True))
            for name, row in zip(self.names, train.tolist(), strict=True)
        )
        return plots.describe(fig, f"Train records of each hospital by class, as stacked bars. {held}.")


def load_hospitals(
    name: str,
    *,
    count: int | None = None,
    by: str | None = None,
    alpha: float | None = None,
    seed: int = 0,
    source: str | None = None,
) -> Hospitals:
    """Load a data set that hospitals hold.

    Parameters
    ----------
    name : str
        ``"breast_cancer"`` (split among invented hospitals), ``"heart"`` (four real ones), ``"pathmnist"`` (a
        stand-in by code unless its file is there), or another set that :func:`labkit.data.load` knows.
    count, by, alpha : optional
        How to split, as in :func:`split`, whose defaults hold; ``"heart"`` takes none of them.
    seed : int
        Of the split among hospitals and, for ``"breast_cancer"`` and ``"heart"``, of train and test.
    source : {None, "real", "stand-in"}
        As in :func:`labkit.data.load`.

    Raises
    ------
    ValueError
        For a setting out of range, before anything is loaded, or one that ``"heart"`` does not take.
    labkit.data.DataError
        If there is no such data set, or its file is missing or corrupt.

    Examples
    --------
    >>> load_hospitals("breast_cancer", count=3, by="size", seed=1).names
    ('Hospital A', 'Hospital B', 'Hospital C')
    """
    from labkit import data
    from labkit.data import loading, sources

    sources.known(name)
    loading.check_source(name, source)
    splitting.check_seed(seed)
    given = {
        key: value for key, value in (("count", count), ("by", by), ("alpha", alpha)) if value is not None
    }
    if name == "heart":
        if given:
            raise ValueError(
                f"heart takes no {', '.join(given)}: its records come from four real hospitals. Leave them "
                "out, or split the pooled records: split(labkit.data.load('heart'), ...)"
            )
        return _heart(seed)
    settings = {"count": 5, "by": "label", "alpha": 0.5} | given
    splitting.check(**settings, seed=seed)
    if name == "breast_cancer":
        from labkit.data.formats import breast_cancer

        return split(breast_cancer.breast_cancer(seed=seed), **settings, seed=seed)
    return split(data.load(name, source=source), **settings, seed=seed)


def split(
    dataset: Dataset, count: int = 5, by: str = "label", alpha: float = 0.5, seed: int = 0
) -> Hospitals:
    """Split the records of a data set among hospitals, each record to one of them.

    Parameters
    ----------
    dataset : Dataset
    count : int
        Number of hospitals, 2 to 26.
    by : {"label", "size", "site"}
        What differs between them. ``"label"``: for each class, the hospitals' shares are one Dirichlet(alpha) draw.
        ``"size"``: one draw for all classes. ``"site"``: equal shares, but each hospital's devices measure differently,
        by the sizes that :mod:`labkit.federated.sites` states.
    alpha : float
        Concentration of the Dirichlet draw: small makes hospitals differ more. ``"site"`` does not use it.
    seed : int
        Same data and settings, same hospitals.

    Returns
    -------
    Hospitals
        Each with at least 8 train and 2 test records: a draw that leaves a hospital with fewer is drawn again, by the
        same generator, and `source` says which draw was taken where it was not the first.

    Raises
    ------
    ValueError
        For a setting out of range, or if no draw in 1,000 gives every hospital enough records.
    """
    splitting.check(count, by, alpha, seed)
    rng = np.random.default_rng(seed)
    rows, draw = splitting.rows(dataset, count, by, alpha, rng)
    source = f"{dataset.source}, {splitting.describe(count, by, alpha, seed, draw)}"
    shift = None
    if by == "site":
        from labkit.federated import sites

        shift = sites.draw(dataset, count, rng)
        source += f" ({sites.describe(dataset)})"
    hospitals = []
    for index in range(count):
        name = f"Hospital {chr(ord('A') + index)}"
        x = {part: getattr(dataset, f"{part}_x")[rows[part][index]] for part in rows}
        y = {part: getattr(dataset, f"{part}_y")[rows[part][index]] for part in rows}
        if shift:
            x = {part: shift[index].apply(records) for part, records in x.items()}
        held = replace(
            dataset,
            train_x=x["train"],
            train_y=y["train"],
            test_x=x["test"],
            test_y=y["test"],
            source=f"{source}, {name}",
            digest="",  # computed anew from these records
        )
        hospitals.append(Hospital(name, held))
    return Hospitals(tuple(hospitals), source)


def _heart(seed: int) -> Hospitals:
    """Return the four centres of UCI Heart Disease, a third of each hospital's patients kept for its test."""
    from labkit.data.formats import heart

    return Hospitals(
        tuple(Hospital(name, held) for name, held in heart.centres(seed=seed).items()), heart.SOURCE
    )


def _wrapped(text: str, width: int = 88) -> str:
    """Return a title in lines that a figure has room for."""
    return "\n".join(textwrap.wrap(text, width))
