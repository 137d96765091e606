"""Audits, end to end: insert canaries by coin flips, train, score, guess, and say what that proves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from labkit import progress
from labkit.adapt import model_of
from labkit.audit import canaries, guessing, scores
from labkit.audit.result import AuditResult, conclude
from labkit.audit.roc_point import Point

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.accounting.statement import PrivacyStatement


def audit_one_run(
    train: Callable[[Dataset], Any],
    dataset: Dataset,
    *,
    canary_count: int = 1000,
    kind: str = "mislabelled",
    access: str = "black-box",
    architecture: nn.Module | None = None,
    reference: nn.Module | None = None,
    shares: Sequence[guessing.Share] = guessing.SHARES,
    claimed: PrivacyStatement | float | None = None,
    delta: float = 1e-5,
    confidence: float = 0.95,
    seed: int = 0,
) -> AuditResult:
    """Audit a training function in one run (Steinke, Nasr & Jagielski, arXiv 2305.08846, algorithm 1).

    Parameters
    ----------
    train : callable
        ``train(dataset)`` trains on ``dataset.train_x`` and ``train_y`` and returns the model, or a result with
        ``.model`` (and ``.privacy``, which becomes the claim). Called once. The model may be a scikit-learn estimator;
        `labkit.training.on_dataset` makes such a function of one ``train(x, y, seed)``.
    dataset : Dataset
        What it would train on without the audit.
    canary_count, kind : int, str
        See `labkit.audit.canaries.insert`.
    access : {"black-box", "white-box"}
        Score by the final model's loss, or by every update on the way (`labkit.audit.scores.observe`).
    architecture : nn.Module, optional
        A model of the trained architecture: needed for white-box access.
    reference : nn.Module, optional
        A model trained without canaries, for the black-box score.
    shares : sequence of Share
        How many guesses to make; all are tested, and pay for it.
    claimed : PrivacyStatement or float, optional
        What to test; by default what the training function returns as its ``.privacy``.
    delta : float
        For a claim that is a bare ε, or none.

    Returns
    -------
    AuditResult

    Raises
    ------
    ValueError
        Before training, if an option is unknown or does not fit, or a number is out of range; after it, if the scores
        are NaN.
    """
    if access not in ("black-box", "white-box"):
        raise ValueError(f"access {access!r} is unknown; expected 'black-box' or 'white-box'")
    if (access == "white-box") != (architecture is not None) or (
        access == "white-box" and reference is not None
    ):
        raise ValueError(
            f"got access={access!r}, architecture {'given' if architecture is not None else 'missing'}, reference "
            f"{'given' if reference is not None else 'missing'}; white-box needs an architecture and no reference, "
            "black-box takes no architecture"
        )
    check_question(claimed, delta, confidence)
    if not shares:
        raise ValueError("shares is empty: name at least one share of canaries to guess at")
    marked = canaries.insert(dataset, canary_count, kind=kind, seed=seed)
    if access == "white-box":
        with scores.observe(architecture, marked.x, marked.y) as watcher:
            outcome = train(marked.inserted())
        found = {"inner product": watcher.scores}
    else:
        outcome = train(marked.inserted())
        found = {"loss": scores.loss_difference(model_of(outcome), marked.x, marked.y, reference=reference)}
    return conclude(
        guessing.tallies(found, marked.included.numpy(), shares=shares, seed=seed),
        claimed=getattr(outcome, "privacy", None) if claimed is None else claimed,
        delta=delta,
        confidence=confidence,
        method=f"one run, {access}, {canary_count:,} {kind} canaries",
        source=dataset.source,
        seed=seed,
    )


RunScores = Callable[[bool, int], dict[str, float]]


def audit_many_runs(
    score: RunScores,
    *,
    runs: int = 1000,
    calibration: int = 250,
    false_positive_rate: float = 0.02,
    claimed: PrivacyStatement | float | None = None,
    delta: float = 1e-5,
    confidence: float = 0.95,
    method: str = "one canary",
    source: str = "",
    seed: int = 0,
) -> AuditResult:
    """Audit by many independent runs, half of them with the canary (Nasr et al., arXiv 2101.04535).

    Parameters
    ----------
    score : callable
        ``score(included, seed)`` trains once, with or without the canary, and returns named scores (higher: "in").
    runs : int
        Counted runs, half with and half without the canary.
    calibration : int
        Further runs without the canary, which fix each threshold at ``false_positive_rate`` before any run is counted.

    Raises
    ------
    ValueError
        If there are too few runs to have one on each side, or to place the threshold, or a run's scores are NaN or
        bear other names than the first run's.
    """
    if runs < 2 or calibration * false_positive_rate < 1:
        raise ValueError(
            f"got runs={runs}, calibration={calibration}, false_positive_rate={false_positive_rate}; expected at least "
            "2 runs, and calibration * false_positive_rate of at least 1 run above the threshold"
        )
    check_question(claimed, delta, confidence)
    seeds = iter(run_seeds(runs + calibration, seed))
    quiet = [
        score(False, next(seeds)) for _ in progress.track(range(calibration), "runs to fix the threshold")
    ]
    seen = [score(i % 2 == 0, next(seeds)) for i in progress.track(range(runs), "counted runs")]
    _check_scores([*quiet, *seen])
    points = []
    for name in quiet[0]:
        threshold = np.quantile([run[name] for run in quiet], 1 - false_positive_rate, method="higher")
        above = np.array([run[name] > threshold for run in seen])
        inside, outside = above[0::2], above[1::2]
        counts = (int(inside.sum()), len(inside), int(outside.sum()), len(outside))
        points.append(Point(name, *counts, aimed_at=false_positive_rate))
    return conclude(
        points,
        claimed=claimed,
        delta=delta,
        confidence=confidence,
        method=f"{runs:,} runs, {method}",
        source=source,
        seed=seed,
    )


def check_question(claimed: PrivacyStatement | float | None, delta: float, confidence: float) -> None:
    """Raise ``ValueError`` unless claim, δ and confidence make a question: asked before anything is trained.

    A claim of infinite ε is one that nothing refutes; it is allowed, since a run without noise states it.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; expected 0 <= delta < 1, such as 1e-5")
    if claimed is not None and not hasattr(claimed, "delta_at") and not float(claimed) >= 0:
        raise ValueError(f"the claimed ε is {claimed}; expected a number >= 0 or a privacy statement")


def _check_scores(runs: list[dict[str, float]]) -> None:
    """Raise ``ValueError`` if scores are NaN or change names: either would pass for "not found" without a word."""
    names = set(runs[0])
    for number, run in enumerate(runs):
        if not names or set(run) != names:
            raise ValueError(
                f"run {number} gave the scores {sorted(run)}; expected {sorted(names)}, as run 0 did"
            )
        if bad := [name for name, value in run.items() if np.isnan(value)]:
            raise ValueError(f"run {number}: score {bad[0]!r} is NaN: has training diverged?")


def run_seeds(count: int, seed: int) -> list[int]:
    """Return distinct-looking seeds for the runs of one audit; no two audits share theirs."""
    drawn = torch.randint(2**62, (count,), generator=canaries.generator("runs", seed))
    return drawn.tolist()
