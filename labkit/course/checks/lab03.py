"""Checks of lab 03, utility for a target: against autograd, eigenvectors, Google's accountant and plain enumeration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.data import Dataset


@exercise(
    "03.normalise",
    title="standardise each image by itself",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference="labkit.dp.utility.scattering:standardise",
)
def check_normalise(attempt: Callable) -> None:
    """Elementwise against the definition on images and on vectors, whoever else is in the batch; blanks become zeros."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 5, 5, generator=generator)
    # Channels differ in mean and spread, so that one channel at a time is another answer.
    images = images * torch.tensor([1.0, 5, 0.3, 2])[:, None, None, None] + torch.arange(3.0)[:, None, None]
    images[:, 2] *= 2
    _check_normalised(attempt, images)
    _check_blanks(attempt, images[:1])
    try:
        _check_normalised(attempt, 3 * torch.rand(3, 7, generator=generator) + 1)
    except (IndexError, ValueError, RuntimeError) as error:
        because = "that is written for pictures of four axes: `x` is (n, ...), so flatten each record first, x.flatten(1)"
        raise Wrong(
            "3 records of shape (7,)", f"{type(error).__name__}: {error}", "shape (3, 7)", because
        ) from None


def _check_blanks(attempt: Callable, image: Tensor) -> None:
    """Records of equal numbers become zeros, and an image beside them stays what it is."""
    import torch

    blanks = torch.cat([torch.full((1, 3, 5, 5), 0.5), torch.zeros(1, 3, 5, 5), image])
    got = attempt(blanks.clone()).to(blanks.dtype)
    if not torch.isfinite(got).all():
        because = "a blank image has standard deviation 0: add a small constant before you divide"
        raise Wrong("a record of equal numbers", "NaN or infinity", "zeros", because)
    # A mean rounds in its last place, and a tiny constant in the denominator blows that up to a few hundredths.
    if (got[:2].abs() > 0.2).any() or not torch.allclose(got[2:], _normal_rows(image), atol=0.03):
        because = "a record of equal numbers becomes zeros: subtract its mean like any other's, then divide by deviation + constant"
        shown = f"numbers from {float(got[:2].min()):.3g} to {float(got[:2].max()):.3g}"
        raise Wrong(
            "two records of equal numbers (0.5 and 0), one image", shown, "zeros for the two", because
        )


def _normal_rows(x: Tensor, correction: int = 0) -> Tensor:
    """Standardise each record over all its numbers, in double precision."""
    dims = tuple(range(1, x.ndim))
    y = x.double()
    y = (y - y.mean(dims, keepdim=True)) / y.std(dims, correction=correction, keepdim=True)
    return y.to(x.dtype)


def _check_normalised(attempt: Callable, x: Tensor) -> None:
    """Compare one batch with the definition; n or n - 1 in the deviation are both a standard deviation."""
    import torch

    given = f"{len(x)} records of shape {tuple(x.shape[1:])}"
    got = attempt(x.clone())
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        shape = tuple(getattr(got, "shape", ()))
        raise Wrong(given, f"shape {shape}", f"shape {tuple(x.shape)}", "keep the shape of the input")
    got = got.to(x.dtype)  # working in doubles is no mistake
    alone = torch.cat([attempt(x[i : i + 1].clone()) for i in range(len(x))]).to(x.dtype)
    if not torch.allclose(got, alone, atol=1e-4, equal_nan=True):
        because = (
            "a record's result changes with the others in the batch: statistics over the batch are private"
        )
        raise Wrong(given, "a different result for a record alone", "the same result", because)
    if any(torch.allclose(got, _normal_rows(x, correction), atol=2e-3, rtol=2e-3) for correction in (0, 1)):
        return
    rows = got.flatten(1)
    mean, deviation = float(rows[0].mean()), float(rows[0].std(correction=0))
    shown = f"record 0: mean {mean:.3g}, deviation {deviation:.3g}"
    channels = x.ndim == 4 and torch.allclose(got.mean((2, 3)), torch.zeros(x.shape[:2]), atol=1e-3)
    if channels and torch.allclose(got.std((2, 3)), torch.ones(x.shape[:2]), atol=0.1):
        because = "each channel was standardised by itself; one mean and one deviation go over all of a record's numbers"
    elif not torch.allclose(rows.mean(1), torch.zeros(len(x)), atol=1e-3):
        because = "subtract each record's mean over all its numbers (channels too), not over one axis"
    elif not torch.allclose(rows.std(1, correction=0), torch.ones(len(x)), atol=0.03):
        because = "divide by the standard deviation (the root of the variance) of all of the record's numbers"
    else:
        because = "mean and deviation are right, the numbers are not: only subtract and divide, each record by one pair of numbers"
    raise Wrong(given, shown, "mean 0, deviation 1, over all numbers", because)


