"""Guesses in the learner's progress file: the first one before the result counts, and what came is noted beside it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from labkit.course.exercises import progress
from labkit.course.guesses.question import Question


def entry(id: str) -> dict[str, Any]:
    """Return what is kept of one prediction; nothing for a new one.

    ``guess`` is the one that counts, ``later`` the last that does not; ``revealed`` says when the result was first
    shown, ``came`` what it was, ``told`` the guess as it is shown, ``near`` and ``verdict`` how it compares (not in words).
    """
    return progress.read().predictions.get(id, {})


def keep(question: Question, guess: float | str) -> str:
    """Keep a guess and return in one sentence what was kept; trouble with the file is said, never raised."""
    saved = progress.read()
    kept = saved.predictions.setdefault(question.id, {})
    if "guess" not in kept and "revealed" not in kept:
        kept["guess"] = guess
    elif guess != kept.get("guess"):
        kept["later"] = guess
    return _write(saved) or standing(question, kept)


def standing(question: Question, kept: dict[str, Any]) -> str:
    """Return in one sentence which guess counts; nothing where there is none yet."""
    first, later = kept.get("guess"), kept.get("later")
    if first is not None:
        said = f"Kept: {question.told(first)}."
        return said + (
            f" {question.told(later)} came later: your first guess counts." if later is not None else ""
        )
    if later is not None:
        return f"{question.told(later)} came after the result was shown, so it does not count."
    return "The result was shown before: a guess does not count now." if "revealed" in kept else ""


def reveal(question: Question, came: str, near: bool | None, verdict: str) -> str:
    """Note what came, and return what is wrong with the file, if anything."""
    saved = progress.read()
    kept = saved.predictions.setdefault(question.id, {})
    kept.setdefault("revealed", datetime.now(UTC).isoformat(timespec="seconds"))
    kept |= {"question": question.text, "came": came}
    if "guess" in kept:
        kept["told"] = question.told(kept["guess"])
    if near is not None:
        kept |= {"near": near, "verdict": verdict}
    return _write(saved)


def of_lab(number: str) -> dict[str, dict[str, Any]]:
    """Return what is kept of the predictions of one lab, or of all labs for an empty number."""
    kept = progress.read().predictions
    return {id: one for id, one in kept.items() if not number or id.startswith(f"{number}.")}


def _write(saved: progress.Progress) -> str:
    if "NBGRADER_EXECUTION" in os.environ:  # whoever grades keeps no guesses of their own
        return ""
    progress.write(saved)
    return saved.remark
