"""One call for every attack: all score the same records of the same target, so that they compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.membership.attacks import label_only, learned, lira, rmia, thresholds
from labkit.membership.reports.result import AttackResult
from labkit.membership.shadows.bank import ShadowBank, Target, positions

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Attack:
    """An attack by name: its function, what it needs of the shadow models, and where it is from.

    ``needs`` is "nothing", "out" (models that never saw a record), "in and out", "population" or "model".
    """

    score: Callable[..., np.ndarray]
    needs: str
    citation: str


ATTACKS: dict[str, Attack] = {
    "blind": Attack(learned.blind, "nothing", "blind baseline, arXiv 2406.16201"),
    "gap": Attack(thresholds.gap, "nothing", "Yeom et al. 2018, sec. 3.1, arXiv 1709.01604"),
    "loss": Attack(thresholds.loss_threshold, "nothing", "Yeom et al. 2018, adversary 1, arXiv 1709.01604"),
    "modified-entropy": Attack(
        thresholds.per_class, "in and out", "Song & Mittal 2021, eq. 10, arXiv 2003.10595"
    ),
    "shokri": Attack(learned.shadow_classifier, "in and out", "Shokri et al. 2017, sec. V, arXiv 1610.05820"),
    "watson": Attack(thresholds.calibrated, "out", "Watson et al. 2022, eq. 5, arXiv 2111.08440"),
    "attack-p": Attack(thresholds.attack_p, "population", "Ye et al. 2022, attack P, arXiv 2111.09679"),
    "attack-r": Attack(thresholds.attack_r, "out", "Ye et al. 2022, attack R, arXiv 2111.09679"),
    "quantile": Attack(
        learned.quantile_regression, "population", "Bertran et al. 2023, eq. 1, arXiv 2307.03694"
    ),
    "lira-offline": Attack(lira.offline, "out", "Carlini et al. 2022, alg. 1 offline, arXiv 2112.03570"),
    "lira-online": Attack(lira.online, "in and out", "Carlini et al. 2022, alg. 1 online, arXiv 2112.03570"),
    "rmia-offline": Attack(rmia.offline, "out", "Zarifzadeh et al. 2024, offline, arXiv 2312.03262"),
    "rmia-online": Attack(rmia.online, "in and out", "Zarifzadeh et al. 2024, online, arXiv 2312.03262"),
    "label-noise": Attack(
        label_only.noise_robustness, "model", "Choquette-Choo et al. 2021, sec. 3.3, arXiv 2007.14321"
    ),
    "label-boundary": Attack(
        label_only.boundary_distance, "model", "Choquette-Choo et al. 2021, sec. 3.2, arXiv 2007.14321"
    ),
}


# They read the label's probability alone, so numbers of it are enough: see `ShadowBank.from_scores`.
LABEL_ALONE = (
    "loss",
    "watson",
    "attack-p",
    "attack-r",
    "lira-offline",
    "lira-online",
    "rmia-offline",
    "rmia-online",
)
POPULATION = (
    "attack-p",
    "quantile",
    "rmia-offline",
    "rmia-online",
)  # ask the target about records that nobody trained on
RECORDS = ("blind", "quantile", "label-noise", "label-boundary")  # look at the records themselves


def attack(
    name: str, target: Target, bank: ShadowBank, *, records: np.ndarray | None = None, **options: Any
) -> AttackResult:
    """Run one attack and return its scores with the truth.

    Parameters
    ----------
    name : str
        A key of `ATTACKS`.
    target : Target
        From ``bank.query(model, members)``, ``bank.target(k)`` or `labkit.membership.shadows.training.train_targets`.
    bank : ShadowBank
        The attacker's shadow models. For a target that is one of them, pass ``bank.without(k)``.
    records : int or bool array, optional
        Positions in the pool to score, or a mask of it (default: all); saves time for label-only attacks.
    **options
        Of the attack's own function, such as ``variance="per-example"`` for LiRA.

    Raises
    ------
    ValueError
        If the name is unknown, target and bank do not fit, the bank lacks what the attack needs, or ``records`` are not
        distinct positions in the pool.
    """
    if name not in ATTACKS:
        raise ValueError(f"attack {name!r} is unknown; expected one of {', '.join(ATTACKS)}")
    entry = ATTACKS[name]
    _check(name, entry, target, bank)
    chosen = (
        np.arange(len(bank.labels)) if records is None else positions(records, len(bank.labels), "records")
    )
    start = time.perf_counter()
    if entry.needs == "model":
        scores = entry.score(target, bank, records=chosen, **options)
    else:
        scores = entry.score(target, bank, **options)[chosen]
    return AttackResult(
        name=name,
        scores=scores,
        members=target.members[chosen],
        labels=bank.labels[chosen],
        records=chosen,
        citation=entry.citation,
        target=target.name,
        source=bank.source,
        profile=bank.profile,
        shadows=len(bank) if entry.needs in ("out", "in and out") else 0,
        classes=bank.classes,
        privacy=target.privacy,
        accuracy=target.accuracy,
        pictures=bank.x,
        seconds=time.perf_counter() - start,
        options=options,
    )


def _check(name: str, entry: Attack, target: Target, bank: ShadowBank) -> None:
    """Refuse combinations that would fail later or, worse, give a wrong number."""
    shape = (len(bank.labels), len(bank.queries), len(bank.classes))
    if target.logits.shape != shape:
        raise ValueError(
            f"{target.name} was asked {target.logits.shape} (records, queries, classes), the bank {shape}: "
            "ask the target with this bank's query(), or select() the same queries"
        )
    if bank.scores_only and name not in LABEL_ALONE:
        raise ValueError(
            f"{name} reads more than the label's probability, and this bank was made of scores: use one of "
            f"{', '.join(LABEL_ALONE)}, or ShadowBank.from_logits"
        )
    if name in POPULATION and not len(bank.population_labels):
        raise ValueError(
            f"{name} asks the target about records that no model has seen, and this bank has none: pass population= and "
            "population_y="
        )
    if name in RECORDS and bank.x.ndim == 2 and bank.x.shape[1] == 0:
        raise ValueError(
            f"{name} looks at the records, and this bank was made of answers alone: pass x= (and population_x=)"
        )
    counts = bank.masks.sum(0)
    if entry.needs == "in and out" and (counts.min() == 0 or counts.max() == len(bank)):
        raise ValueError(
            f"{name} needs shadow models trained with and without each record; this bank has "
            f"{counts.min()} to {counts.max()} with, of {len(bank)}: use an offline attack, or more models"
        )
    if entry.needs == "out" and counts.max() == len(bank):
        raise ValueError(f"{name} needs, for each record, a shadow model not trained on it: use more models")
    if entry.needs in ("out", "in and out") and _inside(target, bank):
        raise ValueError(
            f"{target.name} is among the shadow models that attack it: pass bank.without(...), or the result is void"
        )


def _inside(target: Target, bank: ShadowBank) -> bool:
    """Whether the bank still holds the target, or the model trained on the other half of the pool."""
    same = (bank.masks == target.members).all(1)
    other = (bank.masks == ~target.members).all(1)
    return bool(same.any() or other.any())
