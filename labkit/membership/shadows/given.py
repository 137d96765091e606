"""A bank and its targets made of arrays: your own shadow models' answers, whatever trained and asked them.

Where one number per record is all that is known (its label's probability, logit-scaled confidence, or loss), logits are made up
that have exactly this number for the label and share the rest evenly: attacks that read no more than the label's probability
then give the same scores, and those that would read what was made up are refused (`labkit.membership.attack` says which).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit import cache, profiles
from labkit.membership.shadows import signals
from labkit.membership.shadows.bank import ShadowBank, Target

SCALES = ("logit-confidence", "confidence", "loss")


def from_logits(
    logits: Any,
    members: Any,
    y: Any,
    *,
    population: Any = None,
    population_y: Any = None,
    x: Any = None,
    population_x: Any = None,
    classes: Sequence[str] | None = None,
    name: str = "own shadow models",
    source: str = "arrays",
) -> ShadowBank:
    """Return a bank of logits.

    Parameters
    ----------
    logits : array of shape (models, n, classes), or (models, n, queries, classes)
        Each shadow model's answers on the same n records, in one order.
    members : bool array of shape (models, n)
        What each was trained on.
    y : int array of shape (n,)
    population, population_y : arrays of shape (models, m, ...) and (m,), optional
        Answers on records that no model has seen; for attack-p, quantile and RMIA.
    x, population_x : arrays of shape (n, ...), (m, ...), optional
        The records; for the blind baseline, quantile and pictures of exposed records.

    Raises
    ------
    ValueError
        If shapes or types do not fit, answers are probabilities, or a number is not finite.
    """
    answers, inside = _answers(logits, "logits"), _masks(members, "members")
    labels = _labels(y, answers.shape[1], "y")
    if inside.shape != answers.shape[:2]:
        raise ValueError(
            f"members is {inside.shape} for logits of {answers.shape}; expected (models, records) = {answers.shape[:2]}"
        )
    models, _, queries, width = answers.shape
    outside = (
        np.zeros((models, 0, queries, width), np.float32)
        if population is None
        else _answers(population, "population")
    )
    if outside.shape[0] != models or outside.shape[2:] != answers.shape[2:]:
        raise ValueError(f"population is {outside.shape}; expected ({models}, m, {queries}, {width})")
    if (population is None) != (population_y is None):
        raise ValueError("got one of population and population_y; expected both")
    outside_y = (
        np.zeros(0, np.int64)
        if population_y is None
        else _labels(population_y, outside.shape[1], "population_y")
    )
    if max([*labels, *outside_y]) >= width or min([*labels, *outside_y]) < 0:
        raise ValueError(
            f"labels run from {min(labels)} to {max(labels)}; expected 0 to {width - 1}, one for each logit"
        )
    return _bank(
        answers,
        inside,
        (labels, outside_y),
        outside,
        tuple(classes or map(str, range(width))),
        (_records(x, len(labels)), _records(population_x, len(outside_y))),
        name,
        source,
    )


def from_scores(
    scores: Any,
    members: Any,
    y: Any = None,
    *,
    scale: str = "logit-confidence",
    population: Any = None,
    population_y: Any = None,
    classes: Sequence[str] | None = None,
    name: str = "own shadow models",
    source: str = "arrays",
) -> ShadowBank:
    """Return a bank of one number per model and record.

    Parameters
    ----------
    scores : array of shape (models, n)
    members : bool array of shape (models, n)
    y : int array of shape (n,), optional
        Labels, which reports group by; all 0 by default.
    scale : {"logit-confidence", "confidence", "loss"}
        What the numbers are: log(p / (1 - p)) of the label's probability p, p itself, or the cross-entropy -log p.
    population : array of shape (models, m), optional

    Raises
    ------
    ValueError
        As `from_logits`, and if numbers lie outside their scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    found = np.asarray(scores, dtype=np.float64)
    if found.ndim != 2:
        raise ValueError(f"scores is {found.shape}; expected (models, records)")
    labels = np.zeros(found.shape[1], np.int64) if y is None else _labels(y, found.shape[1], "y")
    width = max(2, int(labels.max()) + 1 if len(labels) else 2, len(classes or ()))
    made = made_up(found, labels, width, scale)
    more: dict[str, Any] = {}
    if population is not None:
        others = np.asarray(population, dtype=np.float64)
        others_y = np.zeros(others.shape[-1], np.int64) if population_y is None else np.asarray(population_y)
        more = {"population": made_up(others, others_y, width, scale), "population_y": others_y}
    bank = from_logits(made, members, labels, classes=classes, name=name, source=source, **more)
    return replace(bank, scores_only=True, queries=(f"plain, as {scale}",))


def made_up(scores: np.ndarray, labels: np.ndarray, width: int, scale: str) -> np.ndarray:
    """Return logits (..., n, width) whose label has exactly these scores (..., n): the other classes share the rest evenly."""
    if not np.isfinite(scores).all():
        raise ValueError(
            "the scores hold NaN or infinity: drop those records, or bound a loss of 0 by a small number"
        )
    if scale == "confidence":
        if scores.min() <= 0 or scores.max() >= 1:
            raise ValueError(
                f"confidences run from {scores.min():.4g} to {scores.max():.4g}; expected numbers inside (0, 1): where they round "
                "to 0 or 1, compute log(p / (1 - p)) from the logits and pass scale='logit-confidence'"
            )
        scores = np.log(scores) - np.log1p(-scores)
    elif scale == "loss":
        if scores.min() <= 0:
            raise ValueError(
                f"losses run down to {scores.min():.4g}; expected positive numbers, -log p of the label"
            )
        scores = -scores - np.log(-np.expm1(-scores))
    logits = np.full((*scores.shape, width), -np.log(width - 1))
    logits[..., np.arange(len(labels)), labels] = scores
    return logits


