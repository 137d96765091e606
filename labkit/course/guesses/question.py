"""What a lab asks a learner to predict, what counts as a guess at it, and how near a guess came."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

ID = re.compile(r"\d\d\.[a-z][a-z0-9_]*")
FACTOR = 1.5  # how near is near, where a question names nothing
LONGEST = 600  # characters of a guess in words


@dataclass(frozen=True)
class Question:
    """One prediction: a number, one of several choices, or an answer in the learner's own words.

    Attributes
    ----------
    id : str
        ``NN.name``, for example ``02.cost``.
    text : str
        What is asked, as one sentence.
    unit : str
        Of the number, such as ``"points"``; ``"%"`` for a share, which lies between 0 and 100; or nothing.
    within : float, optional
        How far from the result a guess may lie and still be near, in the same unit; 0 for the very number.
    factor : float, optional
        By which factor it may be off instead; 1.5 where neither is given.
    choices : tuple of str
        What there is to choose from; a question with choices has no unit and no tolerance.
    words : bool
        Whether the answer is written in words: it is shown beside the result, and nobody judges how near it came.

    Raises
    ------
    ValueError
        If the id is not ``NN.name``, the text is empty, or the tolerance or the choices make no sense.
    """

    id: str
    text: str
    unit: str = ""
    within: float | None = None
    factor: float | None = None
    choices: tuple[str, ...] = ()
    words: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not ID.fullmatch(self.id):
            raise ValueError(
                f"prediction id {self.id!r}; expected two digits, a dot and a name, such as '02.cost'"
            )
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError(f"{self.id} asks {self.text!r}; expected a question, as text")
        if not isinstance(self.unit, str):
            raise ValueError(f"the unit of {self.id} is {self.unit!r}; expected text, such as 'points'")
        if self.words and (self.choices or self.unit or self.within is not None or self.factor is not None):
            raise ValueError(f"{self.id} is answered in words: leave out unit, within, factor and choices")
        if self.choices:
            self._check_choices()
        elif self.within is not None and self.factor is not None:
            raise ValueError(f"{self.id} has within= and factor=; expected one of them: how near is near")
        elif self.within is not None and not (math.isfinite(self.within) and self.within >= 0):
            raise ValueError(f"within of {self.id} is {self.within}; expected a number that is not negative")
        elif self.factor is not None and not (math.isfinite(self.factor) and self.factor > 1):
            raise ValueError(f"factor of {self.id} is {self.factor}; expected a number above 1")

    def _check_choices(self) -> None:
        told = [choice for choice in self.choices if isinstance(choice, str) and choice.strip()]
        if len(told) != len(self.choices) or len({choice.casefold() for choice in told}) < max(2, len(told)):
            raise ValueError(
                f"choices of {self.id} are {self.choices}; expected two different texts at least"
            )
        if self.unit or self.within is not None or self.factor is not None:
            raise ValueError(
                f"{self.id} has choices: leave out unit, within and factor, which belong to numbers"
            )

    @property
    def nearness(self) -> str:
        """What counts as near, or what there is to choose from, in words."""
        if self.words:
            return "a sentence of your own: it is shown beside the result, and nothing judges it"
        if self.choices:
            return "one of: " + "; ".join(self.choices)
        if self.within == 0:
            return "the very number"
        if self.within is not None:
            return f"within {plain_number(self.within)}"
        return f"within a factor of {plain_number(self.factor or FACTOR)}"

    def read(self, guess: Any) -> float | str:
        """Return a guess as it is kept: a finite number, one of the choices, or a text.

        Parameters
        ----------
        guess : number or str
            As typed into the box or given as an argument.

        Raises
        ------
        ValueError
            If it is no such guess; the message says what one looks like.

        Examples
        --------
        >>> Question("02.cost", "How many points?", unit="points").read("1.5")
        1.5
        """
        if self.words:
            text = " ".join(guess.split()) if isinstance(guess, str) else ""
            if not 0 < len(text) <= LONGEST:
                told = f"has {len(text)} characters" if text else f"is {guess!r}"
                raise ValueError(f"the guess at {self.id} {told}; expected a sentence, of at most {LONGEST}")
            return text
        if self.choices:
            named = {choice.casefold(): choice for choice in self.choices}
            if not isinstance(guess, str) or guess.strip().casefold() not in named:
                raise ValueError(f"the guess at {self.id} is {guess!r}; expected {self.nearness}")
            return named[guess.strip().casefold()]
        try:
            number = math.nan if isinstance(guess, bool) else float(guess)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            unit = f" alone: it is understood in {self.unit}" if self.unit else ""
            raise ValueError(f"the guess at {self.id} is {guess!r}; expected a number{unit}, such as 1.5")
        if self.unit == "%" and not 0 <= number <= 100:
            raise ValueError(f"the guess at {self.id} is {guess!r}; expected a share, from 0 to 100 percent")
        return number

    def told(self, guess: float | str) -> str:
        """Return a guess or a result with its unit; words in quotation marks."""
        if self.words:
            return f"“{guess}”"
        return guess if isinstance(guess, str) else amount(guess, self.unit)

    def compare(
        self, guess: float | str, value: float | str, interval: tuple[float, float] | None
    ) -> tuple[bool, str]:
        """Return whether a guess came near the result, and in what way, in words.

        Parameters
        ----------
        interval : (low, high), optional
            Of the result; a guess inside a finite one is near, too.
        """
        if isinstance(guess, str) or isinstance(value, str):
            return guess == value, "as guessed" if guess == value else "not as guessed"
        if not math.isfinite(value):
            return False, "nothing to compare with"
        inside = interval is not None and all(map(math.isfinite, interval))
        if inside and interval is not None and interval[0] <= guess <= interval[1]:
            return True, "inside the interval"
        if self.within is not None:
            gap = abs(guess - value)
            # Decimals such as 0.3 - 0.2 are a little more than 0.1 in binary.
            near = gap <= self.within + 1e-9 * max(1.0, abs(value))
            away = "the very number" if gap == 0 else f"off by {plain_number(gap)}"
            return near, f"within {plain_number(self.within)}" if near and self.within else away
        return self._compare_ratio(guess, value)

    def _compare_ratio(self, guess: float, value: float) -> tuple[bool, str]:
        if guess == value:
            return True, "the very number"
        if guess * value <= 0:  # nothing is a multiple of 0, nor of a number of the other sign
            return False, f"off by {plain_number(abs(guess - value))}"
        ratio, limit = guess / value, self.factor or FACTOR
        if max(ratio, 1 / ratio) <= limit * (1 + 1e-9):
            return True, f"within a factor of {plain_number(limit)}"
        size = "large" if ratio > 1 else "small"
        return False, f"{plain_number(max(ratio, 1 / ratio))} times too {size}"


def plain_number(value: float) -> str:
    """Return a number as people write it: four digits that count, thousands apart.

    Examples
    --------
    >>> [plain_number(value) for value in (1.30812, 98.52, 4294967296, 12345.6, 0.00002, 3.0, float("inf"))]
    ['1.308', '98.52', '4,294,967,296', '12,346', '2e-05', '3', '∞']
    """
    if math.isnan(value):
        return "no number"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"


def amount(value: float, unit: str) -> str:
    """Return a number with its unit.

    Examples
    --------
    >>> amount(12.5, "%"), amount(1, "points"), amount(2, "queries"), amount(0.3, "")
    ('12.5%', '1 point', '2 queries', '0.3')
    """
    number = plain_number(value)
    if unit == "%" or not unit:
        return number + unit
    if value == 1:
        unit = re.sub(r"ies$", "y", unit) if unit.endswith("ies") else re.sub(r"(?<=[^s])s$", "", unit)
    return f"{number} {unit}"
