"""Mistakes of labs 06 to 10 whose causes no lab's own file proves, and mistakes that must not get a neighbour's cause."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
from proofs import prove_mistake
from scipy.stats import binom
from test_checks_lab06 import chance, marks, strength
from test_checks_lab08 import anomaly, blur, int8, last_only, outcome, prune, soft
from test_checks_lab09 import enough, first, linked, rule, sha, when
from test_checks_lab10 import encode, mask_key, nearest, recover
from test_further_causes import changed

from labkit.course import check, find
from labkit.watermark.marks.keys import Key


def tenth_more(correct: int, guesses: int) -> float:
    return find("06.one_run_epsilon").answer(correct, guesses) * 1.1


def below_zero(correct: int, guesses: int, confidence: float = 0.95) -> float:
    return find("06.one_run_epsilon").answer(correct, guesses) - (correct == 50)


def false_discoveries(p_values: dict, confidence: float = 0.95) -> set:
    """Benjamini and Hochberg (1995): the largest k with p(k) at most 5% k / m."""
    ranked = sorted(p_values, key=p_values.get)
    last = max((k for k, name in enumerate(ranked, 1) if p_values[name] <= 0.05 * k / len(ranked)), default=0)
    return set(ranked[:last])


def holm(p_values: dict, confidence: float = 0.95) -> set:
    refuted, ranked = set(), sorted(p_values, key=p_values.get)
    for k, name in enumerate(ranked):
        if p_values[name] > (1 - confidence) / (len(ranked) - k):
            break
        refuted.add(name)
    return refuted


def selling(refuse: Callable, error: type[Exception] = RuntimeError) -> Callable:
    """Return an interface that refuses where ``refuse(records, left)`` says so."""

    def attempt(model, budget):
        left = budget

        def ask(x):
            nonlocal left
            if refuse(len(x), left):
                raise error("sold out")
            left -= len(x)
            return model(x).softmax(1)

        return ask

    return attempt


def silent(model, budget):
    loud = selling(lambda records, left: records > left, LookupError)(model, budget)

    def ask(x):
        try:
            return loud(x)
        except LookupError:
            return None

    return ask


def without_nonlocal(model, budget):
    left = budget

    def ask(x):
        if len(x) > left:  # noqa: F823 - the mistake: the line below makes it a new name
            raise RuntimeError("sold out")
        left -= len(x)  # noqa: F841
        return model(x).softmax(1)

    return ask


def two_pixels_off(x: torch.Tensor, key: Key, size: int) -> torch.Tensor:
    out = x.clone()
    out[..., -size - 2 : -2, -size - 2 : -2] = torch.from_numpy(key.uniform("patch", (3, size, size)) < 0.5)
    return out


def widths(factor: Callable) -> Callable:
    """Return the right differences with an interval ``factor(pairs)`` times as wide."""

    def attempt(marked, unmarked):
        mean, low, high, seen = find("07.paired").answer(marked, unmarked)
        half = (high - low) / 2 * factor(len(marked))
        return mean, mean - half, mean + half, seen

    return attempt


def one_axis(axis: int) -> Callable:
    """Return the blur of a picture whose other axis was left alone."""

    def attempt(x: torch.Tensor, sigma: float) -> torch.Tensor:
        from scipy import ndimage

        seen = ndimage.gaussian_filter1d(x.double().numpy(), sigma, axis, mode="nearest", radius=2)
        return torch.from_numpy(seen).float()

    return attempt


def weight_alone_trains(model):
    made = last_only(model)
    made[-1].bias.requires_grad_(False)
    return made


def bias_kept(model):
    made = last_only(model)
    made[-1].bias.data = model[-1].bias.data.clone()
    return made


def open_or_all(commitments, released):
    opened = [entry for entry in commitments if entry[2]] or commitments
    return first([(name, moment, True) for name, moment, _ in opened], released)


def tied_before_opened(commitments, released):
    moments = sorted(when(moment) for _, moment, _ in commitments)
    return None if len(moments) > 1 and moments[0] == moments[1] else first(commitments, released)


def null_of_ten_classes(rate, null, alpha, power, most):
    return enough(rate, 0.1, alpha, power, most)


def chain(step: Callable) -> Callable:
    """Return digests made by ``step(entries, place, digest before)``."""

    def attempt(entries):
        digests = []
        for place in range(len(entries)):
            digests.append(step(entries, place, digests[-1] if digests else ""))
        return digests

    return attempt


def said_once(entries):
    known = dict(zip(dict.fromkeys(entries), linked(list(dict.fromkeys(entries))), strict=True))
    return [known[entry] for entry in entries]


def fitting_after_the_cast(values, scale, bound, parties):
    """Infinity becomes the smallest of all int64, whose absolute value is negative."""
    with np.errstate(invalid="ignore"):
        steps = np.rint(values * scale).astype(np.int64)
        if (np.abs(steps) > bound * scale).any():
            raise ValueError("beyond")
    return steps.astype(np.uint32)


def above_alone(values, scale, bound, parties):
    if (values > bound).any():
        raise ValueError("beyond")
    return nearest(values, scale, bound)


def raising(error: type[Exception]) -> Callable:
    def attempt(values, scale, bound, parties):
        try:
            return encode(values, scale, bound, parties)
        except ValueError as problem:
            raise error(str(problem)) from None

    return attempt


def revealed(
    refuse: Callable = lambda alive, gone, t: set(alive) & set(gone) or len(set(alive)) < t,
    answer: Callable = lambda alive, gone: dict.fromkeys(alive, "seed") | dict.fromkeys(gone, "key"),
) -> Callable:
    def attempt(survivors, dropped, threshold):
        if refuse(survivors, dropped, threshold):
            raise ValueError("no")
        return answer(survivors, dropped)

    return attempt


FURTHER = [
    ("06.roc_to_epsilon", changed("06.roc_to_epsilon", lambda right, *_: right * 1.1), "the least favourable ends of both"),
    ("06.roc_to_epsilon", lambda *args: None, "return one number: is there a return?"),
    ("06.guesses", lambda s, t, b: np.abs(marks(s, t, b)), "in the order of the scores"),
    ("06.one_run_epsilon", tenth_more, "the ε at which the p-value is 0.05"),
    ("06.one_run_epsilon", below_zero, "half of all guesses are right by luck"),
    ("06.power", lambda g, e, a: chance(g, e, a, level=0.025), "from which number of right guesses on"),
    ("06.power", lambda g, e, a: chance(g, e, a, level=0.01), "from which number of right guesses on"),
    ("06.white_box_score", lambda u, g: 1 + g @ u.sum(0), "one number for each canary"),
    ("06.white_box_score", lambda u, g: (u @ g.T).sum(1), "not over the canaries"),
    ("06.verdict", lambda p: True, "return the set of refuted numbers"),
    ("06.verdict", lambda p: [p[k] <= 0.01 for k in p], "return the set of refuted numbers"),
    ("06.verdict", false_discoveries, "one for the whole audit"),
    ("06.verdict", lambda p: {k for k in p if p[k] <= 0.001}, "one for the whole audit"),
    ("06.noise_strength", lambda z, s: strength(z, s)[0], "return two numbers, (low, high)"),
    ("07.stamp", lambda x, key, size: None, "return images of the same shape"),
    ("07.stamp", two_pixels_off, "the patch lies elsewhere"),
    ("07.metered", lambda model, budget: model(torch.zeros(1, 4)), "return the function that answers"),
    ("07.metered", without_nonlocal, "the count belongs to the outer function"),
    ("07.metered", selling(lambda records, left: left <= 0), "look at its size before it is answered"),
    ("07.metered", silent, "a refusal that nobody sees"),
    ("07.metered", selling(lambda records, left: records > left, ValueError), "refuse with a RuntimeError"),
    ("07.metered", selling(lambda records, left: left and records > left), "free for the thief"),
    ("07.metered", lambda model, budget: lambda x: model(x).sigmoid(), "soft labels: the softmax"),
    ("07.agreement", changed("07.agreement", lambda right, *_: (right[0], right[1] / 2, right[2])), "its interval is the exact one of a share"),
    ("07.mark_p_value", lambda hits, n, null: binom.sf(hits - 1, n, 0.5), "at which rate does the likeliest innocent hit"),
    ("07.paired", widths(lambda pairs: 2.1), "larger than the half-width"),
    ("07.paired", widths(lambda pairs: 0.9), "larger than the half-width"),
    ("08.outcome", lambda p, alpha, b, a: outcome(p, alpha, b, a, loss=lambda b, a: (b - a) * 5 / 3), "at most five points"),
    ("08.outcome", lambda p, alpha, b, a: outcome(p, 0.001, b, a), "a p-value below alpha proves the mark"),
    ("08.prune", lambda w, s: prune(w, s / 2), "the smallest magnitudes of all tensors together go"),
    ("08.int8", lambda w: int8(w, most=63), "each output channel has a scale of its own"),
    ("08.last_only", lambda model: None, "return the changed copy"),
    ("08.last_only", weight_alone_trains, "alone trains, weight and bias"),
    ("08.last_only", bias_kept, "weights or bias"),
    ("08.blur", lambda x, sigma: x.clone(), "nothing was blurred"),
    ("08.blur", one_axis(2), "up and down alone"),
    ("08.blur", one_axis(3), "left and right alone"),
    ("08.blur", lambda x, sigma: blur(x, 2 * sigma), "fall off as a Gaussian of the distance"),
    ("08.soft_loss", lambda s, t, temperature: 3 * soft(s, t, temperature), "both softened by the same temperature"),
    ("08.anomaly", lambda norms: 1 + anomaly(norms), "below the middle one"),
    ("09.follows", lambda brought, key, draw: False, "as many as were brought"),
    ("09.first_to_commit", open_or_all, "no commitment opens"),
    ("09.first_to_commit", tied_before_opened, "of two at the same instant one does not open"),
    ("09.repeated", lambda o, s, t: 0.123, "makes in the same way"),
    ("09.another_innocent", changed("09.another_innocent", lambda right, *_: right / 3), "a mean that is itself uncertain"),
    ("09.queries_for", null_of_ten_classes, "1/10 is not the null rate"),
    ("09.queries_for", lambda *args: 7, "two laws are asked"),
    ("09.convict", lambda p, *args: [False] * len(p), "a dead mark does not acquit"),
    ("09.convict", lambda p, *args: rule(p, *args, parts=p.size), "the others cannot convict"),
    ("09.chain", chain(lambda entries, place, before: sha("".join(entries[max(0, place - 1) : place + 1]))), "in all later ones, and in none before"),
    ("09.chain", chain(lambda entries, place, before: sha(before + str(place))), "the entry itself is not in its digest"),
    ("09.chain", said_once, "a repeated entry changes nothing"),
    ("10.recover", lambda shares, prime: "secret", "return one whole number"),
    ("10.recover", lambda shares, prime: (recover(shares, prime) + 1) % prime, "on the numbers of all holders"),
    ("10.reveal", revealed(lambda alive, gone, t: (set(gone) and set(gone) <= set(alive)) or len(set(alive)) < t), "Birch is listed twice"),
    ("10.reveal", revealed(lambda alive, gone, t: set(alive) & set(gone) or 0 < len(set(alive)) < t), "nobody is left"),
    ("10.reveal", revealed(answer=lambda alive, gone: [*alive, *gone]), "return a dict"),
    ("10.reveal", revealed(answer=lambda alive, gone: dict.fromkeys([*alive, *gone], "seed")), 'for each survivor, "key"'),
    ("10.reveal", revealed(answer=lambda alive, gone: dict.fromkeys(alive, "seed")), "without the keys of the dropped"),
    ("10.reveal", revealed(answer=lambda alive, gone: dict.fromkeys(gone, "key")), "without the seeds of the survivors"),
    ("10.mask_key", lambda *parts: os.urandom(32), "nothing here may be random"),
    ("10.encode", lambda *given: encode(*given).tolist(), "return the array of words"),
    ("10.encode", lambda *given: encode(*given)[:3], "one word for each value"),
    ("10.encode", raising(OverflowError), "refuse with a ValueError"),
    ("10.encode", lambda *given: encode(*given) + np.uint32(1), "these are not the values in grid steps"),
    ("10.encode", above_alone, "values below -bound do not fit either"),
    ("10.encode", fitting_after_the_cast, "infinity fits no grid"),
    ("10.mask_key", lambda s, r, a, b: hashlib.sha256(mask_key(s, r, a[0], b[0])).digest(), "its last letter, too"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "attempt", "cause"), FURTHER, ids=[f"{id}-{cause}" for id, _, cause in FURTHER]
)
def test_a_further_mistake_is_told_its_own_cause(id, attempt, cause):
    prove_mistake(id, attempt, cause)


def test_a_valid_procedure_that_refutes_more_passes():
    assert check("06.verdict", holm).status == "passed"
