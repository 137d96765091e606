"""Which marks survive which attacks: schemes x attacks x seeds, each cell tested against null models.

The rule is that of Lukas et al., "SoK: How robust is image classification deep neural network watermarking?" (arXiv
2108.04974, section III): an attack succeeds when the mark is no longer verified and at most five points of accuracy
are lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from labkit import cache, profiles, progress, stats, training
from labkit.training import many
from labkit.training.shelf import model_identity
from labkit.watermark.attacks import interface, neural_cleanse, removal, weight_attacks
from labkit.watermark.marks import answers, weights
from labkit.watermark.marks.marked import MarkedModel
from labkit.watermark.robustness.cells import NONE, Cell
from labkit.watermark.robustness.matrix import Matrix
from labkit.watermark.verification import verify
from labkit.watermark.verification.null_models import CODE as TRAINING

if TYPE_CHECKING:
    from labkit.data import Dataset

# Whose change makes other attacked models, besides the attack's own function: of all, and of each family.
CODE = [weight_attacks.some, weight_attacks.tune, weight_attacks.last_layer, *TRAINING]
FAMILY_CODE = {
    "weights": [weight_attacks._activity, weight_attacks._weighted],
    "input": [removal.Preprocessed, removal.blurred, removal.mirrored],
    "anew": [interface.Api, interface.as_targets, answers.AnswerMarker, answers.coarse],
    "adaptive": [
        neural_cleanse.Found,
        neural_cleanse.reverse_engineer,
        neural_cleanse._stamped,
        neural_cleanse.anomaly_index,
        neural_cleanse.cleanse,
    ],
}
SIZES = [weight_attacks.RECORDS, weight_attacks.TUNING, removal.ANEW_RECORDS, removal.ANEW, removal.APART]
SURROGATE = 70_000  # added to the seed of a thief that learns a mark: attacks on it draw records and weights of their own


def robustness_matrix(
    marked: Sequence[MarkedModel],
    attacks: Sequence[str],
    nulls: Sequence[nn.Module],
    data: Dataset,
    *,
    options: dict[str, dict[str, Any]] | None = None,
    alpha: float = verify.ALPHA,
    minimum: int = verify.NULLS,
    workers: int | None = None,
) -> Matrix:
    """Attack every marked model in every way, and test each mark before and after.

    Parameters
    ----------
    marked : sequence of MarkedModel
        Of several schemes, and several seeds of each; a model's seed is also that of the attacks on it.
    attacks : sequence of str
        Keys of `labkit.watermark.attacks.removal.REMOVALS`; ``tuple(REMOVALS)`` for all.
    nulls : sequence of nn.Module
        Trained independently. For a white-box mark, those of another architecture are left out: they have no such
        layer to read.
    data : Dataset
        The attacker's train records; the test records that all accuracies are measured on.
    options : dict, optional
        Of attacks, by name: ``{"distil": {"records": 5000}}``.
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
    attacks, options = [NONE, *attacks], options or {}
    _check(marked, attacks, options)
    null_hits = _all_null_hits(marked, nulls)
    for rows in null_hits.values():  # too few null models are refused before the work, not after
        verify.judge(np.zeros(rows.shape[1], dtype=bool), rows, alpha=alpha, minimum=minimum)
    jobs = [(mark, attack, options.get(attack, {})) for mark in marked for attack in attacks]
    keys = [_key(mark, attack, chosen, data) for mark, attack, chosen in jobs]
    paths = [cache.directory() / "robustness" / f"{key}.pt" for key in keys]
    missing = [row for row, path in enumerate(paths) if not path.is_file()]
    work = _work([(jobs[row], keys[row]) for row in missing], data, workers)
    with progress.bar(
        len(jobs), f"attacks on marks, {data.source}", initial=len(jobs) - len(missing)
    ) as shown:
        for row, outcome in work:
            with cache.atomic_path(paths[missing[row]]) as path:
                torch.save(outcome, path)
            shown.update()
    outcomes = [torch.load(path, weights_only=False) for path in paths]
    cells, before = [], {}
    for (mark, attack, _), outcome in zip(jobs, outcomes, strict=True):
        verdict = verify.judge(outcome["hit"], null_hits[id(mark)], alpha=alpha, minimum=minimum)
        accuracy = stats.clopper_pearson(outcome["right"], len(data.test_y))
        before.setdefault(id(mark), accuracy.estimate)  # the first attack is none
        cells.append(
            Cell(
                scheme=mark.scheme,
                attack=attack,
                seed=mark.seed,
                strength=verdict.rate,
                p_value=verdict.p_value,
                # By the p-value alone, so that a rehearsal with few null models shows the same picture.
                verified=verdict.p_value < alpha,
                accuracy=accuracy,
                lost=before[id(mark)] - accuracy.estimate,
                seconds=outcome["seconds"],
            )
        )
    fewest = min(len(rows) for rows in null_hits.values())
    return Matrix(tuple(cells), alpha, fewest, data.source, profiles.current().name)


