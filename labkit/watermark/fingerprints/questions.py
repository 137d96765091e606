"""A sealed list of questions: records and the owner's answers to them, chosen before any suspect is asked.

`mistakes` and `agreement` differ in which records they choose, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from labkit import cache
from labkit.stats import clopper_pearson
from labkit.watermark.fingerprints.evidence_line import Line, weigh
from labkit.watermark.fingerprints.predictive import check_values, predictive_p
from labkit.watermark.verification.verify import ALPHA, Suspect, answers

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Questions:
    """Records to show to a suspect, the owner's answers, and how often null models give the same.

    Attributes
    ----------
    name, citation, measures, assumption : str
        See `labkit.watermark.fingerprints.evidence_line.Line`.
    records : int64 ndarray of shape (n,)
        Positions among the data set's test records.
    x : Tensor of shape (n, ...)
    expected, truth : int64 ndarrays of shape (n,)
        The owner's answers and the labels.
    null_hit : bool ndarray of shape (k, n)
        Which of the expected answers each null model gives.
    null_right : ndarray of shape (k,)
        Share of the records that each null model labels correctly.
    """

    name: str
    citation: str
    measures: str
    assumption: str
    records: np.ndarray
    x: Tensor
    expected: np.ndarray
    truth: np.ndarray
    null_hit: np.ndarray
    null_right: np.ndarray
    source: str
    seed: int

    def __len__(self) -> int:
        return len(self.expected)

    def __repr__(self) -> str:
        return f"Questions({self.name}: {len(self):,} records of {self.source}, {len(self.null_hit)} null models)"

    @property
    def digest(self) -> str:
        """SHA-256 of the records and expected answers: what a plan commits to before the suspect is asked."""
        return cache.digest(self.name, self.x, self.expected)

    def ask(self, suspect: Suspect, *, alpha: float = ALPHA) -> Line:
        """Show the records to a suspect (labels are enough) and weigh its answers: see `weigh`."""
        return self.weigh(answers(suspect, self.x), alpha=alpha)

    def weigh(self, given: np.ndarray, *, alpha: float = ALPHA) -> Line:
        """Weigh a suspect's answers against the null models'.

        The p-values, their null hypothesis and their assumptions are those of `labkit.watermark.fingerprints.predictive`.

        Parameters
        ----------
        given : int64 ndarray of shape (n,)
            Labels; below 0 where the suspect gave no answer, which never counts against it.
        """
        hit = given == self.expected
        return weigh(
            clopper_pearson(int(hit.sum()), len(self)),
            self.null_hit.mean(1),
            alpha=alpha,
            resolution=1 / len(self),
            notes=self._notes(given),
            name=self.name,
            citation=self.citation,
            measures=self.measures,
            queries=len(self),
            assumption=self.assumption,
            source=self.source,
            seed=self.seed,
            hit=hit,
            null_hit=self.null_hit,
        )

    def avoids(self, given: np.ndarray) -> float:
        """Return the model-based p-value of *as few* of the owner's answers as ``given`` has: somebody avoids them.

        A suspect that swaps its two best answers where they are close is not seen by the line itself.
        """
        answered = given >= 0
        if not answered.any():
            return 1.0
        share = float((given == self.expected)[answered].mean())
        nulls = -self.null_hit[:, answered].mean(1)
        above = bool((nulls < -share).all())
        return predictive_p(-share, nulls, resolution=1 / int(answered.sum())) if above else 1.0

    def _notes(self, given: np.ndarray) -> list[str]:
        """Warn where the suspect is a much better or worse model than every null model."""
        right = float((given == self.truth).mean())
        low, high = self.null_right.min(), self.null_right.max()
        room = 3 * (high - low) + 1 / len(self)
        if low - room <= right <= high + room:
            return []
        return [
            f"the suspect labels {100 * right:.1f}% of these records correctly, the null models "
            f"{100 * low:.1f} to {100 * high:.1f}%: a copy can cause this, and so can another architecture or "
            "better data; null models trained the way the suspect says it was would tell"
        ]


def put(
    chosen: np.ndarray, expected: np.ndarray, null_answers: np.ndarray, dataset: Dataset, **facts: Any
) -> Questions:
    """Return the questions about the chosen test records.

    Parameters
    ----------
    chosen : int64 ndarray of shape (n,)
    expected : ndarray of shape (m,)
        The owner's answers to all test records.
    null_answers : ndarray of shape (k, m)
    """
    truth = dataset.test_y.cpu().numpy()
    facts.setdefault("null_hit", null_answers[:, chosen] == expected[chosen])
    return Questions(
        records=chosen,
        x=dataset.test_x[chosen],
        expected=expected[chosen],
        truth=truth[chosen],
        null_right=(null_answers[:, chosen] == truth[chosen]).mean(1),
        source=dataset.source,
        **facts,
    )


def ask_all(models: Sequence[Suspect], x: Tensor) -> np.ndarray:
    """Return the labels that each model gives to each record, int64 (models, records)."""
    return np.stack([answers(model, x) for model in models])


def known_or_asked(nulls: Sequence[Suspect] | np.ndarray, dataset: Dataset, minimum: int) -> np.ndarray:
    """Return the null models' answers to all test records, int64 (k, m): as given, or by asking them.

    Raises
    ------
    ValueError
        If there are fewer null models than ``minimum``, or known answers are not one per test record.
    """
    check_values(np.zeros(len(nulls)), minimum)
    if not isinstance(nulls, np.ndarray):
        return ask_all(nulls, dataset.test_x)
    if nulls.shape[1:] != (len(dataset.test_y),):
        raise ValueError(
            f"got known answers of shape {nulls.shape}; expected (models, {len(dataset.test_y)})"
        )
    return nulls


def some(candidates: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Return ``count`` of the candidates (all by default or if there are fewer) in an order fixed by ``seed``."""
    if count is not None and count < 1:
        raise ValueError(f"queries is {count}; expected at least 1, or None for all")
    return candidates[np.random.default_rng(seed).permutation(len(candidates))[:count]]
