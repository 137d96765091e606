"""What can be wrong with data, as types."""

from __future__ import annotations


class DataError(RuntimeError):
    """A data file is missing, corrupt or of the wrong shape; the message names the file and the fix."""


class StandInWarning(UserWarning):
    """The real data set was not found: what was loaded instead was made by code."""


class CacheWarning(UserWarning):
    """The decoded data could not be cached, so the next load is slow again."""
