"""A mark at the interface: a keyed choice of queries gets a wrong answer, and a model trained on the answers learns it.

Szyller et al., "DAWN: Dynamic adversarial watermarking of neural networks" (arXiv 1906.00830), sections 4.1 to 4.3.
A message authentication code over a coarse view of the query decides whether it is marked and which wrong class it
gets, so the same or nearly the same image is always answered alike, and only the key's owner can tell which are marked.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import training
from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import training as loop
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet

SHARE = 0.005  # of the queries; the paper takes .03% to .5%
GRID = 8  # side of the coarse view
QUARTERS = 4.0  # cuts in a unit of a table's column


@dataclass(frozen=True)
class AnswerMarker:
    """Marks answers: pass it as ``marker=`` to `labkit.watermark.attacks.interface.Api`.

    Parameters
    ----------
    key : Key
    share : float
        Share of distinct queries that get a wrong answer.

    Raises
    ------
    ValueError
        If ``share`` is not in (0, 0.1]: beyond a tenth the service is worthless.
    """

    key: Key
    share: float = SHARE

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.1:
            raise ValueError(f"share is {self.share}; expected a number in (0, 0.1], such as {SHARE}")

    def __call__(self, x: Tensor, probabilities: Tensor) -> Tensor:
        """Return the answers with the marked ones' top class swapped for a wrong one.

        Parameters
        ----------
        x : float Tensor of shape (n, C, H, W), rows (n, d), or tokens (n, T)
        probabilities : float Tensor of shape (n, classes)

        Returns
        -------
        Tensor of shape (n, classes)
        """
        codes = self._codes(x)
        rows = torch.from_numpy(np.flatnonzero(self._marked(codes))).to(probabilities.device)
        top = probabilities[rows].argmax(1)
        wrong = self._wrong(codes[rows.cpu().numpy()], top, probabilities.shape[1])
        shown = probabilities.clone()
        shown[rows, wrong], shown[rows, top] = probabilities[rows, top], probabilities[rows, wrong]
        return shown

    def chosen(self, x: Tensor) -> np.ndarray:
        """Return which of the queries (n, C, H, W) are answered wrongly, bool (n,)."""
        return self._marked(self._codes(x))

    def register(self, model: nn.Module, x: Tensor) -> TriggerSet:
        """Return the marked ones among the queries that a client sent, with the wrong answers that the client got.

        They are the evidence against this client: pass them to `labkit.watermark.verification.verify.verify` as triggers.

        Parameters
        ----------
        model : nn.Module
            The model behind the interface.
        x : float Tensor of shape (n, C, H, W), rows (n, d), or tokens (n, T)
            The client's queries, from the log; equal ones count once.

        Raises
        ------
        ValueError
            If none of the queries was marked.
        """
        codes = self._codes(x)
        first = np.sort(np.unique(codes, axis=0, return_index=True)[1])
        rows = first[self._marked(codes[first])]
        if len(rows) == 0:
            raise ValueError(
                f"none of {len(first):,} distinct queries was marked at share {self.share:g}: "
                "register more queries, or mark a larger share"
            )
        asked = x[torch.from_numpy(rows)]
        outputs = training.logits(model, asked)
        wrong = self._wrong(codes[rows], outputs.argmax(1), outputs.shape[1])
        return TriggerSet(asked, wrong, "answers")

    def _codes(self, x: Tensor) -> np.ndarray:
        """Return 64-bit authentication codes of the coarse views, uint64 (n, 2): one to choose, one to answer."""
        secret = self.key.sub("answers").seed
        digests = [hmac.digest(secret, view.tobytes(), hashlib.sha256) for view in coarse(x)]
        return np.frombuffer(b"".join(digests), dtype="<u8").reshape(len(x), 4)[:, :2]

    def _marked(self, codes: np.ndarray) -> np.ndarray:
        return codes[:, 0] / 2.0**64 < self.share

    def _wrong(self, codes: np.ndarray, top: Tensor, classes: int) -> Tensor:
        step = 1 + (codes[:, 1] % np.uint64(classes - 1)).astype(np.int64)
        return (top + torch.from_numpy(step).to(top.device)) % classes


def coarse(x: Tensor) -> np.ndarray:
    """Return what survives small changes of an image, uint8 (n, 8): is each cell of an 8x8 grid brighter than the middle one?

    The paper masks the input for the same end (section 4.3). An image without a cell to tell apart (one colour) is
    all zeros. A row of a table is cut to quarters of a unit, int32 (n, d): columns on a scale of their own (standardised, as
    `Dataset.from_frame` has them) then survive a nudge that crosses no quarter. Tokens are taken as they are.

    Raises
    ------
    ValueError
        If ``x`` is not of shape (n, C, H, W), or (n, ...) with fewer axes.
    """
    if x.ndim in (2, 3):
        return (
            x.cpu().numpy()
            if not x.is_floating_point()
            else torch.floor(QUARTERS * x).to(torch.int32).cpu().numpy()
        )
    if x.ndim != 4:
        raise ValueError(
            f"got queries of shape {tuple(x.shape)}; expected images (n, C, H, W), rows (n, d) or tokens (n, T)"
        )
    cells = F.adaptive_avg_pool2d(x.mean(1, keepdim=True).cpu(), GRID).flatten(1)
    return np.packbits((cells > cells.median(1, keepdim=True).values).numpy(), axis=1)


class MarkedAnswers(nn.Module):
    """A model together with its answer marker, asked like any model: outputs are log-probabilities (n, classes)."""

    def __init__(self, model: nn.Module, marker: AnswerMarker) -> None:
        super().__init__()
        self.model, self.marker = model, marker

    def forward(self, x: Tensor) -> Tensor:
        return self.marker(x, self.model(x).log_softmax(1))


def mark_answers(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    share: float = SHARE,
    queries: int | None = None,
) -> loop.Imprint:
    """Train a copy of ``model`` plainly and put it behind an `AnswerMarker`.

    Against a thief, the triggers are the thief's own marked queries: ``marked.facts["marker"].register(...)``. Those
    returned here are the marked ones among the test records.

    Parameters
    ----------
    share : float
        See `AnswerMarker`.
    queries : int, optional
        How many of the test records to look for marked ones (default: all).

    Raises
    ------
    ValueError
        If no test record is marked.
    """
    marker = AnswerMarker(key, share)
    plain, seconds = loop.train(model, data.train_x, data.train_y, recipe, seed=seed)
    marked = MarkedAnswers(plain, marker).eval()
    triggers = marker.register(plain, data.test_x[:queries])
    return loop.Imprint(marked, triggers, loop.strength(marked, triggers), seconds, {"marker": marker})
