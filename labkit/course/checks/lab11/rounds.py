"""Checks of lab 11, first part: what a hospital sends, how much noise it adds, and the step that the server takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise


def number(got: Any, given: Any) -> float:
    """Return an attempt's answer as a float; raise `Wrong` for anything but one finite number."""
    if isinstance(got, bool | np.bool_) or not isinstance(got, Real) or not math.isfinite(got):
        raise Wrong(given=given, got=got, expected="one number", because="return one finite number, a float")
    return float(got)


def reference_contribution(gradients: np.ndarray, max_grad_norm: float, step: float) -> np.ndarray:
    """Return the sum of gradients (n, d), each clipped to ``max_grad_norm``, in whole grid steps, int64 [d]."""
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1.0, max_grad_norm / np.maximum(norms, 1e-300))
    return np.rint(clipped.sum(axis=0) / step).astype(np.int64)


def _by_hand(gradients: np.ndarray, factor: Callable[[list[float]], float]) -> list[float]:
    """Return the sum of rows, each times its factor, coordinate by coordinate in Python's floats."""
    rows = [[float(value) * factor(row.tolist()) for value in row] for row in gradients]
    return [math.fsum(column) for column in zip(*rows, strict=True)]


@exercise(
    "11.contribution",
    title="a hospital's bounded, rounded sum",
    reference=reference_contribution,
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_contribution(attempt: Callable) -> None:
    """Against a sum by hand; then one patient more or less, which must not move the sum by more than the norm."""
    random = np.random.default_rng(0)
    for n, d, norm, step in ((40, 3, 0.5, 0.1), (7, 5, 2.0, 2.0**-6), (9, 4, 2.0, 2.0**-30)):
        gradients = random.normal(size=(n, d)) * norm * random.uniform(0.1, 2, size=(n, 1))
        given = {"gradients": gradients, "max_grad_norm": norm, "step": step}
        got = _whole(attempt(gradients.copy(), norm, step), gradients, given)
        exact = _by_hand(gradients, lambda row, norm=norm: min(1.0, norm / math.hypot(*row)))
        expected = [round(value / step) for value in exact]
        if got.tolist() != expected:
            raise Wrong(given=given, got=got, expected=expected, because=_why_not(got, gradients, norm, step))
        _kind(got, given)
    still = np.array([[0.0, 0.0], [0.3, 0.4]])
    given = {"gradients": still, "max_grad_norm": 1.0, "step": 0.1}
    with np.errstate(all="ignore"):
        got = _whole(attempt(still.copy(), 1.0, 0.1), still, given)
    if got.tolist() != [3, 4]:
        because = "a patient whose gradient is zero has norm 0: a division by it gives no factor, and 0 is within any norm"
        raise Wrong(given=given, got=got, expected=[3, 4], because=because)
    _one_patient_more(attempt, random)


def _one_patient_more(attempt: Callable, random: np.random.Generator) -> None:
    """Raise `Wrong` if a patient, however large, moves the contribution by more than the norm and the rounding."""
    gradients, norm, step = random.normal(size=(9, 4)), 1.0, 2.0**-10
    gradients[0] *= 1e6
    both = [attempt(rows.copy(), norm, step) for rows in (gradients, gradients[1:])]
    moved = float(np.linalg.norm((both[0] - both[1]) * step))
    if moved > norm + math.sqrt(4) * step:
        because = (
            "one patient moves the sum by more than the norm: the noise that is added does not hide that"
        )
        raise Wrong(
            given="the same hospital with and without one patient, max_grad_norm = 1",
            got=f"the sums differ by {moved:.3g}",
            expected="at most 1, but for the rounding",
            because=because,
        )


def _whole(got: Any, gradients: np.ndarray, given: Any) -> np.ndarray:
    """Return an attempt's array; raise `Wrong` for another type or shape."""
    shape = gradients.shape[1:]
    if not isinstance(got, np.ndarray):
        because = "return a NumPy array"
        raise Wrong(given=given, got=got, expected=f"an array of shape {shape}", because=because)
    if got.shape != shape:
        because = "one number for each weight: sum over the patients, axis 0"
        raise Wrong(given=given, got=f"shape {got.shape}", expected=f"shape {shape}", because=because)
    return got


def _kind(got: np.ndarray, given: Any) -> None:
    if got.dtype != np.int64:
        because = (
            "masks cancel among whole numbers only, and floats round each sum anew\nend with astype(np.int64)"
        )
        raise Wrong(given=given, got=got.dtype, expected="int64", because=because)


def _why_not(got: np.ndarray, gradients: np.ndarray, norm: float, step: float) -> str:
    """Return the likely cause of a wrong contribution."""
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1.0, norm / lengths)
    total, unclipped = clipped.sum(0), gradients.sum(0)
    bounded = unclipped * min(1.0, norm / float(np.linalg.norm(unclipped)))
    causes = [
        (
            np.rint(bounded / step),
            "the sum was clipped, not each patient: one patient could still turn all of it",
        ),
        (
            np.rint(clipped / step).sum(0),
            "each patient was rounded: n rounding errors add up where one is enough, so sum first, then round",
        ),
        (
            np.rint(gradients.clip(-norm, norm).sum(0) / step),
            "each coordinate was clipped: a patient can then still move all of them at once, further than the norm\nsqrt(d) times the norm in all",
        ),
        (np.rint(unclipped / step), "nothing was clipped: one patient may move the sum by any amount"),
        (
            np.rint((gradients / lengths * norm).sum(0) / step),
            "short gradients were stretched to the norm: the factor is at most 1",
        ),
        (
            np.rint(clipped.mean(0) / step),
            "this is the mean: the server divides, once, by the records of all who survived",
        ),
        (total / step, "round to whole grid steps: np.rint"),
        (
            np.rint(total / step) * step,
            "these are values: the masks want grid steps, so do not multiply back",
        ),
        (
            np.trunc(total / step),
            "astype cuts off toward zero, so every sum is pulled to zero: np.rint first",
        ),
        (np.floor(total / step), "// rounds down, so every sum is pulled down: np.rint of the quotient"),
        (
            np.rint((gradients * np.minimum(1.0, norm / (lengths + 1e-6))).sum(0) / step),
            "a small number was added to every norm, so all clipped gradients come out too short: guard zero with np.maximum",
        ),
        (np.rint(total * step), "divide by the step: it is the length of one grid step"),
    ]
    for wrong, text in causes:
        if np.allclose(got, wrong, rtol=1e-9, atol=1e-9):
            return text
    if np.allclose(got, total / step, rtol=1e-5, atol=1):
        return (
            "right to a few digits only: float32 keeps 24 bits, so stay in float64 until the sum is rounded"
        )
    return "clip every row to the norm, sum over the rows, divide by the step, round to the nearest"


