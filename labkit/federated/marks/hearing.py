"""Two hospitals claim the global model: who can show a mark that was promised before the first round?

A claim is shown only if its commitment stands in the register before the closing line, alone in the claimant's name,
opens with the claimant's key, name and terms, and if the mark that the judge draws anew from them is in the released
weights, in the part that training added: initial weights are public before commitments are, so a key can be sought
that reads well in them, and they shine through to the end. Anything else is refused or not shown, with the reason; nothing is decided by default. A mark shows that the key's
holder took part in training. It does not show how much they gave, and its absence shows nothing.

The order of promises is vouched for by all hospitals of the roster, who sign the closing line before round 1; only the
registrar and all of them together could backdate one. That the weights before the judge are those that training ended
with is the registrar's word (`labkit.federated.marks.register`).

Opening burns a key: whoever heard it can pull the mark out of later rounds. The name is bound, so nobody else can
claim with it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles
from labkit.federated.marks import bits
from labkit.federated.marks.enrolment import MarkError, Terms
from labkit.federated.marks.promises import commitment, digest_of, terms_of
from labkit.federated.marks.register import Register
from labkit.results import Result
from labkit.watermark.marks.keys import GENERATOR, Key

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 1e-3
FINDINGS = ("shown", "not shown", "refused")


@dataclass(frozen=True)
class Claim:
    """What a hospital says before the judge: this model carries the mark of my key."""

    claimant: str
    key: Key


@dataclass(frozen=True)
class Heard:
    """What became of one claim.

    Attributes
    ----------
    claimant : str
    finding : {"shown", "not shown", "refused"}
    reasons : tuple of str
    strength, rank, bound : float or None
        Of the mark that the judge drew anew; None where the claim was refused before.
    null_rank : float or None
    """

    claimant: str
    finding: str
    reasons: tuple[str, ...]
    strength: float | None = None
    rank: float | None = None
    bound: float | None = None
    null_rank: float | None = None


@dataclass(frozen=True, eq=False)
class Dispute(Result):
    """What a judge can say: see `dispute`.

    Attributes
    ----------
    heard : tuple of Heard
    level : float
        Alpha over the commitments in the register: each is a try.
    redraws, nulls : int
    case, source, profile : str
    """

    heard: tuple[Heard, ...]
    level: float
    redraws: int
    nulls: int
    case: str
    source: str
    profile: str

    @property
    def shown(self) -> tuple[str, ...]:
        """Claimants whose mark was promised and is there."""
        return tuple(each.claimant for each in self.heard if each.finding == "shown")

    @property
    def conclusion(self) -> str:
        """One sentence, and what it does not say."""
        if not self.shown:
            return "no claim is shown: the dispute stays open, and nothing follows against anybody"
        who = " and ".join(self.shown)
        said = f"{who} took part in training this model"
        if len(self.shown) > 1:
            return f"{said}: none of them alone, and marks do not say who gave more"
        return f"{said}; that the others' claims fail does not show that they took no part"

    def numbers(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "conclusion": self.conclusion,
            "level": self.level,
            "redrawn keys": self.redraws,
            "null federations": self.nulls,
            "claims": [each.__dict__ | {"reasons": list(each.reasons)} for each in self.heard],
            "source": self.source,
            "profile": self.profile,
        }

    def summary(self) -> str:
        return (
            f"{self.case}: {self.conclusion} (level {self.level:.1g} each, {self.redraws:,} redrawn keys, "
            f"{self.nulls} null federations; {self.source}; {self.profile})"
        )

    def table(self) -> pd.DataFrame:
        """One row per claim."""
        import pandas as pd

        def shown(value: float | None, digits: str) -> str:
            return "not read" if value is None else format(value, digits)

        rows = [
            {
                "claimant": each.claimant,
                "finding": each.finding,
                "strength": shown(each.strength, ".2f"),
                "p (rank)": shown(each.rank, ".2g"),
                "p at most": shown(each.bound, ".1g"),
                "reasons": "; ".join(each.reasons),
            }
            for each in self.heard
        ]
        return pd.DataFrame(rows).set_index("claimant")


def added(weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the part of ``weights`` [d] that is orthogonal to the initial ones [d]."""
    size = float(start @ start)
    return weights - (float(weights @ start) / size if size else 0.0) * start


