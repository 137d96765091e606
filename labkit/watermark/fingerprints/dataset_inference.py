"""Dataset inference: does the suspect treat the owner's training records differently from records nobody trained on?

Maini, Yaghini & Papernot, "Dataset inference: ownership resolution in machine learning" (arXiv 2104.10706). A model lies
further from its decision boundary on what it was trained on, and a copy inherits some of that. No mark is needed, and
the test has a direction: it points at whose records were used, not at who resembles whom.

Three features per record: the *margin* (log-probability of the label above the next best; needs probabilities), in
place of the paper's white-box distance; its *blind walk* (how far a random direction goes before the label changes;
labels are enough, and very many queries); and whether the *label* is right. The paper learns a regression on the owner's
model; here each record is measured against what null models make of it, which removes how hard it is.

The paper compares owned and held-out records by a t-test. Here the records are permuted: under H0 owned and held-out
ones are exchangeable, so the p-value is exact. What it cannot tell: *whence* the suspect knew the records. A model that
an innocent trained on records which the owner used too, because they are public, is accused (and rightly so: it knows
them). Resemblance in data is not theft; public records are left out (``published=``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from labkit import cache
from labkit.stats import Interval
from labkit.watermark.fingerprints.evidence_line import RECORDS, Line, weigh
from labkit.watermark.fingerprints.predictive import check_values
from labkit.watermark.verification.redrawn_keys import ENOUGH, keys_needed
from labkit.watermark.verification.verify import ALPHA, NULLS, Suspect, answers, probabilities

if TYPE_CHECKING:
    from labkit.data import Dataset

CITATION = "Maini et al., arXiv 2104.10706 (dataset inference)"
FEATURES = ("margin", "walk", "label")
PERMUTATIONS = 999  # or as many as alpha needs
ASSUMPTION = (
    "owned and held-out records were drawn from one source at random, and the suspect's maker had the owned ones from "
    "nowhere else; null models stand for what an honest competitor would have trained, and did not see them; effects are "
    "normally distributed (model-based p-value alone)"
)
NULL = "the suspect treats the owner's training records as it treats held-out ones, up to how hard they are"


def margin(suspect: Suspect, x: Tensor, y: np.ndarray) -> np.ndarray:
    """Return log p(label) - log max p(other) for each record, float64 (n,); needs probabilities."""
    return margin_of(probabilities(suspect, x), y)


def margin_of(shown: np.ndarray, y: np.ndarray, digits: int | None = None) -> np.ndarray:
    """Return the margin of probabilities (n, classes), float64 (n,); NaN where there are none.

    The softmax's normaliser cancels: this is the difference of logits.

    Parameters
    ----------
    digits : int, optional
        Digits that an interface rounds to: smaller probabilities count as half of the last one.
    """
    floor = 1e-30 if digits is None else 0.5 * 10.0**-digits
    shown = np.asarray(shown, dtype=float)
    log_p = np.log(np.maximum(shown if digits is None else shown.round(digits), floor))
    own = log_p[np.arange(len(y)), y].copy()
    log_p[np.arange(len(y)), y] = -np.inf
    return own - log_p.max(1)


def walk(
    suspect: Suspect,
    x: Tensor,
    y: np.ndarray,
    *,
    walks: int = 3,
    step: float = 0.02,
    most: int = 25,
    seed: int = 0,
) -> np.ndarray:
    """Return how far random directions go before the label is lost, mean over ``walks``, float64 (n,); labels only.

    The paper's blind walk. A record is sent ``walks * most`` times at worst. Every model walks the same directions.

    Parameters
    ----------
    step : float
        Root mean square of one step, in units of the pixels' range.
    most : int
        Steps after which a walk ends; it then counts as ``most`` steps.
    """
    generator = torch.Generator().manual_seed(seed)
    total = np.zeros(len(y))
    for _ in range(walks):
        direction = step * torch.randn(x.shape, generator=generator).to(x.device)
        going = np.arange(len(y))
        for length in range(most + 1):
            kept = answers(suspect, (x[going] + length * direction[going]).clamp(0, 1)) == y[going]
            going = going[kept]
            if length < most:
                total[going] += step
            if not len(going):
                break
    return total / walks


@dataclass(frozen=True, eq=False, repr=False)
class Records:
    """Owned and held-out records, chosen before any suspect is asked, and what null models make of them.

    Attributes
    ----------
    x : Tensor of shape (n, ...)
    y : int64 ndarray of shape (n,)
    owned : bool ndarray of shape (n,)
        Whether the owner trained on the record.
    null_features : ndarray of shape (k, n)
    feature : str
    null_shown : ndarray of shape (k, n, classes)
        The null models' probabilities; empty for walks.
    """

    x: Tensor
    y: np.ndarray
    owned: np.ndarray
    null_features: np.ndarray
    feature: str
    source: str
    seed: int
    null_shown: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return (
            f"Records({self.feature}: {int(self.owned.sum()):,} owned, {int((~self.owned).sum()):,} held out)"
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the records: what a plan commits to before the suspect is asked."""
        return cache.digest(self.x, self.y, self.owned)

    def ask(self, suspect: Suspect, *, alpha: float = ALPHA) -> Line:
        """Measure the suspect on the records and weigh the effect: see `weigh`."""
        return self.weigh(measure(self.feature, suspect, self), alpha=alpha)

    def by_labels(self) -> Records:
        """Return the records with the feature that labels alone give: is the label right?"""
        right = (self.null_shown.argmax(2) == self.y).astype(float)
        return replace(self, feature="label", null_features=right)

    def by_rounded(self, digits: int) -> Records:
        """Return the records as null models would show them behind an interface that rounds to so many digits."""
        return replace(
            self, null_features=np.stack([margin_of(own, self.y, digits) for own in self.null_shown])
        )

    def weigh(self, values: np.ndarray, *, alpha: float = ALPHA) -> Line:
        """Weigh a suspect's features, float64 (n,) with NaN where it gave no answer, against held-out records.

        Null hypothesis: `NULL`. Assumption: `ASSUMPTION`. The exact p-value permutes which records were owned; the
        model-based one, over null models, also notices when owned records differ by chance or by source.

        Raises
        ------
        ValueError
            If fewer than 10 records of a kind were answered.
        """
        answered = np.isfinite(values)
        owned, null = self.owned[answered], self.null_features[:, answered]
        if min(owned.sum(), (~owned).sum()) < 10:
            raise ValueError(f"{int(answered.sum())} of {len(self)} records answered: too few to compare")
        own = calibrated(values[answered], null)
        nulls = [effect(calibrated(one, np.delete(null, j, axis=0)), owned) for j, one in enumerate(null)]
        return weigh(
            effect_interval(own, owned),
            nulls,
            alpha=alpha,
            resolution=float(np.sqrt(1 / owned.sum() + 1 / (~owned).sum())) / 10,
            exact_p=permuted_p(own, owned, seed=self.seed, most=max(PERMUTATIONS, keys_needed(alpha))),
            by=RECORDS,
            name=f"dataset inference ({self.feature})",
            citation=CITATION,
            measures="effect of having been the owner's training record (standard deviations)",
            null_hypothesis=NULL,
            assumption=ASSUMPTION,
            queries=len(self) * (3 * 26 if self.feature == "walk" else 1),
            source=self.source,
            seed=self.seed,
        )


