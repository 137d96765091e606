"""The strongest audit: the auditor chooses gradients, sees every update, and knows all but the coins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit.audit import canaries, guessing
from labkit.audit.audits import RunScores, check_question, run_seeds
from labkit.audit.result import AuditResult, conclude
from labkit.audit.scores import BY_STEPS, projections
from labkit.audit.task import Settings, Task, TrainingFunction, blank_task

if TYPE_CHECKING:
    from labkit.dp.accounting.statement import PrivacyStatement


def claim_of(settings: Settings, *, delta: float = 1e-5) -> PrivacyStatement:
    """Return what a run with these settings claims, if it is DP-SGD with Poisson sampling."""
    from labkit.dp.accounting.statement import SampledGaussian, privacy_statement

    event = SampledGaussian(settings.noise_multiplier, settings.steps, sample_rate=settings.sample_rate)
    return privacy_statement(event, delta=delta)


def audit_gradients(
    train: TrainingFunction,
    settings: Settings,
    *,
    task: Task | None = None,
    kind: str = "dirac",
    runs: int = 10,
    norm: float = 100.0,
    claimed: PrivacyStatement | float | None = None,
    scores: Sequence[str] = ("likelihood ratio", "spread"),
    shares: Sequence[guessing.Share] = guessing.SHARES,
    confidence: float = 0.95,
    seed: int = 0,
) -> AuditResult:
    """Audit a training function by canary gradients, one for each parameter, over a few short runs.

    The strongest access there is: the auditor chooses gradients and sees every update. Runs are independent, so
    their guesses count together. Each layer is also tested by itself, so that a leak in a small one is not drowned.

    Parameters
    ----------
    train : callable
        ``train(task, settings, seed) -> Transcript``, such as those of `labkit.audit.planted_bugs`.
    settings : Settings
        What the function is told, and what the claim is computed from.
    task : Task, optional
        Records that train along; by default none, with 490 weights and 10 biases.
    kind : {"dirac", "random"}
    runs : int
        Independent runs, each with as many canaries as there are parameters.
    norm : float
        Length of the canaries before clipping, in units of ``max_grad_norm``.
    claimed : PrivacyStatement or float, optional
        `claim_of` the settings by default; pass it when auditing often. A bare ε is taken at δ = 1e-5.
    scores : sequence of str
        Names of `labkit.audit.scores.BY_STEPS`; each is tried, and pays for it.

    Raises
    ------
    ValueError
        Before any run, if a score is unknown or a number is out of range.
    """
    from labkit.dp.limits import check_count

    if unknown := sorted(set(scores) - set(BY_STEPS)):
        raise ValueError(f"score {unknown[0]!r} is unknown; expected some of {', '.join(BY_STEPS)}")
    check_count("runs", runs)
    task = blank_task(49) if task is None else task
    claimed = claim_of(settings) if claimed is None else claimed
    delta = getattr(claimed, "delta", 1e-5)
    check_question(claimed, delta, confidence)
    rows = canaries.gradient_canaries(
        task.dimension, task.dimension, norm=norm * settings.max_grad_norm, kind=kind, seed=seed
    )
    kept: dict[str, list[np.ndarray]] = {name: [] for name in scores}
    coins = []
    for run_seed in run_seeds(runs, seed):
        included = canaries.flip_coins(len(rows), run_seed)
        run_task = Task(task.x, task.y, rows[included], task.classes)
        z = projections(train(run_task, settings, run_seed), rows, settings, run_task.n)
        for name, parts in kept.items():
            parts.append(BY_STEPS[name](z, settings))
        coins.append(included.numpy())
    return conclude(
        guessing.tallies(
            {name: np.concatenate(parts) for name, parts in kept.items()},
            np.concatenate(coins),
            groups=_groups(task, kind, runs),
            shares=shares,
            seed=seed,
        ),
        claimed=claimed,
        delta=delta,
        confidence=confidence,
        method=f"{runs} run{'s' if runs > 1 else ''}, white-box, {runs * len(rows):,} {kind} gradient canaries",
        source=f"{len(task.x):,} records besides the canaries" if len(task.x) else "canaries only",
        seed=seed,
    )


def gradient_runs(
    train: TrainingFunction,
    settings: Settings,
    *,
    others: int = 49,
    norm: float = 100.0,
) -> RunScores:
    """Return ``score(included, seed)`` for `audit_many_runs`: one run, one canary gradient, in the first weight.

    Parameters
    ----------
    others : int
        Records besides the canary; their gradients are zero, so that they fill batches and tell nothing.
    """
    empty = blank_task(1)
    canary = canaries.gradient_canaries(empty.dimension, 1, norm=norm * settings.max_grad_norm)

    def score(included: bool, seed: int) -> dict[str, float]:
        rows = torch.zeros(others + included, empty.dimension)
        if included:
            rows[-1] = canary[0]
        task = Task(empty.x, empty.y, rows, empty.classes)
        z = projections(train(task, settings, seed), canary, settings, task.n)
        return {name: float(by_steps(z, settings)[0]) for name, by_steps in BY_STEPS.items()}

    return score


def _groups(task: Task, kind: str, runs: int) -> dict[str, np.ndarray]:
    """Return the numbers of the canaries in each layer, over all runs (random directions sit in all layers)."""
    everyone = np.arange(runs * task.dimension)
    if kind == "random":
        return {"all": everyone}
    within = everyone % task.dimension
    return {
        name: everyone[(within >= part.start) & (within < part.stop)] for name, part in task.layers.items()
    }
