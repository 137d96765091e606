"""Which marks survive which attacks: schemes x attacks x seeds, each cell tested against null models.

The rule is that of Lukas et al., "SoK: How robust is image classification deep neural network watermarking?" (arXiv
2108.04974, section III): an attack succeeds when the mark is no longer verified and at most five points of accuracy
are lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from labkit import cache, profiles, progress, stats, training
from labkit.training import many, shelf, spreading
from labkit.watermark.attacks import removal, weight_attacks
from labkit.watermark.marks import weights
from labkit.watermark.marks.marked import MarkedModel
from labkit.watermark.marks.training import identity
from labkit.watermark.robustness.cells import NONE, Cell
from labkit.watermark.robustness.jobs import Job, OwnAttack, Plan, attack_key, attacked, started
from labkit.watermark.robustness.matrix import Matrix
from labkit.watermark.verification import verify

if TYPE_CHECKING:
    from labkit.data import Dataset

SURROGATE = 70_000  # added to the seed of a thief that learns a mark: attacks on it draw records and weights of their own


def robustness_matrix(
    marked: Sequence[MarkedModel],
    attacks: Sequence[str],
    nulls: Sequence[nn.Module],
    dataset: Dataset,
    *,
    options: Mapping[str, dict[str, Any]] | None = None,
    own: Mapping[str, Sequence[OwnAttack]] | None = None,
    precision: str = "float32",
    alpha: float = verify.ALPHA,
    minimum: int = verify.NULLS,
    workers: int | None = None,
) -> Matrix:
    """Attack every marked model in every way and dose, and test each mark before and after.

    Parameters
    ----------
    marked : sequence of MarkedModel
        Of several schemes, and several seeds of each; a model's seed is also that of the attacks on it.
    attacks : sequence of str
        Keys of `labkit.watermark.attacks.removal.REMOVALS` or of ``own``; several joined by ``" + "`` are done in that
        order, each at the dose of the same number (its last, where it has fewer).
    nulls : sequence of nn.Module
        Trained independently. For a white-box mark, those of another architecture are left out: they have no such
        layer to read.
    dataset : Dataset
        The attacker's train records; the test records that all accuracies are measured on.
    options : dict, optional
        Of attacks, by name, beside those of the dose: ``{"distil": {"records": 5000}}``.
    own : dict, optional
        Attacks that the caller carries out, by name: for each dose a function of a `MarkedModel` that returns the
        attacked model. They run in this process and keep their own work; the thief of a project is one.
    precision : {"float32", "bfloat16", "auto"}
        Of the attacks that train, see `labkit.training.Recipe`.
    alpha, minimum
        See `labkit.watermark.verification.verify.verify`.
    workers : int, optional
        Processes; default one per core, 1 to stay in this one.

    Returns
    -------
    Matrix

    Raises
    ------
    ValueError
        If an attack is unknown, a scheme has two models of one seed, there are too few null models, or a mark can
        neither be asked nor read.

    Notes
    -----
    Interrupt at will: each attacked model and each cell is written when it is done.
    """
    plan = Plan(dict(options or {}), dict(own or {}), precision)
    _check(marked, attacks, plan)
    null_hits = _all_null_hits(marked, nulls)
    for rows in null_hits.values():  # too few null models are refused before the work, not after
        verify.judge(np.zeros(rows.shape[1], dtype=bool), rows, alpha=alpha, minimum=minimum)
    jobs = [
        Job(mark, attack, dose)
        for mark in marked
        for attack in [NONE, *attacks]
        for dose in range(plan.doses(attack))
    ]
    outcomes = _outcomes(jobs, plan, dataset, workers)
    cells, before = [], {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        mark = job.mark
        chance = weights.CHANCE if mark.triggers is None else None
        nulls_hit = null_hits[id(mark)]
        verdict = verify.judge(outcome["hit"], nulls_hit, alpha=alpha, minimum=minimum, chance=chance)
        accuracy = stats.clopper_pearson(outcome["right"], len(dataset.test_y))
        before.setdefault(id(mark), accuracy.estimate)  # the first attack is none
        cells.append(
            Cell(
                scheme=mark.scheme,
                attack=job.attack,
                seed=mark.seed,
                strength=verdict.rate,
                p_value=verdict.p_value,
                # By the p-value alone, so that a rehearsal with few null models shows the same picture.
                verified=verdict.p_value < alpha,
                accuracy=accuracy,
                lost=before[id(mark)] - accuracy.estimate,
                seconds=outcome["seconds"],
                dose=job.dose,
            )
        )
    fewest = min(len(rows) for rows in null_hits.values())
    return Matrix(tuple(cells), alpha, fewest, dataset.source, profiles.current().name, tuple(plan.own))


def _check(marked: Sequence[MarkedModel], attacks: Sequence[str], plan: Plan) -> None:
    parts = [part for attack in attacks for part in attack.split(" + ")]
    unknown = [name for name in [*parts, *plan.options] if name not in removal.REMOVALS | plan.own]
    if unknown or not marked:
        raise ValueError(
            f"got {len(marked)} marked models and attacks {', '.join(map(repr, unknown)) or 'that are known'}; expected "
            f"at least one model, and attacks among {', '.join(removal.REMOVALS | plan.own)}"
        )
    names = [(mark.scheme, mark.seed) for mark in marked]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"two models of scheme {twice[0]!r} have seed {twice[1]}: give each model a seed of its own"
        )
    for mark in marked:
        if "marker" in mark.facts:
            raise ValueError(
                f"{mark!r} marks answers, not weights: attack a thief's model, matrix.surrogate(marked, data)"
            )
        if mark.triggers is None and "message" not in mark.facts:
            raise ValueError(f"{mark!r} has neither triggers to ask nor a message to read: nothing to test")


def hits(mark: MarkedModel, model: nn.Module) -> np.ndarray:
    """Return which of a mark's triggers (or bits) a model answers as marked, bool (n,).

    Raises
    ------
    ValueError
        If a white-box mark's layer is not there.
    """
    if mark.triggers is not None:
        return verify.answers(model, mark.triggers.x) == mark.triggers.y.numpy()
    inner = model.model if isinstance(model, removal.Preprocessed) else model
    read = weights.read(inner, mark.key, layer=mark.facts["layer"], bits=mark.facts["bits"])
    return read == mark.facts["message"]


def _all_null_hits(marked: Sequence[MarkedModel], nulls: Sequence[nn.Module]) -> dict[int, np.ndarray]:
    """Return `_null_hits` of each mark, by its id; from the cache, since parts of a matrix ask the same again."""
    witnesses = [identity(null) for null in nulls]
    return {
        id(mark): cache.cached(
            "null-hits",
            {"mark": asked_of(mark), "nulls": witnesses},
            partial(_null_hits, mark, nulls),
            code=[_null_hits],
        )
        for mark in marked
    }


def _null_hits(mark: MarkedModel, nulls: Sequence[nn.Module]) -> np.ndarray:
    """Return the same for each null model that can be asked or read, bool (k, n)."""
    if mark.triggers is None:
        own = mark.model.get_submodule(mark.facts["layer"]).weight.shape
        layers = [dict(null.named_modules()).get(mark.facts["layer"]) for null in nulls]
        shapes = [getattr(getattr(layer, "weight", None), "shape", None) for layer in layers]
        nulls = [null for null, shape in zip(nulls, shapes, strict=True) if shape == own]
    asked = len(mark.triggers) if mark.triggers is not None else mark.facts["bits"]
    return np.array([hits(mark, null) for null in nulls], dtype=bool).reshape(len(nulls), asked)


def asked_of(mark: MarkedModel) -> list[Any]:
    """What decides whether a model shows the mark."""
    asked = [mark.facts] if mark.triggers is None else [mark.triggers.x, mark.triggers.y]
    return [*asked, mark.key.fingerprint]


def _outcomes(jobs: Sequence[Job], plan: Plan, data: Dataset, workers: int | None) -> list[dict[str, Any]]:
    """Return each job's outcome, from disk where it was done before."""
    keys = [cache.digest(attack_key(job, plan, data), asked_of(job.mark), [hits])[:32] for job in jobs]
    folder = cache.directory() / "robustness"
    outcomes = {key: kept for key in keys if (kept := _read(folder / f"{key}.pt")) is not None}
    missing = {key: row for row, key in enumerate(keys) if key not in outcomes}  # equal doses are one
    with progress.bar(len(set(keys)), f"attacks on marks, {data.source}", initial=len(outcomes)) as shown:
        # By dose: what the first dose of an attack keeps on disk is there for the second.
        order = sorted(missing.values(), key=lambda row: (jobs[row].dose, row))
        for row, outcome in _work(jobs, order, plan, data, workers):
            outcomes[keys[row]] = outcome
            shelf.keep({f"{keys[row]}.pt": outcome}, folder, "attacks on marks")
            shown.update()
    return [outcomes[key] for key in keys]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return torch.load(path, weights_only=False)
    except Exception:  # missing, damaged, or of an older library: as good as none
        return None


