"""Lab 03's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from proofs import prove_mistake
from scipy import stats
from torch.nn import functional as F  # noqa: N812

from labkit.course import check, find


def whiten_with(
    *, centre: bool = True, ascending: bool = False, damp: str = "share", power: float = -0.5
) -> Callable:
    """A whitening by a full eigendecomposition, with switches for the usual mistakes."""

    def attempt(x, dimension, *, damping):
        mean = x.mean(0) if centre else torch.zeros(x.shape[1])
        values, vectors = torch.linalg.eigh(torch.cov(x.T))
        order = torch.argsort(values, descending=not ascending)[:dimension]
        values, vectors = values[order], vectors[:, order]
        added = {"share": damping * values[0], "absolute": damping, "none": 0}[damp]
        return mean, vectors * (values + added) ** power

    return attempt


def norms_with(*, bias: bool = True, label: bool = True, root: bool = True) -> Callable:
    def attempt(x, logits, y):
        r = logits.softmax(1) - (F.one_hot(y, logits.shape[1]) if label else 0)
        squares = r.square().sum(1) * (x.square().sum(1) + bias)
        return squares.sqrt() if root else squares

    return attempt


def pick_with_all_train_records(candidates, accuracy, dataset):
    """Measures on held-out records, but trains on them too."""
    split = dataset.holdout(10)
    split = replace(split, train_x=dataset.train_x, train_y=dataset.train_y)
    return max(candidates, key=lambda c: accuracy(c, split))


def pick_on_train(candidates, accuracy, dataset):
    """Measures on the very records that it trains on."""
    split = dataset.holdout(10)
    split = replace(split, test_x=split.train_x, test_y=split.train_y)
    return max(candidates, key=lambda c: accuracy(c, split))


def pick_over_three_splits(candidates, accuracy, dataset):
    splits = [dataset.holdout(10, seed=seed) for seed in range(3)]
    return max(candidates, key=lambda c: np.mean([accuracy(c, split) for split in splits]))


def pick_with(*, test: bool = False, fresh: bool = False, worst: bool = False) -> Callable:
    def attempt(candidates, accuracy, dataset):
        split = dataset if test else dataset.holdout(10, seed=3)
        scores = [
            accuracy(c, dataset.holdout(10, seed=i) if fresh else split) for i, c in enumerate(candidates)
        ]
        return candidates[int(np.argmin(scores) if worst else np.argmax(scores))]

    return attempt


def front(epsilons, accuracies):
    """By ascending ε, keep what improves on all before it; equal points stay."""
    kept, best = [], (-1.0, -1.0)
    for i in sorted(range(len(epsilons)), key=lambda i: (epsilons[i], -accuracies[i])):
        if accuracies[i] > best[1] or (epsilons[i], accuracies[i]) == best:
            kept, best = [*kept, i], (epsilons[i], accuracies[i])
    return kept


def sweep(epsilons, accuracies):
    """A sweep that keeps only what is strictly better: it drops equal runs."""
    kept, best = [], -1.0
    for i in sorted(range(len(epsilons)), key=lambda i: (epsilons[i], -accuracies[i])):
        if accuracies[i] > best:
            kept, best = [*kept, i], accuracies[i]
    return kept


def spent(steps: Callable, factor: Callable = lambda k: 1) -> Callable:
    def attempt(noise_multiplier, sample_rate, steps_, trials, delta):
        event = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
        accountant = PLDAccountant(value_discretization_interval=1e-3).compose(event, steps(steps_, trials))
        return factor(trials) * accountant.get_epsilon(delta)

    return attempt


def smallest_by(bound: Callable, pick: Callable = min) -> Callable:
    def attempt(epsilons, accuracies, required):
        enough = [e for e, runs in zip(epsilons, accuracies, strict=True) if bound(runs) >= required]
        return pick(enough) if enough else None

    return attempt


def t_bound(runs):
    """One more run, by the definition: a difference of a new run and a mean has variance s^2 (1 + 1/k)."""
    scale = stats.sem(runs) * np.sqrt(len(runs) + 1)
    return stats.t.ppf(0.05, len(runs) - 1, np.mean(runs), scale)


def mean_bound(runs, level=0.95):
    return stats.t.interval(level, len(runs) - 1, np.mean(runs), stats.sem(runs))[0]


def exact(first, second):
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    return min(1.0, 2 * stats.binom.cdf(min(b, c), b + c, 0.5)) if b + c else 1.0


def unpaired(first, second):
    p, q, n = first.mean(), second.mean(), len(first)
    m = (p + q) / 2
    return 2 * stats.norm.sf(abs(p - q) / np.sqrt(max(2 * m * (1 - m) / n, 1e-12)))


def standardise(x):
    rows = x.flatten(1)
    return ((rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-6)).view_as(x)


def per_channel(x):
    dims = tuple(range(2, x.ndim)) or (1,)
    return (x - x.mean(dims, keepdim=True)) / (x.std(dims, keepdim=True) + 1e-5)


def with_blanks(value: Callable) -> Callable:
    """A right answer but for records of equal numbers, which become ``value(record)``."""

    def attempt(x):
        blank = x.flatten(1).std(1) < 1e-6
        y = standardise(x)
        y[blank] = value(x[blank])
        return y

    return attempt


def population(x):
    rows = x.flatten(1).double()
    y = (rows - rows.mean(1, keepdim=True)) / rows.std(1, correction=0, keepdim=True)
    return y.nan_to_num(0.0).view_as(x).float()


ALSO_RIGHT = [
    ("03.normalise", population),
    ("03.normalise", lambda x: standardise(x.double())),
    ("03.normalise", with_blanks(torch.zeros_like)),
    (
        "03.normalise",
        lambda x: F.layer_norm(x, x.shape[1:]),
    ),
    (
        "03.normalise",
        lambda x: torch.stack([(r - r.mean()) / (r.std() + 1e-8) for r in x]),
    ),
    ("03.pick_on_validation", pick_over_three_splits),
    ("03.pareto_front", lambda e, a: np.array(front(e, a))),
    ("03.pareto_front", lambda e, a: [np.int64(i) for i in front(e, a)]),
    ("03.pareto_front", lambda e, a: torch.tensor(front(e, a))),
]
RIGHT = {
    "03.normalise": standardise,
    "03.whiten": whiten_with(),
    "03.closed_form_norm": norms_with(),
    "03.pick_on_validation": pick_with(),
    "03.pareto_front": front,
    "03.epsilon_with_tuning": spent(lambda steps, k: steps * k),
    "03.smallest_epsilon": smallest_by(t_bound),
    "03.paired": exact,
    "03.share_bought": lambda accuracy, prior: 1 - (1 - accuracy) / (1 - prior),
}

MISTAKES = [
    ("03.normalise", per_channel, "each channel was standardised by itself"),
    ("03.normalise", with_blanks(torch.ones_like), "becomes zeros"),
    ("03.normalise", with_blanks(lambda x: x), "becomes zeros"),
    (
        "03.normalise",
        lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-5),
        "pictures of four axes",
    ),
    ("03.normalise", lambda x: standardise(x).abs(), "subtract each record's mean"),
    ("03.normalise", lambda x: -standardise(x), "the numbers are not"),
    (
        "03.closed_form_norm",
        lambda x, logits, y: (logits.softmax(1) - F.one_hot(y)).norm(dim=1) * (x.square().sum(1) + 1).sqrt(),
        "only the largest that was seen",
    ),
    (
        "03.closed_form_norm",
        lambda x, logits, y: (
            (logits.softmax(1) - F.one_hot(y, 3)).norm(dim=1) * (x.square().sum(1) + 1).sqrt()
        ),
        "that of the logits' columns",
    ),
    ("03.pick_on_validation", pick_with_all_train_records, "knows the records that it was trained on"),
    ("03.pick_on_validation", pick_on_train, "knows the records that it was trained on"),
    ("03.pareto_front", sweep, "both stay"),
    ("03.pareto_front", lambda e, a: [i for i in front(e, a) for _ in range(2)], "stands there twice"),
    ("03.pareto_front", lambda e, a: [float(i) for i in front(e, a)], "whole numbers from 0"),
    ("03.pareto_front", lambda e, a: [i in front(e, a) for i in range(len(e))], "whole numbers from 0"),
    ("03.epsilon_with_tuning", spent(lambda steps, k: steps, lambda k: k), "valid at kδ only"),
    ("03.smallest_epsilon", smallest_by(mean_bound), "lower end of an interval of the mean"),
    ("03.smallest_epsilon", smallest_by(lambda r: mean_bound(r, 0.9)), "bounds the mean of many runs"),
    (
        "03.smallest_epsilon",
        smallest_by(
            lambda r: np.mean(r) - stats.t.ppf(0.95, len(r) - 1) * np.std(r) * np.sqrt(1 + 1 / len(r))
        ),
        "ddof=1",
    ),
    (
        "03.smallest_epsilon",
        smallest_by(
            lambda r: (
                np.mean(r) - stats.t.ppf(0.975, len(r) - 1) * np.std(r, ddof=1) * np.sqrt(1 + 1 / len(r))
            )
        ),
        "two sides",
    ),
    ("03.paired", unpaired, "as if they came from different records"),
    (
        "03.paired",
        lambda a, b: stats.binom.sf((a & ~b).sum() - 1, (a ^ b).sum(), 0.5) if (a ^ b).any() else 1.0,
        "one side only",
    ),
    ("03.paired", lambda a, b: stats.binomtest(int((a & ~b).sum()), len(a)).pvalue, "no coin flips"),
    ("03.share_bought", lambda accuracy, prior: accuracy - prior, "points of accuracy"),
    ("03.share_bought", lambda accuracy, prior: (accuracy - prior) / prior, "right already"),
    ("03.share_bought", lambda accuracy, prior: accuracy / prior, "ratio of accuracies"),
    (
        "03.normalise",
        lambda x: (x - x.mean(0)) / (x.std(0, correction=0) + 1e-5),
        "statistics over the batch",
    ),
    ("03.normalise", lambda x: (x - x.mean()) / x.std(), "statistics over the batch"),
    (
        "03.normalise",
        lambda x: (
            (x - x.mean((2, 3), keepdim=True)) / (x.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-5)
        ),
        "divide by the standard",
    ),
    ("03.normalise", lambda x: x / (x.std((1, 2, 3), keepdim=True) + 1e-5), "subtract each record's mean"),
    (
        "03.normalise",
        lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True),
        "a blank image",
    ),
    ("03.normalise", lambda x: standardise(x).flatten(1), "keep the shape"),
    ("03.whiten", whiten_with(centre=False), "the centre is the mean"),
    ("03.whiten", whiten_with(ascending=True), "largest first"),
    ("03.whiten", whiten_with(damp="absolute"), "share of the largest variance"),
    ("03.whiten", whiten_with(damp="none"), "damping is missing"),
    ("03.whiten", whiten_with(power=-1.0), "not by the variance itself"),
    ("03.whiten", whiten_with(power=0.0), "not evened out"),
    ("03.closed_form_norm", norms_with(bias=False), "the bias is missing"),
    ("03.closed_form_norm", norms_with(label=False), "minus the one-hot label"),
    ("03.closed_form_norm", norms_with(root=False), "squared norm"),
    ("03.pick_on_validation", pick_with(test=True), "test records were used"),
    ("03.pick_on_validation", pick_with(fresh=True), "another split"),
    ("03.pick_on_validation", pick_with(worst=True), "highest accuracy"),
    ("03.pick_on_validation", lambda candidates, accuracy, dataset: candidates[1], "every candidate once"),
    ("03.pareto_front", lambda e, a: [int(np.argmax(a))], "Accuracy alone"),
    ("03.pareto_front", lambda e, a: list(range(len(e))), "no more ε and no less accuracy"),
    ("03.pareto_front", lambda e, a: front([-v for v in e], a), "no run is at least as good in both"),
    ("03.pareto_front", lambda e, a: sorted(front(e, a)), "ascending ε"),
    ("03.epsilon_with_tuning", spent(lambda steps, k: steps), "one run"),
    ("03.epsilon_with_tuning", spent(lambda steps, k: steps, lambda k: k), "multiplied"),
    ("03.smallest_epsilon", smallest_by(np.mean), "the mean decided"),
    ("03.smallest_epsilon", smallest_by(np.max), "one lucky seed"),
    ("03.smallest_epsilon", smallest_by(t_bound, max), "not the smallest"),
    (
        "03.smallest_epsilon",
        smallest_by(lambda r: np.mean(r) - 1.645 * np.std(r, ddof=1) * np.sqrt(1 + 1 / len(r))),
        "Student's t reaches further",
    ),
    (
        "03.smallest_epsilon",
        lambda e, a, r: smallest_by(t_bound)(e, a, r) or max(e),
        "return None",
    ),
]


def stub(*args: object, **kwargs: object) -> None:
    raise NotImplementedError("your turn")


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    assert check(name, stub).status == "not attempted"
    outcome = check(name, RIGHT[name])
    assert outcome.status == "passed", outcome
    find(name).run(find(name).answer)  # the reference passes its own check


@pytest.mark.parametrize(("name", "attempt"), ALSO_RIGHT)
def test_another_right_answer_passes(name: str, attempt: Callable) -> None:
    outcome = check(name, attempt)
    assert outcome.status == "passed", outcome


@pytest.mark.parametrize(("name", "attempt", "cause"), MISTAKES)
def test_a_mistake_is_named(name: str, attempt: Callable, cause: str) -> None:
    prove_mistake(name, attempt, cause)


def test_every_exercise_of_the_lab_is_proven_here() -> None:
    from labkit.course.exercises.exercise import of_lab

    assert {item.id for item in of_lab("03")} == set(RIGHT)
    assert all(sum(name == mistake for mistake, *_ in MISTAKES) >= 2 for name in RIGHT)
