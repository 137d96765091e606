"""Does it repeat my mistakes? Two models that learned alone are right in the same way and wrong each in its own.

The Anna Karenina heuristic (AKH) of Godinot et al., "Queries, Representation & Detection: The next 100 model
fingerprinting schemes" (arXiv 2412.13021, AAAI 2025): show the suspect records that the owner's model gets wrong. It
needs no mark, labels alone, and one model of the owner's. What is added here is the null: some records are hard for
everybody in the same way, so the share of repeated mistakes is set against that of independent models.

The test is symmetric: the thief could accuse the owner with it. Who was first is for commitments to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labkit.watermark.fingerprints.evidence_line import Line
from labkit.watermark.fingerprints.questions import Questions, ask_all, known_or_asked, put, some
from labkit.watermark.verification.verify import ALPHA, NULLS, Suspect

if TYPE_CHECKING:
    from labkit.data import Dataset

CITATION = "Godinot et al., arXiv 2412.13021 (AKH)"
MEASURES = "share of the owner's mistakes that are repeated"
ASSUMPTION = (
    "null models stand for what an honest competitor would have trained (task, kind of data, about the same "
    "accuracy), and their rates are normally distributed"
)


def questions(
    owner: Suspect,
    dataset: Dataset,
    nulls: Sequence[Suspect] | np.ndarray,
    *,
    queries: int | None = None,
    seed: int = 0,
    minimum: int = NULLS,
) -> Questions:
    """Choose records that the owner's model gets wrong, before any suspect is asked.

    Parameters
    ----------
    owner : nn.Module or callable
        The model whose mistakes are looked for.
    dataset : Dataset
        Its test records are what the owner did not train on; no others are used.
    nulls : sequence of nn.Module, or int64 ndarray of shape (k, m)
        Independently trained models, or their answers to all test records (see `questions.ask_all`).
    queries : int, optional
        Number of records, drawn at random among the mistakes; all by default.
    minimum : int
        Null models below which the test is refused.

    Raises
    ------
    ValueError
        If there are too few null models, or the owner's model makes fewer than 10 mistakes.
    """
    null_answers = known_or_asked(nulls, dataset, minimum)
    expected = ask_all([owner], dataset.test_x)[0]
    wrong = np.flatnonzero(expected != dataset.test_y.cpu().numpy())
    if len(wrong) < 10:
        raise ValueError(
            f"the owner's model gets {len(wrong)} of {len(expected):,} held-out records wrong; expected at least 10: "
            "pass more held-out records, or use labkit.watermark.fingerprints.agreement"
        )
    return put(
        some(wrong, queries, seed),
        expected,
        null_answers,
        dataset,
        name="shared mistakes",
        citation=CITATION,
        measures=MEASURES,
        assumption=ASSUMPTION,
        seed=seed,
    )


def repeats(
    suspect: Suspect,
    owner: Suspect,
    dataset: Dataset,
    nulls: Sequence[Suspect] | np.ndarray,
    *,
    queries: int | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
    minimum: int = NULLS,
) -> Line:
    """Return whether a suspect repeats the owner's mistakes more often than independent models do.

    Null hypothesis: the suspect was trained independently of the owner's model, as the null models were.
    Assumption: see `ASSUMPTION`; the rank p-value needs exchangeability alone. Choosing the records by the owner's
    mistakes does no harm: under the null hypothesis neither the suspect nor a null model had a part in the choice.
    """
    chosen = questions(owner, dataset, nulls, queries=queries, seed=seed, minimum=minimum)
    return chosen.ask(suspect, alpha=alpha)
