"""What a privacy setting may be, and errors that say why it may not be that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEAST_NOISE = 1e-12  # its square and its inverse are still doubles


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number: text, None and whole arrays are none, and raise nothing."""
    try:
        return not isinstance(value, str | bytes | bool) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def check_noise_multiplier(value: float) -> None:
    if not (is_finite(value) and value > 0):
        raise ValueError(
            f"noise_multiplier={value!r}: expected a finite number > 0 (noise std / clipping norm). "
            "Without noise nothing is private and ε is infinite."
        )
    if value < LEAST_NOISE:
        raise ValueError(
            f"noise_multiplier={value:g} is no noise: expected at least {LEAST_NOISE:g}, and in practice some tenths"
        )


def check_sample_rate(value: float) -> None:
    if not (is_finite(value) and 0 < value <= 1):
        raise ValueError(
            f"sample_rate={value!r}: expected 0 < q <= 1, the share of records in a batch. "
            "Fix: pass expected_batch_size / n, not the batch size."
        )


def check_count(name: str, value: int) -> None:
    if not (isinstance(value, (int, np.integer)) and value >= 1):
        raise ValueError(f"{name}={value!r}: expected a whole number >= 1")


def check_epsilon(name: str, value: float) -> None:
    if not (is_finite(value) and value > 0):
        raise ValueError(
            f"{name}={value!r}: expected a finite number > 0. ε = 0 would make the output independent of "
            "the data, so no noise level reaches it; common targets lie between 0.1 and 10."
        )


def check_delta(value: float, n: int | None = None) -> None:
    """Refuse a δ outside (0, 1), or so large that (0, δ)-DP permits publishing a record outright."""
    if not (is_finite(value) and 0 < value < 1):
        raise ValueError(f"delta={value!r}: expected 0 < δ < 1; Gaussian noise cannot give δ = 0 at finite ε")
    if n is not None and not (isinstance(n, (int, np.integer)) and n >= 1):
        raise ValueError(f"n={n!r}: expected the number of records, a whole number of at least 1")
    if n is not None and value >= 1 / n:
        raise ValueError(
            f"delta={value} is not below 1/n = {1 / n:.3g} for n={n} records. Publishing one record in "
            f"the clear, chosen at random, is (0, 1/n)-DP: such a δ promises nothing. "
            f"Fix: pick δ well below 1/n, say {0.1 / n:.1g}."
        )


def check_seed(value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        raise ValueError(f"seed={value!r}: expected a whole number, or None for a seed that nobody knows")


def check_neighbouring(value: str) -> None:
    if value not in ("add/remove", "replace-one"):
        raise ValueError(f"neighbouring={value!r}: expected 'add/remove' or 'replace-one'")
