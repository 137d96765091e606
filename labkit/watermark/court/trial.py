"""The ownership court: a plan fixed in advance, tried on several suspects, with controls.

`open_trial` binds the plan to suspects, claims, null models and questions, before anything is asked; the plan's digest
goes into the evidence record then, witnessed by somebody else. `Trial.run` asks.

What convicts: enough lines, at least one of them with a direction. Shared mistakes and agreement ask who resembles whom,
and the thief could ask it too: they count as one, and never convict alone. The mark and dataset inference point one way,
and have exact p-values. Alpha is shared out over all accusations and both of them (Bonferroni), so the probability that
any innocent of the trial is convicted is at most alpha, whatever the null models are; those can only acquit.

No error bound survives a choice after the fact. So a plan is tried once, a commitment is opened in one trial (`Docket`),
null models must be distinct, and a claim is heard only with a notary's receipt from before the suspect appeared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from labkit import profiles
from labkit.stats import clopper_pearson
from labkit.watermark.court.cases import Accused, Case
from labkit.watermark.court.claims import Claim
from labkit.watermark.court.commitments import model_digest
from labkit.watermark.court.docket import DOCKET, Docket
from labkit.watermark.court.examination import Examination
from labkit.watermark.court.plan import Bound, Plan
from labkit.watermark.court.verdicts import Verdicts
from labkit.watermark.fingerprints.agreement import dissent
from labkit.watermark.fingerprints.questions import ask_all
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel

if TYPE_CHECKING:
    from labkit.data import Dataset

ALIKE = 0.95  # agreement on contested records at which two null models count as copies of one
CONTESTED = 20  # contested records that tell copies


class Trial:
    """A plan bound to suspects, claims, null models and questions, and not yet carried out: see `open_trial`."""

    def __init__(
        self,
        plan: Plan,
        accused: Sequence[Accused],
        examinations: dict[int, Examination],
        nulls: Sequence[nn.Module],
        public: Dataset,
        docket: Docket,
    ) -> None:
        self.plan, self.accused, self.nulls, self.public = plan, tuple(accused), nulls, public
        self._examinations, self._docket = examinations, docket

    def __repr__(self) -> str:
        return f"Trial(plan {self.plan.digest[:12]}…: {len(self.accused)} suspects, level {self.level:.2g})"

    @property
    def level(self) -> float:
        """Alpha of one line with a direction against one suspect."""
        return self.plan.threshold(self.plan.bound.shares)

    def run(self) -> Verdicts:
        """Ask all suspects, and each claimant's own original as a positive control; a second call asks nothing anew."""
        before = self._docket.tried(self.plan.digest)
        if before is not None:
            return before
        controls = {key: self._control(examination) for key, examination in self._examinations.items()}
        cases = [self._case(one, controls[id(one.claim)]) for one in self.accused]
        convicted = [
            any(
                examination.convicts_null(index, self.level, controls[key])
                for key, examination in self._examinations.items()
            )
            for index in range(len(self.nulls))
        ]
        verdicts = Verdicts(
            plan=self.plan,
            cases=tuple(cases),
            controls=tuple(controls.values()),
            false_claims=clopper_pearson(sum(convicted), len(convicted)),
            threshold=self.level,
            null_models=len(self.nulls),
            source=self.public.source,
            profile=profiles.current().name,
        )
        self._docket.enter(
            verdicts, [one.claim.commitment.record for one in self.accused if one.claim.commitment]
        )
        return verdicts

    def _control(self, examination: Examination) -> Case:
        claimant = examination.claim.claimant
        return examination.examine(examination.claim.model, self.level, name=f"control: {claimant}'s own")

    def _case(self, one: Accused, control: Case) -> Case:
        """Try one suspect; a mark that is not in the claimant's own original is not heard."""
        examination = self._examinations[id(one.claim)]
        case = examination.examine(one.model, self.level, name=one.name)
        lines, findings = dict(case.lines), list(case.findings)
        if "mark" in lines and not ("mark" in control.lines and control.lines["mark"].decided):
            del lines["mark"]
            findings.append(
                f"mark: it is not shown in {one.claim.claimant}'s own original, so it is not heard"
            )
        excuse, said = self._answer(one)
        return replace(
            case,
            lines=lines,
            problems=tuple(self._problems(one)),
            findings=(*findings, *said),
            excuse=excuse,
        )

    def _problems(self, one: Accused) -> list[str]:
        claim = one.claim
        try:
            found = claim.problems(self.public, notary=self.plan.bound.notary, released=one.released)
        except Exception as error:  # whatever a hostile claim leads to
            found = [f"it cannot be examined: {error}"]
        burnt = claim.commitment and self._docket.burnt(claim.commitment.record, self.plan.digest)
        return [*found, burnt] if burnt else found

    def _answer(self, one: Accused) -> tuple[str, list[str]]:
        """Return why the accused's own claim stands against the claimant's ("" if not), and findings."""
        own, claim = one.answer, one.claim
        if own is None:
            return "", []
        try:
            problems = own.problems(self.public, notary=self.plan.bound.notary, dated=False)
        except Exception as error:  # whatever a hostile answer leads to
            problems = [str(error)]
        if problems:
            return "", [f"the accused's own claim is not heard: {'; '.join(problems)}"]
        if claim.moment is None or own.moment >= claim.moment:
            return "", [
                f"the accused's own claim was deposited at {own.deposit.moment}, not before the claimant's"
            ]
        if isinstance(one.model, nn.Module) and _identity(one.model) == own.commitment.model:
            return (
                f"{own.claimant} deposited this very model before {claim.claimant} committed to anything",
                [],
            )
        known = next(iter(self._examinations.values())).known
        mark_alone = replace(self.plan, queries={"mark": max(20, len(own.triggers))}, needed=1)
        asked = Examination(
            mark_alone, own, self.nulls, known, self.public, next(iter(self._examinations.values())).judge
        )
        found = asked.examine(claim.model, self.level, name="answer").lines.get("mark")
        if found is not None and found.decided:
            return f"{own.claimant}'s mark, deposited before, is in {claim.claimant}'s own original", []
        return "", ["the accused's own mark is not shown in the claimant's original"]


