"""Checks of lab 02, DP-SGD on MNIST: against definitions, Opacus and Google's accountant, never the shipped solution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

from labkit.course.exercises import Wrong, exercise

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
    """Batches are index sets without repeats whose size is binomial(n, q)."""
    import torch

    n, sample_rate, draws = 1000, 0.02, 400
    given = f"n={n}, sample_rate={sample_rate}, {draws} generators"
    batches = [attempt(n, sample_rate, torch.Generator().manual_seed(seed)) for seed in range(draws)]
    for batch in batches:
        if not isinstance(batch, torch.Tensor) or batch.dtype != torch.int64 or batch.ndim != 1:
            got = f"{getattr(batch, 'dtype', type(batch).__name__)} of shape {tuple(getattr(batch, 'shape', ()))}"
            raise Wrong(
                given=given,
                got=got,
                expected="a 1-D int64 tensor of record numbers",
                because="a mask says who is in; `.nonzero().flatten()` turns it into record numbers",
            )
        if len(batch.unique()) != len(batch) or (
            len(batch) and not 0 <= int(batch.min()) <= int(batch.max()) < n
        ):
            raise Wrong(
                given=given,
                got=f"{len(batch) - len(batch.unique())} repeated records",
                expected=f"distinct numbers in 0..{n - 1}",
                because="each record flips its own coin once: it is in or out, never in twice (no sampling with replacement)",
            )
    sizes = torch.tensor([len(batch) for batch in batches]).double()
    _check_sizes(given, float(sizes.mean()), float(sizes.var()), n, sample_rate, draws)
    if len(torch.cat(batches).unique()) < 0.99 * n:
        raise Wrong(
            given=given,
            got=f"only {len(torch.cat(batches).unique())} of {n} records ever drawn",
            expected="all of them, sooner or later",
            because="use the generator you are given: every record needs a fresh coin at every step",
        )


def _check_sizes(given: str, mean: float, variance: float, n: int, sample_rate: float, draws: int) -> None:
    """Compare batch sizes with the binomial law; bounds are six standard errors (a correct sampler fails below 1e-8)."""
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
            because="a batch of fixed size is another sampler with another (worse) epsilon: the size must vary from step to step",
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
    empty = attempt(torch.zeros(0, width), **settings, generator=torch.Generator().manual_seed(1))
    if not torch.isfinite(empty).all() or abs(float(empty.std()) / expected_std - 1) > 0.05:
        raise Wrong(
            given="an empty batch",
            got=f"standard deviation {float(empty.std()):.4f}",
            expected=f"{expected_std:.4f}",
            because="an empty batch is a step too: skipping its noise would reveal that nobody was in it",
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
    """Without noise and with everyone in every batch, three steps equal Opacus's; with noise, the spread is right."""
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
    _check_spread(attempt, x * 0, y)


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


def _check_spread(attempt: Callable, x: object, y: object) -> None:
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
    if torch.allclose(runs[0], runs[1]):
        raise Wrong(
            given="two seeds",
            got="the same weights",
            expected="different noise",
            because="seed the generator with the seed given",
        )


def opacus_weights(x: object, y: object, settings: dict) -> object:
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
    """The learner's epsilon equals that of Google's PLD accountant for the Poisson-sampled Gaussian."""
    settings = {"n": 10_000, "expected_batch_size": 500, "epochs": 2, "noise_multiplier": 2.0, "delta": 1e-5}
    got = attempt(**settings)
    expected = epsilon_by_google(**settings)
    if not isinstance(got, int | float) or math.isnan(got):
        raise Wrong(
            given=str(settings),
            got=repr(got),
            expected="a number",
            because="return the accountant's get_epsilon(delta)",
        )
    if abs(got / expected - 1) <= 0.01:
        return
    causes = {
        "one step only: compose the event over all the steps": _google(0.05, 1, 2.0, 1e-5),
        "epochs were counted as steps: an epoch is n / expected_batch_size steps": _google(
            0.05, 2, 2.0, 1e-5
        ),
    }
    cause = next((text for text, value in causes.items() if math.isclose(got, value, rel_tol=0.02)), None)
    if cause is None and got > 10 * expected:
        cause = "no credit for sampling: wrap the Gaussian event in a PoissonSampledDpEvent"
    raise Wrong(
        given=str(settings),
        got=f"{got:.4f}",
        expected=f"{expected:.4f} (PLD)",
        because=cause or "sample_rate = expected_batch_size / n, steps = epochs * n / expected_batch_size",
    )


def _google(sample_rate: float, steps: int, noise_multiplier: float, delta: float) -> float:
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    return PLDAccountant().compose(step, steps).get_epsilon(delta)


def epsilon_by_google(
    n: int, expected_batch_size: float, epochs: int, noise_multiplier: float, delta: float
) -> float:
    """Return epsilon by Google's PLD accountant for Poisson-sampled DP-SGD under add/remove neighbours."""
    steps = round(epochs * n / expected_batch_size)
    return _google(expected_batch_size / n, steps, noise_multiplier, delta)


@exercise(
    "02.sample_rate",
    title="the q that Opacus believes",
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
