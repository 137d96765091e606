"""Lab 04's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake, prove_right
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_curve

from labkit.course import check


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def unstable(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return -np.log(p[np.arange(len(labels)), labels])


def clipped(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(softmax(logits, axis=1)[np.arange(len(labels)), labels] + 1e-12)


def between(losses: np.ndarray, members: np.ndarray) -> float:
    """The best threshold by scikit-learn's ROC, moved a hair up: as good on these records."""
    fpr, tpr, thresholds = roc_curve(members, -losses, drop_intermediate=False)
    return float(-thresholds[np.argmax(tpr - fpr)] + 1e-9)


def most_accurate(losses: np.ndarray, members: np.ndarray) -> float:
    return max([-1.0, *losses], key=lambda t: ((losses <= t) == members).mean())


def opposite(losses: np.ndarray, members: np.ndarray) -> float:
    def balanced(t: float) -> float:
        return (losses[members] >= t).mean() + (losses[~members] < t).mean()

    return max(losses, key=balanced)


def strictly(losses: np.ndarray, members: np.ndarray) -> float:
    candidates = np.append(np.unique(losses), losses.max() + 1)
    return max(candidates, key=lambda t: (losses[members] < t).mean() - (losses[~members] < t).mean())


def by_column(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    """Half of the models for each record, drawn by itself: balanced, and not made of pairs."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(models) < models // 2 for _ in range(records)], axis=1)


def coin_flips(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((models, records)) < 0.5


def halves(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(records) < records // 2 for _ in range(models)])


def same_halves(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    first = np.random.default_rng(seed).permutation(records) < records // 2
    return np.stack([first, ~first] * (models // 2))


def unseeded(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    return by_column(models, records, seed=7)


def restless(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    return by_column(models, records, seed=np.random.SeedSequence().entropy)


def of_others(signal: np.ndarray, shadows: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return signal - np.ma.array(shadows, mask=masks).mean(0).filled(np.nan)


def tpr(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    rates, caught, _ = roc_curve(members, scores, drop_intermediate=False)
    return float(caught[rates <= fpr].max())


def at_quantile(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    return float((scores[members] >= np.quantile(scores[~members], 1 - fpr)).mean())


def interpolated(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    rates, caught, _ = roc_curve(members, scores, drop_intermediate=False)
    return float(np.interp(fpr, rates, caught))


def by_record(p: np.ndarray, y: np.ndarray, m: np.ndarray) -> tuple:
    rows = [(y[i], *p[k, i]) for i in range(len(y)) for k in range(len(p))]
    return np.array(rows), [bool(m[k, i]) for i in range(len(y)) for k in range(len(p))]


def rows(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.column_stack([np.tile(y, len(p)), p.reshape(-1, p.shape[2])])


def at_rate(s: np.ndarray, m: np.ndarray, fpr: float) -> float:
    """From scikit-learn's ROC: the last point with few enough false alarms."""
    alarms, caught, _ = roc_curve(m, s, drop_intermediate=False)
    return float(caught[alarms <= fpr + 1e-12].max())


def redrawn(a: np.ndarray, b: np.ndarray, m: np.ndarray, fpr: float, draws: list) -> np.ndarray:
    return np.array([at_rate(a[d], m[d], fpr) - at_rate(b[d], m[d], fpr) for d in draws])


def threshold_kept(a: np.ndarray, b: np.ndarray, m: np.ndarray, fpr: float, draws: list) -> np.ndarray:
    def caught(s: np.ndarray, d: np.ndarray) -> float:
        limit = min(t for t in s if (s[~m] >= t).mean() <= fpr)
        return (s[d][m[d]] >= limit).mean()

    return np.array([caught(a, d) - caught(b, d) for d in draws])


def apart(a: np.ndarray, b: np.ndarray, m: np.ndarray, fpr: float, draws: list) -> np.ndarray:
    shifted = [*draws[1:], draws[0]]
    pairs = zip(draws, shifted, strict=True)
    return np.array([at_rate(a[d], m[d], fpr) - at_rate(b[e], m[e], fpr) for d, e in pairs])


RIGHT = {
    "04.paired_differences": redrawn,
    "04.record_losses": losses,
    "04.best_threshold": between,
    "04.balanced_masks": by_column,
    "04.calibrated": of_others,
    "04.tpr_at_fpr": tpr,
    "04.precision": lambda tpr, fpr, prior: 1 / (1 + fpr / tpr * (1 - prior) / prior),
    "04.shadow_rows": by_record,
}
MISTAKES = [
    ("04.paired_differences", lambda *given: -redrawn(*given), "first minus second"),
    ("04.paired_differences", threshold_kept, "choose it anew in each draw"),
    ("04.paired_differences", lambda *given: redrawn(*given).mean(), "one difference for each"),
    ("04.paired_differences", apart, "measured on different draws"),
    (
        "04.paired_differences",
        lambda a, b, m, f, draws: np.full(len(draws), at_rate(a, m, f) - at_rate(b, m, f)),
        "use the records of the draw",
    ),
    ("04.record_losses", lambda z, y: losses(z, y).mean(), "that is one number"),
    ("04.record_losses", lambda z, y: -losses(z, y), "the sign is turned: a"),
    ("04.record_losses", lambda z, y: np.exp(-losses(z, y)), "that is the probability"),
    ("04.record_losses", lambda z, y: 1 - np.exp(-losses(z, y)), "one minus the probability"),
    ("04.record_losses", unstable, "subtract the largest logit"),
    ("04.record_losses", clipped, "was cut off"),
    ("04.best_threshold", lambda v, m: v[m].mean(), "Yeom's first threshold"),
    ("04.best_threshold", lambda v, m: np.median(v), "a mean or a median"),
    ("04.best_threshold", opposite, "opposite rule"),
    ("04.best_threshold", most_accurate, "plain accuracy"),
    ("04.best_threshold", strictly, "ties included"),
    ("04.best_threshold", lambda v, m: v <= v[m].mean(), "the threshold itself"),
    ("04.balanced_masks", coin_flips, "with coin flips"),
    ("04.balanced_masks", halves, "exactly the records that this one left"),
    ("04.balanced_masks", same_halves, "a new random half each time"),
    ("04.balanced_masks", unseeded, "is the seed used?"),
    ("04.balanced_masks", restless, "default_rng(seed)"),
    ("04.balanced_masks", lambda k, n, seed=0: by_column(k, n, seed=seed).T, "one row a model"),
    ("04.balanced_masks", lambda k, n, seed=0: by_column(k, n, seed=seed).astype(int), "one row a model"),
    ("04.calibrated", lambda s, v, m: s - v.mean(0), "over all shadow models"),
    ("04.calibrated", lambda s, v, m: s - (v * m).sum(0) / m.sum(0), "WERE trained"),
    ("04.calibrated", lambda s, v, m: -of_others(s, v, m), "the sign is turned: high"),
    ("04.calibrated", lambda s, v, m: s - (v * ~m).mean(0), "differs from record to record"),
    ("04.tpr_at_fpr", at_quantile, "count how many really pass"),
    ("04.tpr_at_fpr", interpolated, "no threshold reaches"),
    ("04.tpr_at_fpr", lambda s, m, f: tpr(s, ~m, f), "swapped"),
    ("04.tpr_at_fpr", lambda s, m, f: tpr(-s, m, f), "lowest scores"),
    ("04.precision", lambda tpr, fpr, prior: tpr / (tpr + fpr), "half of all records"),
    ("04.precision", lambda tpr, fpr, prior: tpr, "share of members who are accused"),
    ("04.precision", lambda tpr, fpr, prior: prior * tpr, "divide by the share that is accused"),
    ("04.precision", lambda tpr, fpr, prior: prior * tpr / (prior * tpr + fpr), "weigh fpr"),
    ("04.shadow_rows", lambda p, y, m: (rows(p, y), m.T.ravel()), "in different orders: flatten"),
    (
        "04.shadow_rows",
        lambda p, y, m: (np.column_stack([np.repeat(y, len(p)), p.reshape(-1, 2)]), m.ravel()),
        "np.tile",
    ),
    ("04.shadow_rows", lambda p, y, m: (rows(p, y)[m.ravel()], np.ones(m.sum())), "only members"),
    ("04.shadow_rows", lambda p, y, m: (p.reshape(-1, 2), m.ravel()), "label is missing"),
    ("04.shadow_rows", lambda p, y, m: rows(p, y), "return the rows and the truth"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)


@pytest.mark.parametrize("name", RIGHT)
def test_an_attempt_without_a_return_is_wrong(name: str) -> None:
    assert check(name, lambda *a, **k: None).status == "wrong"
