"""The whiteboard exercise: design the hospital system, with the minutes of each step and a rubric to score it by."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass

from labkit.course.interview import numbers
from labkit.course.interview.bank import SIGNALS
from labkit.course.interview.sheets import WIDTH

TASK = (
    "{hospitals} hospitals want one model that predicts a heart disease. Records may not leave the house. Nobody trusts the "
    "server, some trust not even each other. Patients are promised privacy; each hospital wants to show later that its part "
    "is in the model. Draw the system, and say for each arrow what is on it and who can read it."
)
STEPS = (  # minutes, what to do
    (5, "Ask back: purpose, unit that is protected, adversaries, what counts as success, who decides."),
    (
        10,
        "One round: bound, sum, grid, noise share, masks, survivors, opening, step. Mark what each party sees.",
    ),
    (5, "Failures: a hospital vanishes, comes late, lies, or works with the server; the server lies."),
    (5, "Numbers: noise share, threshold, ε by observer over all rounds; what each costs."),
    (5, "Before release: attacks on rounds and model, audit, marks, the board. What is not protected?"),
)


@dataclass(frozen=True)
class Mark:
    """One line of the rubric: the signal that it scores, and what has to be on the board."""

    signal: str
    shows: str


RUBRIC = (
    Mark("framing", "Unit (a patient), adversaries and success are on the board before the first box."),
    Mark("framing", "ε is stated towards each observer, over all rounds and the preprocessing."),
    Mark("depth", "A patient's influence is bounded in the hospital, before anything is summed."),
    Mark("depth", "Noise is added in shares on an integer grid, sized for the {quorum} that must survive."),
    Mark("depth", "Two masks, shared secrets, signed survivors; exactly one secret of each peer is opened."),
    Mark(
        "depth", "A hospital that lies or colludes is answered by bounds and by the threshold, not by trust."
    ),
    Mark(
        "evidence",
        "Each hospital adds {share_each} of the noise; a hospital is left with {noise_to_hospital} of it.",
    ),
    Mark(
        "evidence",
        "The least threshold is {threshold_honest} of {hospitals}; {threshold_colluding} if one colludes.",
    ),
    Mark(
        "evidence",
        "Rounds are attacked, not the final model alone; intervals say what they are intervals of.",
    ),
    Mark("communication", "Each arrow says what is on it and who can read it."),
    Mark("communication", "What the system does not protect is said without being asked."),
)


def rubric() -> list[Mark]:
    """Return the rubric with its numbers computed."""
    return [Mark(mark.signal, numbers.filled(mark.shows)) for mark in RUBRIC]


def text() -> str:
    """Return the exercise as text: task, steps with minutes, rubric to tick."""
    total = sum(minutes for minutes, _ in STEPS)
    steps = "\n".join(f"{minutes:>3} min  {what}" for minutes, what in STEPS)
    marks = "\n".join(f"[ ] {mark.signal:<14} {mark.shows}" for mark in rubric())
    task = textwrap.fill(f"Whiteboard, {total} minutes. {numbers.filled(TASK)}", WIDTH)
    return (
        f"{task}\n\n{steps}\n\nRubric: draw first, then tick what is on your "
        f"board.\n{marks}\n\nThe drawing to compare with: lab 11, section 13, and labkit drill --show sys-hospitals"
    )


def score(ticked: list[bool]) -> dict[str, float]:
    """Return the share of ticks by signal.

    Raises
    ------
    ValueError
        If there is not one tick for each line of the rubric.
    """
    if len(ticked) != len(RUBRIC):
        raise ValueError(f"got {len(ticked)} ticks; the rubric has {len(RUBRIC)} lines")
    pairs = list(zip(RUBRIC, ticked, strict=True))
    return {
        signal: sum(tick for mark, tick in pairs if mark.signal == signal)
        / sum(mark.signal == signal for mark, _ in pairs)
        for signal in SIGNALS
    }


def as_html() -> str:
    """Return the exercise as HTML, its rubric behind a fold so that the board comes first."""
    steps = "".join(
        f"<li><strong>{minutes} minutes.</strong> {html.escape(what)}</li>" for minutes, what in STEPS
    )
    marks = "".join(f"<li><strong>{one.signal}</strong>: {html.escape(one.shows)}</li>" for one in rubric())
    return (
        f"<p>{html.escape(numbers.filled(TASK))}</p><ol>{steps}</ol>"
        f"<details><summary>The rubric, once your board is full</summary><ul>{marks}</ul></details>"
    )