def measure(feature: str, suspect: Suspect, records: Records) -> np.ndarray:
    """Return the feature of each record, float64 (n,)."""
    if feature == "margin":
        return margin(suspect, records.x, records.y)
    if feature == "label":
        return (answers(suspect, records.x) == records.y).astype(float)
    return walk(suspect, records.x, records.y, seed=records.seed)


def permuted_p(values: np.ndarray, owned: np.ndarray, *, seed: int = 0, most: int = PERMUTATIONS) -> float:
    """Return the p-value of the owned records' mean among those of as many records drawn at random.

    Null hypothesis: owned and held-out records are exchangeable. No other assumption; at least 1 / (1 + most). Draws
    stop when it is settled, as in `labkit.watermark.verification.redrawn_keys.sequential_p`.

    Parameters
    ----------
    values : float64 ndarray of shape (n,)
    owned : bool ndarray of shape (n,)
    """
    rng, count = np.random.default_rng([seed, 0x7065726D]), int(owned.sum())
    own, sums = float(values[owned].sum()), np.zeros(0)
    while len(sums) < most:
        size = min(most - len(sums), max(100, min(len(sums), 2_000_000 // len(values))))
        rows = np.argpartition(rng.random((size, len(values)), dtype=np.float32), count - 1, axis=1)[
            :, :count
        ]
        sums = np.concatenate([sums, values[rows].sum(1)])
        as_high = np.flatnonzero(sums >= own - 1e-9 * abs(own))
        if len(as_high) >= ENOUGH:
            return ENOUGH / (int(as_high[ENOUGH - 1]) + 1)
    return (1 + len(as_high)) / (1 + len(sums))


def calibrated(values: np.ndarray, null_features: np.ndarray) -> np.ndarray:
    """Return what is left of ``values`` (n,) after a straight line in the null models' mean: hardness is gone."""
    hardness = null_features.mean(0)
    slope = np.cov(values, hardness)[0, 1] / max(float(hardness.var(ddof=1)), 1e-12)
    return (values - values.mean()) - slope * (hardness - hardness.mean())


def effect(values: np.ndarray, owned: np.ndarray) -> float:
    """Return (mean of owned - mean of held-out) / pooled standard deviation (Cohen's d)."""
    a, b = values[owned], values[~owned]
    pooled = np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2))
    return float((a.mean() - b.mean()) / max(pooled, 1e-12))


def effect_interval(values: np.ndarray, owned: np.ndarray) -> Interval:
    """Return the effect with its large-sample 95% interval (Hedges & Olkin, 1985)."""
    d, a, b = effect(values, owned), int(owned.sum()), int((~owned).sum())
    half = 1.96 * float(np.sqrt(1 / a + 1 / b + d**2 / (2 * (a + b))))
    return Interval(d, d - half, d + half, 0.95, f"Cohen's d, {a} owned and {b} held-out records")


def records(
    dataset: Dataset,
    nulls: Sequence[Suspect],
    *,
    feature: str = "margin",
    queries: int = 2000,
    seed: int = 0,
    minimum: int = NULLS,
    published: Sequence[Tensor] = (),
) -> Records:
    """Choose owned and held-out records, half each, before any suspect is asked.

    Parameters
    ----------
    dataset : Dataset
        Train records: the owner's; test records: held out by the owner, from the same source.
    nulls : sequence of nn.Module
        Trained without the owner's records.
    feature : {"margin", "walk", "label"}
    queries : int
        Number of records (a walk sends each up to 78 times).
    published : sequence of Tensor
        Inputs that anybody may have trained on: owned records among them are not asked about.

    Raises
    ------
    ValueError
        If there are too few null models, the feature is unknown, or there are fewer than 20 records.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature is {feature!r}; expected one of {', '.join(FEATURES)}")
    check_values(np.zeros(len(nulls)), minimum)
    private = np.flatnonzero(~_among(dataset.train_x, published))
    each = min(queries // 2, len(private), len(dataset.test_y))
    if each < 10:
        raise ValueError(
            f"{each} private records on each side; expected at least 10: raise queries=, or bring more records"
        )
    rng = np.random.default_rng(seed)
    own, other = rng.permutation(private)[:each], rng.permutation(len(dataset.test_y))[:each]
    chosen = Records(
        x=torch.cat([dataset.train_x[own], dataset.test_x[other]]),
        y=torch.cat([dataset.train_y[own], dataset.test_y[other]]).cpu().numpy(),
        owned=np.arange(2 * each) < each,
        null_features=np.zeros((0, 2 * each)),
        feature=feature,
        source=dataset.source,
        seed=seed,
        null_shown=np.zeros((0, 2 * each, len(dataset.classes))),
    )
    if feature == "walk":
        return replace(chosen, null_features=np.stack([measure(feature, null, chosen) for null in nulls]))
    shown = np.stack([probabilities(null, chosen.x) for null in nulls])
    margins = np.stack([margin_of(own, chosen.y) for own in shown])
    chosen = replace(chosen, null_shown=shown, null_features=margins)
    return chosen.by_labels() if feature == "label" else chosen


def _among(x: Tensor, published: Sequence[Tensor]) -> np.ndarray:
    """Return which of the inputs (n, ...) stand, byte by byte, among published ones, bool (n,)."""
    if not len(published):
        return np.zeros(len(x), dtype=bool)
    known = {row.tobytes() for part in published for row in part.cpu().numpy()}
    return np.array([row.tobytes() in known for row in x.cpu().numpy()])


def infer(
    suspect: Suspect,
    dataset: Dataset,
    nulls: Sequence[Suspect],
    *,
    feature: str = "margin",
    queries: int = 2000,
    alpha: float = ALPHA,
    seed: int = 0,
    minimum: int = NULLS,
    published: Sequence[Tensor] = (),
) -> Line:
    """Return whether a suspect carries knowledge of the owner's training records.

    Null hypothesis: `NULL`. Assumption: `ASSUMPTION`. An independent model trained on records that the owner used too
    (a public data set) is accused if the null models were not: name public records in ``published``, or give null
    models the same ones.
    """
    chosen = records(
        dataset, nulls, feature=feature, queries=queries, seed=seed, minimum=minimum, published=published
    )
    return chosen.ask(suspect, alpha=alpha)
