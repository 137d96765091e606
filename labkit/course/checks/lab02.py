"""Checks of lab 02, DP-SGD on MNIST: against definitions, Opacus and Google's accountant, never the shipped solution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.course.exercises import Wrong, exercise

if TYPE_CHECKING:
    from torch import Tensor

TEXTBOOK = "labkit.dp.textbook"


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
            because="use the generator you are given: every record needs a fresh coin at every step",
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
            because="an empty batch is a tensor of int64 too: say dtype=torch.int64, for torch.tensor([]) holds floats"
            if shape == (0,)
            else "a mask says who is in; `.nonzero().flatten()` turns it into record numbers",
        )
    repeated = len(batch) - len(batch.unique())
    if repeated or (len(batch) and not 0 <= int(batch.min()) <= int(batch.max()) < n):
        raise Wrong(
            given=given,
            got=f"{repeated} repeated records, numbers from {int(batch.min())} to {int(batch.max())}",
            expected=f"distinct numbers in 0..{n - 1}",
            because="each record flips its own coin once: it is in or out, never in twice (no sampling with replacement)",
        )


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
            because="the function seeds a generator of its own: draw from the one you are given (generator=generator)",
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
            if share < expected
            else "each record flips its own coin: nobody joins with probability (1 - sample_rate)^n",
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
            because="return one clipped row for each record",
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
            because="multiply each row by min(1, max_grad_norm / its norm)",
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
            because="sum over the records",
        )
    std, mean = float(got.std()), float(got.mean())
    _check_noise_scale(given, std, expected_std, settings)
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


def _check_noise_scale(given: str, std: float, expected: float, settings: dict[str, float]) -> None:
    """Name the usual wrong scales; the 5% tolerance is ten standard errors of a deviation over 20,000 coordinates."""
    causes = {
        0.0: "no noise was added",
        settings["noise_multiplier"] * settings["max_grad_norm"]: "the noise was added after the division",
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
        "the noise on the sum has standard deviation noise_multiplier * max_grad_norm in every coordinate",
    )
    raise Wrong(
        given=given, got=f"noise of standard deviation {std:.4f}", expected=f"{expected:.4f}", because=cause
    )


@exercise(
    "02.dp_sgd",
    title="the whole of DP-SGD",
    points=5,
    difficulty=3,
    importance=5,
    minutes=20,
    reference=f"{TEXTBOOK}:dp_sgd",
)
def check_dp_sgd(attempt: Callable) -> None:
    """Without noise and with everyone in every batch, three steps equal Opacus's; then sampler, noise and their order."""
    import torch

    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    y = torch.arange(40) % 3
    settings = {"sample_rate": 1.0, "steps": 3, "learning_rate": 0.7, "max_grad_norm": 0.8, "classes": 3}
    given = f"40 records of 6 features, {settings}, noise_multiplier=0"
    got = attempt(x, y, noise_multiplier=0.0, seed=0, **settings)
    expected = opacus_weights(x, y, settings)
    if not isinstance(got, torch.Tensor) or got.shape != (6, 3):
        raise Wrong(
            given=given,
            got=f"shape {tuple(getattr(got, 'shape', ()))}",
            expected="weights of shape (6, 3)",
            because="return the weights",
        )
    if not torch.allclose(got, expected, atol=1e-8):
        cause = _step_cause(float((got * expected).sum() / expected.square().sum()))
        raise Wrong(
            given=given,
            got=f"weights of norm {got.norm():.4f}",
            expected=f"Opacus's, of norm {expected.norm():.4f}",
            because=cause,
        )
    _check_sampler(attempt)
    _check_spread(attempt, y)
    _check_feedback(attempt)
    _check_repeats(attempt)


def _step_cause(ratio: float) -> str:
    if ratio < 0:
        return "the step has the wrong sign: move against the gradient"
    if ratio > 5:
        return "the steps are far too long: divide the sum by the expected batch size, sample_rate * n"
    if ratio > 1.2:
        return "the steps are longer than Opacus's: is each record clipped before the sum?"
    return (
        "clip each record, sum, divide by the expected batch size, step against the gradient, `steps` times"
    )


