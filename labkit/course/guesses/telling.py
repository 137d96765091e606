"""``predict`` asks, ``revealed`` shows a guess beside its result, ``predictions`` sums up. Nothing is graded."""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from typing import Any

from labkit import profiles, stats
from labkit.course import showing
from labkit.course.exercises.checking import strict
from labkit.course.guesses import box, kept
from labkit.course.guesses.question import ID, Question, amount, plain_number

_asked: dict[str, Question] = {}  # in this process; the progress file keeps what was guessed


def predict(
    id: str,
    question: str,
    *,
    unit: str = "",
    within: float | None = None,
    factor: float | None = None,
    choices: Sequence[str] = (),
    words: bool = False,
    guess: float | str | None = None,
) -> None:
    """Ask for a guess before a result is shown: in a small box, or as an argument where there are no widgets.

    The first guess before `revealed` shows the result counts. It is kept in the learner's progress file and nowhere else.

    Parameters
    ----------
    id : str
        ``NN.name``, the same as in `revealed`.
    question, unit, within, factor, choices, words
        See `labkit.course.guesses.question.Question`.
    guess : number or str, optional
        The guess itself, instead of the box.

    Raises
    ------
    ValueError
        If the question makes no sense, or the guess is no number or none of the choices.

    Examples
    --------
    >>> predict("02.cost", "How many points of accuracy will ε = 1 cost?", unit="points", within=1)
    Note · Predict: How many points of accuracy will ε = 1 cost?
      Your guess:   add it to the call and run the cell again: predict("02.cost", …, guess=…)
      Near:         within 1
    """
    asked = Question(id, question, unit, within, factor, tuple(choices), words)
    _asked[asked.id] = asked
    if guess is not None:
        heading, sentence = f"Predict: {asked.text}", kept.keep(asked, asked.read(guess))
        showing.show(showing.box("note", heading, [], sentence), showing.plain("note", heading, [], sentence))
        return
    form = (
        f'predict("{asked.id}", …, guess={chr(34) + "…" + chr(34) if asked.choices or asked.words else "…"})'
    )
    lines = [
        ("Your guess", f"add it to the call and run the cell again: {form}"),
        ("Choices" if asked.choices else "Expected" if asked.words else "Near", asked.nearness),
    ]
    # An executed solution is to look the same whatever an earlier run has left in the file.
    standing = "" if strict() else kept.standing(asked, kept.entry(asked.id))
    told = ("note", f"Predict: {asked.text}", lines, standing)
    if not (_notebook() and _displayed(asked, showing.plain(*told), showing.box(*told))):
        showing.show(showing.box(*told), showing.plain(*told))


def _notebook() -> bool:
    """Return whether someone may be there to fill in a box: not while solutions are executed or graded."""
    if strict() or "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return get_ipython() is not None


def _displayed(asked: Question, text: str, rich: str) -> bool:
    from IPython.display import display

    try:
        bundle = box.mimebundle(asked, text, rich)
    except ImportError:
        return False
    display(bundle, raw=True)
    return True


def revealed(
    id: str,
    value: Any,
    *,
    source: str,
    interval: tuple[float, float] | None = None,
    of: str = "",
    times: float = 1,
) -> None:
    """Show in one line what came of a prediction, beside the guess; where there is none, say what came.

    Parameters
    ----------
    id : str
        Of the prediction.
    value : number, str or labkit.stats.Interval
        The result: computed, in the unit of the question; one of its choices, for a question that has some; a sentence
        that holds what was computed, for a question that is answered in words.
    source : str
        Where the data came from, or that there are none; the profile is added.
    interval : (low, high), optional
        Of the result, in the same unit; an `Interval` brings its own.
    of : str
        What the interval is one of, such as ``"95% over 5 seeds"``; an `Interval` says it itself.
    times : float
        What value and interval are multiplied by: 100 makes percent of shares.

    Raises
    ------
    ValueError
        If the id is none, an interval does not say what it is one of, or a result is not among the choices.
    TypeError
        If the value is neither a number, nor an interval, nor text.
    """
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise ValueError(f"prediction id {id!r}; expected two digits, a dot and a name, such as '02.cost'")
    if not source:
        raise ValueError(f"the result of {id} names no source; expected where its data came from")
    number, ends, about = _result(id, value, interval, of, times)
    asked = _asked.get(id)
    if asked is not None:
        _check_kind(asked, number)
    if isinstance(number, str):
        came = f"what came: {number}" if asked and asked.words else f"it is {number}"
    else:
        came = f"it came out at {amount(number, asked.unit if asked else '')}"
    if ends is not None:
        came += f" [{plain_number(ends[0])}, {plain_number(ends[1])}] ({about})"
    drawn = f"{source}, {profiles.current().name} profile"
    if asked is None:
        _quietly(f"{id}: the cell that asks for a guess has not run in this session; {came} · {drawn}")
        return
    entry = kept.entry(id)
    guess, later = entry.get("guess"), entry.get("later")
    if guess is None:
        missing = "you wrote no guess"
        if later is not None:
            missing = f"you guessed {asked.told(later)} once the result had been shown, which does not count"
        remark = kept.reveal(asked, came, None, "")
        _quietly(f"{id}: {missing}; {came} · {drawn}")
    else:
        near, verdict = (None, "") if asked.words else asked.compare(guess, number, ends)
        remark = kept.reveal(asked, came, near, verdict)
        first = f" first ({asked.told(later)} later; the first counts)" if later is not None else ""
        judged = f": {verdict}" if verdict else ""
        line = f"{id}: you guessed {asked.told(guess)}{first}; {came}{judged} · {drawn}"
        showing.show(showing.box("note", line, []), showing.plain("note", line, []))
    if remark:
        showing.show(showing.box("note", remark, []), showing.plain("note", remark, []))


