"""The checks of lab 00: a stub is not attempted, named mistakes are named, right answers pass."""

import numpy as np
import pytest
import torch
from proofs import prove_mistake
from scipy import stats

from labkit.course import check
from labkit.course.exercises import exercise


def _global_seed(shape, scale, seed):
    torch.manual_seed(seed)
    return scale * torch.randn(shape)


def _uniform(shape, scale, seed):
    return 4 * scale * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) / (4 / 12**0.5)


def _numpy_global(shape, scale, seed):
    np.random.seed(seed)
    return torch.from_numpy(np.random.normal(0, scale, shape))


def _shaped(draw):
    """Noise of the right mean and spread but another shape, from ``draw(shape, generator)``."""
    return lambda shape, scale, seed: scale * draw(shape, torch.Generator().manual_seed(seed))


def _laplace(shape, generator):
    u = torch.rand(shape, generator=generator) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs()) / 2**0.5


def _set_overlap(predicted, labels):
    return len(set(predicted.tolist()) & set(labels.tolist())) / len(labels)


def _with_variance(shape, scale, seed):
    return scale**0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _width(confidence, values, quantile, ddof=1, root=True):
    mean, n = np.mean(values), len(values)
    half = quantile((1 + confidence) / 2, n) * np.std(values, ddof=ddof) / (n**0.5 if root else 1)
    return mean, mean - half, mean + half


def _student(p, n):
    return stats.t.ppf(p, n - 1)


MISTAKES = [
    ("00.first_check", _set_overlap, "record by record"),
    (
        "00.first_check",
        lambda predicted, labels: float(torch.isin(predicted, labels).float().mean()),
        "by record",
    ),
    ("00.seeded_noise", _numpy_global, "NumPy's global generator moved"),
    (
        "00.seeded_noise",
        _shaped(lambda shape, g: 12**0.5 * (torch.rand(shape, generator=g) - 0.5)),
        "the shape is not Gaussian",
    ),
    ("00.seeded_noise", _shaped(_laplace), "the shape is not Gaussian"),
    (
        "00.seeded_noise",
        _shaped(lambda shape, g: 2.0 * torch.randint(2, shape, generator=g) - 1),
        "the shape is not Gaussian",
    ),
    ("00.first_check", lambda predicted, labels: int((predicted == labels).sum()), "this is the number"),
    (
        "00.first_check",
        lambda predicted, labels: 100 * float((predicted == labels).float().mean()),
        "percent",
    ),
    ("00.first_check", lambda predicted, labels: float((predicted != labels).float().mean()), "mistakes"),
    ("00.first_check", lambda predicted, labels: predicted == labels, "the shape is"),
    (
        "00.seeded_noise",
        lambda shape, scale, seed: scale * torch.randn(shape),
        "two calls with one seed differ",
    ),
    ("00.seeded_noise", lambda shape, scale, seed: torch.zeros(shape), "the seed is not used"),
    ("00.seeded_noise", _global_seed, "the global generator moved"),
    ("00.seeded_noise", _with_variance, "variance"),
    ("00.seeded_noise", _uniform, "torch.randn, not torch.rand"),
    ("00.per_sample_norms", lambda batch: batch.norm(), "whole batch"),
    ("00.per_sample_norms", lambda batch: batch.flatten(1).abs().sum(1), "L1"),
    ("00.per_sample_norms", lambda batch: (batch**2).flatten(1).sum(1), "square root is missing"),
    ("00.per_sample_norms", lambda batch: batch.norm(dim=-1), "the shape is"),
    ("00.interval", lambda v, c=0.95: _width(c, v, lambda p, n: stats.norm.ppf(p)), "Student quantile"),
    ("00.interval", lambda v, c=0.95: _width(c, v, _student, ddof=0), "the spread is a little too small"),
    ("00.interval", lambda v, c=0.95: _width(c, v, _student, root=False), "the spread of single runs"),
    ("00.interval", lambda v, c=0.95: _width(0.95, v, _student), "which quantile, which spread"),
]
RIGHT = {
    "00.first_check": lambda predicted, labels: (predicted == labels).sum().item() / len(labels),
    "00.seeded_noise": lambda shape, scale, seed: torch.normal(
        0.0, scale, shape, generator=torch.Generator().manual_seed(seed)
    ),
    "00.per_sample_norms": lambda batch: torch.stack([record.square().sum().sqrt() for record in batch]),
    "00.interval": lambda v, c=0.95: _width(c, v, _student),
}


ALSO_RIGHT = [
    (
        "00.seeded_noise",
        lambda shape, scale, seed: torch.from_numpy(np.random.default_rng(seed).normal(0, scale, shape)),
    ),
    (
        "00.first_check",
        lambda predicted, labels: np.mean([p == y for p, y in zip(predicted, labels, strict=True)]),
    ),
]


@pytest.mark.parametrize(("id", "attempt"), ALSO_RIGHT)
def test_another_right_answer_passes(id, attempt):
    assert check(id, attempt).status == "passed"


@pytest.mark.parametrize(("id", "attempt", "says"), MISTAKES)
def test_a_mistake_is_named(id, attempt, says):
    prove_mistake(id, attempt, says)


@pytest.mark.parametrize("id", RIGHT)
def test_stub_reference_and_a_right_answer(id):
    def stub(*args, **kwargs):
        raise NotImplementedError("your turn")

    assert check(id, stub).status == "not attempted"
    exercise.find(id).run(exercise.find(id).answer)  # the reference passes its own check
    assert check(id, RIGHT[id]).status == "passed", "a right answer written in another way"


def test_every_exercise_of_the_lab_is_proven_here():
    ids = {item.id for item in exercise.of_lab("00")}
    assert ids == set(RIGHT)
    for id in ids:
        assert sum(mistake[0] == id for mistake in MISTAKES) >= 2
