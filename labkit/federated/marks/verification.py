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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.federated.marks import bits, block_code
from labkit.federated.marks.enrolment import Enrolment, MarkError
from labkit.results import Result
from labkit.watermark.keys import Key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

ALPHA = 1e-3
NULLS = 20  # fewer federations are a rehearsal: a rank among k is never below 1 / (k + 1)


@dataclass(frozen=True)
class Line:
    """What one kind of mark shows for one hospital.

    Attributes
    ----------
    kind : {"bits", "answers"}
    statistic : float
        Strength z of the bits, or triggers hit.
    right, asked : int
        Coded bits (or triggers) that read right, of how many.
    rank : float
        Share of redrawn keys that do as well, the hospital's own counted in: (1 + as good) / (1 + keys).
    bound : float
        For bits, at most; for answers, exact.
    null_rank : float or None
        The same among null federations; None without any.
    best_null : float or None
    found : bool
        Whether the bound is at most alpha, no redrawn key does as well, and no null federation does.
    """

    kind: str
    statistic: float
    right: int
    asked: int
    rank: float
    bound: float
    null_rank: float | None
    best_null: float | None
    found: bool


@dataclass(frozen=True, eq=False)
class MarkReport(Result):
    """Which hospitals' marks a model carries: see `verify`.

    Attributes
    ----------
    lines : dict of str to tuple of Line
        By hospital.
    messages : dict of str to int
        Message bits that the error-correcting code gives back right.
    message_bits : int
    redraws : dict of str to ndarray of shape [keys]
        By kind, what keys that nobody holds read from the same model.
    nulls : int
        Null federations.
    alpha : float
        For one hospital and one kind, fixed before the model is read.
    suspect, source, profile : str
    seed : int
        Of the redrawn keys.
    """

    lines: dict[str, tuple[Line, ...]]
    messages: dict[str, int]
    message_bits: int
    redraws: dict[str, np.ndarray]
    nulls: int
    alpha: float
    suspect: str
    source: str
    profile: str
    seed: int

    def found(self, kind: str = "bits") -> tuple[str, ...]:
        """Return the hospitals whose mark of this kind is in the model."""
        return tuple(n for n, lines in self.lines.items() if any(x.found for x in lines if x.kind == kind))

    def numbers(self) -> dict[str, Any]:
        return {
            "suspect": self.suspect,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "alpha": self.alpha,
            "redrawn keys": {kind: len(values) for kind, values in self.redraws.items()},
            "null federations": self.nulls,
            "hospitals": {
                name: {"message bits right": self.messages[name], "lines": list(lines)}
                for name, lines in self.lines.items()
            },
        }

    def summary(self) -> str:
        keys = len(next(iter(self.redraws.values())))
        kinds = [line.kind for line in next(iter(self.lines.values()))]
        said = "; ".join(
            f"{kind} of {len(self.found(kind))} of {len(self.lines)} hospitals" for kind in kinds
        )
        nulls = f"{self.nulls} null federations" if self.nulls else "no null federation"
        if 0 < self.nulls < NULLS:
            nulls += f" (a rehearsal: {NULLS} are needed for a claim)"
        return (
            f"{self.suspect}: found {said}, at alpha {self.alpha:g} each, against {keys:,} redrawn keys and {nulls}; "
            f"{self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per hospital and kind of mark, p-values from the strongest ground to the weakest."""
        import pandas as pd

        rows = []
        for name, lines in self.lines.items():
            for line in lines:
                keys = len(self.redraws[line.kind])
                rows.append(
                    {
                        "hospital": name,
                        "mark": line.kind,
                        "statistic": round(line.statistic, 2),
                        "right": f"{line.right} of {line.asked}",
                        f"p (rank, {keys:,} keys)": f"{'<= ' if line.rank * (keys + 1) < 1.5 else ''}{line.rank:.2g}",
                        "p (model-based)": f"{'<= ' if line.kind == 'bits' else ''}{line.bound:.1g}",
                        f"p (rank, {self.nulls} nulls)": "none"
                        if line.null_rank is None
                        else f"{line.null_rank:.2g}",
                        "found": "yes" if line.found else "no",
                    }
                )
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each hospital's strength beside what redrawn keys read from the same model."""
        fig, ax = plots.figure(6.6, 3.4) if ax is None else (ax.figure, ax)
        null = self.redraws["bits"]
        ax.hist(null, bins=30, density=True, color=plots.COLOURS[4], label=f"{len(null):,} redrawn keys")
        top = ax.get_ylim()[1]
        for index, (name, lines) in enumerate(self.lines.items()):
            z = lines[0].statistic
            ax.plot(
                [z, z],
                [0, 0.8 * top],
                color=plots.COLOURS[index % 7],
                linestyle=plots.LINES[index % 7],
                label=name,
            )
        ax.set_xlabel("strength of the bits, z (an independent key: mean 0, standard deviation 1)")
        ax.set_ylabel("density")
        ax.set_title(f"{self.suspect}\n{self.source}", fontsize=10)
        ax.legend(fontsize=8)
        said = "; ".join(f"{name} {lines[0].statistic:.1f}" for name, lines in self.lines.items())
        return plots.describe(
            fig, f"Strength of each hospital's bits in {self.suspect}, against redrawn keys around 0: {said}."
        )


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