def _check(marked: Sequence[MarkedModel], attacks: Sequence[str], options: dict[str, dict]) -> None:
    unknown = [name for name in [*attacks, *options] if name not in removal.REMOVALS and name != NONE]
    if unknown or not marked:
        raise ValueError(
            f"got {len(marked)} marked models and attacks {', '.join(map(repr, unknown)) or 'that are known'}; expected "
            f"at least one model, and attacks among {', '.join(removal.REMOVALS)}"
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
    witnesses = cache.digest(*([repr(null), dict(null.state_dict())] for null in nulls))
    return {
        id(mark): cache.cached(
            "null-hits",
            {"mark": _asked(mark), "nulls": witnesses},
            partial(_null_hits, mark, nulls),
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


def _key(mark: MarkedModel, attack: str, options: dict[str, Any], data: Dataset) -> str:
    """Content hash of a cell: the attacked model, and what is asked of it."""
    return cache.digest(_attack_key(mark, attack, options, data), _asked(mark))[:32]


def _asked(mark: MarkedModel) -> list[Any]:
    """What decides whether a model shows the mark."""
    asked = [mark.facts] if mark.triggers is None else [mark.triggers.x, mark.triggers.y]
    return [*asked, mark.key.fingerprint]


def _attack_key(mark: MarkedModel, attack: str, options: dict[str, Any], data: Dataset) -> str:
    model = [repr(mark.model), dict(mark.model.state_dict())]
    if attack == NONE:
        return cache.digest(model, data.digest)[:32]
    run = removal.REMOVALS[attack].run
    code = [getattr(run, "func", run), *CODE, *FAMILY_CODE[removal.REMOVALS[attack].family]]
    shown = {
        name: list(model_identity(value)) if name == "make_model" else value
        for name, value in options.items()
    }
    settings = [attack, getattr(run, "keywords", {}), shown, SIZES, mark.seed]
    return cache.digest(model, data.digest, settings, code)[:32]


def _work(jobs: Sequence[tuple], data: Dataset, workers: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (position, outcome) of each job as it is done."""
    workers = min(workers or many._cores(), len(jobs))
    on_cpu = profiles.device().type == "cpu"
    if workers <= 1 or not on_cpu:
        for row, (job, key) in enumerate(jobs):
            yield row, _outcome(*job, key, data)
        return
    import joblib

    arrays = [part.numpy() for part in (data.train_x, data.train_y, data.test_x, data.test_y)]
    facts = (data.name, data.source, data.real, data.classes, data.digest)
    threads = max(1, many._cores() // workers)
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=workers)
    yield from parallel(
        joblib.delayed(_in_worker)(row, job, key, arrays, facts, threads)
        for row, (job, key) in enumerate(jobs)
    )


def _in_worker(
    row: int, job: tuple, key: str, arrays: Sequence[np.ndarray], facts: tuple, threads: int
) -> tuple[int, dict[str, Any]]:
    """Do one job inside a worker process; arrays came by memory map."""
    from labkit.data import Dataset

    os.environ["LABKIT_PROGRESS"] = "0"
    torch.set_num_threads(threads)
    name, source, real, classes, digest = facts
    data = Dataset(name, source, real, *(torch.from_numpy(np.array(a)) for a in arrays), classes, digest)
    return row, _outcome(*job, key, data)


def _outcome(
    mark: MarkedModel, attack: str, options: dict[str, Any], key: str, data: Dataset
) -> dict[str, Any]:
    """Attack a model and count what is left: triggers (or bits) that hit, test records answered correctly."""
    model, seconds = attacked(mark, attack, data, **options)
    right = int((verify.answers(model, data.test_x) == data.test_y.numpy()).sum())
    return {"hit": hits(mark, model), "right": right, "seconds": seconds}


def attacked(mark: MarkedModel, attack: str, data: Dataset, **options: Any) -> tuple[nn.Module, float]:
    """Return a marked model after one attack, as in the matrix and from its cache, and the attack's seconds."""
    if attack == NONE:
        return mark.model, 0.0

    def make() -> tuple[nn.Module, float]:
        start = time.perf_counter()
        model = removal.remove(attack, mark.model, data, seed=mark.seed, **options)
        return model.cpu(), time.perf_counter() - start

    key = _attack_key(mark, attack, options, data)
    model, seconds = cache.cached("attacked", {"key": key}, make)
    return model.to(profiles.device()), seconds


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
    options.setdefault("records", removal.ANEW_RECORDS)
    inner = replace(marked, model=victim, seed=SURROGATE + marked.seed)
    thief, seconds = attacked(inner, attack, data, marker=marker, **options)
    sent, _ = weight_attacks.some(data, options["records"], inner.seed)
    triggers = marker.register(victim, sent)
    hit = verify.answers(thief, triggers.x) == triggers.y.numpy()
    return replace(
        marked,
        model=thief,
        triggers=triggers,
        strength=stats.clopper_pearson(int(hit.sum()), len(hit)),
        accuracy=training.evaluate(thief, data.test_x, data.test_y).accuracy,
        seconds=seconds,
        facts={},
    )
