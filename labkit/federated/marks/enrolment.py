"""Before round 1: a key, marks and a code word for every hospital.

Examples
--------
>>> from labkit.federated import marks
>>> enrolment = marks.enrol(["North", "South"], 0, 2114)
>>> sorted(enrolment.marks), enrolment.code.words.shape[0]
(['North', 'South'], 2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.federated.marks import tardos
from labkit.federated.marks.answer_mark import RATE, AnswerMark, Marks
from labkit.federated.marks.bits import BITS, MARGIN, STRENGTH, BitMark
from labkit.results import Result
from labkit.watermark.marks.keys import GENERATOR, Key

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from labkit.data import Dataset
    from labkit.federated.rounds import Mark

COPY_STRENGTH = 0.1
FALSE_ACCUSATION = 1e-3
STRANGERS = 999


class MarkError(ValueError):
    """Marks that cannot be drawn, told apart or judged; the message says why and what to do."""


@dataclass(frozen=True)
class Terms:
    """Everything that decides a mark besides its key: committed to, so that none of it is free at the opening.

    Attributes
    ----------
    dimension, bits : int
    margin, strength : float
        See `labkit.federated.marks.bits`.
    triggers, classes : int
        0 triggers: no black-box mark.
    low, high, rate : float
        See `labkit.federated.marks.answer_mark`.
    generator : str
        Version of the keyed generator.
    """

    dimension: int
    bits: int = BITS
    margin: float = MARGIN
    strength: float = STRENGTH
    triggers: int = 0
    classes: int = 2
    low: float = -2.0
    high: float = 2.0
    rate: float = RATE
    generator: str = GENERATOR

    def bit_mark(self, claimant: str, key: Key) -> BitMark:
        """Return the white-box mark that follows from a key in somebody's name."""
        return BitMark(key, claimant, self.dimension, self.bits, self.margin, self.strength)


@dataclass(frozen=True, eq=False, repr=False)
class Enrolment(Result):
    """Hospitals with their keys; secret as a whole. A hospital holds its own key only, the tracer holds the code.

    Attributes
    ----------
    names : tuple of str
    keys : mapping of str to Key
    terms : Terms
    answer_marks : mapping of str to AnswerMark
        Empty without triggers.
    tracer : Key
        Of whoever hands out copies: code words and places follow from it.
    colluders : int
        How many the code is long enough for.
    false_accusation : float
        Most that the chance of accusing anybody innocent may be, for one leaked copy.
    copy_strength : float
        How far a copy's weights lie from the model's, each, over their root mean square.
    places : int
        Length of the code; 0 where no copies will be handed out.
    """

    names: tuple[str, ...]
    keys: Mapping[str, Key] = field(repr=False)
    terms: Terms
    answer_marks: Mapping[str, AnswerMark] = field(repr=False)
    tracer: Key
    colluders: int
    false_accusation: float
    copy_strength: float
    places: int

    @cached_property
    def bit_marks(self) -> dict[str, BitMark]:
        """Each hospital's white-box mark."""
        return {name: self.terms.bit_mark(name, self.keys[name]) for name in self.names}

    @property
    def marks(self) -> dict[str, Mark]:
        """What each hospital adds to its contributions: for `labkit.federated.Federation`."""
        pulls = {}
        for name in self.names:
            parts = [self.bit_marks[name]] if self.terms.strength else []
            parts += [self.answer_marks[name]] if name in self.answer_marks else []
            if parts:
                pulls[name] = Marks(tuple(parts))
        return pulls

    @cached_property
    def code(self) -> tardos.TardosCode:
        """Code words, in the order of `names`."""
        if not self.places:
            raise MarkError("this enrolment has no code for copies: enrol with colluders=2, say")
        return tardos.TardosCode.draw(self.tracer, len(self.names), self.places, self.colluders)

    @cached_property
    def chips(self) -> tuple[np.ndarray, np.ndarray]:
        """Secret places of the code: weights in a keyed order, shape [places, width], and their signs, same shape."""
        if not self.places:
            raise MarkError("this enrolment has no code for copies: enrol with colluders=2, say")
        width = self.terms.dimension // self.places
        order = self.tracer.permutation("places", self.terms.dimension)[: self.places * width]
        signs = 2.0 * self.tracer.integers("signs", 2, self.places * width) - 1
        return order.reshape(self.places, width), signs.reshape(self.places, width)

    @cached_property
    def strangers(self) -> np.ndarray:
        """Code words of hospitals that do not exist, shape [999, places]: how innocents score."""
        return self.code.innocents(self.tracer.sub("innocents"), STRANGERS)

    def without(self, *names: str) -> dict[str, Mark]:
        """Return the marks of all others."""
        return {name: mark for name, mark in self.marks.items() if name not in names}

    def numbers(self) -> dict[str, Any]:
        t = self.terms
        return {
            "hospitals": list(self.names),
            "fingerprints of keys": {name: key.fingerprint for name, key in self.keys.items()},
            "weights": t.dimension,
            "bits": t.bits,
            "message bits": t.bits // 32 * 6,
            "margin": t.margin,
            "strength": t.strength,
            "triggers": t.triggers,
            "code length": self.places,
            "colluders": self.colluders,
            "false accusation at most": self.false_accusation,
        }

    def summary(self) -> str:
        return (
            f"{len(self.names)} hospitals; {self.terms.bits} coded bits each in {self.terms.dimension:,} weights, "
            f"{self.terms.triggers} triggers each; copies differ in {self.places} places (Tardos, {self.colluders} "
            f"colluders, false accusation <= {self.false_accusation:g} a copy)"
        )

    def table(self) -> pd.DataFrame:
        """One row per hospital: its key's fingerprint; no secret."""
        import pandas as pd

        rows = [{"hospital": name, "key": self.keys[name].fingerprint} for name in self.names]
        return pd.DataFrame(rows).set_index("hospital")

    def __repr__(self) -> str:
        return f"Enrolment({self.summary()})"


