"""Checks of lab 12, first part: members out of sums, records out of a layer, and what another hospital subtracts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise


def array(got: Any, shape: tuple[int, ...], given: Any) -> np.ndarray:
    """Return an attempt's array in float64; raise `Wrong` for another type, another shape or values that are not finite."""
    try:
        found = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        because = "return a NumPy array of numbers"
        raise Wrong(given=given, got=got, expected=f"an array of shape {shape}", because=because) from None
    if found.shape != shape:
        because = f"the shape is {found.shape}; it should be {shape}"
        raise Wrong(given=given, got=f"shape {found.shape}", expected=f"shape {shape}", because=because)
    if not np.isfinite(found).all():
        because = "there are NaN or infinite values: a division by zero?"
        raise Wrong(given=given, got=got, expected="finite numbers", because=because)
    return found


def reference_who_is_in(gradients: Sequence[np.ndarray], sums: Sequence[np.ndarray]) -> np.ndarray:
    """Return the least-squares estimate of who is in, from all rounds' sums."""
    stacked = np.concatenate([rows.T for rows in gradients])
    return np.linalg.lstsq(stacked, np.concatenate(sums), rcond=None)[0]


@exercise(
    "12.who_is_in",
    title="who is in, from the sums of all rounds",
    reference=reference_who_is_in,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_who_is_in(attempt: Callable) -> None:
    """Against the coins that the sums were made with; more records than weights, so that one round is not enough."""
    random = np.random.default_rng(0)
    for n, d, rounds in ((6, 8, 1), (20, 6, 8), (30, 5, 10)):
        gradients = [random.normal(size=(n, d)) for _ in range(rounds)]
        coins = (random.random(n) < 0.5).astype(float)
        coins[:2] = (0.0, 1.0)
        sums = [rows.T @ coins for rows in gradients]
        given = f"{rounds} rounds of {n} candidate gradients in {d} weights, and {rounds} sums"
        got = array(attempt([g.copy() for g in gradients], [s.copy() for s in sums]), (n,), given)
        if np.allclose(got, coins, atol=1e-6):
            continue
        first = np.linalg.lstsq(gradients[0].T, sums[0], rcond=None)[0]
        last = np.linalg.lstsq(gradients[-1].T, sums[-1], rcond=None)[0]
        mean = np.linalg.lstsq(np.mean(gradients, axis=0).T, np.mean(sums, axis=0), rcond=None)[0]
        inner = sum(rows @ total for rows, total in zip(gradients, sums, strict=True))
        if np.allclose(got, 1 - coins, atol=1e-6):
            because = "in and out are swapped"
        elif np.allclose(got, first, atol=1e-6) or np.allclose(got, last, atol=1e-6):
            because = (
                f"that is one round alone: {d} equations for {n} unknowns; stack the equations of all rounds"
            )
        elif np.allclose(got, mean, atol=1e-6):
            because = (
                "averaging the rounds first leaves as many equations as one round has; stack them instead"
            )
        elif np.allclose(got, inner, atol=1e-6):
            because = "inner products are a hint, no solution: records that resemble each other share them; solve for all at once"
        else:
            because = (
                "the coins are the same in all rounds: what does each round say about them, weight by weight?"
            )
        raise Wrong(given=given, got=got.round(2), expected=coins, because=because)


def reference_dense_leak(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return dW / db for each neuron with a gradient."""
    used = np.abs(bias) > 1e-9
    return weight[used] / bias[used, None]


@exercise(
    "12.dense_leak",
    title="records out of a dense layer",
    reference=reference_dense_leak,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_dense_leak(attempt: Callable) -> None:
    """Against a layer with ReLU, worked by hand: neurons that one record activates, that two do, and that none does."""
    random = np.random.default_rng(1)
    for records, hidden, d in ((1, 5, 4), (2, 12, 6), (3, 30, 8)):
        x, delta = random.normal(size=(records, d)), random.normal(size=(records, hidden))
        active = random.random((records, hidden)) < 0.5
        active[:, 0] = False
        active[0, 1], active[1:, 1] = True, False
        back = delta * active
        weight, bias = back.T @ x, back.sum(0)
        expected = weight[active.any(0)] / bias[active.any(0)][:, None]
        given = (
            f"a batch of {records}, {hidden} neurons (those that nobody activates have db = 0), {d} features"
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            got = attempt(weight.copy(), bias.copy())
        _expect_rows(got, expected, weight, bias, active.any(0), given)


def _expect_rows(
    got: Any, expected: np.ndarray, weight: np.ndarray, bias: np.ndarray, used: np.ndarray, given: str
) -> None:
    """Raise `Wrong` unless the rows came, with the cause whose rows came instead."""
    shape = np.shape(got)
    if shape == weight.shape and not np.isfinite(np.asarray(got, dtype=float)).all():
        because = "a neuron that no record activates has a bias gradient of zero: leave its row out, 0 / 0 is no record"
        raise Wrong(given=given, got=got, expected=expected, because=because)
    if shape == weight.shape and shape != expected.shape:
        because = (
            "there is a row for neurons whose bias gradient is zero, too: they saw no record, leave them out"
        )
        raise Wrong(given=given, got=f"shape {shape}", expected=f"shape {expected.shape}", because=because)
    if shape == (weight.shape[1],):
        because = (
            "one row came: a batch may hold several records; return one row for each neuron with db != 0"
        )
        raise Wrong(given=given, got=f"shape {shape}", expected=f"shape {expected.shape}", because=because)
    found = array(got, expected.shape, given)
    if np.allclose(found, expected, rtol=1e-6, atol=1e-9):
        return
    causes = [
        (weight[used], "that is dW itself: it is the record times an unknown factor, which db tells"),
        (
            weight[used] * bias[used, None],
            "multiplied: the factor that hides the record has to be taken out, not put in again\ndW = δ x and db = δ, so x is dW divided by db",
        ),
        (weight[used] / weight[used].sum(1, keepdims=True), "scaled by the row's own sum; the factor is db"),
        (
            weight[used] / np.linalg.norm(weight[used], axis=1, keepdims=True),
            "scaled to unit length: that gives the direction; db gives the record itself",
        ),
        (
            -expected,
            "the sign is turned: weights and bias have the same factor, sign and all\ndW = δ x and db = δ",
        ),
    ]
    otherwise = "for one record through one neuron: what do its weights' gradient and its bias's gradient have in common?"
    because = next((text for wrong, text in causes if np.allclose(found, wrong, rtol=1e-6)), otherwise)
    raise Wrong(given=given, got=found.round(3), expected=expected.round(3), because=because)


def reference_left_over(
    total: np.ndarray, known: Sequence[np.ndarray], share_multiplier: float, survivors: int
) -> tuple[np.ndarray, float]:
    """Return the sum less the known contributions, and the noise multiplier that is left in it."""
    rest = total - sum(known, np.zeros_like(total))
    return rest, share_multiplier * math.sqrt(survivors - len(known))


@exercise(
    "12.left_over",
    title="what another hospital can subtract",
    reference=reference_left_over,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_left_over(attempt: Callable) -> None:
    """Against sums made of known parts, and the accounting of `Noise.against`."""
    from labkit.federated.noise import Noise

    random = np.random.default_rng(2)
    for survivors, colluders in ((5, 1), (5, 3), (3, 1), (4, 0), (2, 1)):
        parts = [random.integers(-50, 50, 4) for _ in range(survivors)]
        noise = Noise("distributed", noise_multiplier=6.0, hospitals=5, threshold=4)
        share = noise.share_multiplier
        given = {"survivors": survivors, "known": f"{colluders} contributions", "share_multiplier": share}
        got = attempt(sum(parts), [p.copy() for p in parts[:colluders]], share, survivors)
        if not isinstance(got, tuple | list) or len(got) != 2:
            because = "return two values: the rest of the sum, and its noise multiplier"
            raise Wrong(given=given, got=got, expected="(rest, multiplier)", because=because)
        rest, honest = array(got[0], (4,), given), survivors - colluders
        expected = sum(parts[colluders:])
        if not np.allclose(rest, expected):
            because = "take every known contribution off the sum, whole: records and noise share together"
            raise Wrong(given=given, got=rest, expected=expected, because=because)
        _expect_multiplier(got[1], share, survivors, honest, given)


def _expect_multiplier(got: Any, share: float, survivors: int, honest: int, given: dict[str, Any]) -> None:
    try:
        found = float(got)
    except (TypeError, ValueError):
        raise Wrong(
            given=given, got=got, expected="a number", because="the second value is one number"
        ) from None
    expected = share * math.sqrt(honest)
    if math.isclose(found, expected, rel_tol=1e-9):
        return
    causes = [
        (
            share * math.sqrt(survivors),
            "that is the noise of the whole sum: who subtracts a contribution subtracts its noise, too",
        ),
        (
            share * honest,
            "standard deviations do not add up; variances do\nk shares have sqrt(k) times one share's",
        ),
        (share, "that is one share; those who are left have added one each"),
        (
            share * (math.sqrt(survivors) - math.sqrt(survivors - honest)),
            "take variances off each other, not standard deviations",
        ),
        (
            share**2 * honest,
            "that is a variance; the multiplier is a standard deviation over the clipping norm",
        ),
    ]
    otherwise = "the noise that is left is that of the survivors whose shares are not known: how many, and how do deviations add?\nshare_multiplier * sqrt(survivors - len(known))"
    because = next((text for wrong, text in causes if math.isclose(found, wrong, rel_tol=1e-9)), otherwise)
    raise Wrong(given=given, got=f"{found:.4g}", expected=f"{expected:.4g}", because=because)
