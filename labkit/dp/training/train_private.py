"""Differentially private stochastic gradient descent, for any torch module.

Algorithm 1 of Abadi et al. (arXiv 1607.00133) with what accounting for it assumes: true Poisson sampling at the exact
rate that is accounted for, noise added once per logical batch, and division by the expected batch size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit import profiles, training
from labkit.adapt import Output, as_module
from labkit.dp.limits import check_delta, check_epsilon, check_seed, is_finite
from labkit.dp.training.losses import Each, loss_of
from labkit.dp.training.model_check import check_gradients, check_model
from labkit.dp.training.result import PrivateResult
from labkit.dp.training.run import Run, Settings
from labkit.metrics import metric

if TYPE_CHECKING:
    from labkit.data import Dataset


def train_private(
    model: nn.Module,
    dataset: Dataset,
    *,
    target_epsilon: float | None = None,
    noise_multiplier: float | None = None,
    delta: float = 1e-5,
    max_grad_norm: float = 1.0,
    expected_batch_size: float = 1024,
    epochs: float | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    schedule: str = "constant",
    optimizer: str = "sgd",
    loss: str | Each = "cross-entropy",
    class_weights: Sequence[float] | None = None,
    output: Output | None = None,
    metrics: Sequence[str] = (),
    engine: str = "opacus",
    seed: int | None = None,
    physical_batch_size: int = 512,
    other_events: Sequence[Any] = (),
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
) -> PrivateResult:
    """Train a copy of ``model`` on ``dataset.train_x`` with differential privacy; measure it on the test records once.

    Parameters
    ----------
    model : nn.Module
        Takes a batch of records, gives logits (b, classes). Any module that treats records independently.
    dataset : Dataset
        Each of its train records is one unit of privacy (add/remove neighbours).
    target_epsilon, noise_multiplier : float
        Exactly one of them: the ε to calibrate the noise to (by PLD, ``other_events`` included), or the noise itself as
        a multiple of ``max_grad_norm``.
    delta : float
        Must lie below 1 / number of train records.
    max_grad_norm : float
        Bound on one record's gradient, over all parameters.
    expected_batch_size : float
        Number of train records times the probability with which each joins a step; not rounded anywhere.
    epochs, steps : float, int
        At most one of them: how long to train; 15 epochs when neither is given, and at least one step.
    learning_rate, momentum, schedule : float, float, {"constant", "linear"}
        Of the optimizer (default 1 for SGD, 0.001 for Adam; momentum of SGD alone); "linear" falls from ``learning_rate`` to
        0 over the run.
    optimizer : {"sgd", "adam"}
        What moves the weights by the noisy gradient. Noise and clipping come before it, so ε does not depend on it.
    loss : "cross-entropy" or callable
        ``loss(logits, y)`` of logits (b, classes) and labels (b,) returns the loss of **each** record, (b,).
    class_weights : sequence of float, optional
        One for each class, multiplies the loss of its records: for rare classes. Each record's gradient is still clipped to
        ``max_grad_norm``, so sensitivity, noise and ε stay the same, and weights above 1 are mostly clipped off again: write
        (0.05, 1) instead of (1, 20); see `labkit.dp.training.losses`. Choose them from public knowledge: counting the private labels for them is a query that the statement does not cover.
    output : int, str or callable, optional
        Where the logits are in what the model returns, if that is a tuple or a dict: see `labkit.adapt.as_module`.
    metrics : sequence of str
        What to measure on the test records besides accuracy: see `labkit.metrics`.
    engine : {"opacus", "vmap", "layers", "linear"}
        Who computes clipped gradients: Opacus's hooks; ``torch.func``; closed forms for linear, convolution and
        GroupNorm layers; or the closed form of softmax regression on fixed features. Same mathematics, other cost.
    seed : int
        Fixes sampling and noise, for study: whoever knows the seed can subtract the noise. Without one, the operating
        system's randomness seeds both, and nobody can repeat the run.
    physical_batch_size : int
        Most records whose per-sample gradients are in memory at a time; no effect on the result beyond rounding.
    other_events : sequence
        Accounting events of what else the pipeline took from the same records, to be composed into the statement.
    checkpoint : path, optional
        Written every epoch and on Ctrl-C. Where it exists the run goes on from it, and ends exactly as it would have
        without the interruption. It holds the state of the noise: as secret as the seed, and best deleted at the end.
        One that cannot be written (no permission, a full disk) stops nothing: the run warns, goes on, and its result says
        so in ``unsaved``.
    device : torch.device, optional
        CUDA when there is one, by default.

    Returns
    -------
    PrivateResult

    Raises
    ------
    ValueError
        Before the first step: if settings contradict each other, an accountant refuses them, a checkpoint cannot be read
        or belongs to other settings, or the model mixes records, keeps what it saw, or is one that the engine gets wrong (see
        `labkit.dp.training.model_check`).
    FloatingPointError
        If loss or gradient become NaN or infinite.
    KeyboardInterrupt
        On Ctrl-C, after the current step is complete; the message tells how to resume.

    Notes
    -----
    The statement holds for noise of real numbers. This noise is made of floating-point numbers by a generator that is not
    cryptographic (Mironov 2012; arXiv 2207.13793): enough to study, audit and compare, not against whoever can read the
    last bits of weights or predict the generator.
    """
    from labkit.dp.accounting.events import as_events
    from labkit.dp.accounting.statement import SampledGaussian, calibrate_noise, privacy_statement

    # All that can be refused is refused here, before the records are touched or time is spent.
    training.check_records(dataset.train_x, dataset.train_y)
    training.check_records(dataset.test_x, dataset.test_y)
    for name in metrics:
        metric(name)
    model, of_each = as_module(model, output=output), loss_of(loss, class_weights, len(dataset.classes))
    learning_rate = {"sgd": 1.0, "adam": 1e-3}.get(optimizer, 1.0) if learning_rate is None else learning_rate
    n = len(dataset.train_x)
    check_delta(delta, n)
    check_seed(seed)
    if (target_epsilon is None) == (noise_multiplier is None):
        raise ValueError(
            f"got target_epsilon={target_epsilon} and noise_multiplier={noise_multiplier}; give exactly one: "
            "the privacy to reach, or the noise to add"
        )
    if target_epsilon is not None:
        check_epsilon("target_epsilon", target_epsilon)
    rate = _rate(expected_batch_size, n)
    steps, others = _steps(epochs, steps, rate), as_events(other_events, empty=True)
    sampler = "full" if rate == 1 else "poisson"

    def settings(noise: float) -> Settings:
        return Settings(
            engine, noise, max_grad_norm, expected_batch_size, rate, steps, learning_rate, momentum, schedule,
            physical_batch_size, delta, optimizer, of_each.class_weights,
        )  # fmt: skip

    settings(1.0 if noise_multiplier is None else noise_multiplier)
    check_model(model, dataset)
    check_gradients(engine, model, dataset.train_x, dataset.train_y, of_each)
    if target_epsilon is not None:
        noise_multiplier = calibrate_noise(
            target_epsilon,
            delta=delta,
            sample_rate=rate,
            steps=steps,
            other_events=others,
            n=n,
            sampler=sampler,
        )
    chosen = settings(float(noise_multiplier))
    event = SampledGaussian(chosen.noise_multiplier, steps, rate, sampler)
    statement = privacy_statement([*others, event], delta=delta, n=n)
    run = Run(
        copy.deepcopy(model),
        dataset,
        chosen,
        seed,
        torch.device(device or profiles.device()),
        others,
        of_each,
    )
    history, seconds = run.train(Path(checkpoint) if checkpoint else None)
    trained = run.engine.release().to(memory_format=torch.contiguous_format).eval()
    found = training.evaluate(trained, dataset.test_x, dataset.test_y, metrics=metrics)
    return PrivateResult(
        model=trained,
        privacy=statement,
        accuracy=found.accuracy,
        history=history,
        settings=chosen.described() | ({} if of_each.each is None else {"loss": _name(of_each.each)}),
        source=dataset.source,
        profile=profiles.current().name,
        seed=seed,
        seconds=seconds,
        unsaved=run.unsaved,
        base_rate=found.base_rate,
        measured=found.measured,
    )


def _name(function: Each) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _rate(expected_batch_size: float, n: int) -> float:
    """Return the probability with which each of ``n`` records joins a step."""
    if not is_finite(expected_batch_size):
        raise ValueError(
            f"expected_batch_size={expected_batch_size!r}; expected a number of records, up to {n:,}"
        )
    if not 0 < expected_batch_size <= n:
        raise ValueError(
            f"expected_batch_size={expected_batch_size} of {n:,} records is a sample rate of "
            f"{expected_batch_size / n:.4g}; expected 0 < rate <= 1: no batch can be expected to hold more than there is"
        )
    return expected_batch_size / n


def _steps(epochs: float | None, steps: int | None, rate: float) -> int:
    """Return the number of steps asked for in either way."""
    if epochs is not None and steps is not None:
        raise ValueError(f"got epochs={epochs} and steps={steps}; give at most one of them")
    if steps is not None:
        return steps
    epochs = 15 if epochs is None else epochs
    if not (is_finite(epochs) and round(epochs / rate) >= 1):
        raise ValueError(
            f"epochs={epochs!r} at sample rate {rate:.4g} is not one step; expected at least {rate:.4g} epochs, or steps=1"
        )
    return round(epochs / rate)
