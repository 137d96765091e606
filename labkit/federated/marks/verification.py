"""Is a hospital's mark in this model? The suspect itself is asked first, with keys that nobody holds.

Three answers, strongest ground first:

- **rank**: the mark's strength among that of keys drawn anew, read from the same model. Exact for any model, as far as
  its number of keys carries.
- **bound**: the chance that a key which had no part in training reads so strong is at most exp(-z^2 / 2), for any
  weights. It is model-based in one thing: that the key was drawn as the generator draws, before training; a key that
  was sought after training is not (see `labkit.federated.marks.hearing`).
- **nulls**: the strength among federations that trained without this hospital's mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles
from labkit.federated.marks import bits, block_code
from labkit.federated.marks.enrolment import Enrolment, MarkError
from labkit.federated.marks.mark_report import Line, MarkReport
from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    from torch import nn

ALPHA = 1e-3


def verify(
    model_or_weights: nn.Module | np.ndarray,
    enrolment: Enrolment,
    nulls: Sequence[np.ndarray] = (),
    *,
    alpha: float = ALPHA,
    redraws: int | None = None,
    answer: Callable[[Any], np.ndarray] | None = None,
    null_answers: Sequence[Callable[[Any], np.ndarray]] | None = None,
    suspect: str = "the global model",
    source: str = "",
    seed: int = 0,
) -> MarkReport:
    """Test a model for every hospital's mark.

    Parameters
    ----------
    model_or_weights : nn.Module or ndarray of shape [d]
    enrolment : Enrolment
    nulls : sequence of ndarray of shape [d]
        Weights of federations that trained without these marks: `labkit.federated.marks.null_federations`.
    alpha : float
        Fix it before the model is read.
    redraws : int, optional
        Keys drawn anew: 199 (smoke), 999 (laptop) or 9,999 (full). A rank among k is never below 1 / (k + 1).
    answer : callable, optional
        Takes inputs, shape [n, ...], returns class numbers, shape [n]; by default the model's own. A suspect behind an
        interface has answers only: pass any weights and read the lines of kind "answers" alone.
    suspect, source : str
        For titles.
    seed : int
        Of the redrawn keys.

    Raises
    ------
    MarkError
        If alpha is out of range, or two null federations are the same model, or one is the suspect.
    """
    from labkit.federated.rounds import flatten

    weights = model_or_weights if isinstance(model_or_weights, np.ndarray) else flatten(model_or_weights)
    if not 0 < alpha < 1:
        raise MarkError(
            f"alpha is {alpha}; expected a number between 0 and 1, fixed in advance, such as {ALPHA}"
        )
    distinct = {np.asarray(each).tobytes() for each in nulls}
    if len(distinct) < len(nulls) or weights.tobytes() in distinct:
        raise MarkError(
            f"{len(nulls)} null federations hold {len(distinct - {weights.tobytes()})} models other than the suspect: "
            "train each with a seed and a split of its own"
        )
    count = redraws or profiles.current().pick(smoke=199, laptop=999, full=9999)
    fresh = Key.from_phrase(f"redrawn keys {seed}")
    some = next(iter(enrolment.bit_marks.values()))
    drawn = {"bits": bits.redrawn(some, weights, count, fresh)}
    lines: dict[str, tuple[Line, ...]] = {}
    messages = {}
    for name, mark in enrolment.bit_marks.items():
        z = mark.strength_in(weights)
        reading = mark.read(weights)
        right = int((np.sign(reading) == mark.word).sum())
        others = np.array([mark.strength_in(null) for null in nulls])
        found = [_line("bits", z, right, mark.bits, drawn["bits"], bits.chance(z), others, alpha)]
        messages[name] = int((block_code.decode(reading) == mark.message).sum())
        if name in enrolment.answer_marks:
            line, drawn["answers"] = _asked(enrolment, name, weights, nulls, answer, count, fresh, alpha)
            found.append(line)
        lines[name] = tuple(found)
    size = len(some.message)
    return MarkReport(
        lines, messages, size, drawn, len(nulls), alpha, suspect, source, profiles.current().name, seed
    )


def _asked(
    enrolment: Enrolment,
    name: str,
    weights: np.ndarray,
    nulls: Sequence[np.ndarray],
    answer: Callable[[Any], np.ndarray] | None,
    count: int,
    fresh: Key,
    alpha: float,
) -> tuple[Line, np.ndarray]:
    """Return the line of one hospital's triggers, and the hits of redrawn labels."""
    mark = enrolment.answer_marks[name]
    given = answer(mark.x) if answer else answers_of(mark.make_model, weights, mark.x)
    hits = mark.hits(given)
    drawn = mark.redrawn(given, count, fresh.sub(name))
    others = np.array([mark.hits(answers_of(mark.make_model, null, mark.x)) for null in nulls])
    return _line("answers", hits, hits, mark.count, drawn, mark.chance(hits), others, alpha), drawn


def answers_of(make_model: Callable[[], nn.Module], weights: np.ndarray, x: Any) -> np.ndarray:
    """Return the class numbers that a model with these weights gives, shape [n]."""
    import torch

    from labkit.federated.rounds import unflatten

    model = unflatten(make_model(), weights).eval()
    with torch.no_grad():
        return model(x).argmax(1).numpy()


def _line(
    kind: str,
    statistic: float,
    right: int,
    asked: int,
    drawn: np.ndarray,
    bound: float,
    others: np.ndarray,
    alpha: float,
) -> Line:
    rank = (1 + int((drawn >= statistic).sum())) / (1 + len(drawn))
    null_rank = (1 + int((others >= statistic).sum())) / (1 + len(others)) if len(others) else None
    best = float(others.max()) if len(others) else None
    # Redrawn labels can tie by luck where few triggers leave few values: the rank must then only be as small as alpha.
    alone = rank <= max(alpha, 1 / (1 + len(drawn)))
    found = bool(bound <= alpha and alone and (best is None or best < statistic))
    return Line(kind, float(statistic), right, asked, rank, bound, null_rank, best, found)