@exercise(
    "03.whiten",
    title="whiten with public images only",
    points=3,
    difficulty=3,
    importance=4,
    minutes=15,
    reference="labkit.dp.utility.features:whitening",
)
def check_whiten(attempt: Callable) -> None:
    """Against the eigenvectors of the covariance: centre, subspace and variances."""
    import torch

    torch.manual_seed(0)
    scales = torch.tensor([5.0, 3, 2, 1, 0.5, 0.2])
    x = (torch.randn(400, 6) * scales) @ torch.linalg.qr(torch.randn(6, 6))[0] + torch.arange(6.0)
    dimension, damping = 3, 0.1
    given = {"x": "400 vectors of length 6", "dimension": dimension, "damping": damping}
    result = attempt(x.clone(), dimension, damping=damping)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Wrong(given, result, "(mean, projection)", "return two tensors: the mean and the projection")
    mean, projection = result
    expect_close(
        mean, x.mean(0), given=given, because="the centre is the mean of the public vectors", rtol=1e-4
    )
    if tuple(projection.shape) != (6, dimension):
        because = "the projection has one column for each kept direction"
        raise Wrong(given, f"projection of shape {tuple(projection.shape)}", f"(6, {dimension})", because)
    values, vectors = torch.linalg.eigh(torch.cov(x.T).double())
    values, vectors = values.flip(0)[:dimension], vectors.flip(1)[:, :dimension]
    lengths = projection.double().norm(dim=0)
    along = (vectors.T @ projection.double()).abs() / lengths
    if not torch.allclose(along, torch.eye(dimension, dtype=torch.float64), atol=0.02):
        because = (
            "keep the directions of largest variance, largest first (torch.linalg.eigh sorts them ascending)"
        )
        raise Wrong(given, f"columns along main directions: {along.diagonal()}", "1 each", because)
    wanted = (values + damping * values[0]).rsqrt()
    causes = {
        "damping is a share of the largest variance: add damping * λ_1": (values + damping).rsqrt(),
        "damping is missing: divide by the root of (variance + damping * largest variance)": values.rsqrt(),
        "divide by the root of the damped variance, not by the variance itself": wanted.square(),
        "the directions are there; their variances were not evened out": torch.ones_like(wanted),
    }
    if not torch.allclose(lengths, wanted, rtol=0.02):
        near = min(causes, key=lambda why: float((lengths / causes[why] - 1).abs().max()))
        fits = torch.allclose(lengths, causes[near], rtol=0.02)
        because = near if fits else "column j has length 1 / sqrt(λ_j + damping * λ_1)"
        raise Wrong(given, f"columns of length {lengths.tolist()}", f"{wanted.tolist()}", because)