def answered(
    bank: ShadowBank,
    answers: Any,
    members: Any,
    *,
    population: Any = None,
    name: str = "target",
    privacy: Any = None,
) -> Target:
    """Return a target of its answers, in the shape and on the scale of the bank's.

    Parameters
    ----------
    answers : array of shape (n, classes), (n, queries, classes), or (n,) for a bank of scores
    members : bool array of shape (n,), or what `ShadowBank.query` takes
    population : array of shape (m, ...), optional
        Needed where the bank has a population.

    Raises
    ------
    ValueError
        If a shape does not fit.
    """
    inside = bank.members_of(members)
    pool = _own_answers(bank, answers, bank.labels, "answers")
    if population is None and len(bank.population_labels):
        raise ValueError(
            f"the bank has a population of {len(bank.population_labels):,}: pass the target's answers to it"
        )
    if population is None:
        others = np.zeros((0, *pool.shape[1:]), np.float32)
    else:
        others = _own_answers(bank, population, bank.population_labels, "population")
    return Target(
        logits=pool,
        population_logits=others,
        members=inside,
        name=name,
        accuracy=bank._accuracy(pool, others, inside),
        privacy=privacy,
    )


def _own_answers(bank: ShadowBank, given: Any, labels: np.ndarray, what: str) -> np.ndarray:
    """Return a target's answers as (n, queries, classes)."""
    found = np.asarray(given, dtype=np.float64)
    if bank.scores_only and found.ndim == 1 and len(found) == len(labels):
        scale = bank.queries[0].removeprefix("plain, as ")
        found = made_up(found, labels, len(bank.classes), scale)
    shaped = found[:, None] if found.ndim == 2 else found
    expected = (len(labels), len(bank.queries), len(bank.classes))
    if shaped.shape != expected:
        raise ValueError(
            f"{what} is {np.asarray(given).shape}; expected one {'score' if bank.scores_only else 'row'} for each of "
            f"{len(labels):,} records" + ("" if bank.scores_only else f", {expected}")
        )
    return shaped


def _bank(
    answers: np.ndarray,
    inside: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray],
    outside: np.ndarray,
    classes: tuple[str, ...],
    records: tuple[torch.Tensor, torch.Tensor],
    name: str,
    source: str,
) -> ShadowBank:
    models, n, queries, _ = answers.shape
    pairs = (inside[:, None] == ~inside[None]).all(-1)  # trained on exactly the other records
    partners = np.where(pairs.any(1), pairs.argmax(1), -1)
    held: dict[str, Any] = {}
    for k in range(models):
        held[f"pool-{k:03d}.npy"], held[f"population-{k:03d}.npy"] = answers[k], outside[k]
    return ShadowBank(
        name=name,
        source=source,
        profile=profiles.current().name,
        classes=classes,
        x=records[0],
        y=torch.from_numpy(labels[0]),
        population_x=records[1],
        population_y=torch.from_numpy(labels[1]),
        masks=inside,
        partners=partners,
        queries=tuple(f"query {k}" for k in range(queries)) if queries > 1 else ("plain",),
        recipe=None,
        make_model=None,
        folder=Path(),
        key=cache.digest(answers, inside, *labels, outside)[:32],
        rows=np.arange(models),
        asked=tuple(range(queries)),
        train_records=n,
        _unkept=held,
    )


def _answers(given: Any, what: str) -> np.ndarray:
    found = np.asarray(given)
    found = found[:, :, None] if found.ndim == 3 else found
    if found.ndim != 4 or found.shape[-1] < 2 or found.dtype.kind != "f" or not found.shape[0]:
        raise ValueError(
            f"{what} is {found.dtype} {np.asarray(given).shape}; expected floats (models, records, classes), or (models, records, "
            "queries, classes), at least two classes"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"{what} holds NaN or infinity: a model diverged, or was saved in too narrow a type")
    for row in found:
        signals.check_logits(row)
    return found


def _masks(given: Any, what: str) -> np.ndarray:
    found = np.asarray(given)
    if found.dtype != bool or found.ndim != 2:
        raise ValueError(
            f"{what} is {found.dtype} {found.shape}; expected bool (models, records): turn 0 and 1 into bool with .astype(bool)"
        )
    return found


def _labels(given: Any, n: int, what: str) -> np.ndarray:
    found = np.asarray(given)
    if found.dtype.kind not in "iu" or found.shape != (n,):
        raise ValueError(f"{what} is {found.dtype} {found.shape}; expected class indices ({n},)")
    return found.astype(np.int64)


def _records(given: Any, n: int) -> torch.Tensor:
    """Return the records, or as many without any feature."""
    if given is None:
        return torch.zeros(n, 0)
    found = torch.as_tensor(np.asarray(given))
    if len(found) != n:
        raise ValueError(f"got {len(found)} records for {n} labels; expected as many")
    return found
