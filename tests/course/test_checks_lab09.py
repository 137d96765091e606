"""Lab 09's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from proofs import prove_mistake, prove_right
from scipy import stats as st

from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet


def follow(brought: TriggerSet, key: Key, draw: Callable) -> bool:
    drawn = draw(key, len(brought.y))
    gaps = np.abs(drawn.x.numpy() - brought.x.numpy())
    return gaps.max() < 1e-5 and drawn.y.tolist() == brought.y.tolist()


def pictures_alone(brought: TriggerSet, key: Key, draw: Callable) -> bool:
    return bool((draw(key, len(brought)).x - brought.x).abs().max() < 1e-5)


def on_average(brought: TriggerSet, key: Key, draw: Callable) -> bool:
    drawn = draw(key, len(brought))
    return bool((drawn.x - brought.x).abs().mean() < 1e-2) and drawn.y.tolist() == brought.y.tolist()


def exactly(brought: TriggerSet, key: Key, draw: Callable) -> bool:
    drawn = draw(key, len(brought))
    return drawn.x.tolist() == brought.x.tolist() and drawn.y.tolist() == brought.y.tolist()


def among(brought: TriggerSet, key: Key, draw: Callable) -> bool:
    many = draw(key, 60)
    near = np.abs(brought.x.numpy()[:, None] - many.x.numpy()[None]).max((2, 3, 4)) < 1e-5
    return bool((near & (brought.y.numpy()[:, None] == many.y.numpy()[None])).any(1).all())


def first(commitments: list, released: str, key: Callable = datetime.fromisoformat) -> str | None:
    counts = [
        (key(moment), name) for name, moment, opens in commitments if opens and key(moment) < key(released)
    ]
    oldest = [name for moment, name in counts if moment == min(counts)[0]]
    return oldest[0] if len(oldest) == 1 else None


def when(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def tie_goes_to_somebody(commitments: list, released: str) -> str | None:
    counts = [(when(m), name) for name, m, opens in commitments if opens and when(m) < when(released)]
    return min(counts)[1] if counts else None


def counted(owner: np.ndarray, suspect: np.ndarray, truth: np.ndarray) -> float:
    pairs = [(a, b) for a, b, t in zip(owner, suspect, truth, strict=True) if a != t]
    return sum(a == b for a, b in pairs) / len(pairs)


def one_more(value: float, nulls: np.ndarray, ddof: int = 1, normal: bool = False) -> float:
    law = st.norm if normal else st.t(len(nulls) - 1)
    return law.sf((value - nulls.mean()) / nulls.std(ddof=ddof) / np.sqrt(1 + 1 / len(nulls)))


def enough(rate: float, null: float, alpha: float, power: float, most: int, extra: int = 0) -> int | None:
    for n in range(1, most + 1):
        h = int(st.binom.isf(alpha, n, null)) + 1 + extra
        if st.binom.sf(h - 1, n, rate) >= power:
            return n
    return None


def by_mean(rate: float, null: float, alpha: float, power: float, most: int) -> int | None:
    return next((n for n in range(1, most + 1) if st.binom.sf(int(rate * n) - 1, n, null) < alpha), None)


def rule(
    p: np.ndarray,
    directional: np.ndarray,
    heard: np.ndarray,
    alpha: float,
    needed: int,
    parts: int | None = None,
    once: bool = True,
    direction: bool = True,
) -> list[bool]:
    share = alpha / (p.shape[0] * sum(directional) if parts is None else parts)
    found = []
    for h, row in zip(heard, p, strict=True):
        spoke = [x <= share for x in row]
        directed = sum(s for s, d in zip(spoke, directional, strict=True) if d)
        alike = sum(s for s, d in zip(spoke, directional, strict=True) if not d)
        lines = directed + (min(alike, 1) if once else alike)
        found.append(bool(h) and lines >= needed and (directed > 0 or not direction))
    return found


def linked(entries: list[str]) -> list[str]:
    """Hash the digest before and the entry's own digest, as bytes."""
    previous, out = b"start", []
    for entry in entries:
        previous = hashlib.sha256(previous + hashlib.sha256(entry.encode()).digest()).digest()
        out.append(previous.hex())
    return out


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