def gradient_norms(x: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Return the norm of each record's gradient of softmax regression with a bias, shape [b]."""
    from labkit.dp.training.linear import residuals

    return residuals(logits, y).norm(dim=1) * (x.square().sum(1) + 1).sqrt()


@exercise(
    "03.closed_form_norm",
    title="per-record gradient norms without gradients",
    points=3,
    difficulty=3,
    importance=5,
    minutes=10,
    reference=gradient_norms,
)
def check_closed_form_norm(attempt: Callable) -> None:
    """Against autograd, one record at a time; no record of the last class, so that labels do not give their number away."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    torch.manual_seed(1)
    x, y, layer = torch.randn(5, 7), torch.tensor([0, 2, 1, 1, 0]), torch.nn.Linear(7, 4)
    logits = layer(x).detach()
    wanted = torch.zeros(5)
    for i in range(5):
        layer.zero_grad()
        F.cross_entropy(layer(x[i : i + 1]), y[i : i + 1]).backward()
        wanted[i] = (layer.weight.grad.square().sum() + layer.bias.grad.square().sum()).sqrt()
    given = {"x": "5 records of 7 features", "logits": "for 4 classes", "y": y}
    try:
        got = attempt(x.clone(), logits.clone(), y.clone())
    except RuntimeError as error:
        # NotImplementedError is a RuntimeError too, and says that the stub is still there.
        if isinstance(error, NotImplementedError) or not ("(3)" in str(error) and "(4)" in str(error)):
            raise
        because = "the number of classes is that of the logits' columns: one_hot(y) alone counts only up to the largest label seen"
        raise Wrong(given, str(error), wanted, because) from None
    p = logits.softmax(1)
    r = p - F.one_hot(y, 4)
    mistakes = {
        "the bias is missing: it is a weight on a constant feature 1, so |x|² grows by 1": r.norm(dim=1)
        * x.norm(dim=1),
        "that is the squared norm: take the root": wanted.square(),
        "the gradient in the logits is softmax minus the one-hot label, not softmax alone": p.norm(dim=1)
        * (x.square().sum(1) + 1).sqrt(),
        "the bias adds 1 to |x|², under the root, not to |x|": r.norm(dim=1) * (x.norm(dim=1) + 1),
    }
    because = "write one record's gradient as a column times a row (the bias is a weight, too): what is the norm of such a matrix?"
    if isinstance(got, torch.Tensor) and got.shape == wanted.shape:
        because = next(
            (why for why, value in mistakes.items() if torch.allclose(got, value, rtol=1e-4)), because
        )
    expect_close(got, wanted, given=given, because=because, rtol=1e-4)


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
        because = "test records were used to choose: what they say about the chosen settings is then too good. Measure on dataset.holdout(...)"
        raise Wrong(given, "test records in a split", "a split of the train records", because)
    common = max((len(trained & measured) for trained, measured in splits), default=0)
    if common:
        because = "a model knows the records that it was trained on: train and measure on different ones, as dataset.holdout(...) parts them"
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


def smallest_epsilon(
    epsilons: Sequence[float], accuracies: Sequence[Sequence[float]], required: float
) -> float | None:
    """Return the smallest ε whose lower 95% bound over seeds reaches ``required``, or None."""
    from labkit import stats

    enough = [
        e for e, runs in zip(epsilons, accuracies, strict=True) if stats.mean_interval(runs).low >= required
    ]
    return min(enough, default=None)


@exercise(
    "03.smallest_epsilon",
    title="the smallest ε that is accurate enough",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference=smallest_epsilon,
)
def check_smallest_epsilon(attempt: Callable) -> None:
    """On runs where mean, luckiest seed and lower bound each give another answer."""
    import numpy as np
    from scipy import stats

    epsilons = [8.0, 1.0, 2.0, 4.0, 0.5]
    runs = [
        [0.990, 0.991, 0.990],
        [0.950, 0.998, 0.960],  # its mean is below the target, its luckiest seed above
        [0.970, 0.985, 0.998],  # its mean is above the target, its lower bound below
        [0.985, 0.986, 0.985],
        [0.902, 0.912, 0.907],  # for targets just below 0.9, every interval but the right one is too narrow
    ]

    def student(p: float, ddof: int, root: int = 0) -> Callable:
        return lambda r: (
            np.mean(r) - stats.t.ppf(p, len(r) - 1) * np.std(r, ddof=ddof) / (len(r) - root) ** 0.5
        )

    rules = {
        "use the sample standard deviation, with n - 1 in it (ddof=1): with few runs the other one is too small": student(
            0.975, 0
        ),
        "that is a 90% interval: 95% with two ends leaves 2.5% below the lower one, so t is taken at 0.975": student(
            0.95, 1
        ),
        "that is the normal interval; with few seeds Student's t is wider": lambda r: (
            np.mean(r) - 1.96 * np.std(r, ddof=1) / len(r) ** 0.5
        ),
        "one lucky seed decided: take the interval over all seeds": np.max,
        "the mean decided: half the time the next runs fall short of it. Take the lower end of the interval": np.mean,
    }
    lower = {
        e: np.mean(r) - stats.t.ppf(0.975, len(r) - 1) * np.std(r, ddof=1) / len(r) ** 0.5
        for e, r in zip(epsilons, runs, strict=True)
    }
    # The last runs' lower end is 0.8946; by ddof=0 it is 0.8969, at 90% 0.8986, by the normal law 0.9013.
    for required in (0.98, 0.9, 0.8975, 0.896, 0.9999):
        wanted = min((e for e in epsilons if lower[e] >= required), default=None)
        given = {"epsilons": epsilons, "accuracies": runs, "required": required}
        got = attempt(list(epsilons), [list(r) for r in runs], required)
        if got == wanted and (got is None) == (wanted is None):
            continue
        if wanted is None:
            raise Wrong(given, got, None, "no ε is accurate enough: return None rather than the next best")
        because = (
            "among the ε whose lower 95% bound reaches the target, return the smallest (they are not sorted)"
        )
        for why, rule in rules.items():
            if got == min(
                (e for e, r in zip(epsilons, runs, strict=True) if rule(r) >= required), default=None
            ):
                because = why
                break
        if got == epsilons[0] or (got is not None and got > wanted):
            because = "this ε is enough but not the smallest: privacy was given away for nothing"
        raise Wrong(given, got, wanted, because)
