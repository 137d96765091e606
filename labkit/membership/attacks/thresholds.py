"""Attacks that compare one signal of the target with a threshold, global, per class, or per record.

All use the plain query; all return one score per record, larger for likelier members.
"""

from __future__ import annotations

import numpy as np

from labkit.membership.reports.intervals import best_threshold
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.membership.shadows.signals import signal


def target_signal(name: str, target: Target, bank: ShadowBank, *, part: str = "pool") -> np.ndarray:
    """Return a signal of the target, (n, queries), on the "pool" or the "population"."""
    if part == "pool":
        return signal(name, target.logits, bank.labels)
    return signal(name, target.population_logits, bank.population_labels)


def out_mean(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the mean over the models that were not trained on each record: (K, n, ...) and (K, n) to (n, ...).

    Raises
    ------
    ValueError
        If a record is in for every model.
    """
    out = ~masks
    if not out.any(0).all():
        raise ValueError(f"record {int(np.argmin(out.any(0)))} is in for every shadow model: use more models")
    weights = out.reshape(out.shape + (1,) * (values.ndim - 2))
    return (values * weights).sum(0) / weights.sum(0)


def loss_threshold(target: Target, bank: ShadowBank) -> np.ndarray:
    """Score by minus the loss (Yeom et al., arXiv 1709.01604, adversary 1): members fit better."""
    return target_signal("loss", target, bank)[:, 0]


def gap(target: Target, bank: ShadowBank) -> np.ndarray:
    """Score 1 where the model is right (Yeom et al., section 3.1): what the generalisation gap alone gives away."""
    return target_signal("correct", target, bank)[:, 0]


def per_class(target: Target, bank: ShadowBank, *, signal: str = "modified-entropy") -> np.ndarray:
    """Score by a signal minus its class's threshold, learned on the shadows (Song & Mittal, arXiv 2003.10595, eq. 8-10).

    Each class's threshold is the one with the best balanced accuracy over all shadow models.
    """
    scores = target_signal(signal, target, bank)[:, 0].copy()
    shadows = bank.signal(signal)[:, :, 0]
    for label in np.unique(bank.labels):
        of_class = bank.labels == label
        scores[of_class] -= best_threshold(shadows[:, of_class].ravel(), bank.masks[:, of_class].ravel())
    return scores


def calibrated(target: Target, bank: ShadowBank, *, signal: str = "loss") -> np.ndarray:
    """Score by the signal minus its mean over models that never saw the record (Watson et al., arXiv 2111.08440, eq. 5).

    Subtracts how hard the record is.
    """
    shadows = out_mean(bank.signal(signal)[:, :, 0], bank.masks)
    return target_signal(signal, target, bank)[:, 0] - shadows


def attack_p(target: Target, bank: ShadowBank) -> np.ndarray:
    """Score by the share of the population that the target fits no better (Ye et al., arXiv 2111.09679, attack P).

    One minus the p-value of the hypothesis "this record is one of the population": one threshold for all records.
    Records with equal shares are told apart by their confidence, so that the surest do not all tie.
    """
    population = np.sort(target_signal("loss", target, bank, part="population")[:, 0])
    values = target_signal("loss", target, bank)[:, 0]
    below = np.searchsorted(population, values, side="right")
    return (below + np.exp(values)) / (len(population) + 1)


def attack_r(target: Target, bank: ShadowBank) -> np.ndarray:
    """Score by the share of models that never saw the record and fit it no better (Ye et al., attack R).

    A threshold of each record's own. With few shadow models it takes few values, and rates that fall between two of
    them are refused in reports: more models help, not more records.
    """
    values = target_signal("loss", target, bank)[:, 0]
    return out_mean((bank.signal("loss")[:, :, 0] <= values).astype(float), bank.masks)
