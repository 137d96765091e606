"""Lab 08's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from proofs import prove_mistake, prove_right
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)


def outcome(p: float, alpha: float, before: float, after: float, *, loss: Callable | None = None) -> str:
    lost = (loss or (lambda b, a: b - a))(before, after)
    return "holds" if p < alpha else ("costly" if lost > 0.05 else "beaten")


def prune(weights: list[Tensor], share: float) -> list[Tensor]:
    flat = torch.cat([weight.flatten() for weight in weights])
    flat[flat.abs().argsort()[: int(share * len(flat))]] = 0
    parts = flat.split([weight.numel() for weight in weights])
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def signed(weights: list[Tensor], share: float) -> list[Tensor]:
    flat = torch.cat([weight.flatten() for weight in weights])
    cut = flat.sort().values[int(share * len(flat)) - 1]
    return [torch.where(weight > cut, weight, 0.0) for weight in weights]


def shrunk(weights: list[Tensor], share: float) -> list[Tensor]:
    return [part * 0.9 for part in prune(weights, share)]


def int8(
    w: Tensor, *, most: int = 127, back: bool = True, whole: bool = False, floor: bool = False
) -> Tensor:
    out = torch.empty_like(w)
    for channel in range(len(w)):
        step = max(float((w if whole else w[channel]).abs().max()), 1e-20) / most
        steps = w[channel] / step
        steps = steps.floor() if floor else steps.round()
        out[channel] = steps * step if back else steps
    return out


def zero_over_zero(w: Tensor) -> Tensor:
    step = w.abs().flatten(1).amax(1).reshape(-1, *[1] * (w.ndim - 1)) / 127
    return (w / step).round() * step


def last_only(model: nn.Module, *, fault: str = "") -> nn.Module:
    made = model if fault == "in place" else copy.deepcopy(model)
    linear = [part for part in made.modules() if isinstance(part, nn.Linear)]
    last = linear[0] if fault == "first" else linear[-1]
    for parameter in made.parameters():
        parameter.requires_grad = fault == "all train"
    if fault != "nothing":
        last.weight.requires_grad = last.bias.requires_grad = True
    if fault == "zeros":
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
    elif fault == "all fresh":
        for part in (*linear, made[0]):
            part.reset_parameters()
    elif fault != "kept":
        nn.init.xavier_uniform_(last.weight)
        nn.init.uniform_(last.bias)
    return made


def retrain(fault: str) -> Callable:
    return lambda model: last_only(model, fault=fault)


def blur(
    x: Tensor,
    sigma: float,
    *,
    mode: str = "replicate",
    scale: bool = True,
    half: float = 2.0,
    mix: bool = False,
) -> Tensor:
    """Two passes, a sum over shifted copies."""
    line = [np.exp(-(i**2) / (half * sigma**2)) for i in range(-2, 3)]
    total = sum(line) if scale else 1.0
    options = {"mode": mode}
    for axis, pad in ((2, (0, 0, 2, 2)), (3, (2, 2, 0, 0))):
        padded = F.pad(x, pad, **options)
        x = sum(w / total * padded.narrow(axis, k, x.shape[axis]) for k, w in enumerate(line))
    return x.mean(1, keepdim=True).expand_as(x) if mix else x


def rows_only(x: Tensor, sigma: float) -> Tensor:
    line = torch.tensor([np.exp(-(i**2) / (2 * sigma**2)) for i in range(-2, 3)], dtype=x.dtype)
    padded = F.pad(x, (0, 0, 2, 2), mode="replicate")
    return sum(w / line.sum() * padded[:, :, k : k + x.shape[2]] for k, w in enumerate(line))


def soft(
    s: Tensor,
    t: Tensor,
    temperature: float,
    *,
    power: int = 2,
    reduction: str = "batchmean",
) -> Tensor:
    """Kullback-Leibler divergence, which has the same gradient."""
    p, log_q = (t / temperature).softmax(1), (s / temperature).log_softmax(1)
    return temperature**power * F.kl_div(log_q, p, reduction=reduction)


def anomaly(norms: np.ndarray, *, constant: float = 1.482602) -> np.ndarray:
    middle = np.quantile(norms, 0.5)
    return -(norms - middle) / (constant * np.quantile(abs(norms - middle), 0.5))


RIGHT = {
    "08.outcome": outcome,
    "08.prune": prune,
    "08.int8": int8,
    "08.last_only": last_only,
    "08.blur": blur,
    "08.soft_loss": soft,
    "08.anomaly": anomaly,
}
MISTAKES = [
    (
        "08.outcome",
        lambda p, alpha, b, a: outcome(p, alpha, b, a, loss=lambda b, a: abs(b - a)),
        "without abs",
    ),
    (
        "08.outcome",
        lambda p, alpha, b, a: outcome(p, alpha, b, a, loss=lambda b, a: (b - a) / b),
        "points, not shares",
    ),
    (
        "08.outcome",
        lambda p, alpha, b, a: "costly" if b - a > 0.05 else outcome(p, alpha, b, a),
        "still proven",
    ),
    ("08.outcome", lambda p, alpha, b, a: outcome(p, 0.05, b, a), "fixed in advance"),
    ("08.outcome", lambda p, alpha, b, a: p > alpha, "one of the words"),
    ("08.outcome", lambda p, alpha, b, a: outcome(p, alpha, a, b), "at most five points"),
    ("08.prune", lambda w, s: [prune([part], s)[0] for part in w], "each tensor lost"),
    ("08.prune", signed, "sort abs()"),
    ("08.prune", lambda w, s: [a - b for a, b in zip(w, prune(w, s), strict=True)], "what is small was kept"),
    ("08.prune", lambda w, s: prune(w, 1 - s), "share is what goes"),
    ("08.prune", shrunk, "only zeros are put in"),
    ("08.prune", lambda w, s: torch.cat([part.flatten() for part in w]), "a list of as many tensors"),
    ("08.int8", lambda w: int8(w, whole=True), "one scale for the whole tensor"),
    ("08.int8", lambda w: int8(w, back=False), "multiply by the scale"),
    ("08.int8", lambda w: int8(w, most=255), "nine bits"),
    ("08.int8", lambda w: int8(w, floor=True), "rounded down"),
    ("08.int8", zero_over_zero, "0 / 0 is NaN"),
    ("08.int8", lambda w: w, "nothing was rounded"),
    ("08.last_only", retrain("in place"), "copy.deepcopy"),
    ("08.last_only", retrain("first"), "the first linear layer"),
    ("08.last_only", retrain("all train"), "freeze the rest"),
    ("08.last_only", retrain("nothing"), "nothing would train"),
    ("08.last_only", retrain("kept"), "numbers of the victim's"),
    ("08.last_only", retrain("all fresh"), "started anew"),
    ("08.last_only", retrain("zeros"), "all one number"),
    ("08.blur", lambda x, s: blur(x, s, mode="constant"), "border grows dark"),
    ("08.blur", lambda x, s: blur(x, s, scale=False), "does not sum to one"),
    ("08.blur", lambda x, s: blur(x, s, half=1.0), "2 * sigma**2"),
    ("08.blur", lambda x, s: blur(x, s, mix=True), "colours were mixed"),
    ("08.blur", rows_only, "up and down alone"),
    ("08.blur", lambda x, s: blur(x, s)[:, :, 2:-2, 2:-2], "pad two pixels"),
    ("08.soft_loss", lambda s, t, k: soft(s, t, k, power=0), "so multiply by T²"),
    ("08.soft_loss", lambda s, t, k: soft(s, t, k, power=1), "one factor T is missing"),
    ("08.soft_loss", lambda s, t, k: soft(s, t, k, reduction="sum"), "that is the sum"),
    ("08.soft_loss", lambda s, t, k: soft(s, t, k) / s.shape[1], "sum over classes"),
    ("08.soft_loss", lambda s, t, k: soft(t, s, k), "exchanged"),
    ("08.soft_loss", lambda s, t, k: k**2 * F.cross_entropy(s, (t / k).softmax(1)), "only the teacher"),
    ("08.soft_loss", lambda s, t, k: k**2 * F.cross_entropy(s / k, t.softmax(1)), "only the student"),
    ("08.soft_loss", lambda s, t, k: k**2 * F.cross_entropy(s / k, t.argmax(1)), "hard labels"),
    ("08.soft_loss", lambda s, t, k: soft(s, t, k).item(), "no .item()"),
    ("08.soft_loss", lambda s, t, k: -soft(s, t, k), "the sign is turned: a loss"),
    ("08.anomaly", lambda n: -anomaly(n), "the sign is turned: a small"),
    ("08.anomaly", lambda n: anomaly(n, constant=1.0), "1.4826 is missing"),
    ("08.anomaly", lambda n: (n.mean() - n) / n.std(), "moved by the very outlier"),
    ("08.anomaly", lambda n: abs(anomaly(n)), "keep the sign"),
    ("08.anomaly", lambda n: anomaly(n, constant=1 / 1.482602), "makes the scale larger"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
