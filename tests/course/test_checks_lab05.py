"""Lab 05's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake, prove_right
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from labkit.course import check

Array = np.ndarray


def own(z: Array, y: Array) -> Array:
    return z[np.arange(len(y)), y]


def odds(z: Array, y: Array) -> Array:
    """log p - log(1 - p), the second from the mass of all other classes."""
    hidden = z.copy()
    hidden[np.arange(len(y)), y] = -np.inf
    return own(z, y) - logsumexp(hidden, axis=1)


def probability(z: Array, y: Array) -> Array:
    powers = np.exp(z - z.max(1, keepdims=True))
    return own(powers / powers.sum(1, keepdims=True), y)


def naive(z: Array, y: Array) -> Array:
    p = probability(z, y)
    return np.log(p / (1 - p))


def clipped(z: Array, y: Array) -> Array:
    p = np.clip(probability(z, y), 1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))


def margin(z: Array, y: Array) -> Array:
    hidden = z.copy()
    hidden[np.arange(len(y)), y] = -np.inf
    return own(z, y) - hidden.max(1)


def side(v: Array, m: Array, ddof: int = 1) -> tuple[Array, float]:
    """Each record's mean and the pooled variance, through masked arrays."""
    masked = np.ma.array(v, mask=~m)
    mean = masked.mean(0).data
    left = (masked - mean).compressed()
    return mean, float((left**2).sum() / (left.size - ddof * v.shape[1]))


def online(s: Array, v: Array, m: Array, ddof: int = 1) -> Array:
    (a, va), (b, vb) = side(v, m, ddof), side(v, ~m, ddof)
    return norm(a, va**0.5).logpdf(s) - norm(b, vb**0.5).logpdf(s)


def per_example(s: Array, v: Array, m: Array) -> Array:
    def one(used: Array) -> Array:
        masked = np.ma.array(v, mask=~used)
        return norm.logpdf(s, masked.mean(0).data, masked.std(0).data)

    return one(m) - one(~m)


def around_all(s: Array, v: Array, m: Array) -> Array:
    (a, _), (b, _) = side(v, m), side(v, ~m)
    return norm.logpdf(s, a, v[m].std()) - norm.logpdf(s, b, v[~m].std())


def no_log(s: Array, v: Array, m: Array) -> Array:
    (a, va), (b, vb) = side(v, m), side(v, ~m)
    return (s - b) ** 2 / (2 * vb) - (s - a) ** 2 / (2 * va)


def offline(s: Array, v: Array, m: Array) -> Array:
    mean, variance = side(v, ~m)
    return (s - mean) / variance**0.5


def over_variance(s: Array, v: Array, m: Array) -> Array:
    mean, variance = side(v, ~m)
    return (s - mean) / variance


def tpr(scores: Array, members: Array, rate: float, *, need: bool = True) -> float | None:
    """Walk down the scores, tie by tie."""
    if need and (~members).sum() * rate < 10 - 1e-9:
        return None
    best = 0.0
    for threshold in np.unique(scores)[::-1]:
        passing = scores >= threshold
        if passing[~members].mean() > rate + 1e-12:
            break
        best = passing[members].mean()
    return float(best)


def loose(scores: Array, members: Array, rate: float) -> float | None:
    if (~members).sum() < 10 / rate:
        return None
    return float((scores[members] >= np.quantile(scores[~members], 1 - rate)).mean())


def of_members(scores: Array, members: Array, rate: float) -> float | None:
    if (~members).sum() < 10 / rate:
        return None
    return float((scores[~members] > np.quantile(scores[members], 1 - rate)).mean())


def noisy(predict: Callable, x: Array, y: Array, noises: list[Array]) -> Array:
    hits = np.zeros(len(x))
    for noise in noises:
        hits += predict((x + noise).clip(0, 1)) == y
    return hits / len(noises)


def kept(v: Array, m: Array, k: int, *, drop: Callable[[Array, Array, int], Array]) -> tuple:
    rest = np.flatnonzero(~drop(v, m, k))
    return v[k], v[rest], m[rest]


def opposite(v: Array, m: Array, k: int) -> Array:
    return (m == ~m[k]).all(1)


def itself(v: Array, m: Array, k: int) -> Array:
    return np.arange(len(m)) == k


def pair(v: Array, m: Array, k: int) -> Array:
    """Whose masks agree with the target's everywhere or nowhere, by their correlation."""
    return np.abs(np.corrcoef(m)[k]) > 1 - 1e-9


