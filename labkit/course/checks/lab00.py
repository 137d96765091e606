"""Checks of lab 00: four short tasks whose answers return in every later lab."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of predictions that equal their labels."""
    return float((predicted == labels).float().mean())


def seeded_noise(shape: tuple[int, ...], scale: float, seed: int) -> Tensor:
    """Return Gaussian noise of standard deviation ``scale`` from a generator of its own."""
    import torch

    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def per_sample_norms(batch: Tensor) -> Tensor:
    """Return the Euclidean norm of each record, shape (n,), for a batch of shape (n, ...)."""
    return batch.flatten(1).norm(dim=1)


def interval(values: list[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (mean, low, high) of a Student t interval."""
    from labkit import stats

    result = stats.mean_interval(values, confidence)
    return result.estimate, result.low, result.high


@exercise(
    "00.first_check",
    title="Your first check",
    reference=accuracy,
    points=1,
    difficulty=1,
    importance=3,
    minutes=3,
)
def check_accuracy(attempt: Callable[..., Any]) -> None:
    """Counted by hand: 3 of 4, none of 2, all of 1, and 2 of 5 and 1 of 5 where both sides hold the same labels."""
    import torch

    for predicted, labels, share in (
        ([1, 2, 3, 4], [1, 2, 3, 0], 0.75),
        ([0, 0], [1, 1], 0.0),
        ([5], [5], 1.0),
        ([0, 1, 1, 0, 1], [1, 0, 1, 0, 0], 0.4),
        ([0, 1, 1, 0, 1], [1, 0, 0, 1, 1], 0.2),
    ):
        given = {"predicted": torch.tensor(predicted), "labels": torch.tensor(labels)}
        got = attempt(**given)
        because = "a share is wanted: the number of matches over the number of records"
        if _near(got, share * len(labels)) and share not in (0, 1):
            because = "this is the number of matches; divide it by the number of records"
        elif _near(got, 100 * share) and share:
            because = "this is in percent; a share lies between 0 and 1"
        elif len(set(labels)) < len(labels) and any(_near(got, o) for o in _overlaps(predicted, labels)):
            because = "this asks which labels occur on both sides; compare record by record\npredicted == labels has one True or False a record"
        elif _near(got, 1 - share):
            because = "this is the share of mistakes; count where the two agree"
        expect_close(got, share, given=given, because=because)


def _overlaps(predicted: list[int], labels: list[int]) -> list[float]:
    """Return what comparing the labels as sets, instead of record by record, would give."""
    both = set(predicted) & set(labels)
    return [
        len(both) / len(predicted),
        len(both) / len(set(predicted) | set(labels)),
        sum(label in both for label in predicted) / len(predicted),
    ]


@exercise(
    "00.seeded_noise",
    title="Noise that repeats",
    reference=seeded_noise,
    points=1,
    difficulty=2,
    importance=4,
    minutes=5,
)
def check_seeded_noise(attempt: Callable[..., Any]) -> None:
    """Same seed, same noise; another seed, other noise; the right scale and shape; no trace in the global generators.

    With 40,000 draws and fixed seeds the bands below are five standard errors wide on each side; the test of the shape
    fails one right answer in a million.
    """
    import numpy as np
    import torch
    from scipy import stats

    given = {"shape": (200, 200), "scale": 4.0, "seed": 3}
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()
    first = attempt(**given)
    if not isinstance(first, torch.Tensor) or tuple(first.shape) != given["shape"]:
        raise Wrong(
            given, first, "a tensor of shape (200, 200)", "draw with torch.randn and return the tensor"
        )
    touched = not torch.equal(state, torch.random.get_rng_state())
    # The state's array and the place in it: both move with draws and with np.random.seed.
    numpy_touched = any(
        not np.array_equal(a, b) for a, b in zip(numpy_state, np.random.get_state(), strict=True)
    )
    if not torch.equal(first, attempt(**given)):
        because = "two calls with one seed differ: draw from a generator that was seeded with seed"
        raise Wrong(given, "other noise at the second call", "the same noise", because)
    if torch.equal(first, attempt(**{**given, "seed": 4})):
        raise Wrong(given, "the same noise for seeds 3 and 4", "other noise", "the seed is not used")
    if touched:
        because = "the global generator moved: whatever else draws numbers now draws others\nuse torch.Generator().manual_seed(seed), not torch.manual_seed"
        raise Wrong(given, "a changed global state", "a generator of its own", because)
    if numpy_touched:
        because = "NumPy's global generator moved: whatever else draws numbers now draws others\nuse np.random.default_rng(seed), not np.random.seed"
        raise Wrong(given, "a changed global state", "a generator of its own", because)
    spread, middle = float(first.std()), float(first.mean())
    because = "scale is a standard deviation: multiply standard normal noise by it"
    if math.isclose(spread, 2.0, rel_tol=0.05):
        because = "scale was taken for a variance: multiply by scale, not by its square root"
    if abs(spread - 4.0) > 5 * 4.0 / math.sqrt(2 * 40_000):
        raise Wrong(given, f"standard deviation {spread:.3f}", "4.000", because)
    if abs(middle) > 5 * 4.0 / math.sqrt(40_000):
        raise Wrong(
            given, f"mean {middle:.3f}", "0.000", "Gaussian noise has mean zero: torch.randn, not torch.rand"
        )
    test = stats.kstest(first.double().flatten().numpy() / 4, "norm")
    if test.pvalue < 1e-6:
        because = "mean and spread are right, but the shape is not Gaussian (uniform, Laplace, two values?): draw with torch.randn"
        got = f"a distribution function off by up to {test.statistic:.3f}"
        raise Wrong(given, got, "that of a Gaussian, within 0.014", because)


@exercise(
    "00.per_sample_norms",
    title="One norm a record",
    reference=per_sample_norms,
    points=2,
    difficulty=2,
    importance=5,
    minutes=5,
)
def check_per_sample_norms(attempt: Callable[..., Any]) -> None:
    """A 3-4-5 record worked by hand, then random batches against a plain loop."""
    import torch

    by_hand = torch.tensor([[3.0, 4.0], [0.0, 0.0], [5.0, 12.0]])
    random = [
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((4, 1, 3, 5), (2, 7))
    ]
    for batch in (by_hand, *random):
        expected = torch.tensor(
            [math.sqrt(sum(v * v for v in record.flatten().tolist())) for record in batch]
        )
        got = attempt(batch)
        because = (
            "each record has its own norm: the root of the sum of its squares over all axes but the first"
        )
        if getattr(got, "shape", None) == () and _near(got, float(batch.norm())):
            whole = "this is one norm for the whole batch; each record needs its own"
            raise Wrong({"batch": batch}, got, expected, whole)
        if _matches(got, batch.flatten(1).abs().sum(1)):
            because = (
                "this is the sum of absolute values (L1); the Euclidean norm is the root of the squares' sum"
            )
        elif _matches(got, expected**2):
            because = "the square root is missing"
        expect_close(got, expected, given={"batch": batch}, because=because)


@exercise(
    "00.interval",
    title="A mean with its interval",
    reference=interval,
    points=2,
    difficulty=3,
    importance=5,
    minutes=8,
)
def check_interval(attempt: Callable[..., Any]) -> None:
    """Compared with SciPy's own Student t interval."""
    import numpy as np
    from scipy import stats

    for values, confidence in (([97.1, 97.4, 96.9, 97.3, 97.2], 0.95), ([0.2, 0.9, 0.4], 0.90)):
        given = {"values": values, "confidence": confidence}
        got = attempt(list(values), confidence)
        n, mean = len(values), float(np.mean(values))
        low, high = stats.t.interval(confidence, n - 1, loc=mean, scale=stats.sem(values))
        expected = (mean, float(low), float(high))
        because = "the interval lies around the mean, and is as wide as few runs of this spread demand: which quantile, which spread, divided by what?\nmean ± t * s / sqrt(n): t from the Student distribution with n - 1 degrees of freedom"
        if isinstance(got, tuple | list) and len(got) == 3:
            half, quantile = float(got[2]) - float(got[0]), stats.t.ppf((1 + confidence) / 2, n - 1)
            spread, normal = np.std(values, ddof=1), stats.norm.ppf((1 + confidence) / 2)
            because = _interval_cause(half, float(quantile), float(normal), float(spread), n) or because
        expect_close(got, expected, given=given, because=because)


def _interval_cause(half: float, t: float, z: float, spread: float, n: int) -> str:
    """Name the slip that gives this half width, or nothing."""
    slips = {
        "few runs need the Student quantile, which is wider than the normal one (1.96)": z
        * spread
        / math.sqrt(n),
        "the spread is a little too small: the mean was estimated from the same few runs\nuse the sample standard deviation, with n - 1 in it (ddof=1)": t
        * spread
        * math.sqrt((n - 1) / n)
        / math.sqrt(n),
        "that is the spread of single runs: the mean varies less than one run\ndivide the standard deviation by sqrt(n)": t
        * spread,
    }
    return next((text for text, width in slips.items() if math.isclose(half, width, rel_tol=1e-3)), "")


def _near(got: Any, value: float) -> bool:
    try:
        return math.isclose(float(got), value, rel_tol=1e-5, abs_tol=1e-9)
    except (TypeError, ValueError, RuntimeError):
        return False


def _matches(got: Any, value: Tensor) -> bool:
    return getattr(got, "shape", None) == value.shape and bool(((got - value).abs() < 1e-5).all())
