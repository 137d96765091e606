"""Attack every defence twice, without and with knowledge of it, and put what is found in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labkit import cache, progress, stats
from labkit.membership.attacks import label_only as label_attacks
from labkit.membership.attacks.registry import attack
from labkit.membership.reports import curves, intervals
from labkit.membership.reports.result import AttackResult
from labkit.membership.shadows.bank import ShadowBank
from labkit.membership.studies import leave_one_out as loo
from labkit.membership.studies.defence_table import CANARY_RATE, RATE, DefenceTable, Row
from labkit.membership.studies.defences import Defence, standard
from labkit.membership.studies.leave_one_out import LeaveOneOut
from labkit.stats import Interval
from labkit.training.shelf import model_identity


def compare_defences(
    bank: ShadowBank,
    defences: Sequence[Defence] | None = None,
    *,
    attack_name: str = "lira-online",
    canaries: np.ndarray | None = None,
    label_only_records: int = 0,
    label_only_targets: int = 4,
    reference: float | None = None,
) -> DefenceTable:
    """Train a bank under each defence, and attack each of its models as one who knows the defence and as one who does not.

    A defence that was measured against an attacker who does not know it was not measured: label smoothing, for one,
    looks as if it helped, and gives more away to shadow models that were smoothed as well. Averages over all records hide
    those who pay, so `canaries` have columns of their own (Aerni, Zhang & Tramer, arXiv 2404.17399).

    Parameters
    ----------
    bank : ShadowBank
        Undefended models, at least six for LiRA. The first query is asked, the others are not.
    defences : sequence of Defence, optional
        Default: `labkit.membership.studies.defences.standard` for the bank's recipe. The first is compared with.
    attack_name : str
        A key of `labkit.membership.ATTACKS`.
    canaries : bool array of shape (n,), optional
        Records of the pool that were chosen beforehand as those hit worst, such as mislabelled ones.
    label_only_records, label_only_targets : int
        Records of the pool, and targets a row, on which the attack by labels alone is run (0: on none). It is left out
        where the models see features instead of the records.
    reference : float, optional
        Accuracy without any private record, for the line of ε = 0.

    Raises
    ------
    ValueError
        If there are fewer than four models, or ``canaries`` is no bool mask of the pool.
    """
    plain = bank.select(queries=1)
    if len(plain) < 4:
        raise ValueError(
            f"got {len(plain)} models; with a target and its partner put away, at least 4 are needed"
        )
    if canaries is not None and (np.asarray(canaries).dtype != bool or np.shape(canaries) != (len(bank.y),)):
        raise ValueError(
            f"canaries is {np.asarray(canaries).dtype} {np.shape(canaries)}; expected bool ({len(bank.y)},)"
        )
    if bank.recipe is None:
        raise ValueError(
            f"{bank.name} has no recipe to defend: its models come from your own function, or from arrays. Build one bank for "
            "each defence with shadow_bank(train=...), and compare their reports"
        )
    chosen = standard(bank.recipe) if defences is None else list(defences)
    found: list[tuple[Row, LeaveOneOut, list[float]]] = []
    for defence in progress.track(chosen, f"defences, {bank.source}"):
        records = _some(len(bank.y), label_only_records)
        first = found[0][1:] if found else None
        found.append(
            _row(
                plain,
                defence,
                attack_name,
                canaries,
                records,
                label_only_targets,
                first,
                max(1, len(chosen) - 1),
            )
        )
    rows = tuple(row for row, _, _ in found)
    rest = len(plain) - 2
    return DefenceTable(rows, attack_name, bank.source, bank.profile, len(plain), rest, reference)


def _row(
    plain: ShadowBank,
    defence: Defence,
    name: str,
    canaries: np.ndarray | None,
    records: np.ndarray,
    label_targets: int,
    first: tuple[LeaveOneOut, list[float]] | None,
    comparisons: int,
) -> tuple[Row, LeaveOneOut, list[float]]:
    defended = defence.models(plain)
    targets = [defended.target(k) for k in range(len(defended))]
    unaware = loo.summarise(
        name, [attack(name, target, plain.without(k)) for k, target in enumerate(targets)]
    )
    aware = loo.summarise(
        name, [attack(name, target, defended.without(k)) for k, target in enumerate(targets)]
    )
    accuracies = [target.accuracy.estimate for target in targets]
    level = 1 - 0.05 / comparisons  # Bonferroni: all rows' changes together at 95%
    worst = None if canaries is None else [_among(result, canaries) for result in aware.results]
    row = Row(
        name=defence.name,
        accuracy=stats.mean_share(accuracies),
        unaware=unaware.auc,
        aware=aware.auc,
        tpr=aware.tpr[RATE],
        canaries=worst and loo.summarise(name, worst).auc,
        canary_tpr=worst and loo.mean_tpr(worst, CANARY_RATE),
        label_only=_labels_alone(defended, plain, records, label_targets),
        ceiling=None if defended.privacy is None else curves.ceiling_auc(defended.privacy),
        change=first and loo.difference(aware, first[0], confidence=level),
        accuracy_change=first and stats.mean_interval(np.subtract(accuracies, first[1]), level),
    )
    return row, aware, accuracies


def _among(result: AttackResult, chosen: np.ndarray) -> AttackResult:
    return replace(
        result,
        scores=result.scores[chosen],
        members=result.members[chosen],
        labels=result.labels[chosen],
        records=result.records[chosen],
    )


def _some(n: int, count: int) -> np.ndarray:
    """Return some positions in the pool; the seed is none that halves were drawn with (numpy takes 0 for [0, 0])."""
    return np.sort(np.random.default_rng([2**31 + 4]).permutation(n)[:count])


def _labels_alone(
    defended: ShadowBank, plain: ShadowBank, records: np.ndarray, targets: int
) -> Interval | None:
    """Return the AUC of the attack by labels alone, from the cache where it was run before; None where it is not."""
    if not len(records) or defended.x is not plain.x:
        return None

    asked = [defended.target(k) for k in range(targets)]

    def areas() -> list[float]:
        results = [attack("label-noise", target, plain, records=records) for target in asked]
        return [intervals.auc(r.scores, r.members).estimate for r in results]

    settings = {
        "bank": defended.key,
        "records": records,
        "rows": defended.rows[:targets],
        "model": model_identity(defended.make_model),
    }
    return stats.mean_share(cache.cached("labels-alone", settings, areas, code=[label_attacks, intervals]))
