"""One claim's questions: chosen and put to the null models before any suspect is asked, then to each suspect.

Whatever a claimant brings may be hostile too: a line that cannot be prepared is left out with its reason, and stops no
other line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache
from labkit.stats import SUPPORTED, clopper_pearson, p_words
from labkit.watermark.court.cases import Case
from labkit.watermark.court.claims import Claim
from labkit.watermark.court.interrogation import Answers, Witness, interrogate
from labkit.watermark.court.plan import DIRECTIONAL, Plan
from labkit.watermark.fingerprints import agreement, dataset_inference, mistakes
from labkit.watermark.fingerprints.evidence_line import KEYS, Line, accuses, at_most, weigh
from labkit.watermark.fingerprints.predictive import predictive_p
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.marks.rare import RARE
from labkit.watermark.verification.asking import probabilities
from labkit.watermark.verification.redrawn_keys import ask_redrawn, keys_needed, redrawn_triggers, score
from labkit.watermark.verification.verify import Suspect, answers

if TYPE_CHECKING:
    from labkit.data import Dataset

MARK_NULL = "the suspect knows nothing of the claimant's key"
MARK_ASSUMES = (
    "the key was drawn at random and committed to before the suspect appeared, and the suspect answers each record by "
    "itself; the model-based p-value also takes the null models for what an honest competitor would have trained"
)
AVOIDS = 1e-3  # model-based p below which a suspect is said to avoid the owner's answers
ORDINARY = 1000  # test records that are mixed in among the questions
CLOSE = 0.35  # difference of probabilities below which two answers are close
SHOWN = 20  # redrawn keys whose triggers null models answer too: does the suspect treat marked records like others?


class Examination:
    """One claim's questions, and the null models' answers to them.

    Parameters
    ----------
    known : int64 ndarray of shape (k, m)
        The null models' answers to the court's test records.
    judge : Key
        The court's secret: redrawn keys come from it.
    published : sequence of Tensor
        Records that anybody may have trained on.
    """

    def __init__(
        self,
        plan: Plan,
        claim: Claim,
        nulls: Sequence[nn.Module],
        known: np.ndarray,
        public: Dataset,
        judge: Key,
        published: Sequence[Tensor] = (),
    ) -> None:
        self.plan, self.claim, self.nulls, self.public, self.judge = plan, claim, nulls, public, judge
        self.known, self.published = known, published
        self.questions: dict[str, Any] = {}
        self.unasked: dict[str, str] = {}
        for name in plan.queries:
            try:
                self.questions[name] = getattr(self, f"_{name}")()
            except Exception as error:  # whatever a hostile claim leads to
                self.unasked[name] = f"{name} cannot be asked: {error}"

    def _mark(self) -> TriggerSet:
        triggers = self.claim.redraw(self.public).take(self.plan.queries["mark"])
        self.null_hit = np.array([answers(null, triggers.x) == triggers.y.numpy() for null in self.nulls])
        return triggers

    def _mistakes(self) -> mistakes.Questions:
        return mistakes.questions(self.claim.model, self._held, self.known, **self._settings("mistakes"))

    def _agreement(self) -> agreement.Questions:
        return agreement.questions(self.claim.model, self._held, self.known, **self._settings("agreement"))

    def _inference(self) -> dataset_inference.Records:
        settings = self._settings("inference") | {"published": self.published}
        return dataset_inference.records(self._held, self.nulls, **settings)

    @property
    def _held(self) -> Dataset:
        """The claimant's train records with the court's test records."""
        held = {"test_x": self.public.test_x, "test_y": self.public.test_y}
        return replace(self.claim.records, **held, digest="not hashed")

    def _settings(self, line: str) -> dict[str, Any]:
        return {
            "queries": self.plan.queries[line],
            "seed": self.plan.seed,
            "minimum": self.plan.minimum,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all records and triggers that will be asked, and of the answers that count."""
        parts = [
            cache.digest(name, asked.x, asked.y) if name == "mark" else asked.digest
            for name, asked in self.questions.items()
        ]
        return hashlib.sha256("|".join([*self.questions, *parts]).encode()).hexdigest()

    def examine(self, suspect: Suspect, alpha: float, *, name: str = "") -> Case:
        """Ask one suspect everything, and return what every line says; the claim's problems are not in it.

        Outside of a trial this is for controls, whose truth is known.

        Parameters
        ----------
        alpha : float
            Of one line, such as ``plan.threshold(1)``.
        """
        witness = Witness(suspect, len(self.public.classes))
        seed = int(self.judge.integers(f"order/{self.claim.claimant}/{name}", 2**31, 1)[0])
        asked = {line: asked.x for line, asked in self.questions.items()}
        ordinary = self._ordinary()
        given = interrogate(witness, asked | {"ordinary": self.public.test_x[ordinary]}, seed=seed)
        lines, findings = {}, [*self.unasked.values(), *self._swaps(given["ordinary"], ordinary)]
        for line in asked:
            try:
                lines[line] = self._weighed(line, given[line], witness, alpha, findings)
            except ValueError as error:
                findings.append(f"{line} cannot be weighed: {error}")
        share = float(np.mean([said.answered for said in given.values()]))
        findings += witness.findings()
        return Case(name, self.claim.claimant, lines, (), self.plan.needed, tuple(findings), share)

    def _ordinary(self) -> np.ndarray:
        """Return which test records are mixed in: no batch consists of triggers then."""
        rng = np.random.default_rng([self.plan.seed, 7])
        return rng.permutation(len(self.public.test_x))[:ORDINARY]

    def _swaps(self, said: Answers, rows: np.ndarray) -> list[str]:
        """Say so if, where its two best answers are close, the second is right more often: it swaps them."""
        from scipy import stats

        if said.shown is None:
            return []
        truth, answered = self.public.test_y[rows].numpy(), said.labels >= 0
        order = np.argsort(-np.nan_to_num(said.shown), axis=1)[:, :2]
        best = np.take_along_axis(said.shown, order, axis=1)
        close = answered & (best[:, 0] - best[:, 1] < CLOSE)
        first, second = ((order[close, k] == truth[close]).sum() for k in (0, 1))
        p = float(stats.binom.sf(second - 1, first + second, 0.5)) if second > first else 1.0
        if p >= AVOIDS:
            return []
        return [
            f"where its two best answers are close, the second is right more often ({second} times to {first}, "
            f"{p_words(p, digits=1)}): it swaps them"
        ]

    def _weighed(self, line: str, said: Answers, witness: Witness, alpha: float, findings: list[str]) -> Line:
        """Return one line, and add to the findings what its answers show beside it."""
        if said.answered < 1:
            findings.append(f"{line}: {1 - said.answered:.0%} of the questions are unanswered")
        asked = self.questions[line]
        if line == "mark":
            found = self._mark_line(said, witness, alpha)
            findings += self._unlike(witness)
            return found
        if line == "inference":
            return self._inference_line(said, alpha, findings)
        if (p := asked.avoids(said.labels)) < AVOIDS:
            findings.append(
                f"{line}: the suspect avoids the claimant's answers more than any null model does ({p_words(p, SUPPORTED, digits=1)}, "
                "model-based): it may swap answers that are close"
            )
        return asked.weigh(said.labels, alpha=alpha)

    def _inference_line(self, said: Answers, alpha: float, findings: list[str]) -> Line:
        """Weigh training records by margins, or by labels where the suspect shows no more."""
        records = self.questions["inference"]
        if said.shown is None:
            findings.append("inference: the suspect shows labels alone, so a weaker feature was used")
            right = np.where(said.labels < 0, np.nan, (said.labels == records.y).astype(float))
            return records.by_labels().weigh(right, alpha=alpha)
        if said.digits is None:
            return records.weigh(dataset_inference.margin_of(said.shown, records.y), alpha=alpha)
        findings.append(
            f"inference: the suspect rounds probabilities to {said.digits} digits; null models were rounded alike"
        )
        values = dataset_inference.margin_of(said.shown, records.y, said.digits)
        return records.by_rounded(said.digits).weigh(values, alpha=alpha)

    def _mark_line(
        self, said: Answers, witness: Witness, alpha: float, null_hit: np.ndarray | None = None
    ) -> Line:
        """Weigh answers to the claimant's triggers against redrawn keys and null models."""
        triggers: TriggerSet = self.questions["mark"]
        null_hit = self.null_hit if null_hit is None else null_hit
        expected = triggers.y.numpy()
        hit, by_labels = said.labels == expected, said.shown is None
        settings = self.claim.drawing(self.public)
        redrawn = ask_redrawn(
            score(said.labels, said.shown, expected) - self._innocent(triggers, by_labels),
            redrawn_triggers(triggers.kind, len(triggers), judge=self.judge, **settings),
            lambda asked: witness.scores(asked, by_labels=by_labels) - self._innocent(asked, by_labels),
            statistic=("hits" if by_labels else "margin")
            + (" above null models'" if triggers.kind in RARE else ""),
            most=keys_needed(alpha),
        )
        return weigh(
            clopper_pearson(int(hit.sum()), len(hit)),
            null_hit.mean(1),
            alpha=alpha,
            resolution=1 / len(hit),
            exact_p=redrawn.p_value,
            by=KEYS,
            name="the mark",
            citation="Davison & Hinkley 1997, 4.2.5; Lukas et al., arXiv 2108.04974 (null models)",
            measures=f"share of {triggers.kind} triggers answered as marked",
            null_hypothesis=MARK_NULL,
            assumption=MARK_ASSUMES,
            queries=redrawn.queries,
            source=self.public.source,
            seed=self.plan.seed,
            hit=hit,
            null_hit=null_hit,
            redrawn=replace(redrawn, source=self.public.source),
            notes=(f"re-drawn keys are compared by mean {redrawn.statistic}",),
        )

    def _innocent(self, asked: TriggerSet, by_labels: bool) -> np.ndarray | float:
        """Return what null models score on triggers on average, (n,); 0 for images.

        Some combinations of a table's values speak for a class by themselves, so that a stranger's key may score more
        than a mark. Null models say which. They are independent of all keys: ranks of what is left stay exact.
        """
        if asked.kind not in RARE:
            return 0.0
        y = asked.y.numpy()
        if by_labels:
            return np.mean([score(answers(null, asked.x), None, y) for null in self.nulls], axis=0)
        shown = (probabilities(null, asked.x) for null in self.nulls)
        return np.mean([score(one.argmax(1), one, y) for one in shown], axis=0)

    def _unlike(self, witness: Witness) -> list[str]:
        """Say so if the suspect answers records with strangers' marks unlike every null model: it may detect marks."""
        settings = self.claim.drawing(self.public)
        triggers: TriggerSet = self.questions["mark"]
        strangers = redrawn_triggers(triggers.kind, 5, judge=self.judge.sub("unlike"), **settings)
        x = torch.cat([next(strangers).x for _ in range(SHOWN)])
        others = np.array([answers(null, x) for null in self.nulls])
        shares = [
            float((own == _most_common(np.delete(others, j, axis=0))).mean()) for j, own in enumerate(others)
        ]
        given = witness.labels(x)
        answered = given >= 0
        if not answered.any():
            return []
        share = float((given == _most_common(others))[answered].mean())
        p = predictive_p(-share, [-one for one in shares], resolution=1 / len(x))
        if p >= AVOIDS or share >= min(shares):
            return []
        return [
            f"mark: the suspect answers records with strangers' marks unlike every null model ({share:.0%} as most of "
            f"them do, they {min(shares):.0%} to {max(shares):.0%}): it may recognise marked records"
        ]

    def convicts_null(self, index: int, alpha: float, control: Case) -> bool:
        """Say whether the whole rule would convict one null model, judged against the others."""
        rest = [j for j in range(len(self.nulls)) if j != index]
        high = {
            name
            for name, line in control.lines.items()
            if accuses(line.nulls[index], line.nulls[rest], alpha, line.resolution)
        }
        alike, directed = high - set(DIRECTIONAL), high & set(DIRECTIONAL)
        if not directed or len(directed) + bool(alike) < self.plan.needed:
            return False
        directed = {name for name in directed if self._exact_null(name, index, alpha)}
        return bool(directed) and len(directed) + bool(alike) >= self.plan.needed

    def _exact_null(self, line: str, index: int, alpha: float) -> bool:
        """Say whether a null model fails the line's exact test; asked only where the others do not exceed it."""
        null = self.nulls[index]
        if line == "inference":
            records = self.questions["inference"]
            rest = np.delete(records.null_features, index, axis=0)
            found = replace(records, null_features=rest).weigh(records.null_features[index], alpha=alpha)
            return at_most(found.exact_p, alpha)
        witness = Witness(null, len(self.public.classes))
        labels, shown = witness.ask(self.questions["mark"].x)
        rest = np.delete(self.null_hit, index, axis=0)
        return at_most(self._mark_line(Answers(labels, shown, None), witness, alpha, rest).exact_p, alpha)


def _most_common(labels: np.ndarray) -> np.ndarray:
    """Return the most common label of each column, int64 (n,), of labels (k, n)."""
    counts = np.stack([(labels == label).sum(0) for label in range(int(labels.max()) + 1)])
    return counts.argmax(0)
