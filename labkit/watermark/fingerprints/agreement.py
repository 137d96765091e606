"""Does it answer as my model does, where independent models disagree?

Agreement on all records is the plain measure (fidelity, of Jagielski et al., "High accuracy and high fidelity extraction
of neural networks", arXiv 1909.01838). Any two good models agree on easy records; so ask about the *contested* ones,
where independent models split. Both tests are symmetric, as in `labkit.watermark.fingerprints.mistakes`.
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

CITATION = "Jagielski et al., arXiv 1909.01838 (fidelity)"
ASSUMPTION = (
    "null models stand for what an honest competitor would have trained (task, kind of data, about the same "
    "accuracy), and their rates are normally distributed"
)


def dissent(null_answers: np.ndarray) -> np.ndarray:
    """Return, for each record, the share of null models that differ from the most common answer.

    Parameters
    ----------
    null_answers : int64 ndarray of shape (k, m)

    Returns
    -------
    ndarray of shape (m,)
        From 0 (all agree) to below 1.
    """
    counts = np.stack([(null_answers == label).sum(0) for label in range(int(null_answers.max()) + 1)])
    return 1 - counts.max(0) / len(null_answers)


def contested(null_answers: np.ndarray, count: int, order: np.ndarray) -> np.ndarray:
    """Return the ``count`` records with most dissent; ties go by ``order``, a permutation of the records."""
    return order[np.argsort(-dissent(null_answers[:, order]), kind="stable")[:count]]


def questions(
    owner: Suspect,
    dataset: Dataset,
    nulls: Sequence[Suspect] | np.ndarray,
    *,
    on: str = "contested",
    queries: int = 1000,
    seed: int = 0,
    minimum: int = NULLS,
) -> Questions:
    """Choose held-out records to compare answers on, before any suspect is asked.

    Parameters
    ----------
    owner, dataset, nulls, minimum
        As in `labkit.watermark.fingerprints.mistakes.questions`.
    on : {"contested", "all"}
        The records on which null models disagree most, or any.
    queries : int
        Number of records.

    Notes
    -----
    Null models that chose the records would disagree on them more than newcomers do, and make the suspect look like a
    copy. So each null model is measured on the records that the *others* contest, as the suspect is.

    Raises
    ------
    ValueError
        If there are too few null models, or ``on`` is unknown.
    """
    if on not in ("contested", "all"):
        raise ValueError(f"on is {on!r}; expected 'contested' or 'all'")
    null_answers = known_or_asked(nulls, dataset, minimum)
    expected = ask_all([owner], dataset.test_x)[0]
    order = some(np.arange(len(expected)), None, seed)
    queries = min(queries, len(order))
    facts = {"citation": CITATION, "assumption": ASSUMPTION, "seed": seed}
    if on == "all":
        measures = "agreement with the owner's model"
        chosen = order[:queries]
        return put(chosen, expected, null_answers, dataset, name="agreement", measures=measures, **facts)
    null_hit = []
    for j, own in enumerate(null_answers):
        theirs = contested(np.delete(null_answers, j, axis=0), queries, order)
        null_hit.append(own[theirs] == expected[theirs])
    return put(
        contested(null_answers, queries, order),
        expected,
        null_answers,
        dataset,
        name="agreement on contested records",
        measures="agreement with the owner's model where null models disagree",
        null_hit=np.array(null_hit),
        **facts,
    )


def agree(
    suspect: Suspect,
    owner: Suspect,
    dataset: Dataset,
    nulls: Sequence[Suspect] | np.ndarray,
    *,
    on: str = "contested",
    queries: int = 1000,
    alpha: float = ALPHA,
    seed: int = 0,
    minimum: int = NULLS,
) -> Line:
    """Return whether a suspect agrees with the owner's model more often than independent models do.

    Null hypothesis: the suspect was trained independently of the owner's model, as the null models were.
    Assumption: see `ASSUMPTION`; the rank p-value needs exchangeability alone (on contested records up to the
    difference between k and k - 1 models that choose).
    """
    chosen = questions(owner, dataset, nulls, on=on, queries=queries, seed=seed, minimum=minimum)
    return chosen.ask(suspect, alpha=alpha)