def _work(
    jobs: Sequence[Job], missing: Sequence[int], plan: Plan, data: Dataset, workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (position, outcome) of each missing job as it is done."""
    here = [row for row in missing if jobs[row].attack in plan.own]
    for row in here:
        yield row, _outcome(jobs[row], plan, data)
    # A worker gets the model that an own attack made, not the attack: that may not travel.
    rest = {row: started(jobs[row], plan) for row in missing if row not in here}
    workers = min(workers or many._cores(), len(rest))
    if workers <= 1 or profiles.device().type != "cpu":
        for row, job in rest.items():
            yield row, _outcome(job, plan, data)
        return
    import joblib

    parts = (data.train_x, data.train_y, data.test_x, data.test_y)
    arrays = spreading.sent(*(part.numpy() for part in parts))
    facts = (data.name, data.source, data.real, data.classes, str(data.digest))
    threads, light = max(1, many._cores() // workers), replace(plan, own={})
    tasks = {
        row: joblib.delayed(_in_worker)(row, job, light, facts, threads, *arrays) for row, job in rest.items()
    }
    yield from spreading.spread(tasks, workers)


def _in_worker(
    row: int, job: Job, plan: Plan, facts: tuple, threads: int, *arrays: Any
) -> tuple[int, dict[str, Any]]:
    """Do one job inside a worker process; arrays came once: see `labkit.training.spreading`."""
    from labkit.data import Dataset

    os.environ["LABKIT_PROGRESS"] = "0"
    torch.set_num_threads(threads)
    name, source, real, classes, digest = facts
    parts = [torch.from_numpy(np.array(spreading.received(array))) for array in arrays]
    data = Dataset(name, source, real, *parts, classes, digest)
    return row, _outcome(job, plan, data)


def _outcome(job: Job, plan: Plan, data: Dataset) -> dict[str, Any]:
    """Attack a model and count what is left: triggers (or bits) that hit, test records answered correctly."""
    job = started(job, plan)  # what the caller's own attack makes may come from disk: its time is not counted
    start = time.perf_counter()
    model = attacked(job, plan, data)
    seconds = time.perf_counter() - start
    right = int((verify.answers(model, data.test_x) == data.test_y.numpy()).sum())
    return {"hit": hits(job.mark, model), "right": right, "seconds": seconds}


def surrogate(marked: MarkedModel, data: Dataset, *, attack: str = "extract", **options: Any) -> MarkedModel:
    """Return the model that a thief makes of a victim which marks its answers, with this client's marked queries.

    Such a mark is in no weight of the victim, so its row in the matrix begins with the thief's model.

    Parameters
    ----------
    marked : MarkedModel
        Of scheme "answers": its ``facts`` hold the marker.
    data : Dataset
        The thief's.
    attack : {"extract", "distil"}
    **options
        See `labkit.watermark.attacks.removal.train_anew`.

    Raises
    ------
    ValueError
        If the scheme marks no answers.
    """
    if "marker" not in marked.facts:
        raise ValueError(f"{marked!r} marks no answers: attack it as it is")
    marker, victim = marked.facts["marker"], marked.model.model
    options = {"records": removal.ANEW_RECORDS, "marker": marker} | options
    inner = replace(marked, model=victim, seed=SURROGATE + marked.seed)
    plan = Plan({attack: options}, {}, getattr(options.get("recipe"), "precision", "float32"))
    job = Job(inner, attack, 0)
    thief = cache.cached(
        "surrogate",
        {"job": attack_key(job, plan, data)},
        lambda: attacked(job, plan, data).cpu(),
        code=[surrogate, type(marker)],
    ).to(profiles.device())
    sent, _ = weight_attacks.some(data, options["records"], inner.seed)
    triggers = marker.register(victim, sent)
    hit = verify.answers(thief, triggers.x) == triggers.y.numpy()
    return replace(
        marked,
        model=thief,
        triggers=triggers,
        strength=stats.clopper_pearson(int(hit.sum()), len(hit)),
        accuracy=training.evaluate(thief, data.test_x, data.test_y).accuracy,
        facts={},
    )