def _check_sampler(attempt: Callable) -> None:
    """On unit vectors record i moves row i only, so the rows that moved are the batch.

    Bounds of six standard errors over 200 fixed seeds: a right sampler fails below 1e-8. The right share of records
    that take part in 20 steps is 1 - 0.75^20 = 0.997.
    """
    import torch

    n, rate, seeds = 40, 0.25, 200
    x, y = torch.eye(n, dtype=torch.float64), torch.arange(n) % 2
    one = {"sample_rate": rate, "learning_rate": 1.0, "max_grad_norm": 10.0, "noise_multiplier": 0.0}
    given = f"40 unit vectors, {one}, 1 step, {seeds} seeds"
    moved = torch.stack(
        [attempt(x, y, steps=1, seed=s, classes=2, **one).abs().amax(1) for s in range(seeds)]
    )
    joined = moved > 0
    _check_drawn(given, joined, rate)
    if not torch.allclose(moved[joined], torch.full_like(moved[joined], 0.5 / (n * rate)), rtol=1e-4):
        raise Wrong(
            given=given,
            got=f"rows moved by {float(moved[joined].min()):.4f} to {float(moved[joined].max()):.4f}",
            expected="0.0500 for every record that joined",
            because="the divisor is the expected batch size, sample_rate * n; the size that came is private",
        )
    share = float((attempt(x, y, steps=20, seed=0, classes=2, **one).abs().amax(1) > 0).double().mean())
    if share < 0.8:
        raise Wrong(
            given=f"40 unit vectors, {one}, 20 steps, seed 0",
            got=f"{share:.2f} of the records took part",
            expected="nearly all, 1 - 0.75^20",
            because="one batch served all steps: draw a new one inside the loop",
        )


def _check_drawn(given: str, joined: Tensor, rate: float) -> None:
    """Compare the sizes of batches (seeds x records, true for who joined) with the binomial law."""
    (seeds, n), sizes = joined.shape, joined.sum(1).double()
    mean, variance, expected = float(sizes.mean()), float(sizes.var()), n * rate * (1 - rate)
    if mean < n and len(joined.unique(dim=0)) == 1:
        raise Wrong(
            given=given,
            got=f"the same {mean:.0f} records for every seed",
            expected="another batch for another seed",
            because="batches in turn, or coins that are not seeded with `seed`, are no draw: flip a coin for each record in each step",
        )
    if abs(mean - n * rate) > 6 * math.sqrt(expected / seeds):
        raise Wrong(
            given=given,
            got=f"{mean:.1f} records a step on average",
            expected=f"{n * rate:.1f} = sample_rate * n",
            because="the whole data set takes part in every step: draw a Poisson batch in each, or sampling earns no privacy"
            if mean == n
            else "each record joins a step with probability sample_rate",
        )
    if abs(variance - expected) > 6 * expected * math.sqrt(2.1 / seeds):
        raise Wrong(
            given=given,
            got=f"batch sizes of mean {mean:.1f} and variance {variance:.2f}",
            expected=f"variance {expected:.2f}, that of 40 coins",
            because="batches of fixed size: epsilon is computed for a coin flip per record, so the size must vary from step to step",
        )


def _check_feedback(attempt: Callable) -> None:
    """The noise of a step must move the gradients of the next: kept back to the end, it leaves them as they were.

    Records are unit vectors, all in every step. The walk of each row is pulled back towards its label, so noise
    lengthens its way there: by 8.3 standard errors of the noise, give or take 0.64 (200 seeds), and by 0 if added last.
    A bound of 4.2 lets 1e-10 of the right answers fail, and 1e-5 of the wrong ones pass.
    """
    import torch

    n, steps, noise, rate = 200, 32, 1.5, 800.0
    x, y = torch.eye(n, dtype=torch.float64), torch.arange(n) % 2
    settings = {"sample_rate": 1.0, "steps": steps, "learning_rate": rate, "max_grad_norm": 1.0}
    noisy, quiet = (attempt(x, y, noise_multiplier=m, classes=2, seed=0, **settings) for m in (noise, 0.0))
    shift = (noisy - quiet) * torch.where(torch.arange(2) == y[:, None], 1, -1)
    errors = float(shift.sum(1).mean()) / (rate / n * noise * math.sqrt(2 * steps / n))
    if not errors >= 4.2:  # NaN fails too
        raise Wrong(
            given=f"200 unit vectors, {settings}, noise_multiplier={noise}",
            got=f"the gradients' reply to the noise: {errors:.1f} standard errors",
            expected="about 8",
            because="the gradients never met the noise: add it in each step, before the next gradients, not after the loop",
        )


