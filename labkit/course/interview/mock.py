"""A mock interview: questions for a number of minutes, easy before hard, and a score sheet at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labkit.course.interview import sheets, terminal
from labkit.course.interview.bank import SIGNALS, Question, questions
from labkit.course.interview.study import BEST

SCORING = 1.0  # minutes to read the model answer and to score, a question
SHORTEST = 15


@dataclass(frozen=True)
class Answered:
    """One question of the interview: scores and seconds, or None where it was not answered."""

    question: Question
    scores: tuple[int, ...] | None = None
    seconds: float = 0.0


def plan(minutes: float, *, seed: int = 0, among: Sequence[Question] | None = None) -> tuple[Question, ...]:
    """Return questions that fit into so many minutes: one of design, the others from areas in turn, easy ones first.

    Parameters
    ----------
    minutes : float
        Scoring included: one minute a question.
    seed : int
        Another seed, another interview.

    Raises
    ------
    ValueError
        If fewer than 15 minutes are given: no question of design fits.
    """
    if not minutes >= SHORTEST + SCORING:
        raise TooShortError(
            f"a mock interview of {minutes:g} minutes; expected at least {SHORTEST + SCORING:g}"
        )
    draw = random.Random(seed)  # nothing secret hangs on it
    pool = list(questions() if among is None else among)
    draw.shuffle(pool)
    chosen = [one for one in pool if one.level == 4][:1]
    left = minutes - sum(one.minutes + SCORING for one in chosen)
    areas = list(dict.fromkeys(one.area for one in pool))
    while True:
        fits = [one for one in pool if one.level < 4 and one not in chosen and one.minutes + SCORING <= left]
        if not fits:
            return tuple(sorted(chosen, key=lambda one: one.level))
        fewest = min(
            sum(one.area == area for one in chosen) for area in areas if any(f.area == area for f in fits)
        )
        one = next(f for f in fits if sum(c.area == f.area for c in chosen) == fewest)
        chosen.append(one)
        left -= one.minutes + SCORING


class TooShortError(ValueError):
    """The time does not hold an interview."""


def score_sheet(answered: Sequence[Answered], *, minutes: float, seed: int) -> str:
    """Return the score sheet: each question, sums by signal and area, and what was not answered, which scores nothing."""
    most = BEST * len(SIGNALS)
    done = [one for one in answered if one.scores is not None]
    lines = [
        f"Score sheet: mock interview of {minutes:g} minutes, seed {seed}, scored by the candidate",
        "",
        f"{'question':<28}{'level':>6}"
        + "".join(f"{signal:>15}" for signal in SIGNALS)
        + f"{'sum':>6}{'time':>8}",
    ]
    for one in answered:
        scores = [" "] * len(SIGNALS) if one.scores is None else list(one.scores)
        total = "-" if one.scores is None else str(sum(one.scores))
        spent = "-" if one.scores is None else terminal.clock_text(one.seconds)
        lines.append(
            f"{one.question.id:<28}{one.question.level:>6}"
            + "".join(f"{s:>15}" for s in scores)
            + f"{total:>6}{spent:>8}"
        )
    points = sum(sum(one.scores or ()) for one in answered)
    lines += [
        "",
        f"Points: {points} of {most * len(answered)}; {len(done)} of {len(answered)} questions answered.",
    ]
    if done:
        by_signal = {
            s: sum(one.scores[k] for one in done) / (BEST * len(done)) for k, s in enumerate(SIGNALS)
        }
        weakest = min(by_signal, key=by_signal.get)
        lines.append("By signal: " + ", ".join(f"{s} {share:.0%}" for s, share in by_signal.items()) + ".")
        lines.append(f"Work on {weakest} first. " + _late(done))
    if len(done) < len(answered):
        lines.append("Questions that were not answered count as no points.")
    lines.append("Your own scores, on one evening: let somebody else score you before you believe them.")
    return "\n".join(lines)


def _late(done: Sequence[Answered]) -> str:
    late = [one.question.id for one in done if one.seconds > 60 * one.question.minutes]
    return f"Over time: {', '.join(late)}." if late else "All answers kept their time."


def paper(some: Sequence[Question], *, minutes: float, seed: int) -> str:
    """Return the interview on paper: questions, then an empty score sheet, then the answers."""
    parts = ["\n\n".join(sheets.asked(one) for one in some)]
    parts.append(score_sheet([Answered(one) for one in some], minutes=minutes, seed=seed))
    parts.append("\n\n".join(f"{one.id}\n\n{sheets.revealed(one)}" for one in some))
    return ("\n\n" + "=" * sheets.WIDTH + "\n\n").join(parts)


def interview(
    minutes: float,
    *,
    seed: int = 0,
    read: Callable[[str], str] = input,
    write: Callable[[str], None] = print,
    now: Callable[[], float] = time.monotonic,
) -> list[Answered]:
    """Hold the interview by keyboard, write the score sheet, and return what was answered."""
    some = plan(minutes, seed=seed)
    answered = [Answered(one) for one in some]
    write(f"{len(some)} questions in {minutes:g} minutes. Think aloud; ask back; name your assumptions.")
    try:
        for place, one in enumerate(some):
            if found := terminal.ask(one, read=read, write=write, now=now):
                answered[place] = Answered(one, *found)
    except terminal.Stopped:
        write("")
    write("\n" + score_sheet(answered, minutes=minutes, seed=seed))
    return answered
