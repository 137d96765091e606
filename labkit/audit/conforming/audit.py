"""The conformance audit, end to end: run the function a few times, read its steps, check them all."""

from __future__ import annotations

import numpy as np

from labkit.audit.audits import run_seeds
from labkit.audit.conforming.batches import check_batches
from labkit.audit.conforming.check import Check
from labkit.audit.conforming.noise import Noise, check_noise, see_noise
from labkit.audit.conforming.probe import QUIET, Reading, loud, probe_task
from labkit.audit.conforming.pushes import Parts, check_pushes, read_parts, unexplained
from labkit.audit.conforming.result import ConformanceResult
from labkit.audit.conforming.watching import WEIGHTS_MOVED, watch
from labkit.audit.task import TrainingFunction

SUSPICIOUS = 1e-3  # a check of pushes below this: used coordinates then say nothing about noise


def conformance(
    train: TrainingFunction,
    *,
    noise_multiplier: float = 1.0,
    runs: int = 5,
    false_alarms: float = 0.01,
    seed: int = 0,
) -> ConformanceResult:
    """Check that a training function does at each step what its settings say: clip, sample, add noise.

    A statistical audit (`labkit.audit.audit_gradients`) bounds ε, and sees only what moves ε far. This one asks whether
    each step is the mechanism that the accountant was told of. The auditor brings 40 records whose clipped gradients it
    knows, looks at every released step, and turns the noise down in most runs, so that it can read off who was in each
    batch and how far everyone pushed.

    Parameters
    ----------
    train : callable
        ``train(task, settings, seed)``: DP-SGD with these `labkit.audit.Settings`, Poisson sampling, noise on the sum
        of clipped gradients of standard deviation ``noise_multiplier * max_grad_norm``, divided by
        ``sample_rate * task.n``. Either it trains ``task.model()`` on ``task.dataset()`` (or ``task.x``, ``task.y``)
        with a torch optimizer, which is watched by hooks, whoever computes the gradients; or it returns a
        `labkit.audit.Transcript` of its updates.
    noise_multiplier : float
        At which the code will be used; runs with this noise and quiet ones take turns.
    runs : int
        At least 2; more than half of them are quiet.
    false_alarms : float
        Probability, at most, that a function which conforms is said to deviate (Bonferroni over all checks).
    seed : int
        The runs get different seeds that follow from it.

    Returns
    -------
    ConformanceResult

    Raises
    ------
    ValueError
        If a number is out of range, or updates do not fit the task or are not finite.
    UnobservableError
        If no step can be seen.

    Notes
    -----
    A conforming function is not thereby private: see `labkit.audit.conforming.result.NEVER` for what no look at steps
    can show. The idea of testing the parts of a mechanism rather than its ε follows "Debugging differential privacy: a
    case study for privacy auditing" (arXiv 2202.12219).

    Examples
    --------
    >>> from labkit.audit import planted_bugs
    >>> conformance(planted_bugs.correct, runs=2).deviates
    False
    """
    _check(noise_multiplier, runs, false_alarms)
    task = probe_task()
    quiet_count = runs - runs // 2
    plan = [QUIET] * quiet_count + [loud(noise_multiplier)] * (runs - quiet_count)
    readings = [
        watch(train, task, settings, run_seed)
        for settings, run_seed in zip(plan, run_seeds(runs, seed), strict=True)
    ]
    quiet, noisy = readings[:quiet_count], readings[quiet_count:]
    parts = read_parts(quiet)
    checks = [_steps(readings), *_outside(readings)]
    unseen = list(dict.fromkeys(text for reading in readings for text in reading.caveats))
    left = None
    if parts is None:
        unseen += [
            "clipping and sampling: the noise is too loud to read them, even where it should be a tenth"
        ]
    else:
        pushes = check_pushes(quiet, parts)
        lengths_fit = pushes[0].p_value > SUSPICIOUS
        checks += [*pushes, *check_batches(parts, QUIET.sample_rate, pushes_fit=lengths_fit)]
        if min(check.p_value for check in pushes) > SUSPICIOUS:
            left = unexplained(quiet, parts)
    if left is None:
        unseen += ["noise in coordinates that records use (their pushes are not as expected)"]
    noise = see_noise(quiet, noisy, left)
    checks += check_noise(noise)
    return ConformanceResult(
        checks=tuple(checks),
        level=false_alarms,
        not_checked=tuple(unseen),
        smallest=_smallest(noise, parts, false_alarms / len(checks)),
        runs=runs,
        steps=QUIET.steps,
        noise_multipliers=(QUIET.noise_multiplier, noise_multiplier),
        seed=seed,
    )


def _check(noise_multiplier: float, runs: int, false_alarms: float) -> None:
    from labkit.dp.limits import check_count, check_noise_multiplier

    check_noise_multiplier(noise_multiplier)
    check_count("runs", runs)
    if runs < 2:
        raise ValueError(
            f"runs={runs}: expected at least 2, one quiet and one with the noise that is claimed"
        )
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms={false_alarms}: expected a probability between 0 and 1, such as 0.01")


def _steps(readings: list[Reading]) -> Check:
    counts = [len(reading.sums) for reading in readings]
    return Check(
        "number of steps",
        1.0 if set(counts) == {QUIET.steps} else 0.0,
        f"{min(counts)} to {max(counts)} of {QUIET.steps}",
        "steps left out (empty batches?), or more steps than accounted for",
    )


def _outside(readings: list[Reading]) -> list[Check]:
    """Return whether weights moved between steps, where weights were seen."""
    moved = [reading.outside for reading in readings if reading.outside is not None]
    if not moved:
        return []
    return [
        Check(
            "weights between the steps",
            0.0 if max(moved) > WEIGHTS_MOVED else 1.0,
            f"moved by {max(moved):.1g} at most",
            "something besides the optimizer changes the model",
        )
    ]


def _smallest(noise: Noise, parts: Parts | None, level: float) -> dict[str, float]:
    """Return the relative deviations that are seen with probability 0.8 at this level, two-sided."""
    from scipy.stats import norm

    reach = float(norm.isf(level / 2) + norm.isf(0.2))
    found = {"noise": reach / np.sqrt(2 * int((~np.isnan(noise.values)).sum()))}
    if parts is not None and (parts.counts > 0).any():
        inside = parts.counts > 0
        found["pushes"] = reach / float(np.sqrt(np.sum(1 / parts.errors[inside] ** 2)))
        q, size = QUIET.sample_rate, parts.counts.size
        found["sampling rate"] = reach * float(np.sqrt((1 - q) / (q * size)))
    return found