def _check_spread(attempt: Callable, y: Tensor) -> None:
    """With inputs of zero the weights are pure noise: a sum of `steps` draws; 200 weights x 6 seeds give 2% precision."""
    import torch

    wide = torch.zeros(40, 100, dtype=torch.float64)
    settings = {
        "sample_rate": 0.25,
        "steps": 16,
        "learning_rate": 0.5,
        "max_grad_norm": 2.0,
        "noise_multiplier": 1.5,
    }
    runs = [attempt(wide, y % 2, classes=2, seed=seed, **settings) for seed in range(6)]
    std, expected = float(torch.stack(runs).std()), 0.5 * 4 * 1.5 * 2.0 / 10
    if (
        abs(std / expected - 1) > 0.12
    ):  # six standard errors: a correct answer fails with probability below 1e-8
        raise Wrong(
            given=f"inputs of zero, 6 seeds, {settings}",
            got=f"weights spread by {std:.4f}",
            expected=f"{expected:.4f} = learning_rate * sqrt(steps) * noise_multiplier * max_grad_norm / (sample_rate * n)",
            because="no noise reached the weights"
            if std < 1e-9
            else "draw fresh noise of the right scale in every step",
        )


def _check_repeats(attempt: Callable) -> None:
    """One seed gives one run, coins and noise alike; another seed gives another."""
    import torch

    x, y = torch.eye(40, dtype=torch.float64), torch.arange(40) % 2
    settings = {"sample_rate": 0.25, "steps": 3, "learning_rate": 1.0, "max_grad_norm": 1.0, "classes": 2}
    first, again, other = (attempt(x, y, noise_multiplier=0.5, seed=s, **settings) for s in (0, 0, 1))
    if torch.allclose(first, other) or not torch.equal(first, again):
        raise Wrong(
            given=f"40 unit vectors, {settings}, two calls",
            got="the same weights for two seeds" if torch.equal(first, again) else "two results for one seed",
            expected="a run that repeats for the same seed only",
            because="draw all coins and all noise from the generator that was seeded with `seed`",
        )