RIGHT = {
    "05.knowing_attack": lambda v, m, k, f: f(*kept(v, m, k, drop=pair)),
    "05.logit_confidence": odds,
    "05.lira_online": online,
    "05.lira_offline": offline,
    "05.likelihood_ratio": lambda p, q, a=0.33: 2 * p / (a * q + 1 - a + q),
    "05.dominance": lambda x, z, gamma=1.0: (x[:, None] >= gamma * z).mean(1),
    "05.tpr_at_fpr": tpr,
    "05.noise_score": noisy,
}
MISTAKES = [
    ("05.knowing_attack", lambda v, m, k, f: f(v[k], v, m), "among its own shadow models"),
    ("05.knowing_attack", lambda v, m, k, f: f(*kept(v, m, k, drop=itself)), "the partner is still there"),
    (
        "05.knowing_attack",
        lambda v, m, k, f: f(*kept(v, m, k, drop=opposite)),
        "target itself is still among",
    ),
    (
        "05.knowing_attack",
        lambda v, m, k, f: -f(*kept(v, m, k, drop=pair)),
        "the sign is turned: members score",
    ),
    ("05.logit_confidence", naive, "right as a"),
    ("05.logit_confidence", clipped, "clipping p"),
    ("05.logit_confidence", margin, "log-sum-exp, not max"),
    ("05.logit_confidence", lambda z, y: own(log_softmax(z, axis=1), y), "that is log p"),
    ("05.logit_confidence", lambda z, y: odds(z, z.argmax(1)), "top class"),
    ("05.logit_confidence", lambda z, y: -odds(z, y), "the sign is turned: a"),
    ("05.logit_confidence", own, "raw logit"),
    ("05.lira_online", per_example, "pool them over all records"),
    ("05.lira_online", lambda s, v, m: -online(s, v, m), "the ratio is upside down: in"),
    ("05.lira_online", around_all, "each record's own mean"),
    ("05.lira_online", lambda s, v, m: online(s, v, m, ddof=0), "divided by all terms: each"),
    ("05.lira_online", no_log, "do not cancel"),
    ("05.lira_online", lambda s, v, m: np.exp(online(s, v, m)), "return its logarithm"),
    ("05.lira_offline", lambda s, v, m: -offline(s, v, m), "the sign is turned: members lie"),
    ("05.lira_offline", lambda s, v, m: norm.cdf(offline(s, v, m)), "that is the probability"),
    ("05.lira_offline", lambda s, v, m: offline(s, v, ~m), "where the mask is False"),
    ("05.lira_offline", lambda s, v, m: offline(s, v, m & False), "all models were used"),
    ("05.lira_offline", over_variance, "the root"),
    ("05.lira_offline", lambda s, v, m: s - side(v, ~m)[0], "without its scale"),
    ("05.likelihood_ratio", lambda p, q, a: p / q, "models without the record alone"),
    ("05.likelihood_ratio", lambda p, q, a: p / (a * q + 1 - a), "models with the record alone"),
    ("05.likelihood_ratio", lambda p, q, a: p / (a * q + 1 - a + q), "not halved"),
    ("05.likelihood_ratio", lambda p, q, a: (a * q + 1 - a + q) / 2 / p, "the ratio is upside down: the"),
    ("05.likelihood_ratio", lambda p, q, a: 2 * p / ((1 - a) * q + a + q), "exchanged"),
    ("05.dominance", lambda x, z, g: (x[:, None] / z >= g).mean(0), "one number per x"),
    ("05.dominance", lambda x, z, g: x[:, None] / z >= g, "one number per pair"),
    ("05.dominance", lambda x, z, g: (x[:, None] / z > g).mean(1), ">=, not >"),
    ("05.dominance", lambda x, z, g: (x[:, None] / z <= g).mean(1), "other way round"),
    ("05.dominance", lambda x, z, g: (x[:, None] * g >= z).mean(1), "harder to dominate"),
    ("05.dominance", lambda x, z, g: (x[:, None] / z).mean(1), "mean quotient"),
    ("05.tpr_at_fpr", lambda s, m, r: tpr(s, m, r, need=False), "is unknown: refuse"),
    ("05.tpr_at_fpr", loose, "a quantile lies between two scores"),
    ("05.tpr_at_fpr", of_members, "read off the members"),
    ("05.tpr_at_fpr", lambda s, m, r: None, "here there are enough"),
    ("05.noise_score", lambda f, x, y, n: np.mean([f(x + e) == y for e in n], 0), "cut off"),
    ("05.noise_score", lambda f, x, y, n: noisy(f, x, f(x), n), "true label"),
    ("05.noise_score", lambda f, x, y, n: 1 - noisy(f, x, y, n), "wrong answers"),
    (
        "05.noise_score",
        lambda f, x, y, n: len(n) * noisy(f, x, y, n),
        "those are counts: divide by the number of noisy",
    ),
    ("05.noise_score", lambda f, x, y, n: noisy(f, x, y, n[:1]), "first noise"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_or_nonsense_is_wrong_and_raises_nothing(name: str) -> None:
    assert check(name, lambda *given: None).status == "wrong"
    assert check(name, lambda *given: "text").status == "wrong"
