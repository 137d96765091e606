"""Lab 07's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from proofs import prove_mistake, prove_right
from scipy import stats as st

from labkit.watermark.marks.keys import Key


def bits(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    return torch.from_numpy(key.uniform("patch", (x.shape[1], size, size)) < 0.5).float()


def stamp(x: torch.Tensor, key: Key, size: int, margin: int = 1) -> torch.Tensor:
    h, w = x.shape[2:]
    pad = (w - size - margin, margin, h - size - margin, margin)
    pattern = torch.nn.functional.pad(bits(x, key, size), pad, value=-1.0)
    return torch.where(pattern < 0, x, pattern)


def in_place(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    x[:, :, -size - 1 : -1, -size - 1 : -1] = bits(x, key, size)
    return x


def placed(x: torch.Tensor, pattern: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    out = x.clone()
    out[:, :, rows, columns] = pattern
    return out


class Meter:
    """A right answer as a class, and its mistakes by name."""

    def __init__(self, model: Callable, budget: int, fault: str = "") -> None:
        self.model, self.budget, self.used, self.fault = model, budget, 0, fault

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        size = 1 if self.fault == "calls" else len(x)
        if self.fault == "part":
            x = x[: self.budget - self.used]
            size = len(x)
            if not size:
                raise RuntimeError
        if self.fault == "late":
            self.model(x)
        if self.fault == "counts refusals":
            self.used += size
            if self.used > self.budget:
                raise RuntimeError
        elif self.used + size > self.budget - (self.fault == "one short"):
            raise RuntimeError("spent")
        else:
            self.used += size
        z = self.model(x)
        return {"logits": z, "labels": z.argmax(1), "axis": z.softmax(0)}.get(
            self.fault, z.exp() / z.exp().sum(1)[:, None]
        )


def meter(fault: str) -> Callable:
    return lambda model, budget: Meter(model, budget, fault)


def ends(hits: int, n: int) -> tuple[float, float]:
    low = st.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    return low, (st.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0)


def same(victim: np.ndarray, thief: np.ndarray) -> tuple[int, int]:
    return int(np.equal(victim.argmax(-1), thief.argmax(-1)).sum()), len(victim)


def agree(victim: np.ndarray, thief: np.ndarray) -> list[float]:
    hits, n = same(victim, thief)
    return [hits / n, *ends(hits, n)]


def wald(victim: np.ndarray, thief: np.ndarray) -> list[float]:
    hits, n = same(victim, thief)
    p = hits / n
    half = 1.959964 * np.sqrt(p * (1 - p) / n)
    return [p, p - half, p + half]


def paired(
    a: np.ndarray, b: np.ndarray, *, ddof: int = 1, outer: float = 0, power: float = 0.8
) -> tuple[float, ...]:
    d, n = a - b, len(a)
    error = d.std(ddof=ddof) / n**0.5
    outer = outer or st.t.isf(0.025, n - 1)
    return (
        d.mean(),
        d.mean() - outer * error,
        d.mean() + outer * error,
        (outer + st.t.ppf(power, n - 1)) * error,
    )


def unpaired(a: np.ndarray, b: np.ndarray) -> tuple[float, ...]:
    error, gap = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a)), a.mean() - b.mean()
    return gap, gap - 2.3 * error, gap + 2.3 * error, 3.2 * error


def sealed(seed: bytes, model: str, generator: str) -> str:
    inner = [hashlib.sha256(part).digest() for part in (seed, model.encode(), generator.encode())]
    return hashlib.sha256(b"".join(inner)).hexdigest()


RIGHT = {
    "07.stamp": stamp,
    "07.metered": Meter,
    "07.agreement": agree,
    "07.mark_p_value": lambda h, n, null: st.binomtest(h, n, max(null) / n, alternative="greater").pvalue,
    "07.paired": paired,
    "07.commitment": sealed,
}
MISTAKES = [
    ("07.stamp", in_place, "in place"),
    ("07.stamp", lambda x, k, s: stamp(x, k, s, margin=0), "touches the border"),
    (
        "07.stamp",
        lambda x, k, s: placed(x, bits(x, k, s).mT, slice(-s - 1, -1), slice(-s - 1, -1)),
        "swapped",
    ),
    (
        "07.stamp",
        lambda x, k, s: placed(x, bits(x, k, s), slice(1, s + 1), slice(1, s + 1)),
        "far from the lower right",
    ),
    (
        "07.stamp",
        lambda x, k, s: placed(x, torch.ones(s, s), slice(-s - 1, -1), slice(-s - 1, -1)),
        "not the key's",
    ),
    ("07.stamp", lambda x, k, s: x.clone(), "nothing was stamped"),
    ("07.metered", meter("calls"), "count len(x)"),
    ("07.metered", meter("part"), "all or nothing"),
    ("07.metered", meter("late"), "before the model answers"),
    ("07.metered", meter("counts refusals"), "a refused batch costs nothing"),
    ("07.metered", meter("one short"), "up to the last record"),
    ("07.metered", meter("logits"), "those are logits"),
    ("07.metered", meter("labels"), "hard labels"),
    ("07.metered", meter("axis"), "over the records"),
    ("07.agreement", wald, "normal approximation"),
    ("07.agreement", lambda v, t: 100 * np.array(agree(v, t)), "in percent"),
    ("07.agreement", lambda v, t: [(v == t).mean(), 0, 1], "compare labels"),
    ("07.agreement", lambda v, t: agree(v, t)[0], "return all of these numbers"),
    ("07.mark_p_value", lambda h, n, null: st.binom.sf(h - 1, n, 0.1), "number of classes"),
    ("07.mark_p_value", lambda h, n, null: st.binom.sf(h - 1, n, np.mean(null) / n), "average null model"),
    ("07.mark_p_value", lambda h, n, null: st.binom.sf(h, n, max(null) / n), "what was seen counts too"),
    ("07.mark_p_value", lambda h, n, null: st.binom.pmf(h, n, max(null) / n), "exactly so many"),
    ("07.mark_p_value", lambda h, n, null: (1 + (null >= h).sum()) / (1 + len(null)), "rank p-value"),
    ("07.paired", lambda a, b: paired(b, a), "sign is turned"),
    ("07.paired", unpaired, "take the differences first"),
    ("07.paired", lambda a, b: paired(a, b, ddof=0), "ddof=1"),
    ("07.paired", lambda a, b: paired(a, b, outer=1.959964), "normal law"),
    ("07.paired", lambda a, b: paired(a, b, power=0.5), "half of all studies"),
    (
        "07.commitment",
        lambda s, m, g: hashlib.sha256(s + m.encode() + g.encode()).hexdigest(),
        "run together",
    ),
    (
        "07.commitment",
        lambda s, m, g: hashlib.sha256(b"|".join((s, m.encode(), g.encode()))).hexdigest(),
        "run together",
    ),
    ("07.commitment", lambda s, m, g: sealed(s, m, ""), "can be exchanged after the fact"),
    ("07.commitment", lambda s, m, g: sealed(s, "", g), "the model can be exchanged"),
    ("07.commitment", lambda s, m, g: hashlib.md5(s).hexdigest(), "64 hexadecimal digits"),
    (
        "07.commitment",
        lambda s, m, g: hashlib.sha256(np.random.default_rng().bytes(9)).hexdigest(),
        "no chance",
    ),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