def open_trial(
    plan: Plan,
    accused: Sequence[Accused],
    nulls: Sequence[nn.Module],
    public: Dataset,
    *,
    notary: str,
    judge: Key | None = None,
    docket: Docket | None = None,
    published: Sequence[Tensor] = (),
    known: np.ndarray | None = None,
) -> Trial:
    """Bind a plan to everything that could be chosen later; no suspect is asked yet.

    Parameters
    ----------
    accused : sequence of Accused
    nulls : sequence of nn.Module
        The court's own models, trained independently of all claimants: different training sets, and different networks
        where possible.
    public : Dataset
        Its test records are the court's: no claimant trained on them.
    notary : str
        Public key of the notary whose receipts the court takes.
    judge : Key, optional
        The court's secret, from which redrawn keys and the order of questions come; default: a new one.
    docket : Docket, optional
        Of trials before this one; default: this process's.
    published : sequence of Tensor
        Inputs that anybody may have trained on, by the court's knowledge or because the accused names where they are
        published: dataset inference leaves them out.
    known : int64 ndarray of shape (k, m), optional
        The null models' answers to the test records, if the court has asked them before: see `ask_all`.

    Raises
    ------
    ValueError
        If there is no suspect, two bear the same name, the plan is bound already, or the null models are too few, not
        distinct, or among the suspects and claims.
    """
    names = [suspect.name for suspect in accused]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"got suspects {names}; expected at least one, each with a name of its own")
    if plan.bound is not None:
        raise ValueError("this plan is bound to a trial already: make a new one")
    judge = Key.new() if judge is None else judge
    digests = _check_nulls(nulls, plan.minimum, accused)
    known = ask_all(nulls, public.test_x) if known is None else known
    _check_copies(known)
    claims = {id(one.claim): one.claim for one in accused}
    examinations = {
        key: Examination(plan, claim, nulls, known, public, judge, published) for key, claim in claims.items()
    }
    bound = Bound(
        suspects=tuple(_named(one) for one in accused),
        claims=tuple(_claimed(claim) for claim in claims.values()),
        shares=sum(_announced(one.claim) for one in accused),
        nulls=tuple(digests),
        questions=tuple(examination.digest for examination in examinations.values()),
        judge=hashlib.sha256(b"judge" + judge.seed).hexdigest(),
        notary=notary,
    )
    docket = DOCKET if docket is None else docket
    return Trial(replace(plan, bound=bound), accused, examinations, nulls, public, docket)