def _quietly(line: str) -> None:
    showing.show(f"<p>{html.escape(line)}</p>", line)


def _result(
    id: str, value: Any, interval: tuple[float, float] | None, of: str, times: float
) -> tuple[float | str, tuple[float, float] | None, str]:
    """Return the result as a number or text, its interval, and what that is one of."""
    if isinstance(value, stats.Interval):
        about = (
            f"{value.confidence:.0%} interval, {value.method}" if value.method else f"{value.confidence:.0%}"
        )
        about = f"{about}, {of}" if of else about
        return times * value.estimate, (times * value.low, times * value.high), about
    if isinstance(value, str):
        return value, None, ""
    if isinstance(value, bool):
        raise TypeError(
            f"the result of {id} is {value}; expected a number, an interval or one of the choices"
        )
    try:
        number = times * float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise TypeError(
            f"the result of {id} is of type {kind}; expected a number, an interval or text"
        ) from None
    if interval is None:
        return number, None, ""
    if not of:
        raise ValueError(
            f"the interval of {id} says not what it is one of; expected of='95% over 5 seeds' or the like"
        )
    return number, (times * float(interval[0]), times * float(interval[1])), of


def _check_kind(asked: Question, number: float | str) -> None:
    if asked.choices and number not in asked.choices:
        raise ValueError(f"the result of {asked.id} is {number!r}; expected {asked.nearness}")
    if asked.words != isinstance(number, str) and not asked.choices:
        raise TypeError(
            f"the result of {asked.id} is {number!r}; expected {'a sentence' if asked.words else 'a number'}"
        )


def predictions(lab: str = "") -> None:
    """Sum up the guesses of one lab, or of all of them: how many came near, and each beside its result.

    Parameters
    ----------
    lab : str
        Two digits, such as ``"02"``; all labs where it is left out.
    """
    shown = {id: one for id, one in kept.of_lab(lab).items() if "revealed" in one}
    where = f"in lab {lab}" if lab else "in all labs"
    guessed = {id: one for id, one in shown.items() if "told" in one}
    if not guessed:
        results = "1 result was" if len(shown) == 1 else f"{len(shown)} results were"
        _quietly(f"Predictions {where}: {results} shown, and none had a guess before it.")
        return
    lines = [(id, _summed(one)) for id, one in guessed.items()]
    judged = [bool(one["near"]) for one in guessed.values() if "near" in one]
    parts = [f"{sum(judged)} of {len(judged)} near, as each question says what is near"] if judged else []
    parts += [f"{len(lines) - len(judged)} in words"] if len(judged) < len(lines) else []
    heading = f"Your guesses {where}: {'; '.join(parts)}"
    rest = len(shown) - len(guessed)
    closing = f"Without a guess: {rest} more. Nothing of this counts as points." if rest else ""
    closing = closing or "Nothing of this counts as points."
    showing.show(showing.box("note", heading, lines, closing), showing.plain("note", heading, lines, closing))


def _summed(one: dict[str, Any]) -> str:
    """Return one kept prediction as a sentence of the summary."""
    verdict = f": {one['verdict']}" if one.get("verdict") else ""
    return f"{one.get('question')} You guessed {one.get('told')}; {one.get('came')}{verdict}."
