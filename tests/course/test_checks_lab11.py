"""Lab 11's checks, proven: stub, named mistakes, a right answer that is not the shipped one, and a second press."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from proofs import prove_mistake, prove_right, stub

from labkit import cache
from labkit.course import check
from labkit.course.checks.lab11.marks import best_test
from labkit.course.exercises import exercise


def contribution(gradients: np.ndarray, max_grad_norm: float, step: float) -> np.ndarray:
    total = np.zeros(gradients.shape[1])
    for row in gradients:
        length = np.sqrt(row @ row)
        total += row if length <= max_grad_norm else row * max_grad_norm / length
    return np.array([round(value / step) for value in total], dtype=np.int64)


def clipped(gradients: np.ndarray, norm: float) -> np.ndarray:
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    return gradients * np.minimum(1, norm / np.maximum(lengths, 1e-12))


def contribution_with(last: Callable, clip: Callable = clipped) -> Callable:
    """Return a contribution with another clipping, or another way from clipped rows to whole numbers."""

    def attempt(gradients: np.ndarray, max_grad_norm: float, step: float) -> np.ndarray:
        return last(clip(gradients, max_grad_norm), step)

    return attempt


def whole(rows: np.ndarray, step: float) -> np.ndarray:
    return np.rint(rows.sum(0) / step).astype(np.int64)


def clip_the_sum(rows: np.ndarray, norm: float) -> np.ndarray:
    total = rows.sum(0)
    return total[None] * min(1, norm / np.linalg.norm(total))


def stretch(rows: np.ndarray, norm: float) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) * norm


def divide_by_zero(rows: np.ndarray, norm: float) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths * np.minimum(lengths, norm)


def noise_share(noise_multiplier: float, threshold: int, colluders: int) -> float:
    if threshold <= colluders:
        raise ValueError("nobody is left")
    return (noise_multiplier**2 / (threshold - colluders)) ** 0.5


def share_with(rule: Callable[[float, int, int], float]) -> Callable:
    """Return a share by another rule, with the refusal that is asked for."""

    def attempt(noise_multiplier: float, threshold: int, colluders: int) -> float:
        if colluders >= threshold:
            raise ValueError("nobody is left")
        return rule(noise_multiplier, threshold, colluders)

    return attempt


def next_weights(
    weights: np.ndarray, total: np.ndarray, sizes: Mapping[str, int], survivors: tuple[str, ...], rate: float
) -> np.ndarray:
    records = 0
    for name, count in sizes.items():
        records += count if name in survivors else 0
    return weights + (total / records) * -rate


def rank_p(strength: float, redrawn: np.ndarray) -> float:
    everybody = [strength, *redrawn]
    return sum(value >= strength for value in everybody) / len(everybody)


def normal_tail(strength: float, redrawn: np.ndarray) -> float:
    return 0.5 * math.erfc((strength - redrawn.mean()) / redrawn.std() / math.sqrt(2))


def mark_ceiling(epsilon: float, delta: float, fpr: float) -> float:
    """The ROC curve of randomised response that tells the truth with probability δ: a line from corner to corner."""
    corner = (1 - delta) / (1 + math.exp(epsilon))
    return float(np.interp(fpr, [0, corner, 1 - delta, 1], [delta, 1 - corner, 1, 1]))


def ceiling_with(*bounds: Callable[[float, float, float], float]) -> Callable:
    return lambda epsilon, delta, fpr: min(bound(epsilon, delta, fpr) for bound in bounds)


def rises(e: float, d: float, f: float) -> float:
    return math.exp(e) * f + d


def falls(e: float, d: float, f: float) -> float:
    return 1 - math.exp(-e) * (1 - d - f)


def one(*_: float) -> float:
    return 1.0


RIGHT = {
    "11.contribution": contribution,
    "11.noise_share": noise_share,
    "11.next_weights": next_weights,
    "11.rank_p": rank_p,
    "11.mark_ceiling": mark_ceiling,
}
MISTAKES = [
    ("11.contribution", contribution_with(whole, clip_the_sum), "the sum was clipped, not each patient"),
    (
        "11.contribution",
        contribution_with(lambda r, s: np.rint(r / s).sum(0).astype(np.int64)),
        "each patient was rounded",
    ),
    ("11.contribution", contribution_with(whole, lambda r, c: r.clip(-c, c)), "each coordinate was clipped"),
    ("11.contribution", contribution_with(lambda r, s: np.rint(r.sum(0) / s)), "end with astype(np.int64)"),
    (
        "11.contribution",
        contribution_with(lambda r, s: np.rint(r.mean(0) / s).astype(np.int64)),
        "this is the mean",
    ),
    ("11.contribution", contribution_with(whole, lambda r, c: r), "nothing was clipped"),
    ("11.contribution", contribution_with(whole, stretch), "stretched to the norm"),
    ("11.contribution", contribution_with(whole, divide_by_zero), "a patient whose gradient is zero"),
    ("11.contribution", contribution_with(lambda r, s: r.sum(0) / s), "round to whole grid steps"),
    (
        "11.contribution",
        contribution_with(lambda r, s: (r.sum(0) / s).astype(np.int64)),
        "cuts off toward zero",
    ),
    (
        "11.contribution",
        contribution_with(lambda r, s: (r.sum(0) // s).astype(np.int64)),
        "rounds down",
    ),
    (
        "11.contribution",
        contribution_with(lambda r, s: np.rint(r.sum(0) * s).astype(np.int64)),
        "divide by the step: it",
    ),
    ("11.contribution", contribution_with(lambda r, s: np.rint(r.sum(0) / s) * s), "do not multiply back"),
    ("11.contribution", contribution_with(lambda r, s: np.rint(r / s).astype(np.int64)), "sum over the patients"),
    ("11.contribution", contribution_with(lambda r, s: whole(r, s).tolist()), "return a NumPy array"),
    ("11.contribution", lambda g, c, s: contribution(g.astype(np.float32), c, s), "float32 keeps 24 bits"),
    (
        "11.contribution",
        contribution_with(whole, lambda r, c: r * np.minimum(1, c / (np.linalg.norm(r, axis=1, keepdims=True) + 1e-6))),
        "guard zero with np.maximum",
    ),
    ("11.contribution", lambda g, c, s: -contribution(g, c, s), "clip every row"),
    ("11.noise_share", lambda m, t, k: -noise_share(m, t, k), "a standard deviation is never negative"),
    ("11.noise_share", lambda m, t, k: np.float32(noise_share(m, t, k)), "leave a deviation of"),
    ("11.noise_share", share_with(lambda m, t, k: m / math.sqrt(5)), "hospitals may vanish with their noise"),
    ("11.noise_share", share_with(lambda m, t, k: m / (t - k)), "variances add up, deviations do not"),
    ("11.noise_share", share_with(lambda m, t, k: m / math.sqrt(t)), "colluders subtract what they added"),
    ("11.noise_share", share_with(lambda m, t, k: m), "each adds the full noise"),
    ("11.noise_share", share_with(lambda m, t, k: m * m / (t - k)), "this is a variance"),
    ("11.noise_share", share_with(lambda m, t, k: m * math.sqrt(t - k)), "a share is a part"),
    ("11.noise_share", lambda m, t, k: m / math.sqrt(t - k), "so raise ValueError"),
    ("11.noise_share", lambda m, t, k: m / math.sqrt(max(t - k, 1)), "so raise ValueError"),
    ("11.noise_share", lambda m, t, k: m / math.sqrt(t - k or -1), "by accident"),
    ("11.noise_share", share_with(lambda m, t, k: np.array([m / math.sqrt(t - k)])), "return one finite number"),
    ("11.next_weights", lambda w, t, n, s, r: w - r * t / sum(n.values()), "divided by the records of all"),
    ("11.next_weights", lambda w, t, n, s, r: w - r * t / len(s), "divided by heads: the"),
    ("11.next_weights", lambda w, t, n, s, r: w - r * t / len(n), "divided by heads, and by all of them"),
    ("11.next_weights", lambda w, t, n, s, r: w + r * t / sum(n[i] for i in s), "a wrong sign: a gradient"),
    ("11.next_weights", lambda w, t, n, s, r: w - r * t, "the sum itself"),
    ("11.next_weights", lambda w, t, n, s, r: w - t / sum(n[i] for i in s), "the rate is missing"),
    ("11.next_weights", lambda w, t, n, s, r: -r * t / sum(n[i] for i in s), "this is the step alone"),
    ("11.next_weights", lambda w, t, n, s, r: (w - r * t / sum(n[i] for i in s)).tolist(), "an array of floats"),
    ("11.next_weights", lambda w, t, n, s, r: -next_weights(w, t, n, s, r), "over whose records is that mean"),
    (
        "11.next_weights",
        lambda w, t, n, s, r: next_weights(w.astype(np.float32), t.astype(np.float32), n, s, r),
        "over whose records is that mean",
    ),
    ("11.rank_p", lambda z, keys: rank_p(np.float32(z), keys.astype(np.float32)), "compare as they come"),
    ("11.rank_p", lambda z, keys: rank_p(z, keys.astype(np.float32)), "compare as they come"),
    ("11.rank_p", lambda z, keys: -rank_p(z, keys), "how many of those read at least as strong"),
    ("11.rank_p", lambda z, keys: np.mean(keys >= z), "no finite number of keys shows"),
    ("11.rank_p", lambda z, keys: (1 + np.sum(keys > z)) / (1 + len(keys)), "a key that reads just as strong"),
    (
        "11.rank_p",
        lambda z, keys: (1 + np.sum(np.abs(keys) >= abs(z))) / (1 + len(keys)),
        "strong in one direction",
    ),
    ("11.rank_p", normal_tail, "a normal tail says more than the keys can carry"),
    ("11.rank_p", lambda z, keys: (1 + np.sum(keys <= z)) / (1 + len(keys)), "turned around"),
    ("11.rank_p", lambda z, keys: (1 + np.sum(keys >= z)) / len(keys), "+ 1 below, too"),
    ("11.rank_p", lambda z, keys: rank_p(z, keys) if len(keys) else 0.0, "without any redrawn key"),
    ("11.mark_ceiling", ceiling_with(one, rises), "the promise holds in both directions"),
    ("11.mark_ceiling", ceiling_with(one, falls), "here that is the other one: tpr <= e^ε fpr + δ"),
    ("11.mark_ceiling", ceiling_with(one, lambda e, d, f: math.exp(e) * f), "δ is missing"),
    (
        "11.mark_ceiling",
        ceiling_with(one, lambda e, d, f: rises(e, 0, f), lambda e, d, f: falls(e, 0, f)),
        "δ is missing",
    ),
    ("11.mark_ceiling", ceiling_with(one, rises, lambda e, d, f: falls(e, 0, f)), "the second bound is missing δ"),
    ("11.mark_ceiling", lambda e, d, f: -mark_ceiling(e, d, f), "keep what both allow"),
    ("11.mark_ceiling", lambda e, d, f: np.float32(mark_ceiling(e, d, f)), "keep what both allow"),
    ("11.mark_ceiling", ceiling_with(rises, falls), "a rate is at most 1"),
    ("11.mark_ceiling", rises, "a rate is at most 1"),
    ("11.mark_ceiling", lambda e, d, f: min(1, max(rises(e, d, f), falls(e, d, f))), "the *lower* one is the ceiling"),
    ("11.mark_ceiling", lambda e, d, f: min(1, rises(-e, d, f)), "the exponent has a wrong sign"),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)


def test_what_may_move_the_sum_too_far_is_refused_whatever_it_does_to_small_patients() -> None:
    """Clipping that is right on ordinary rows and lets an extreme one through fails the promise itself."""

    def lets_giants_through(gradients: np.ndarray, max_grad_norm: float, step: float) -> np.ndarray:
        giant = np.linalg.norm(gradients, axis=1) > 1e4 * max_grad_norm
        return contribution(gradients[~giant], max_grad_norm, step) + whole(gradients[giant], step)

    prove_mistake("11.contribution", lets_giants_through, "one patient moves the sum by more than the norm")


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
def test_the_best_test_on_the_leakiest_mechanism_attains_the_kits_own_ceiling(
    epsilon: float, delta: float
) -> None:
    from labkit.dp.accounting.ceiling import roc_ceiling

    rates = np.linspace(0, 1, 41)
    best = [best_test(epsilon, delta, float(rate)) for rate in rates]
    np.testing.assert_allclose(best, roc_ceiling(rates, epsilon, delta), atol=1e-12)


def test_no_test_on_laplace_noise_beats_the_ceiling_and_some_reach_it() -> None:
    """Scale 1 / ε on a sum that one hospital moves by 1: the threshold test, its power in closed form."""
    ceiling, epsilon = exercise.find("11.mark_ceiling").answer, 1.5
    gaps = []
    for threshold in np.linspace(-3, 4, 71):
        fpr, tpr = (float(_laplace_tail((threshold - shift) * epsilon)) for shift in (0, 1))
        gaps.append(ceiling(epsilon, 0.0, fpr) - tpr)
    assert min(gaps) > -1e-12
    assert min(np.abs(gaps)) < 1e-12


def _laplace_tail(t: float) -> float:
    return 0.5 * math.exp(-t) if t > 0 else 1 - 0.5 * math.exp(t)


def test_the_kits_noise_share_and_step_are_those_of_the_engine() -> None:
    from labkit.federated import Noise

    share = exercise.find("11.noise_share").answer
    for colluders in (0, 1, 2):
        noise = Noise("distributed", "patient", 10.0, threshold=4, colluders=colluders)
        assert share(10.0, 4, colluders) == pytest.approx(noise.share_multiplier)


@pytest.mark.parametrize("name", RIGHT)
def test_a_second_press_judges_the_learners_own_function_again(name: str) -> None:
    """The lab's check cells bind nothing that the exercise is named by."""
    own = name.split(".")[1]
    text = (cache.checkout() / "solutions" / "11_federated_hospitals.py").read_text(encoding="utf-8")
    (cell,) = re.findall(rf'^.*check\("{name}".*$', text, flags=re.MULTILINE)
    space = {"check": check, own: stub}
    for _ in range(2):
        exec(cell, space)
        assert space[own] is stub
        assert check(name, space[own]).status == "not attempted"