def opacus_weights(x: Tensor, y: Tensor, settings: dict) -> Tensor:
    """Return what Opacus's own optimizer makes of the same noiseless full-batch steps, as weights (d, classes)."""
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from torch import nn

    linear = nn.Linear(x.shape[1], settings["classes"], bias=False, dtype=x.dtype)
    nn.init.zeros_(linear.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = GradSampleModule(linear)
        optimizer = DPOptimizer(
            torch.optim.SGD(module.parameters(), lr=settings["learning_rate"]),
            noise_multiplier=0.0,
            max_grad_norm=settings["max_grad_norm"],
            expected_batch_size=len(x),
        )
        for _ in range(settings["steps"]):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    return linear.weight.detach().T


@exercise(
    "02.epsilon",
    title="what the run costs",
    points=3,
    difficulty=2,
    importance=5,
    minutes=10,
    reference="labkit.course.checks.lab02:epsilon_by_google",
)
def check_epsilon(attempt: Callable) -> None:
    """The learner's epsilon equals that of Google's PLD accountant for the Poisson-sampled Gaussian, in two settings."""
    first = {"n": 10_000, "expected_batch_size": 500, "epochs": 2, "noise_multiplier": 2.0, "delta": 1e-5}
    second = {"n": 60_000, "expected_batch_size": 240, "epochs": 1, "noise_multiplier": 1.1, "delta": 1e-6}
    for settings in (first, second):
        got, expected = attempt(**settings), epsilon_by_google(**settings)
        if not isinstance(got, int | float) or math.isnan(got):
            raise Wrong(
                given=settings,
                got=got,
                expected="a number",
                because="return the accountant's get_epsilon(delta)",
            )
        if abs(got / expected - 1) > 0.01:
            cause = _epsilon_cause(got, settings)
            if settings is second:
                cause = (
                    cause
                    or "the other setting came out right: is one of its numbers (rate, steps or delta) written into the function?"
                )
            elif got > 10 * expected:
                cause = cause or "no credit for sampling: wrap the Gaussian event in a PoissonSampledDpEvent"
            raise Wrong(
                given=settings,
                got=f"{got:.4f}",
                expected=f"{expected:.4f} (PLD, add/remove)",
                because=cause
                or "sample_rate = expected_batch_size / n, steps = epochs * n / expected_batch_size",
            )


def _epsilon_cause(got: float, settings: dict) -> str | None:
    """Name the slip or the other accountant that gives this value: the nearest one, within half a percent."""
    from labkit.dp import accountants

    noise, delta, epochs = settings["noise_multiplier"], settings["delta"], settings["epochs"]
    rate = settings["expected_batch_size"] / settings["n"]
    steps = round(epochs / rate)
    values = {
        "one step only: compose the event over all the steps": _google(rate, 1, noise, delta),
        "that is replace-one: asked for is add/remove, the accountant's default, where one record joins or leaves": _google(
            rate, steps, noise, delta, neighbours="REPLACE_ONE"
        ),
        "that is RDP: an upper bound, valid but loose; PLD is asked for (PLDAccountant)": _rdp(
            rate, steps, noise, delta
        ),
        "that is PRV, which also adds its own error to be safe; PLD is asked for (PLDAccountant)": _prv(
            rate, steps, noise, delta
        ),
        "that is GDP's central limit, which is no bound and mostly too low; PLD is asked for": accountants.gdp_epsilon(
            noise, steps, rate, delta=delta
        ),
    }
    if epochs > 1:  # one epoch is one step in both readings
        values["epochs were counted as steps: an epoch is n / expected_batch_size steps"] = _google(
            rate, epochs, noise, delta
        )
    near = min(values, key=lambda why: abs(values[why] - got))
    return near if math.isclose(got, values[near], rel_tol=0.005) else None


def _google(
    sample_rate: float,
    steps: int,
    noise_multiplier: float,
    delta: float,
    neighbours: str = "ADD_OR_REMOVE_ONE",
) -> float:
    from dp_accounting import NeighboringRelation, dp_event
    from dp_accounting.pld import PLDAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    accountant = PLDAccountant(NeighboringRelation[neighbours])
    return accountant.compose(step, steps).get_epsilon(delta)


def _rdp(sample_rate: float, steps: int, noise_multiplier: float, delta: float) -> float:
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    return RdpAccountant().compose(step, steps).get_epsilon(delta)


def _prv(sample_rate: float, steps: int, noise_multiplier: float, delta: float) -> float:
    """Return Opacus's PRV value; its accountant warns about its own grid."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def epsilon_by_google(
    n: int, expected_batch_size: float, epochs: int, noise_multiplier: float, delta: float
) -> float:
    """Return epsilon by Google's PLD accountant for Poisson-sampled DP-SGD under add/remove neighbours."""
    steps = round(epochs * n / expected_batch_size)
    return _google(expected_batch_size / n, steps, noise_multiplier, delta)


@exercise(
    "02.sample_rate",
    title="the q that Opacus uses",
    points=2,
    difficulty=2,
    importance=4,
    minutes=5,
    reference="labkit.course.checks.lab02:opacus_sample_rate",
)
def check_sample_rate(attempt: Callable) -> None:
    """The learner predicts 1 / len(loader) for loaders that do and do not divide the records evenly."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    for n, batch_size in [(1000, 300), (1000, 250), (60_000, 256), (10, 64)]:
        loader = DataLoader(TensorDataset(torch.zeros(n, 1)), batch_size=batch_size)
        got, expected = attempt(n, batch_size), 1 / len(loader)
        if got is None or not math.isclose(got, expected, rel_tol=1e-9):
            cause = (
                "that is what you meant; Opacus computes 1 / len(loader), and len rounds the number of batches up"
                if got is not None and math.isclose(got, batch_size / n, rel_tol=1e-9)
                else "count the batches of the loader, the last short one included, then invert"
            )
            raise Wrong(
                given=f"n={n}, batch_size={batch_size}",
                got=repr(got),
                expected=f"{expected:.6g}",
                because=cause,
            )


def opacus_sample_rate(n: int, batch_size: int) -> float:
    """Return the sample rate that ``PrivacyEngine.make_private`` derives from a DataLoader."""
    return 1 / math.ceil(n / batch_size)
