"""Numbers in answers: none is typed, each is computed when the answer is shown.

An answer says ``{eps_family}``, and a function of that name in `labkit.course.interview.figures` computes it with labkit's
own functions. A digit that is neither such a name nor part of one (SHA-256, lab 05, a year) is refused by a test.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

PARTS = ("privacy", "utility", "attacks", "audits", "marks", "federations")  # modules of figures
PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")

# Digits that are names and measure nothing. Everything else with a digit has to be computed.
NAMES = (
    r"[Ll]abs? \d\d(?:(?:, | and | to )\d\d)*",
    r"[Ss]ections? \d+",
    r"arXiv \d{4}\.\d{4,5}",
    r"[Aa]rticles? \d+(?:\(\d+\))?(?:(?:, | and )\d+(?:\(\d+\))?)*",
    r"[Rr]ecital \d+",
    r"Annex [IVX]+",
    r"SHA-256|RFC \d{4}|Ed25519|X25519|CIFAR-10|ISO 27001|int8|float32|float64|log2",
    r"[εδ] = 0(?!\.?\d)|\(0, |e\^ε ?/ ?\(1 \+ e\^ε\)",  # the line at ε = 0, pure promises, and a formula
    r"\b(?:19|20)\d\d\b",
    r"\b1/n\b|\b1/q\b|1 - q\b|\b1/k\b|\b1/\(1 \+ keys\)|\b(?:L|k)[12]\b",
)
# From five on a number in words is a figure, too; below, it is mostly grammar.
WORDS = re.compile(
    r"\b(five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|hundreds?|thousands?|millions?|billions?|per ?cent|dozens?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """One number that answers may use.

    Attributes
    ----------
    name : str
        As it stands in braces.
    form : str
        A format, such as ``"{:.1%}"``.
    says : str
        What it is a number of, and which function computes it.
    given : bool
        Whether it is chosen by the example and not computed.
    """

    name: str
    form: str
    says: str
    given: bool
    compute: Callable[[], float] = field(repr=False)

    def __str__(self) -> str:
        return self.form.format(_value(self.name))


class UnknownNumberError(LookupError):
    """A text names a number that nothing computes; the message says where to add it."""


_registry: dict[str, Number] = {}


def number(form: str) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register the decorated function as the number of its name; its docstring says what it is.

    Raises
    ------
    ValueError
        If it has no docstring, or another function has taken the name.
    """

    def register(compute: Callable[[], float]) -> Callable[[], float]:
        name, says = compute.__name__, " ".join((compute.__doc__ or "").split())
        if not says:
            raise ValueError(f"the number {name} needs a docstring: what is it a number of?")
        _enter(Number(name, form, says, False, compute))
        return compute

    return register


def given(name: str, value: float, form: str, says: str) -> float:
    """Register a number that an example chooses, such as the size of a family, and return it."""
    _enter(Number(name, form, says, True, lambda: value))
    return value


def _enter(new: Number) -> None:
    old = _registry.get(new.name)
    if old and old.compute.__module__ != new.compute.__module__ and not (old.given and new.given):
        raise ValueError(f"two numbers are called {new.name}: {old.says!r} and {new.says!r}")
    if old and old.compute.__module__ == new.compute.__module__ and old.says != new.says:
        raise ValueError(f"two numbers are called {new.name}: {old.says!r} and {new.says!r}")
    _registry[new.name] = new


@lru_cache(maxsize=1)
def everything() -> Mapping[str, Number]:
    """Return all numbers by name; nothing is computed yet."""
    for part in PARTS:
        importlib.import_module(f"labkit.course.interview.figures.{part}")
    return _registry


def find(name: str) -> Number:
    """Return a number by name.

    Raises
    ------
    UnknownNumberError
        If there is none.
    """
    try:
        return everything()[name]
    except KeyError:
        raise UnknownNumberError(
            f"no number {name!r}: add a function of that name to labkit/course/interview/figures"
        ) from None


@lru_cache(maxsize=512)
def _value(name: str) -> float:
    return find(name).compute()


def value(name: str) -> float:
    """Return a number's value, computed once a process."""
    return _value(name)


def filled(text: str) -> str:
    """Return a text with its numbers computed and written.

    Examples
    --------
    >>> filled("A family of {family} is promised ε = {eps_family}.")
    'A family of 5 is promised ε = 5.'
    """
    return PLACE.sub(lambda found: str(find(found[1])), text)


def used(text: str) -> tuple[str, ...]:
    """Return the names of the numbers in a text, each once, in order."""
    return tuple(dict.fromkeys(PLACE.findall(text)))


def typed(text: str) -> list[str]:
    """Return the numbers that somebody typed into a text instead of computing them.

    Examples
    --------
    >>> typed("See lab 05: SHA-256 of {keys_asked} keys, and 42 more; nearly a hundred.")
    ['42', 'hundred']
    """
    rest = PLACE.sub(" ", text)
    for name in NAMES:
        rest = re.sub(name, " ", rest)
    return re.findall(r"\S*\d\S*", rest) + [found[0] for found in WORDS.finditer(rest)]
