"""UCI Heart Disease (Janosi, Steinbrunn, Pfisterer, Detrano 1988): 920 patients of four real hospitals.

The four files are shipped with the kit, under CC BY 4.0, and verified by SHA-256 each time they are read. Nothing that
is done to a value here depends on any patient's value: measurements are cut to fixed public ranges and scaled to
[0, 1], categories become one column each, and what is missing becomes the middle of its range, with a column that says so.

Examples
--------
>>> from labkit import data
>>> table = data.heart_table()
>>> table.groupby("hospital", sort=False).size().to_dict()
{'Cleveland': 303, 'Budapest': 294, 'Zurich and Basel': 123, 'Long Beach': 200}
>>> data.load("heart").shape
(22,)
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.data.dataset import Dataset
from labkit.data.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

SOURCE = "UCI Heart Disease (four centres)"
CLASSES = ("no disease", "disease")
TEST_SHARE = 0.34  # of each hospital's patients: 42 at the smallest


@dataclass(frozen=True)
class Centre:
    """One hospital's file, as it was published."""

    name: str
    file: str
    records: int
    sha256: str


CENTRES = (
    Centre(
        "Cleveland",
        "processed.cleveland.data",
        303,
        "693ac3dd0df131c88281acf01c9b2bb597a34576a349c2a8bac17f343261056d",
    ),
    Centre(
        "Budapest",
        "processed.hungarian.data",
        294,
        "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    ),
    Centre(
        "Zurich and Basel",
        "processed.switzerland.data",
        123,
        "224bcb90d13709786b1ec2cf992a21c5342b9308e7970c9605080fc07bae2a07",
    ),
    Centre(
        "Long Beach",
        "processed.va.data",
        200,
        "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
    ),
)
COLUMNS = (
    "age",
    "sex",
    "chest pain",
    "resting blood pressure",
    "cholesterol",
    "fasting blood sugar",
    "resting ECG",
    "maximum heart rate",
    "exercise angina",
    "ST depression",
    "ST slope",
    "vessels",
    "thallium scan",
    "diagnosis",
)
# In years, mm Hg, mg/dl, beats a minute, mm. Round numbers about what a cardiologist expects to see, the middle of
# each an unremarkable patient. No code computes them from these patients; values outside are cut.
PUBLIC_RANGES: dict[str, tuple[float, float]] = {
    "age": (20, 90),
    "resting blood pressure": (60, 200),
    "cholesterol": (100, 400),
    "maximum heart rate": (60, 210),
    "ST depression": (-2, 4),
}
YES_NO = ("sex", "fasting blood sugar", "exercise angina")
CATEGORIES = {"chest pain": (1, 2, 3, 4), "resting ECG": (0, 1, 2)}
# Slope, vessels and thallium scan are left out: outside Cleveland, whether they are there tells the hospital more
# than the patient (309, 611 and 486 of 920 are missing). Age, sex and chest pain are never missing.
MAY_BE_MISSING = (
    "resting blood pressure",
    "cholesterol",
    "fasting blood sugar",
    "resting ECG",
    "maximum heart rate",
    "exercise angina",
    "ST depression",
)
FEATURES = (
    *PUBLIC_RANGES,
    *YES_NO,
    *(f"{name} {value}" for name, values in CATEGORIES.items() for value in values),
    *(f"{name} missing" for name in MAY_BE_MISSING),
)
MEASURED = len(FEATURES) - len(MAY_BE_MISSING)  # features before the columns that mark missing values
NEUTRAL = 0.5  # the middle of a range that runs from 0 to 1


def heart_table() -> pd.DataFrame:
    """Return the raw table: 920 rows, 14 columns in their own units, NaN where missing, and ``hospital`` (text).

    A cholesterol or blood pressure of 0, which no living patient has, is a missing value that was written as 0.

    Raises
    ------
    DataError
        If a file is missing or corrupt; the message has the file, what was expected and found, and the fix.
    """
    import pandas as pd

    tables = []
    for centre in CENTRES:
        text = io.BytesIO(_content(centre))
        table = pd.read_csv(text, header=None, names=list(COLUMNS), na_values="?", dtype=float)
        tables.append(table.assign(hospital=centre.name))
    table = pd.concat(tables, ignore_index=True)
    impossible = ["resting blood pressure", "cholesterol"]
    table[impossible] = table[impossible].mask(table[impossible] == 0)
    return table


def heart(*, seed: int = 0) -> Dataset:
    """Return all four hospitals in one data set, hospital after hospital, split as :func:`centres` splits them.

    Parameters
    ----------
    seed : int
        Of the split into train and test, stratified by hospital and diagnosis.
    """
    import torch

    held = list(centres(seed=seed).values())
    parts = {
        part: torch.cat([getattr(each, part) for each in held])
        for part in ("train_x", "train_y", "test_x", "test_y")
    }
    return Dataset(name="heart", source=SOURCE, real=True, classes=CLASSES, **parts)


def centres(*, seed: int = 0) -> dict[str, Dataset]:
    """Return each hospital's own data set, by name: features as in `FEATURES`, label 1 for disease.

    Parameters
    ----------
    seed : int
        Of the split into train and test (34%), stratified by diagnosis.

    Raises
    ------
    DataError
        If a file is missing or corrupt.
    """
    import numpy as np
    import torch
    from sklearn.model_selection import train_test_split

    table = heart_table()
    found = {}
    for centre in CENTRES:
        own = table[table["hospital"] == centre.name]
        x = torch.from_numpy(_features(own)).float()
        label = (own["diagnosis"] > 0).to_numpy().astype(np.int64)
        train, test = train_test_split(
            np.arange(len(own)), test_size=TEST_SHARE, stratify=label, random_state=seed
        )
        y = torch.from_numpy(label)
        found[centre.name] = Dataset(
            name="heart",
            source=f"{SOURCE}, {centre.name}",
            real=True,
            train_x=x[train],
            train_y=y[train],
            test_x=x[test],
            test_y=y[test],
            classes=CLASSES,
        )
    return found


def missing_values(x: Tensor) -> int:
    """Return how many of the ten measurements used are missing among records ``[n, 22]``."""
    return int(x[:, MEASURED:].sum())


def folder() -> Path:
    """Return the folder of the four files: inside an installed wheel, or ``data/hospitals`` of a checkout."""
    here = Path(__file__).resolve().parents[1]
    bundled = here / "bundle" / "hospitals"
    return bundled if bundled.is_dir() else here.parents[1] / "data" / "hospitals"


def verify() -> None:
    """Read and compare all four files.

    Raises
    ------
    DataError
        If one is missing or corrupt.
    """
    for centre in CENTRES:
        _content(centre)


def _content(centre: Centre) -> bytes:
    """Return the bytes of a file that is what was published."""
    path = folder() / centre.file
    expected = f"{centre.records} records of {centre.name}, SHA-256 {centre.sha256}"
    fix = f"Restore it (git checkout -- data/hospitals/{centre.file}, or install labkit anew)"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: expected {expected}; found {error.strerror}. {fix}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != centre.sha256:
        size = f"{found}, {len(content):,} bytes, {content.count(b'?')} '?'"
        raise DataError(f"{path} is not the published file: expected {expected}; found {size}. {fix}")
    return content


def _features(table: pd.DataFrame) -> np.ndarray:
    """Return ``[n, 22]`` in [0, 1], by fixed constants alone."""
    import numpy as np

    columns = [
        ((table[name].clip(low, high) - low) / (high - low)).fillna(NEUTRAL)
        for name, (low, high) in PUBLIC_RANGES.items()
    ]
    columns += [table[name].fillna(NEUTRAL) for name in YES_NO]
    columns += [table[name] == value for name, values in CATEGORIES.items() for value in values]
    columns += [table[name].isna() for name in MAY_BE_MISSING]
    return np.column_stack([column.to_numpy(dtype=float) for column in columns])