def try_suspects(
    plan: Plan, accused: Sequence[Accused], nulls: Sequence[nn.Module], public: Dataset, **settings: object
) -> Verdicts:
    """Try each suspect by the plan, and the claimants' own originals as positive controls.

    Null hypothesis of the lines with a direction: the suspect knows nothing of the claimant's key; it treats the
    claimant's training records as held-out ones. Their p-values are exact under the assumptions that the lines state, and
    alpha is shared out over them, over all suspects and announced commitments.

    Parameters
    ----------
    plan, accused, nulls, public, **settings
        See `open_trial`.

    Raises
    ------
    ValueError
        As `open_trial`.
    """
    return open_trial(plan, accused, nulls, public, **settings).run()


def _check_nulls(nulls: Sequence[nn.Module], minimum: int, accused: Sequence[Accused]) -> list[str]:
    """Return the null models' digests; refuse too few, one twice, and a party's model among them."""
    if len(nulls) < max(minimum, 3):
        raise ValueError(f"got {len(nulls)} null models; the plan asks for {max(minimum, 3)}: train more")
    digests = [model_digest(null) for null in nulls]
    if len(set(digests)) < len(digests):
        raise ValueError(
            f"{len(nulls)} null models are {len(set(digests))} distinct ones: one model that counts twice is one witness"
        )
    parties = {_identity(one.model) for one in accused} | {_identity(one.claim.model) for one in accused}
    if set(digests) & parties:
        raise ValueError(
            "a suspect's or claimant's model is among the null models: these must be the court's own"
        )
    return digests


def _check_copies(known: np.ndarray) -> None:
    """Refuse null models that answer alike where the others disagree: copies with a little noise are one witness."""
    contested = dissent(known) > 0
    if contested.sum() < CONTESTED:
        raise ValueError(
            f"{len(known)} null models disagree on {int(contested.sum())} of {known.shape[1]:,} records: they look like "
            "copies of one model; train them on other records and seeds"
        )
    answers = known[:, contested]
    for j, own in enumerate(answers):
        same = (answers[j + 1 :] == own).mean(1)
        if (same > ALIKE).any():
            twin = j + 1 + int(same.argmax())
            raise ValueError(
                f"null models {j} and {twin} give the same answer to {same.max():.0%} of the contested records: they look "
                "like copies of one model"
            )


def _identity(model: object) -> str:
    """Return a model's digest, or what stands for what has none."""
    if not isinstance(model, nn.Module | MarkedModel):
        return "an interface"
    try:
        return model_digest(model.model if isinstance(model, MarkedModel) else model)
    except Exception as error:  # a model may be built so that it cannot be read
        return f"a model without a digest ({type(error).__name__})"


def _claimed(claim: Claim) -> str:
    return f"{claim.claimant}: {claim.commitment.record if claim.commitment else 'nothing committed'}"


def _announced(claim: Claim) -> int:
    return claim.commitment.of if claim.commitment else 1


def _named(one: Accused) -> str:
    answer = "no answer" if one.answer is None else f"answers with {_claimed(one.answer)}"
    return f"{one.name}: {_identity(one.model)}, released {one.released}, accused by {_claimed(one.claim)}, {answer}"