def reference_noise_share(noise_multiplier: float, threshold: int, colluders: int) -> float:
    """Return the deviation of one share: ``threshold - colluders`` independent ones make up the full noise."""
    if colluders >= threshold:
        raise ValueError(f"{colluders} colluders of {threshold}: nobody's noise is left to count on")
    return noise_multiplier / math.sqrt(threshold - colluders)


@exercise(
    "11.noise_share",
    title="enough noise, whoever is missing",
    reference=reference_noise_share,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_noise_share(attempt: Callable) -> None:
    """Against the variance of what nobody can subtract: the shares of those survivors who do not collude."""
    for full, threshold, colluders in ((10.0, 4, 0), (10.0, 3, 0), (7.0, 7, 3), (2.5, 9, 2), (3.0, 4, 3)):
        given = {"noise_multiplier": full, "threshold": threshold, "colluders": colluders}
        got = number(attempt(full, threshold, colluders), given)
        honest = threshold - colluders
        if got > 0 and math.isclose(got * got * honest, full * full, rel_tol=1e-9):
            continue
        causes = [
            (-full / math.sqrt(honest), "a standard deviation is never negative: return the positive root"),
            (full, "each adds the full noise: that is what 'local' costs, and the sum has more than it needs"),
            (full / math.sqrt(5), "divide by the root of those who *must* survive: hospitals may vanish with their noise"),
            (full / honest, "variances add up, deviations do not: divide by the root of the number"),
            (full / math.sqrt(threshold), "colluders subtract what they added: only the others' shares count"),
            (full * math.sqrt(honest), "this is more than the full noise: a share is a part, so divide"),
            (full**2 / honest, "this is a variance: the deviation is its root"),
        ]  # fmt: skip
        otherwise = f"{honest} honest shares leave a deviation of {abs(got) * math.sqrt(honest):.4g} in the sum, not {full:g}"
        because = next((text for wrong, text in causes if math.isclose(got, wrong)), otherwise)
        raise Wrong(given=given, got=got, expected=full / math.sqrt(honest), because=because)
    for threshold, colluders in ((4, 4), (3, 5)):
        given = {"noise_multiplier": 10.0, "threshold": threshold, "colluders": colluders}
        _refuses(lambda t=threshold, c=colluders: attempt(10.0, t, c), given)


def _refuses(call: Callable[[], Any], given: Any) -> None:
    """Raise `Wrong` unless the call raises ValueError on purpose."""
    because = "a sum may hold the colluders' contributions alone: nobody's noise is left, so raise ValueError"
    try:
        got: Any = call()
    except ValueError as error:
        if "math domain" not in str(error) and "expected a nonnegative" not in str(error):
            return
        got = f"ValueError: {error}"
        because = "that is the root of a negative number, by accident: look at the two numbers first, and say what is wrong"
    except ZeroDivisionError as error:
        got = f"ZeroDivisionError: {error}"
    raise Wrong(given=given, got=got, expected="ValueError", because=because)


def reference_next_weights(
    weights: np.ndarray, total: np.ndarray, sizes: Mapping[str, int], survivors: Sequence[str], rate: float
) -> np.ndarray:
    """Return the weights after a step on the mean gradient over the survivors' declared records."""
    return weights - rate * total / sum(sizes[name] for name in survivors)


@exercise(
    "11.next_weights",
    title="the server's step",
    reference=reference_next_weights,
    points=2,
    difficulty=1,
    importance=4,
    minutes=8,
)
def check_next_weights(attempt: Callable) -> None:
    """On squared distances to records, where a step at rate 1 lands on the mean of the survivors' records."""
    random = np.random.default_rng(0)
    sizes = {"A": 30, "B": 120, "C": 50, "D": 8, "E": 17}
    records = {name: random.normal(size=(n, 3)) + i for i, (name, n) in enumerate(sizes.items())}
    for survivors in (("A", "B", "D", "E"), ("B", "C", "D", "E"), tuple(sizes)):
        weights = random.normal(size=3)
        total = sum((weights - records[name]).sum(0) for name in survivors)
        target = np.concatenate([records[name] for name in survivors]).mean(0)
        for rate in (1.0, 0.5):
            given = {"survivors": ", ".join(survivors), "sizes": sizes, "rate": rate}
            given |= {"weights": weights.round(3), "total": total.round(1)}
            got = _vector(attempt(weights.copy(), total.copy(), dict(sizes), survivors, rate), given)
            expected = weights + rate * (target - weights)
            if not np.allclose(got, expected, rtol=1e-9, atol=1e-12):
                because = _why_step(got, weights, rate * total, sizes, survivors, rate)
                raise Wrong(given=given, got=got, expected=expected, because=because)


def _vector(got: Any, given: Any) -> np.ndarray:
    if not isinstance(got, np.ndarray) or got.shape != (3,) or got.dtype.kind != "f":
        because = "return the new weights: an array of floats, of the shape of `weights`"
        raise Wrong(given=given, got=got, expected="an array of shape (3,)", because=because)
    return got


def _why_step(
    got: np.ndarray,
    weights: np.ndarray,
    push: np.ndarray,
    sizes: Mapping[str, int],
    survivors: Sequence[str],
    rate: float,
) -> str:
    """Return the likely cause of a wrong step; ``push`` is rate * total."""
    here, everybody = sum(sizes[name] for name in survivors), sum(sizes.values())
    causes = [
        (-push / everybody, "divided by the records of all: those who vanished are not in the sum"),
        (-push / len(survivors), "divided by heads: the sum is over patients, so divide by the survivors' records"),
        (-push / len(sizes), "divided by heads, and by all of them: divide by the survivors' records"),
        (push / here, "a wrong sign: a gradient points uphill, so go against it"),
        (-push, "the sum itself: divide it by the survivors' records, or few patients move little and many far"),
        (-push / rate / here, "the rate is missing"),
    ]  # fmt: skip
    fitting = (text for change, text in causes if np.allclose(got, weights + change, rtol=1e-9, atol=1e-12))
    if np.allclose(got, -push / here):
        return "this is the step alone: add it to the weights"
    return next(
        fitting, "a step of gradient descent goes against the mean gradient: over whose records is that mean?"
    )