def dispute(
    register: Register,
    claims: Sequence[Claim],
    weights: np.ndarray,
    *,
    roster: Mapping[str, str],
    start: np.ndarray,
    nulls: Sequence[np.ndarray] = (),
    alpha: float = ALPHA,
    redraws: int | None = None,
    source: str = "",
    seed: int = 0,
) -> Dispute:
    """Hear claims to the released model.

    Parameters
    ----------
    register : Register
    claims : sequence of Claim
    weights : ndarray of shape [d]
        The contested global model, as the judge got it.
    roster : mapping of str to str
        Public keys of the federation's hospitals and of the registrar, known to the judge from elsewhere. All these
        hospitals must have acknowledged the register's closing line; leave out who was no party to it.
    start : ndarray of shape [d]
        Initial weights, known likewise.
    nulls : sequence of ndarray of shape [d]
        Weights of federations without these marks: `labkit.federated.marks.null_federations`.
    alpha : float
        Shared among all commitments in the register.
    redraws : int, optional
        Keys drawn anew: 199 (smoke), 999 (laptop) or 9,999 (full).
    seed : int
        Of the judge's keys.

    Raises
    ------
    MarkError
        If there is no claim, a claimant comes twice, alpha is out of range, or two nulls are the same model.
    """
    names = [claim.claimant for claim in claims]
    if not names or len(set(names)) < len(names) or not 0 < alpha < 1:
        raise MarkError(
            f"got claims of {names} and alpha {alpha}; expected each claimant once, alpha in (0, 1)"
        )
    if len({np.asarray(null).tobytes() for null in nulls}) < len(nulls):
        raise MarkError(f"the {len(nulls)} null federations are not distinct: one innocent would count twice")
    count = redraws or profiles.current().pick(smoke=199, laptop=999, full=9999)
    common = register.problems(roster)
    if not common and register.line("close").content.get("start") != digest_of(start):
        common = ["the register was closed over other initial weights than the judge knows"]
    if not common and register.line("release").content.get("model") != digest_of(weights):
        common = ["these are not the weights that were released: a mark put in or out later decides nothing"]
    promised = sum(entry.action == "commit" for entry in register.entries)
    level = alpha / max(promised, 1)
    judge = Key.from_phrase(f"judge {seed}")
    heard = tuple(
        Heard(claim.claimant, "refused", tuple(common))
        if common
        else _hear(register, claim, weights, roster, start, nulls, level, count, judge)
        for claim in claims
    )
    return Dispute(heard, level, count, len(nulls), register.case, source, profiles.current().name)


def _hear(
    register: Register,
    claim: Claim,
    weights: np.ndarray,
    roster: Mapping[str, str],
    start: np.ndarray,
    nulls: Sequence[np.ndarray],
    level: float,
    count: int,
    judge: Key,
) -> Heard:
    """Open one commitment and read its mark."""
    reasons, terms = _open(register, claim, roster, digest_of(start), len(weights))
    if terms is None:
        return Heard(claim.claimant, "refused", tuple(reasons))
    mark = terms.bit_mark(claim.claimant, claim.key)
    learned = added(weights, start)
    strength = mark.strength_in(learned)
    drawn = bits.redrawn(mark, learned, count, judge)
    others = np.array([mark.strength_in(added(null, start)) for null in nulls])
    rank = (1 + int((drawn >= strength).sum())) / (1 + count)
    null_rank = (1 + int((others >= strength).sum())) / (1 + len(others)) if len(others) else None
    bound = bits.chance(strength)
    if bound > level:
        reasons.append(
            f"the mark reads {strength:.2f}: a stranger's key does so with a chance of up to {bound:.1g}"
        )
    if (drawn >= strength).any() or (others >= strength).any():
        reasons.append("a redrawn key or a federation without the mark reads as strong")
    finding = "not shown" if reasons else "shown"
    return Heard(claim.claimant, finding, tuple(reasons), strength, rank, bound, null_rank)


def _open(
    register: Register, claim: Claim, roster: Mapping[str, str], start: str, dimension: int
) -> tuple[list[str], Terms | None]:
    """Return why a commitment does not open, or its terms."""
    written = register.commitments(claim.claimant)
    if claim.claimant not in roster or not written:
        return [f"{claim.claimant} has no commitment in the register"], None
    if len(written) > 1:
        return [f"{len(written)} commitments in one name: each key more is a try more"], None
    entry = written[0]
    if entry.place > register.line("close").place:
        return ["the commitment came after commitments were closed, when the model could be known"], None
    content = entry.content
    if set(content) != {"digest", "start", "terms", "number"} or content["number"] != 1:
        return [f"the commitment holds {sorted(content)}; expected digest, start, terms and number 1"], None
    try:
        terms = terms_of(content["terms"])
        own = terms.bit_mark(claim.claimant, claim.key)
    except (TypeError, ValueError) as error:
        return [f"the terms in the commitment draw no mark ({error})"], None
    if terms.generator != GENERATOR or own.dimension != dimension:
        return [
            f"the terms are for {own.dimension} weights by {terms.generator}; the model has {dimension}"
        ], None
    public = roster[claim.claimant]
    expected = commitment(claim.claimant, claim.key, content["terms"], register.case, start, public)
    if not hmac.compare_digest(expected, str(content["digest"])):
        return ["the key does not open the commitment in this name: another's, or sought later"], None
    return [], terms
