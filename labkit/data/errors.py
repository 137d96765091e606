"""What can be wrong with data, as types."""

from __future__ import annotations

from labkit.cache import CacheWarning

__all__ = ["CacheWarning", "DataError", "StandInWarning"]


class DataError(RuntimeError):
    """A data file is missing, corrupt or of the wrong shape; the message names the file and the fix."""


class StandInWarning(UserWarning):
    """The real data set was not found: what was loaded instead was made by code."""
