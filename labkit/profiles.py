"""Profiles: the same code at three sizes, chosen by the environment variable ``LABKIT_PROFILE``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
NAMES = ("smoke", "laptop", "full")


@dataclass(frozen=True)
class Profile:
    """How large a run is: ``smoke`` (a minute, for CI), ``laptop`` (minutes on 2 cores) or ``full`` (paper scale)."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(
                f"profile {self.name!r} is unknown; expected one of {', '.join(NAMES)}: set LABKIT_PROFILE to one"
            )

    def pick(self, *, smoke: T, laptop: T, full: T) -> T:
        """Return the value meant for this profile."""
        return {"smoke": smoke, "laptop": laptop, "full": full}[self.name]


def current() -> Profile:
    """Return the profile named by ``LABKIT_PROFILE`` (``laptop`` when unset).

    Raises
    ------
    ValueError
        If the variable names no profile.
    """
    return Profile(os.environ.get("LABKIT_PROFILE") or "laptop")


def device() -> torch.device:
    """Return the CUDA device when there is one, the CPU otherwise."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
