"""Checks of lab 03 on choosing settings and its price: by enumeration, and against Google's accountant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from labkit.data import Dataset


def pick_on_validation(
    candidates: Sequence[Any], accuracy: Callable[[Any, Dataset], float], dataset: Dataset
) -> Any:
    """Return the candidate that is most accurate on one split of the train records."""
    split = dataset.holdout(len(dataset.train_y) // 5)
    return max(candidates, key=lambda candidate: accuracy(candidate, split))


@exercise(
    "03.pick_on_validation",
    title="choose settings without the test set",
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
    reference=pick_on_validation,
)
def check_pick_on_validation(attempt: Callable) -> None:
    """The accuracy function notes which records it was measured on; the test set would mislead."""
    import torch

    from labkit.data import Dataset

    x = torch.arange(60.0)[:, None]
    y = (torch.arange(60) % 2).long()
    dataset = Dataset("toy", "60 numbered records", False, x[:50], y[:50], x[50:], y[50:], ("a", "b"))
    seen: dict[float, list[tuple[frozenset[float], frozenset[float]]]] = {}

    def accuracy(candidate: float, split: Dataset) -> float:
        trained, measured = (frozenset(part[:, 0].tolist()) for part in (split.train_x, split.test_x))
        seen.setdefault(candidate, []).append((trained, measured))
        return -abs(candidate - (8.0 if max(measured, default=0) >= 50 else 2.0))

    given = "candidates 1, 2, 4, 8; a data set of 50 train and 10 test records"
    got = attempt([1, 2, 4, 8], accuracy, dataset)
    _check_splits(seen, given)
    if got != 2:
        because = "return the candidate itself, the one with the highest accuracy"
        raise Wrong(given, got, 2, because)


def _check_splits(seen: dict[float, list[tuple[frozenset[float], frozenset[float]]]], given: str) -> None:
    """Every candidate met the same splits (one or several), none of which touches the test set or trains on what it measures."""
    splits = [split for met in seen.values() for split in met]
    if any(max(trained | measured, default=0) >= 50 for trained, measured in splits):
        because = "test records were used to choose: what they say about the chosen settings is then too good\nmeasure on dataset.holdout(...)"
        raise Wrong(given, "test records in a split", "a split of the train records", because)
    common = max((len(trained & measured) for trained, measured in splits), default=0)
    if common:
        because = "a model knows the records that it was trained on: train and measure on different ones\ndataset.holdout(...) parts them"
        raise Wrong(given, f"{common} records in both parts of a split", "no record in both", because)
    if len(seen) < 4:
        because = "try every candidate once"
        raise Wrong(given, f"{len(seen)} candidates measured", "all 4", because)
    met = {frozenset(splits) for splits in seen.values()}
    if len(met) > 1:
        because = "each candidate met another split: split once, before the loop, and compare like with like"
        raise Wrong(given, f"{len(met)} different sets of splits", "one set for all candidates", because)


@exercise(
    "03.pareto_front",
    title="the runs that nothing beats",
    points=3,
    difficulty=3,
    importance=4,
    minutes=10,
    reference="labkit.dp.utility.search:pareto_front",
)
def check_pareto_front(attempt: Callable) -> None:
    """Against the definition, on cases by hand and on random ones."""
    import operator
    import random

    cases = [([1.0, 2.0, 4.0], [0.90, 0.95, 0.97]), ([1.0, 2.0, 4.0], [0.90, 0.96, 0.95])]
    cases += [([3.0, 1.0, 2.0], [0.97, 0.97, 0.90]), ([1.0, 1.0, 2.0], [0.9, 0.8, 0.9])]
    rng = random.Random(0)
    cases += [([rng.randint(1, 9) / 2 for _ in range(8)], [rng.randint(80, 99) / 100 for _ in range(8)])]
    cases += [([4.0, 2.0, 1.0], [0.97, 0.96, 0.90]), ([1.0, 1.0, 2.0], [0.9, 0.9, 0.95])]
    for epsilons, accuracies in cases:
        points = list(zip(epsilons, accuracies, strict=True))
        wanted = {
            i
            for i, p in enumerate(points)
            if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
        }
        given = {"epsilons": epsilons, "accuracies": accuracies}
        came = attempt(list(epsilons), list(accuracies))
        try:  # whatever can be an index will do: int, np.int64, a tensor of one whole number; but True is no position
            got = [operator.index(i) for i in came]
            positions = not any(isinstance(i, bool) for i in came) and all(0 <= i < len(points) for i in got)
        except TypeError:
            positions = False
        if not positions:
            raise Wrong(given, came, sorted(wanted), "return positions of runs: whole numbers from 0")
        if len(set(got)) != len(got):
            raise Wrong(given, got, sorted(wanted), "a position stands there twice: each run is named once")
        if set(got) - wanted:
            beaten = points[min(set(got) - wanted)]
            because = (
                f"{beaten} stays, although another run has no more ε and no less accuracy (small ε is good)"
            )
            raise Wrong(given, got, sorted(wanted), because)
        if wanted - set(got):
            lost = points[min(wanted - set(got))]
            because = (
                f"an equal run of {lost} is missing: equal runs do not beat each other, so both stay"
                if lost in [points[i] for i in got]
                else f"{lost} is missing: no run is at least as good in both. Accuracy alone does not decide"
            )
            raise Wrong(given, got, sorted(wanted), because)
        if got != sorted(got, key=lambda i: points[i][0]):
            raise Wrong(given, got, sorted(got, key=lambda i: points[i]), "sort the front by ascending ε")


def epsilon_with_tuning(
    noise_multiplier: float, sample_rate: float, steps: int, trials: int, delta: float
) -> float:
    """Return the ε (PLD) of publishing all of ``trials`` equal training runs."""
    from labkit.dp.accounting.statement import SampledGaussian, TuningCost, privacy_statement

    event = SampledGaussian(noise_multiplier, steps, sample_rate)
    return privacy_statement(event, delta=delta, tuning=TuningCost(trials)).epsilon


@exercise(
    "03.epsilon_with_tuning",
    title="what a number of trials costs",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference=epsilon_with_tuning,
)
def check_epsilon_with_tuning(attempt: Callable) -> None:
    """Against dp-accounting's PLD of all steps of all trials."""
    noise, rate, steps, trials, delta = 4.0, 0.05, 60, 9, 1e-5
    given = {
        "noise_multiplier": noise,
        "sample_rate": rate,
        "steps": steps,
        "trials": trials,
        "delta": delta,
    }
    wanted, single = (_pld(noise, rate, steps * k, delta) for k in (trials, 1))
    got = attempt(noise, rate, steps, trials, delta)
    because = "compose the steps of all trials: the accountant sees trials times as many"
    if isinstance(got, int | float):
        if abs(got - single) < 0.02 * single:
            because = "that is one run: the other trials looked at the records too"
        elif abs(got - trials * single) < 0.02 * trials * single:
            because = "ε was multiplied by the number of trials. k runs of (ε, δ) do give kε, but that is valid at kδ only, and far too much: let the accountant compose at δ"
    expect_close(got, wanted, given=given, because=because, rtol=0.02)


def _pld(noise: float, rate: float, steps: int, delta: float) -> float:
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    event = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise))
    return PLDAccountant(value_discretization_interval=1e-3).compose(event, steps).get_epsilon(delta)