def enrol(
    names: Sequence[str],
    seed_or_keys: int | Mapping[str, Key] | None,
    dimension: int,
    *,
    bits: int = BITS,
    margin: float = MARGIN,
    strength: float = STRENGTH,
    triggers: int = 0,
    make_model: Callable[[], nn.Module] | None = None,
    dataset: Dataset | None = None,
    low: float = -2.0,
    high: float = 2.0,
    rate: float = RATE,
    colluders: int = 2,
    false_accusation: float = FALSE_ACCUSATION,
    copy_strength: float = COPY_STRENGTH,
    places: int | None = None,
    tracer: Key | None = None,
) -> Enrolment:
    """Give every hospital a key and all that follows from it.

    Parameters
    ----------
    names : sequence of str
    seed_or_keys : int, mapping of str to Key, or None
        Each hospital's own key; None draws them from the operating system. A whole number is for studies: whoever
        knows it knows all keys.
    dimension : int
        Number of weights, d: `labkit.federated.Federation.dimension`.
    bits, margin, strength
        Of the white-box marks: `labkit.federated.marks.bits.BitMark`. Strength 0 leaves none.
    triggers : int
        Number of a hospital's black-box triggers; 0 for none. They need ``make_model`` and ``dataset`` (only its
        shape, number of classes and, for images, base pictures count).
    low, high, rate
        Of the triggers: `labkit.federated.marks.answer_mark.AnswerMark`.
    colluders, false_accusation, copy_strength
        Of the copies: see `Enrolment`. 0 colluders: no copies will be handed out.
    places : int, optional
        Length of the code; `labkit.federated.marks.tardos.length` of the numbers above by default.
    tracer : Key, optional
        Of whoever hands out copies. Drawn like the hospitals' by default.

    Raises
    ------
    MarkError
        If names or keys repeat, or the weights are too few for bits or code.
    """
    names = tuple(names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise MarkError(f"names are {list(names)}; expected at least 2, each once")
    keys = _keys(names, seed_or_keys)
    if tracer is None:
        tracer = Key.from_phrase(f"tracer {seed_or_keys}") if isinstance(seed_or_keys, int) else Key.new()
    if places is None or not colluders:
        places = tardos.length(len(names), colluders, false_accusation) if colluders else 0
    if places > dimension or (colluders and places < 1):
        raise MarkError(
            f"a code of {places} places for {len(names)} hospitals and {colluders} colluders does not fit {dimension} "
            "weights: lower colluders, allow more false accusations, set places=, or take a larger model"
        )
    if not (math.isfinite(copy_strength) and copy_strength > 0):
        raise MarkError(
            f"copy_strength is {copy_strength}; expected a number above 0, such as {COPY_STRENGTH}"
        )
    classes = 2 if dataset is None else len(dataset.classes)
    terms = Terms(dimension, bits, margin, strength, triggers, classes, low, high, rate)
    answers = _answers(names, keys, terms, make_model, dataset) if triggers else {}
    found = Enrolment(names, keys, terms, answers, tracer, colluders, false_accusation, copy_strength, places)
    _ = found.bit_marks  # refuses bits that do not fit, before any round
    return found


def _keys(names: tuple[str, ...], given: int | Mapping[str, Key] | None) -> dict[str, Key]:
    if isinstance(given, bool) or not (given is None or isinstance(given, int | Mapping)):
        raise MarkError(f"got {given!r}; expected a whole number, a Key for each name, or None")
    if given is None:
        return {name: Key.new() for name in names}
    if isinstance(given, int):
        return {name: Key.from_phrase(f"hospital {name} {given}") for name in names}
    if set(given) != set(names):
        raise MarkError(f"keys are given for {sorted(given)}; expected {sorted(names)}")
    if len({key.seed for key in given.values()}) < len(names):
        raise MarkError("two hospitals have the same key: their marks could not be told apart")
    return {name: given[name] for name in names}


def _answers(
    names: tuple[str, ...],
    keys: dict[str, Key],
    terms: Terms,
    make_model: Callable[[], nn.Module] | None,
    dataset: Dataset | None,
) -> dict[str, AnswerMark]:
    if make_model is None or dataset is None:
        raise MarkError(
            "triggers need make_model= and dataset=: the model to pull, and the shape of its records"
        )
    images = dataset if len(dataset.shape) == 3 else None
    return {
        name: AnswerMark(
            keys[name],
            name,
            make_model,
            dataset.shape,
            terms.classes,
            terms.triggers,
            terms.low,
            terms.high,
            terms.rate,
            dataset=images,
        )
        for name in names
    }
