"""Would a stranger's key do as well? The suspect itself is asked about marks of keys that were drawn anew.

Under H0 the suspect knows nothing of the owner's key. The owner's key was drawn at random, and so are the judge's; to
an innocent suspect, of whatever architecture and training, all are strangers. So its answers to the owner's triggers
and to those of redrawn keys are exchangeable, and the rank of the owner's among them is a p-value that trusts no model
of chance: P[p <= t] <= t (Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2.5). Two things
void it: a key that was *chosen* (from many, after a look at the suspect), which commitments must rule out, and a
suspect whose answer to one picture depends on the pictures beside it.

An innocent's rank is settled after few keys, so keys are drawn until some number of them has done as well (Besag &
Clifford, "Sequential Monte Carlo p-values", Biometrika 78, 1991); the p-value stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labkit import plots
from labkit.results import Result
from labkit.stats import p_words
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.verification.asking import Suspect, answers, probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset

ENOUGH = 10  # redrawn keys that do as well, after which more would not change the finding
FLOOR = 1e-30  # probabilities below it count as this
CHUNK = 4000  # triggers that are asked at once, at most


def redrawn_p(hits: float, redrawn: np.ndarray) -> float:
    """Return the p-value of ``hits`` among the values of redrawn keys: (1 + as high or higher) / (1 + keys).

    It never falls below 1 / (1 + keys): more digits than that the keys do not support. For values that were drawn until
    `ENOUGH` were as high, see `sequential_p`.

    Examples
    --------
    >>> redrawn_p(9, np.array([1, 0, 2]))
    0.25
    """
    return float(1 + (np.asarray(redrawn) >= hits).sum()) / (1 + len(redrawn))


def sequential_p(hits: float, redrawn: np.ndarray, most: int, enough: int = ENOUGH) -> float:
    """Return the p-value of ``hits`` when keys were drawn until ``enough`` did as well, or ``most`` were drawn.

    Besag & Clifford (1991), section 2: enough / keys drawn, if drawing stopped at the last of ``enough`` keys that did
    as well; else `redrawn_p`. Both satisfy P[p <= t] <= t.

    Raises
    ------
    ValueError
        If drawing went on after ``enough`` keys had done as well.
    """
    as_high = np.asarray(redrawn) >= hits
    if as_high.sum() > enough or (as_high.sum() == enough and not as_high[-1]):
        raise ValueError(f"drawing went on after {enough} keys had done as well: the p-value is not valid")
    if as_high.sum() == enough and len(as_high) <= most:
        return enough / len(as_high)
    return float(1 + as_high.sum()) / (1 + len(as_high))


@dataclass(frozen=True, eq=False)
class RedrawnKeys(Result):
    """How a suspect answers the owner's triggers and those of redrawn keys: see `redrawn_keys`.

    Attributes
    ----------
    own : float64 ndarray of shape (n,)
        What the suspect's answer to each of the owner's triggers scores; NaN where it gave none.
    redrawn : float64 ndarray of shape (keys, n)
        The same for each redrawn key that it answered, in the order drawn.
    statistic : str
        What an answer scores: "margin" or "hits", see `score`; a court takes what null models score from it for records.
    most, enough : int
        Where drawing stops.
    """

    own: np.ndarray
    redrawn: np.ndarray
    statistic: str
    most: int
    enough: int = ENOUGH
    source: str = ""

    @property
    def p_value(self) -> float:
        """Exact under H0; at least 1 / (1 + most). It is 1 where too little was answered: nothing is known."""
        if not len(self.redrawn) or not _answered(self.own[None])[0]:
            return 1.0
        return sequential_p(self.value, self.values, self.most, self.enough)

    @property
    def value(self) -> float:
        """Mean score of the owner's key, over the triggers answered."""
        return float(np.nanmean(self.own)) if np.isfinite(self.own).any() else -np.inf

    @property
    def values(self) -> np.ndarray:
        """Mean score of each redrawn key."""
        return np.nanmean(self.redrawn, axis=1)

    @property
    def queries(self) -> int:
        """Triggers that the suspect answered."""
        return self.own.size + self.redrawn.size

    def after(self, count: int) -> RedrawnKeys:
        """Return what the first ``count`` triggers of each key would have shown; drawing ends where it would have."""
        redrawn = self.redrawn[:, :count]
        shown = replace(self, own=self.own[:count], redrawn=redrawn[_answered(redrawn)])
        as_high = np.flatnonzero(shown.values >= shown.value)
        stop = as_high[self.enough - 1] + 1 if len(as_high) >= self.enough else len(shown.redrawn)
        return replace(shown, redrawn=shown.redrawn[:stop])

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "statistic": f"mean {self.statistic}",
            "own key": self.value,
            "redrawn keys": len(self.redrawn),
            "best redrawn key": float(self.values.max(initial=-np.inf)),
            "redrawn keys that did as well": int((self.values >= self.value).sum()),
            "p_value": self.p_value,
            "queries": self.queries,
            "source": self.source,
        }

    def summary(self) -> str:
        """Return one line: the owner's key, how many redrawn keys did as well, and the p-value."""
        found = self.numbers()
        return (
            f"mean {self.statistic} {found['own key']:.3g} on {len(self.own)} triggers of the owner's key; "
            f"{found['redrawn keys that did as well']} of {len(self.redrawn):,} redrawn keys did as well "
            f"(best {found['best redrawn key']:.3g}): {p_words(self.p_value)} ({self.source or 'no source given'})"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the redrawn keys' scores and the owner's."""
        fig, ax = plots.figure(6.4, 2.8) if ax is None else (ax.figure, ax)
        ax.hist(self.values, bins=30, label=f"{len(self.redrawn):,} redrawn keys")
        ax.axvline(self.value, color=plots.COLOURS[1], linestyle="--", label="the owner's key")
        words = {"hits": "share of triggers hit", "margin": "mean margin of the marked answer"}
        unit = words.get(self.statistic, f"mean {self.statistic}")
        ax.set(xlabel=unit, ylabel="keys")
        ax.set_title(f"{p_words(self.p_value)} ({self.source or 'no source given'})")
        ax.legend()
        return plots.describe(
            fig, f"Scores of redrawn keys and of the owner's on one suspect. {self.summary()}."
        )


def keys_needed(level: float) -> int:
    """Return the fewest redrawn keys whose smallest p-value, 1 / (1 + keys), is at most ``level``.

    Examples
    --------
    >>> keys_needed(0.001)
    999
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1")
    return math.ceil(1 / level - 1e-9) - 1


def redrawn_triggers(
    kind: str, count: int, *, judge: Key, dataset: Dataset, **options: Any
) -> Iterator[TriggerSet]:
    """Yield the triggers of redrawn keys without end, all with the options of the owner's.

    Parameters
    ----------
    kind, count, dataset, options
        As in `labkit.watermark.marks.triggers.draw`; the same as the owner's triggers were drawn with.
    judge : Key
        The judge's secret: a suspect who knew it could answer redrawn keys as marked.
    """
    number = 0
    while True:
        yield triggers.draw(kind, judge.sub(f"redrawn/{number}"), count, dataset=dataset, **options)
        number += 1


def score(labels: np.ndarray, shown: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """Return what answers to triggers score, float64 (n,).

    Where probabilities are shown: the margin, log p(marked answer) - log max p(other). A network that learnt one patch
    answers other patches alike, less surely: margins tell its own key from those, hits tie. Else: 1 for a hit, 0 for none.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
        Below 0 where the suspect gave no answer: NaN, which counts for nothing.
    shown : float64 ndarray of shape (n, classes), or None
    y : int64 ndarray of shape (n,)
        The marked answers.
    """
    if shown is None:
        return np.where(labels < 0, np.nan, (labels == y).astype(float))
    rows, log_p = np.arange(len(y)), np.log(np.maximum(np.nan_to_num(shown), FLOOR))
    own = log_p[rows, y].copy()
    log_p[rows, y] = -np.inf
    answered = (labels >= 0) & np.isfinite(shown).all(1)
    return np.where(answered, own - log_p.max(1), np.nan)


def ask_redrawn(
    own: np.ndarray,
    drawn: Iterator[TriggerSet],
    scored: Callable[[TriggerSet], np.ndarray],
    *,
    statistic: str,
    most: int,
    enough: int = ENOUGH,
) -> RedrawnKeys:
    """Ask about redrawn keys, a few at first and more at a time, until it is known where the owner's stands.

    Parameters
    ----------
    own : float64 ndarray of shape (n,)
        What the answers to the owner's triggers score.
    drawn : iterator of TriggerSet
        From `redrawn_triggers`.
    scored : callable
        Triggers to what the suspect's answers to them score, the same way.
    statistic : str
        See `RedrawnKeys`.
    most : int
        Keys at most.

    Notes
    -----
    A redrawn key of which less than half is answered is left out: else who refuses them would make the owner's look good.

    Raises
    ------
    ValueError
        If ``most`` or ``enough`` is below 1.
    """
    if most < 1 or enough < 1:
        raise ValueError(f"got most={most}, enough={enough}; expected at least 1 of each")
    found, drawings = RedrawnKeys(own, np.zeros((0, len(own))), statistic, most, enough), 0
    while drawings < most:
        size = min(most - drawings, max(enough, drawings), max(1, CHUNK // len(own)))
        chunk, drawings = [next(drawn) for _ in range(size)], drawings + size
        together = TriggerSet(
            torch.cat([one.x for one in chunk]), torch.cat([one.y for one in chunk]), chunk[0].kind
        )
        rows = scored(together).reshape(size, len(own))
        found = replace(found, redrawn=np.concatenate([found.redrawn, rows[_answered(rows)]]))
        as_high = np.flatnonzero(found.values >= found.value)
        if len(as_high) >= enough:  # what was asked beyond does not count
            return replace(found, redrawn=found.redrawn[: as_high[enough - 1] + 1])
    return found


def _answered(scores: np.ndarray) -> np.ndarray:
    """Return which keys' triggers (keys, n) were answered at least by half, bool (keys,)."""
    return np.isfinite(scores).mean(1) >= 0.5


def redrawn_keys(
    suspect: Suspect,
    owned: TriggerSet,
    *,
    judge: Key,
    dataset: Dataset,
    most: int = 999,
    enough: int = ENOUGH,
    labels_alone: bool = False,
    **options: Any,
) -> RedrawnKeys:
    """Ask a suspect about the owner's triggers and about those of redrawn keys; labels suffice, probabilities tell more.

    Null hypothesis: the suspect is independent of the owner's key. Assumption: the owner's key was drawn at random and
    not chosen with a look at the suspect, and the suspect answers each picture by itself. A model that somebody *else*
    marked by the same scheme is innocent too: null models never show it, redrawn keys do.

    Parameters
    ----------
    suspect : nn.Module, MarkedModel or callable
    owned : TriggerSet
        Drawn from the owner's key with the same ``dataset`` and ``options``.
    judge : Key
        See `redrawn_triggers`.
    labels_alone : bool
        Count hits, for a suspect that shows no probabilities.

    Raises
    ------
    ValueError
        If the kind is none of the keyed generator's, or as `labkit.watermark.marks.triggers.draw`.
    """

    def scored(asked: TriggerSet) -> np.ndarray:
        if labels_alone:
            return score(answers(suspect, asked.x), None, asked.y.numpy())
        shown = probabilities(suspect, asked.x)
        return score(shown.argmax(1), shown, asked.y.numpy())

    drawn = redrawn_triggers(owned.kind, len(owned), judge=judge, dataset=dataset, **options)
    statistic = "hits" if labels_alone else "margin"
    found = ask_redrawn(scored(owned), drawn, scored, statistic=statistic, most=most, enough=enough)
    return replace(found, source=dataset.source)
