"""Ask a suspect who does not want to be asked: nothing that it does stops the trial, and each evasion is a finding.

All questions of all lines go out in one stream: in an order drawn at random, mixed with ordinary records, in small
batches, some of them twice. So a batch never consists of triggers alone, and who answers at random is seen. What a
suspect refuses, or answers with NaN, counts for nothing against it, and is written down: silence neither convicts nor
acquits. A suspect that recognises single pictures, and one that never returns, are beyond this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from labkit.training import loops
from labkit.watermark.marks.marked import MarkedModel, TriggerSet
from labkit.watermark.verification.asking import Suspect
from labkit.watermark.verification.redrawn_keys import score

BATCH = 100
PATIENCE = 20  # batches refused one after another, after which nothing more is asked
REPEATED = 0.05  # share of the questions that are asked twice
DIGITS = 4  # rounding to more is too fine to tell, or to matter
NO_ANSWER = -1


@dataclass(frozen=True, eq=False)
class Answers:
    """What a suspect said to one list of questions.

    Attributes
    ----------
    labels : int64 ndarray of shape (n,)
        `NO_ANSWER` where it gave none.
    shown : float64 ndarray of shape (n, classes), or None
        Its probabilities, NaN where it gave none; None if it shows labels alone.
    digits : int or None
        What it rounds its probabilities to.
    """

    labels: np.ndarray
    shown: np.ndarray | None
    digits: int | None

    @property
    def answered(self) -> float:
        """Share of the questions that were answered."""
        return float((self.labels != NO_ANSWER).mean())


class Witness:
    """A suspect, asked patiently: no exception and no odd answer of its own gets out, and all are counted.

    Parameters
    ----------
    suspect : nn.Module, MarkedModel or callable
        See `labkit.watermark.verification.asking.answers`.
    classes : int
    """

    def __init__(self, suspect: Suspect, classes: int) -> None:
        self.suspect = suspect.model if isinstance(suspect, MarkedModel) else suspect
        self.classes = classes
        self.asked = self.refused = self.odd = self._silent = 0
        self.reason = ""
        self.contradicted = (0, 0)  # of so many questions asked twice
        self.digits: int | None = None

    def ask(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return labels (n,), and probabilities (n, classes) with NaN where there are none."""
        parts = [self._part(part) for part in x.split(BATCH)]
        return np.concatenate([labels for labels, _ in parts]), np.concatenate([shown for _, shown in parts])

    def labels(self, x: Tensor) -> np.ndarray:
        """Return labels (n,)."""
        return self.ask(x)[0]

    def scores(self, asked: TriggerSet, *, by_labels: bool) -> np.ndarray:
        """Return what the answers to triggers score: see `labkit.watermark.verification.redrawn_keys.score`."""
        labels, shown = self.ask(asked.x)
        return score(labels, None if by_labels else shown, asked.y.numpy())

    def _part(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        labels, shown = np.full(len(x), NO_ANSWER), np.full((len(x), self.classes), np.nan)
        if self._silent >= PATIENCE:
            self.asked += len(x)
            self.refused += len(x)
            return labels, shown
        can = self._allowed(len(x))
        self.asked += len(x)
        self.refused += len(x) - can
        if can < len(x):
            self.reason = self.reason or "its budget is spent"
        if not can:
            return labels, shown
        try:
            given = self._given(x[:can])
        except (Exception, SystemExit) as error:  # whatever a hostile suspect raises
            self._silent += 1
            self.refused += can
            self.reason = self.reason or f"{type(error).__name__}: {str(error)[:80]}"
            return labels, shown
        self._silent = 0
        labels[:can], shown[:can] = self._read(given, can)
        return labels, shown

    def _allowed(self, count: int) -> int:
        """Return how many of so many questions the suspect's budget leaves."""
        try:
            left = getattr(self.suspect, "left", None)
            return count if left is None else max(0, min(count, int(left)))
        except Exception:  # a budget that cannot be read is none
            return count

    def _given(self, x: Tensor) -> np.ndarray:
        if isinstance(self.suspect, nn.Module):
            return loops.logits(self.suspect, x).double().softmax(1).numpy()
        return np.asarray(torch.as_tensor(self.suspect(x)).detach().cpu().numpy())

    def _read(self, given: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels and probabilities of one batch's answers, whatever they are."""
        labels, shown = np.full(count, NO_ANSWER), np.full((count, self.classes), np.nan)
        if given.shape == (count, self.classes):
            scores = given.astype(float)
            sound = np.isfinite(scores).all(1)
            labels[sound] = scores[sound].argmax(1)
            if ((scores[sound] >= 0) & (scores[sound] <= 1 + 1e-6)).all():
                shown[sound] = scores[sound]
        elif given.shape == (count,) and given.dtype.kind in "iu":
            known = (given >= 0) & (given < self.classes)
            labels[known] = given[known]
        self.odd += int((labels == NO_ANSWER).sum())
        return labels, shown

    def findings(self) -> list[str]:
        """Return what the suspect did beside answering, in words."""
        found = []
        if self.refused:
            found.append(
                f"refused {self.refused:,} of {self.asked:,} questions ({self.reason or 'no reason'})"
            )
        if self.odd:
            found.append(
                f"answered {self.odd:,} of {self.asked:,} questions with NaN, or with what is no answer"
            )
        again, twice = self.contradicted
        if again:
            found.append(f"answered {again} of {twice} questions otherwise when they were asked again")
        return found


def interrogate(witness: Witness, questions: Mapping[str, Tensor], *, seed: int) -> dict[str, Answers]:
    """Ask all questions in one shuffled stream, and some twice.

    Parameters
    ----------
    questions : mapping of str to Tensor of shape (n, ...)
        Ordinary records among them, so that no batch consists of triggers.
    seed : int
        The court's; a suspect that knew it could tell the order.
    """
    rng = np.random.default_rng([seed, 0x61736B])
    stream = torch.cat(list(questions.values()))
    twice = rng.permutation(len(stream))[: max(20, int(REPEATED * len(stream)))]
    places = rng.permutation(np.concatenate([np.arange(len(stream)), twice]))
    labels, shown = witness.ask(stream[torch.from_numpy(places)])
    first = np.unique(places, return_index=True)[1]
    _compare(witness, places, labels, first)
    has = ~np.isnan(shown[first]).any(1)
    by_score = bool(has[labels[first] != NO_ANSWER].all()) and bool(has.any())
    witness.digits = (
        _rounding(shown[first][has]) if by_score and not isinstance(witness.suspect, nn.Module) else None
    )
    found, start = {}, 0
    for name, x in questions.items():
        rows = first[start : start + len(x)]
        found[name] = Answers(labels[rows], shown[rows] if by_score else None, witness.digits)
        start += len(x)
    return found


def _compare(witness: Witness, places: np.ndarray, labels: np.ndarray, first: np.ndarray) -> None:
    """Count the questions that were answered differently the second time."""
    again = np.setdiff1d(np.arange(len(places)), first)
    pairs = np.stack([labels[again], labels[first[places[again]]]])
    pairs = pairs[:, (pairs != NO_ANSWER).all(0)]
    witness.contradicted = (int((pairs[0] != pairs[1]).sum()), pairs.shape[1])


def _rounding(shown: np.ndarray) -> int | None:
    """Return the digits that probabilities (n, classes) are rounded to, if they are."""
    for digits in range(DIGITS + 1):
        scaled = shown * 10.0**digits
        if np.abs(scaled - scaled.round()).max(initial=0) < 2e-3:
            return digits
    return None
