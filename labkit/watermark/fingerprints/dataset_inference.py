"""Dataset inference: does the suspect treat the owner's training records differently from records nobody trained on?

Maini, Yaghini & Papernot, "Dataset inference: ownership resolution in machine learning" (arXiv 2104.10706). A model lies
further from its decision boundary on what it was trained on, and a copy inherits some of that. No mark is needed, and
the test has a direction: it points at whose records were used, not at who resembles whom.

Two features per record: the *margin* (log-probability of the label above the next best; needs probabilities), in place
of the paper's white-box distance, and its *blind walk* (how far a random direction goes before the label changes; labels
are enough). The paper learns a regression on the owner's model; here each record is measured against what null models
make of it, which removes how hard it is, and a Welch t-test compares owned and held-out records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from labkit.stats import Interval
from labkit.watermark.fingerprints.evidence_line import Line, weigh
from labkit.watermark.fingerprints.predictive import check_values
from labkit.watermark.verification.verify import ALPHA, NULLS, Suspect, answers, probabilities

if TYPE_CHECKING:
    from labkit.data import Dataset

CITATION = "Maini et al., arXiv 2104.10706 (dataset inference)"
FEATURES = ("margin", "walk")
ASSUMPTION = (
    "owned and held-out records were drawn from one source at random; null models stand for what an honest competitor "
    "would have trained, and did not see the owner's training records; effects are normally distributed"
)
NULL = "the suspect treats the owner's training records as it treats held-out ones, up to how hard they are"


def margin(suspect: Suspect, x: Tensor, y: np.ndarray) -> np.ndarray:
    """Return log p(label) - log max p(other) for each record, float64 (n,); needs probabilities.

    The softmax's normaliser cancels: this is the difference of logits.
    """
    log_p = np.log(np.clip(np.asarray(probabilities(suspect, x), dtype=float), 1e-30, None))
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
    """

    x: Tensor
    y: np.ndarray
    owned: np.ndarray
    null_features: np.ndarray
    feature: str
    source: str
    seed: int

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return (
            f"Records({self.feature}: {int(self.owned.sum()):,} owned, {int((~self.owned).sum()):,} held out)"
        )

    def ask(self, suspect: Suspect, *, alpha: float = ALPHA) -> Line:
        """Measure the suspect on the records and weigh the effect against the null models'.

        Null hypothesis: `NULL`. Assumption: `ASSUMPTION`. The p-value is the larger of Welch's over records and the
        predictive one over null models, which also notices when owned records differ by chance or by source.
        """
        from scipy import stats

        values = calibrated(measure(self.feature, suspect, self), self.null_features)
        nulls = [
            effect(calibrated(own, np.delete(self.null_features, j, axis=0)), self.owned)
            for j, own in enumerate(self.null_features)
        ]
        welch = stats.ttest_ind(
            values[self.owned], values[~self.owned], equal_var=False, alternative="greater"
        ).pvalue
        return weigh(
            effect_interval(values, self.owned),
            nulls,
            alpha=alpha,
            resolution=float(np.sqrt(1 / self.owned.sum() + 1 / (~self.owned).sum())) / 10,
            records_p=float(welch),
            notes=(f"Welch t-test over {len(self):,} records alone: p = {welch:.2g}",),
            name=f"dataset inference ({self.feature})",
            citation=CITATION,
            measures="effect of having been the owner's training record (standard deviations)",
            null_hypothesis=NULL,
            assumption=ASSUMPTION,
            queries=len(self) * (1 if self.feature == "margin" else 3 * 26),
            source=self.source,
            seed=self.seed,
        )


def measure(feature: str, suspect: Suspect, records: Records) -> np.ndarray:
    """Return the feature of each record, float64 (n,)."""
    if feature == "margin":
        return margin(suspect, records.x, records.y)
    return walk(suspect, records.x, records.y, seed=records.seed)


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
) -> Records:
    """Choose owned and held-out records, half each, before any suspect is asked.

    Parameters
    ----------
    dataset : Dataset
        Train records: the owner's; test records: held out by the owner, from the same source.
    nulls : sequence of nn.Module
        Trained without the owner's records.
    feature : {"margin", "walk"}
    queries : int
        Number of records (a walk sends each up to 78 times).

    Raises
    ------
    ValueError
        If there are too few null models, the feature is unknown, or there are fewer than 20 records.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature is {feature!r}; expected one of {', '.join(FEATURES)}")
    check_values(np.zeros(len(nulls)), minimum)
    each = min(queries // 2, len(dataset.train_y), len(dataset.test_y))
    if each < 10:
        raise ValueError(
            f"{each} records on each side; expected at least 10: raise queries=, or bring more records"
        )
    rng = np.random.default_rng(seed)
    own, other = rng.permutation(len(dataset.train_y))[:each], rng.permutation(len(dataset.test_y))[:each]
    chosen = Records(
        x=torch.cat([dataset.train_x[own], dataset.test_x[other]]),
        y=torch.cat([dataset.train_y[own], dataset.test_y[other]]).cpu().numpy(),
        owned=np.arange(2 * each) < each,
        null_features=np.zeros((0, 2 * each)),
        feature=feature,
        source=dataset.source,
        seed=seed,
    )
    return replace(chosen, null_features=np.stack([measure(feature, null, chosen) for null in nulls]))


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
) -> Line:
    """Return whether a suspect carries knowledge of the owner's training records.

    Null hypothesis: `NULL`. Assumption: `ASSUMPTION`. An independent model trained on records that the owner used too
    (a public data set) is accused if the null models were not: give null models the same public records.
    """
    chosen = records(dataset, nulls, feature=feature, queries=queries, seed=seed, minimum=minimum)
    return chosen.ask(suspect, alpha=alpha)
