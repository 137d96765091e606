"""Checks of lab 02: Poisson batches, clipping and the noisy mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.course.exercises.exercise import Wrong, exercise

if TYPE_CHECKING:
    from torch import Tensor

TEXTBOOK = "labkit.dp.training.textbook"


@exercise(
    "02.poisson_batch",
    title="draw a Poisson batch",
    points=2,
    difficulty=1,
    importance=5,
    minutes=5,
    reference=f"{TEXTBOOK}:poisson_batch",
)
def check_poisson_batch(attempt: Callable) -> None:
    """Batches are index sets without repeats: each record joins with probability q, whoever else does.

    Three settings: many records at a small rate; few, so that most batches are empty; a rate of one half, where
    sizes and pairs tell a coin for each record from a size drawn first. The seeds are fixed.
    """
    import torch

    given, batches = _draw_batches(attempt, 1000, 0.02, 400)
    _check_generator("n=1000, sample_rate=0.02", lambda generator: attempt(1000, 0.02, generator))
    _check_sizes(given, batches, 1000, 0.02)
    drawn = len(torch.cat(batches).unique())
    if drawn < 990:
        raise Wrong(
            given=given,
            got=f"only {drawn} of 1000 records ever drawn",
            expected="all of them, sooner or later",
            because="some records never join: at every step each flips a coin of its own",
        )
    given, batches = _draw_batches(attempt, 5, 0.1, 2000)
    _check_empty(given, batches, 5, 0.1)
    _check_sizes(given, batches, 5, 0.1)
    given, batches = _draw_batches(attempt, 40, 0.5, 400)
    _check_sizes(given, batches, 40, 0.5)
    _check_independence(given, batches, 40, 0.5)


def _draw_batches(attempt: Callable, n: int, sample_rate: float, draws: int) -> tuple[str, list[Tensor]]:
    """Return the setting in words and one batch for each seed; what is no set of record numbers is refused."""
    import torch

    given = f"n={n}, sample_rate={sample_rate}, {draws} generators"
    batches = [attempt(n, sample_rate, torch.Generator().manual_seed(seed)) for seed in range(draws)]
    for batch in batches:
        _check_record_numbers(given, batch, n)
    return given, batches


def _check_record_numbers(given: str, batch: Tensor, n: int) -> None:
    """Refuse what is not a set of record numbers, an empty one included."""
    import torch

    if not isinstance(batch, torch.Tensor) or batch.dtype != torch.int64 or batch.ndim != 1:
        kind, shape = getattr(batch, "dtype", type(batch).__name__), tuple(getattr(batch, "shape", ()))
        raise Wrong(
            given=given,
            got=f"{kind} of shape {shape}",
            expected="a 1-D int64 tensor of record numbers",
            because=_why_no_record_numbers(batch, n),
        )
    repeated = len(batch) - len(batch.unique())
    outside = len(batch) and not 0 <= int(batch.min()) <= int(batch.max()) < n
    if repeated or outside:
        raise Wrong(
            given=given,
            got=f"{repeated} repeated records, numbers from {int(batch.min())} to {int(batch.max())}",
            expected=f"distinct numbers in 0..{n - 1}",
            because="there is no such record: as everywhere in Python, the first has the number 0"
            if outside
            else "each record flips its own coin once: it is in or out, never in twice (no sampling with replacement)",
        )


def _why_no_record_numbers(batch: object, n: int) -> str:
    """Tell a mask, a column and an empty list from all else that is no 1-D tensor of int64."""
    import torch

    if isinstance(batch, torch.Tensor) and batch.shape == (0,):
        return "an empty batch is a tensor of int64 too, and an empty list becomes one of floats\nsay dtype=torch.int64"
    if isinstance(batch, torch.Tensor) and batch.shape == (n,) and ((batch == 0) | (batch == 1)).all():
        return "a mask came back: it says who is in; record numbers are wanted\n`.nonzero().flatten()` turns it into record numbers"
    if isinstance(batch, torch.Tensor) and batch.dtype == torch.int64:
        return "the record numbers do not stand in one row: nonzero() gives a column\nadd .flatten()"
    return "record numbers are wanted in a 1-D tensor of int64: something else came back"


def _check_generator(given: str, draw: Callable) -> None:
    """All randomness comes from the generator given: it moves on, it replays, and the global one stays put."""
    import torch

    generator, state = torch.Generator().manual_seed(0), torch.random.get_rng_state()
    first, second, again = draw(generator), draw(generator), draw(torch.Generator().manual_seed(0))
    if len(first) and torch.equal(first, second):  # two empty batches prove nothing
        raise Wrong(
            given=f"{given}, two calls with one generator",
            got="the same draw twice",
            expected="a fresh draw",
            because="every call gives the same: nothing is drawn from the generator that you are given, or a seed is set inside\npass generator=generator, and seed nothing",
        )
    moved = not torch.equal(state, torch.random.get_rng_state())
    if moved or not torch.equal(first, again):
        raise Wrong(
            given=f"{given}, two generators of one seed",
            got="a changed global state" if moved else "two different draws",
            expected="the same draw, and the global generator left alone",
            because="the draw ignores the generator that it is given: pass generator=generator to every random function",
        )


def _check_empty(given: str, batches: list[Tensor], n: int, sample_rate: float) -> None:
    """Compare the share of empty batches with (1 - q)^n; six standard errors, or 2e-9 of right samplers."""
    share, expected = sum(not len(batch) for batch in batches) / len(batches), (1 - sample_rate) ** n
    if abs(share - expected) > 6 * math.sqrt(expected * (1 - expected) / len(batches)):
        raise Wrong(
            given=given,
            got=f"{share:.3f} of the batches empty",
            expected=f"{expected:.3f} = (1 - sample_rate)^n",
            because="empty batches were drawn again or filled up: whether anybody joined is chance, and nobody is an answer too"
            if share == 0
            else "each record flips its own coin, so now and then nobody joins: here that happens too often or too seldom\nnobody joins with probability (1 - sample_rate)^n",
        )


def _check_independence(given: str, batches: list[Tensor], n: int, sample_rate: float) -> None:
    """Every record joins at rate q, and neighbours in the table join together at rate q^2.

    Bounds of six standard errors; that of the pairs counts that pairs (i, i + 1) and (i + 1, i + 2) share a coin.
    """
    import torch

    joined = torch.zeros(len(batches), n)
    for row, batch in zip(joined, batches, strict=True):
        row[batch] = 1
    shares, q = joined.mean(0), sample_rate
    worst = int((shares - q).abs().argmax())
    if abs(float(shares[worst]) - q) > 6 * math.sqrt(q * (1 - q) / len(batches)):
        raise Wrong(
            given=given,
            got=f"record {worst} in {float(shares[worst]):.2f} of the batches",
            expected=f"every record in {q:.2f} of them",
            because="some records join more often than others: one coin of the same bias for each",
        )
    together = float((joined[:, :-1] * joined[:, 1:]).mean())
    spread = (n - 1) * (q**2 - q**4) + 2 * (n - 2) * (q**3 - q**4)
    if abs(together - q**2) > 6 * math.sqrt(spread / len(batches)) / (n - 1):
        raise Wrong(
            given=given,
            got=f"records i and i + 1 together in {together:.3f} of the batches",
            expected=f"{q**2:.3f} = sample_rate^2",
            because="records that stand together join together (a block of the table?): each flips its own coin",
        )


def _check_sizes(given: str, batches: list[Tensor], n: int, sample_rate: float) -> None:
    """Compare batch sizes with the binomial law; bounds are six standard errors (a correct sampler fails below 1e-8)."""
    import torch

    draws, sizes = len(batches), torch.tensor([len(batch) for batch in batches]).double()
    mean, variance = float(sizes.mean()), float(sizes.var())
    expected, spread = n * sample_rate, n * sample_rate * (1 - sample_rate)
    if abs(mean - expected) > 6 * math.sqrt(spread / draws):
        raise Wrong(
            given=given,
            got=f"{mean:.1f} records a batch on average",
            expected=f"{expected:.1f}",
            because="each record joins with probability sample_rate: compare a uniform number in [0, 1) with it",
        )
    if abs(variance - spread) > 6 * spread * math.sqrt(2.1 / draws):
        raise Wrong(
            given=given,
            got=f"variance of the batch size {variance:.2f}",
            expected=f"{spread:.2f}, that of a binomial",
            because="a batch of fixed size is another sampler with another (worse) epsilon: the size must vary from step to step"
            if variance < spread / 10
            else "the size is not that of n coins of one bias: it was drawn first, and then filled? Flip a coin for each record",
        )


@exercise(
    "02.clip_per_sample",
    title="clip each record's gradient",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference=f"{TEXTBOOK}:clip_per_sample",
)
def check_clip_per_sample(attempt: Callable) -> None:
    """Every row ends at norm min(norm, C) and keeps its direction."""
    import torch

    max_grad_norm = 1.5
    grads = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[4.0], [0.01], [1.0], [2.0], [0.1], [0.0]]
    )
    given = f"6 gradients of norms {[round(v, 2) for v in grads.norm(dim=1).tolist()]}, max_grad_norm={max_grad_norm}"
    got = attempt(grads.clone(), max_grad_norm)
    if not isinstance(got, torch.Tensor) or got.shape != grads.shape:
        shape = tuple(getattr(got, "shape", ()))
        raise Wrong(
            given=given,
            got=f"shape {shape}",
            expected=f"shape {tuple(grads.shape)}",
            because="return one clipped row for each record, in a tensor of the shape that came",
        )
    if torch.isnan(got).any():
        raise Wrong(
            given=given,
            got="NaN",
            expected="zeros stay zeros",
            because="a gradient of norm 0 was divided by its norm",
        )
    norms, got_norms = grads.norm(dim=1), got.norm(dim=1)
    shown = f"norms {[round(v, 2) for v in got_norms.tolist()]}"
    wanted = f"norms {[round(v, 2) for v in norms.clamp(max=max_grad_norm).tolist()]}"
    if torch.allclose(got, grads.clamp(-max_grad_norm, max_grad_norm)):
        raise Wrong(
            given=given,
            got=shown,
            expected=wanted,
            because="each coordinate was clipped on its own; the bound is on the norm of a whole row",
        )
    if torch.allclose(got, grads * min(1.0, max_grad_norm / float(grads.norm()))):
        raise Wrong(
            given=given,
            got=shown,
            expected=wanted,
            because="one factor for the whole batch: a large record shrinks the others; clip row by row",
        )
    if torch.allclose(got_norms[:5], torch.full((5,), max_grad_norm), atol=1e-4):
        raise Wrong(
            given=given,
            got=shown,
            expected=wanted,
            because="short gradients were stretched to the bound: the factor must never exceed 1",
        )
    if not torch.allclose(got, grads * (max_grad_norm / norms.clamp(min=max_grad_norm))[:, None], atol=1e-6):
        raise Wrong(
            given=given,
            got=shown,
            expected=wanted,
            because="a row that is too long keeps its direction and ends at length max_grad_norm; any other stays as it is",
        )


@exercise(
    "02.noisy_mean",
    title="add the noise, divide by the expected batch",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference=f"{TEXTBOOK}:noisy_mean",
)
def check_noisy_mean(attempt: Callable) -> None:
    """Noise has standard deviation sigma * C / expected batch, in each coordinate, also for an empty batch."""
    import torch

    settings = {"max_grad_norm": 2.0, "noise_multiplier": 1.5, "expected_batch_size": 40.0}
    width, expected_std = 20_000, 1.5 * 2.0 / 40.0
    given = f"30 gradients of ones, {settings}"
    got = attempt(torch.ones(30, width), **settings, generator=torch.Generator().manual_seed(0))
    if not isinstance(got, torch.Tensor) or got.shape != (width,):
        raise Wrong(
            given=given,
            got=f"shape {tuple(getattr(got, 'shape', ()))}",
            expected=f"shape ({width},)",
            because="one number for each coordinate: sum over the records, and over nothing else",
        )
    std, mean = float(got.std()), float(got.mean())
    again = attempt(torch.ones(30, width), **settings, generator=torch.Generator().manual_seed(1))
    _check_one_for_all(given, got, again)
    _check_noise_scale(given, std, expected_std, settings, undivided=abs(mean - 30) < 0.2)
    _check_generator(given, lambda g: attempt(torch.ones(30, width), **settings, generator=g))
    if abs(mean - 30 / 40) > 6 * expected_std / math.sqrt(
        width
    ):  # a correct answer fails with probability 2e-9
        raise Wrong(
            given=given,
            got=f"mean {mean:.4f}",
            expected=f"{30 / 40:.4f} = 30 records / 40 expected",
            because="divide by expected_batch_size, a public constant; the size that came is private"
            if abs(mean - 1) < 0.01
            else "sum the rows, then divide once",
        )
    _check_gaussian(given, (got - 30 / 40) / expected_std)
    empty = attempt(torch.zeros(0, width), **settings, generator=torch.Generator().manual_seed(1))
    if not torch.isfinite(empty).all() or abs(float(empty.std()) / expected_std - 1) > 0.05:
        raise Wrong(
            given="an empty batch",
            got=f"standard deviation {float(empty.std()):.4f}",
            expected=f"{expected_std:.4f}",
            because="an empty batch is a step too: skipping its noise would reveal that nobody was in it",
        )


def _check_gaussian(given: str, noise: Tensor) -> None:
    """Refuse standardised noise that is not normal (Kolmogorov-Smirnov; one right answer in a million fails)."""
    from scipy import stats

    test = stats.kstest(noise.double().numpy(), "norm")
    if test.pvalue > 1e-6:
        return
    laws = {"uniform": stats.uniform(-(3**0.5), 2 * 3**0.5), "Laplace": stats.laplace(0, 0.5**0.5)}
    name = next(
        (n for n, law in laws.items() if stats.kstest(noise.double().numpy(), law.cdf).pvalue > 1e-6), "other"
    )
    raise Wrong(
        given=given,
        got=f"{name} noise of the right standard deviation",
        expected="Gaussian noise",
        because="the accountant assumes a Gaussian: its epsilon does not hold for noise of another shape (torch.randn)",
    )


def _check_one_for_all(given: str, one: Tensor, other: Tensor) -> None:
    """Refuse a single draw that moves all coordinates alike: it differs between generators, not between coordinates."""
    if float(one.std()) < 1e-6 < abs(float((one - other).mean())):
        raise Wrong(
            given=given,
            got="all coordinates moved by one number",
            expected="a draw for each coordinate",
            because="all coordinates got the same noise: each needs a draw of its own, or differences give it away",
        )


def _check_noise_scale(
    given: str, std: float, expected: float, settings: dict[str, float], *, undivided: bool
) -> None:
    """Name the usual wrong scales; the 5% tolerance is ten standard errors of a deviation over 20,000 coordinates."""
    causes = {
        0.0: "no noise was added",
        settings["noise_multiplier"] * settings["max_grad_norm"]: "that is the noisy sum: it was not divided"
        if undivided
        else "the noise was added after the division",
        settings["noise_multiplier"]
        / settings[
            "expected_batch_size"
        ]: "the noise must scale with max_grad_norm: C bounds what one record can move",
        expected
        / math.sqrt(
            settings["expected_batch_size"]
        ): "the noise shrank with the batch: it is drawn once a step, not averaged over records",
        settings["noise_multiplier"]
        * settings["max_grad_norm"]
        / 30: "divided by the 30 records that came; their number is private, divide by expected_batch_size",
    }
    if abs(std / expected - 1) <= 0.05:
        return
    cause = next(
        (text for value, text in causes.items() if math.isclose(std, value, rel_tol=0.05, abs_tol=1e-9)),
        "the noise on the sum has the wrong strength: it follows from the multiplier and from what one record can move, the same in every coordinate\nits standard deviation is noise_multiplier * max_grad_norm",
    )
    raise Wrong(
        given=given, got=f"noise of standard deviation {std:.4f}", expected=f"{expected:.4f}", because=cause
    )
