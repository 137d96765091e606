"""Wisconsin Diagnostic Breast Cancer (Street, Wolberg, Mangasarian 1993), which scikit-learn ships: always real.

569 patients; ten measurements of the cell nuclei in a needle biopsy, each as mean, standard error and worst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.data.dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd

# Upper ends of (mean, standard error, worst); all ranges start at 0. Round numbers with wide margins, treated as
# public knowledge about this kind of measurement. No code computes them from these patients: a scale that one
# patient's value decides would leak it. Values outside are clipped.
PUBLIC_RANGES: dict[str, tuple[float, float, float]] = {
    "radius": (40, 5, 50),
    "texture": (50, 5, 60),
    "perimeter": (250, 30, 300),
    "area": (3000, 600, 5000),
    "smoothness": (0.25, 0.05, 0.3),
    "compactness": (0.5, 0.2, 1.5),
    "concavity": (0.5, 0.5, 1.5),
    "concave points": (0.3, 0.1, 0.4),
    "symmetry": (0.4, 0.1, 0.8),
    "fractal dimension": (0.15, 0.05, 0.3),
}
CLASSES = ("malignant", "benign")
TEST_SIZE = 114  # a fifth


def public_ranges() -> dict[str, tuple[float, float]]:
    """Return ``{feature: (low, high)}`` for the 30 features, in scikit-learn's order and names.

    Fixed and public, not computed from the patients: use them to clip and to bound sensitivities.
    """
    ranges = {}
    for column, pattern in enumerate(("mean {}", "{} error", "worst {}")):
        ranges |= {pattern.format(name): (0.0, float(high[column])) for name, high in PUBLIC_RANGES.items()}
    return ranges


def breast_cancer_table() -> pd.DataFrame:
    """Return the raw table: 569 rows, 30 features in their own units, and ``diagnosis`` (text)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    return bunch.data.assign(diagnosis=[CLASSES[label] for label in bunch.target])


def breast_cancer(*, seed: int = 0) -> Dataset:
    """Return the data set, features clipped to their public ranges and scaled to [0, 1], split by class.

    Parameters
    ----------
    seed : int
        Of the stratified split into 455 train and 114 test patients.
    """
    import numpy as np
    import torch
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    bunch = load_breast_cancer()
    ranges = public_ranges()
    high = np.array([ranges[name][1] for name in bunch.feature_names])
    x = torch.from_numpy(np.clip(bunch.data / high, 0, 1)).float()
    y = torch.from_numpy(bunch.target).long()
    train, test = train_test_split(
        np.arange(len(y)), test_size=TEST_SIZE, stratify=bunch.target, random_state=seed
    )
    return Dataset(
        name="breast_cancer",
        source="Wisconsin Diagnostic Breast Cancer",
        real=True,
        train_x=x[train],
        train_y=y[train],
        test_x=x[test],
        test_y=y[test],
        classes=CLASSES,
    )
