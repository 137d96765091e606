"""Is the mark there? A suspect's answers to triggers, tested against models that were trained independently.

H0: the suspect was trained independently on the same task, so it hits triggers no more often than the likeliest of the
null models does. How often that is follows from the null models alone, never from one over the number of classes:
triggers look like some class to every model. Thresholds set by null models follow Lukas et al., "SoK: How robust is
image classification DNN watermarking?" (arXiv 2108.04974).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import cache, profiles
from labkit.watermark.marks import weights
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.verification.asking import Suspect, answers, as_asked, probabilities
from labkit.watermark.verification.binomial import ALPHA, hits_needed, power, queries_needed, tail
from labkit.watermark.verification.verdict import NULLS, Verdict

if TYPE_CHECKING:
    from labkit.watermark.verification.redrawn_keys import RedrawnKeys

__all__ = [
    "ALPHA",
    "NULLS",
    "Suspect",
    "Verdict",
    "answers",
    "hits_needed",
    "judge",
    "power",
    "probabilities",
    "queries_needed",
    "tail",
    "verify",
    "verify_bits",
]


def judge(
    hit: np.ndarray,
    null_hit: np.ndarray,
    *,
    alpha: float = ALPHA,
    minimum: int = NULLS,
    what: str = "triggers",
    suspect: str = "suspect",
    source: str = "",
    seed: int = 0,
    redrawn: RedrawnKeys | None = None,
    chance: float | None = None,
) -> Verdict:
    """Test hits that are already counted: the statistics of `verify` alone.

    Parameters
    ----------
    hit : bool array of shape (n,)
    null_hit : bool array of shape (k, n)
    chance : float, optional
        Where the mark's own randomness fixes how often a suspect hits that never saw the key: see `Verdict`.

    Raises
    ------
    ValueError
        If shapes do not fit, alpha or chance is out of range, or there are fewer than ``minimum`` null models.
    """
    hit, null_hit = np.asarray(hit), np.asarray(null_hit)
    if (
        hit.dtype != bool
        or null_hit.dtype != bool
        or hit.ndim != 1
        or null_hit.shape[1:] != hit.shape
        or not len(hit)
    ):
        raise ValueError(
            f"got hits of {hit.dtype} {hit.shape} and {null_hit.dtype} {null_hit.shape} for null models; expected "
            "boolean (n,) and (k, n), n at least 1"
        )
    if not 0 < alpha < 1:
        raise ValueError(
            f"alpha is {alpha}; expected a number between 0 and 1, fixed in advance, such as {ALPHA}"
        )
    if chance is not None and not 0 < chance < 1:
        raise ValueError(f"chance is {chance}; expected a number between 0 and 1, such as {weights.CHANCE}")
    if len(null_hit) < max(minimum, 2):
        raise ValueError(
            f"got {len(null_hit)} null models; {max(minimum, 2)} are needed: train them with "
            "watermark.null_models (a rehearsal may pass a smaller minimum=, and then proves nothing)"
        )
    return Verdict(
        hit, null_hit, alpha, what, suspect, source, profiles.current().name, seed, redrawn, chance
    )


def verify(
    suspect: Suspect,
    triggers: TriggerSet,
    nulls: Sequence[Suspect],
    *,
    alpha: float = ALPHA,
    minimum: int = NULLS,
    queries: int | None = None,
    name: str = "suspect",
    source: str = "",
    seed: int = 0,
    redrawn: RedrawnKeys | None = None,
) -> Verdict:
    """Test by queries whether a suspect carries a mark; labels suffice.

    Parameters
    ----------
    suspect : nn.Module, MarkedModel or callable
        See `answers`.
    triggers : TriggerSet
    nulls : sequence of models
        Trained independently on the same task: `labkit.watermark.verification.null_models.null_models`.
    alpha : float
        Fix it, and ``queries``, before the first query.
    minimum : int
        Null models to insist on. A verdict on fewer than 20 makes no claim, whatever is passed here.
    queries : int, optional
        Ask the first so many triggers only; the null models answer the same ones.
    name, source, seed
        For titles and tables: the suspect's name, where the data came from, and the seed of the run.
    redrawn : RedrawnKeys, optional
        The suspect asked about keys drawn anew: see `labkit.watermark.verification.redrawn_keys.redrawn_keys`. With it
        the verdict rests on an exact p-value, and null models are a second guard.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError
        As `answers` and `judge`; if there are fewer triggers than queries; and if a null model is passed twice.
    """
    if len(set(map(_identity, nulls))) < len(nulls):
        raise ValueError(
            "a null model is passed twice: one model that counts twice is one witness, pass distinct ones"
        )
    queries = len(triggers) if queries is None else queries
    if not 1 <= queries <= len(triggers):
        raise ValueError(f"queries is {queries}; expected 1 to {len(triggers)}, the number of triggers")
    if len(nulls) < max(minimum, 2):  # before the suspect's budget is touched
        judge(np.zeros(1, bool), np.zeros((len(nulls), 1), bool), minimum=minimum)
    asked = triggers.take(queries)
    expected = asked.y.numpy()
    null_hit = np.array([answers(null, asked.x) == expected for null in nulls])
    hit = answers(suspect, asked.x) == expected
    return judge(
        hit,
        null_hit,
        alpha=alpha,
        minimum=minimum,
        what=f"{triggers.kind} triggers",
        suspect=name,
        source=source,
        seed=seed,
        redrawn=redrawn,
    )


def _identity(null: Suspect) -> str:
    """Return what tells one null model from another: its weights, or itself where there are none to read."""
    asked = as_asked(null)
    if not isinstance(asked, nn.Module) or not (weights := asked.state_dict()):
        return str(id(getattr(asked, "estimator", asked)))  # the wrapper is made here, and gone at once
    return cache.digest(repr(asked), dict(weights))


def verify_bits(
    bits_read: np.ndarray, bits_owned: np.ndarray, null_bits: np.ndarray, **settings: Any
) -> Verdict:
    """Test a white-box mark: bits read from a suspect's weights against those that the owner embedded.

    Null hypothesis: the suspect's weights do not depend on the key. Message and projection are drawn from the key, so
    such a suspect, of whatever training, shows each bit right with probability 1/2, independently of the others: the
    p-value is the exact binomial tail. Assumption: the key was drawn at random, not chosen with a look at the suspect,
    which commitments must rule out.

    Parameters
    ----------
    bits_read, bits_owned : arrays of 0 and 1, shape (n,)
    null_bits : array of 0 and 1, shape (k, n)
        Read from each null model with the same key: a check that the suspect is read as it should be, no part of p.
    **settings
        As in `judge`.

    Raises
    ------
    ValueError
        As `judge`, and if an array holds anything but 0 and 1.
    """
    read, owned, null = (np.asarray(bits) for bits in (bits_read, bits_owned, null_bits))
    for name, bits in {"bits_read": read, "bits_owned": owned, "null_bits": null}.items():
        if not np.isin(bits, (0, 1)).all():
            raise ValueError(f"{name} holds values other than 0 and 1: threshold the projection first")
    if read.shape != owned.shape or null.shape[1:] != owned.shape:
        raise ValueError(
            f"got {read.shape} bits read, {owned.shape} owned and {null.shape} of null models; expected (n,), (n,), (k, n)"
        )
    return judge(
        read == owned, null == owned, **{"what": "bits in weights", "chance": weights.CHANCE, **settings}
    )