RIGHT = {
    "09.follows": follow,
    "09.first_to_commit": first,
    "09.repeated": counted,
    "09.another_innocent": one_more,
    "09.queries_for": enough,
    "09.convict": rule,
    "09.chain": linked,
}
MISTAKES = [
    ("09.follows", pictures_alone, "a changed answer was let through"),
    ("09.follows", on_average, "the largest difference counts"),
    ("09.follows", exactly, "machines round differently"),
    ("09.follows", among, "picked out"),
    ("09.follows", lambda b, k, d: True, "these come from"),
    ("09.follows", lambda b, k, d: d(k, len(b)).y == b.y, "for all together"),
    ("09.first_to_commit", lambda c, r: first(c, r, key=str), "time zones"),
    (
        "09.first_to_commit",
        lambda c, r: first([(n, m, True) for n, m, _ in c], r),
        "does not open counts for nothing",
    ),
    ("09.first_to_commit", lambda c, r: first(c, "2099-01-01T00:00:00+00:00"), "at or after the release"),
    ("09.first_to_commit", lambda c, r: c[0][0], "wherever it stands"),
    ("09.first_to_commit", tie_goes_to_somebody, "both committed at"),
    ("09.first_to_commit", lambda c, r: True, "the claimant's name"),
    ("09.repeated", lambda o, s, t: ((s != t) & (o != t)).sum() / (o != t).sum(), "the same wrong label"),
    ("09.repeated", lambda o, s, t: ((s == o) & (o != t)).mean(), "share of all records"),
    ("09.repeated", lambda o, s, t: (s == o).mean(), "agreement on all records"),
    ("09.repeated", lambda o, s, t: (s == o)[s != t].mean(), "the suspect's mistakes"),
    ("09.repeated", lambda o, s, t: (s == o)[(s != t) & (o != t)].mean(), "that was mended"),
    ("09.repeated", lambda o, s, t: ((s == o) & (o != t)).sum(), "number of records"),
    ("09.another_innocent", lambda v, n: one_more(v, n, normal=True), "normal law; a spread"),
    ("09.another_innocent", lambda v, n: st.norm.sf((v - n.mean()) / n.std(ddof=1)), "told them exactly"),
    (
        "09.another_innocent",
        lambda v, n: st.t.sf((v - n.mean()) / n.std(ddof=1), len(n) - 1),
        "sqrt(1 + 1/k) is missing",
    ),
    ("09.another_innocent", lambda v, n: one_more(v, n, ddof=0), "ddof=1"),
    ("09.another_innocent", lambda v, n: 1 - one_more(v, n), "that is the probability"),
    ("09.another_innocent", lambda v, n: 2 * min(one_more(v, n), 1 - one_more(v, n)), "two-sided"),
    ("09.another_innocent", lambda v, n: st.ttest_1samp(n, v, alternative="less").pvalue, "tests the *mean*"),
    ("09.another_innocent", lambda v, n: (1 + (n >= v).sum()) / (1 + len(n)), "rank p-value"),
    ("09.another_innocent", lambda v, n: [v], "one number"),
    ("09.queries_for", lambda r, n, a, p, m: enough(r, n, a, 0.5, m), "half of all trials; the plan"),
    ("09.queries_for", lambda r, n, a, p, m: enough(r, n, a, p, m, extra=1), "one hit too many"),
    ("09.queries_for", by_mean, "expected hits for granted"),
    ("09.queries_for", lambda r, n, a, p, m: enough(r, n, a, p, m) or m, "return None after"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, k, parts=1), "alpha was not shared out"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, k, parts=len(p)), "suspects *and* lines"),
    (
        "09.convict",
        lambda p, d, h, a, k: rule(p, d, h, np.nextafter(a, 0), k),
        "redrawn keys reach",
    ),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, 1), "one line convicts here"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, 2), "`needed` lines must speak"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, np.ones(len(p)), a, k), "the claim was dismissed"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, k, direction=False, once=False), "likeness alone"),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a, k, once=False), "counted as two"),
    (
        "09.convict",
        lambda p, d, h, a, k: rule(p, d, h & ~np.isnan(p).any(1), a, k),
        "could not be asked",
    ),
    ("09.convict", lambda p, d, h, a, k: rule(p, d, h, a * (1 - 1e-6), k), "*at most* its share"),
    ("09.convict", lambda p, d, h, a, k: p < a / p.size, "for each suspect"),
    ("09.chain", lambda e: [sha(x) for x in e], "hashed alone"),
    ("09.chain", lambda e: [sha("".join(e[: k + 1])) for k in range(len(e))], "run together"),
    ("09.chain", lambda e: [sha("".join(e))] * len(e), "an earlier digest changed"),
    ("09.chain", lambda e: [str(hash(x)) for x in e], "64 hexadecimal digits"),
    ("09.chain", lambda e: linked(e)[-1], "one digest for each entry"),
    (
        "09.chain",
        lambda e: [sha(str(sorted(linked([x])[0] for x in e[: k + 1]))) for k in range(len(e))],
        "the order does not count",
    ),
    ("09.chain", lambda e: [sha(f"{x}{np.random.default_rng().random()}") for x in e], "no chance"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
