"""Settings that were found by tuning, with where they were tuned: never on a test set.

Each recipe is keyword arguments for `labkit.dp.sgd.train_private`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings for one task.

    Attributes
    ----------
    settings : dict
        Arguments of `labkit.dp.sgd.train_private`, the target ε included.
    tuned_on : str
        The records that the settings were chosen by, and how many runs that took.
    """

    settings: dict[str, Any] = field(repr=False)
    tuned_on: str


RECIPES: dict[str, Recipe] = {}
