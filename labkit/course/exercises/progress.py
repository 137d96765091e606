"""A learner's progress: one small JSON file in their own folder, safe to delete, never sent anywhere."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from labkit.cache import atomic_path
from labkit.course import showing

RANK = {"not attempted": 0, "wrong": 1, "passed": 2}


@dataclass
class Progress:
    """What the file holds.

    Attributes
    ----------
    exercises : dict
        Exercise id -> ``{"status": ..., "tries": int, "passed_at": ISO time (once passed)}``.
    track : str
        The track chosen in lab 00, or nothing.
    predictions : dict
        Prediction id -> what was guessed and what came; see `labkit.course.guesses.kept`.
    remark : str
        Said to the learner when the file could not be used; not saved.
    """

    exercises: dict[str, dict[str, Any]] = field(default_factory=dict)
    track: str = ""
    predictions: dict[str, dict[str, Any]] = field(default_factory=dict)
    remark: str = ""

    def status(self, id: str) -> str:
        return self.exercises.get(id, {}).get("status", "not attempted")


def path() -> Path:
    """Return where progress is kept: ``LABKIT_PROGRESS_FILE``, else ``.labkit/progress.json`` beside the notebooks."""
    if os.environ.get("LABKIT_PROGRESS_FILE"):
        return Path(os.environ["LABKIT_PROGRESS_FILE"]).expanduser()
    here = Path.cwd()
    # A notebook runs inside notebooks/, the command line one level above: both should mean the same file.
    folder = here / "notebooks" if (here / "notebooks").is_dir() else here
    return folder / ".labkit" / "progress.json"


def read() -> Progress:
    """Return the saved progress; an absent file is an empty one, and so is a damaged one, with a remark."""
    file = path()
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        exercises, track = saved["exercises"], saved.get("track", "")
        predictions = saved.get("predictions", {})  # a file of an older labkit has none
        sound = isinstance(track, str) and all(
            entry["status"] in RANK and isinstance(entry["tries"], int) for entry in exercises.values()
        )
        if not (sound and all(isinstance(entry, dict) for entry in predictions.values())):
            raise ValueError("not a progress file")
        return Progress(exercises, track, predictions)
    except FileNotFoundError:
        return Progress()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = f"{file} could not be read ({type(error).__name__})"
        return Progress(remark=f"{found}: progress starts anew, and that file is kept as {aside(file).name}")


def aside(file: Path) -> Path:
    """Return the first free name for a damaged file."""
    names = (f"{file.name}.damaged{number or ''}" for number in count())
    return next(free for name in names if not (free := file.with_name(name)).exists())


def write(progress: Progress) -> None:
    """Save progress in one step; trouble with the file becomes the remark, and is never raised.

    A file that could not be read is set aside first: a person may still read their progress out of it.
    """
    content: dict[str, Any] = {"exercises": progress.exercises, "track": progress.track}
    if progress.predictions:
        content["predictions"] = progress.predictions
    try:
        if progress.remark and path().exists():
            path().replace(aside(path()))
        with atomic_path(path()) as part:
            part.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    except OSError as error:
        fix = "set LABKIT_PROGRESS_FILE to a file that can be written"
        progress.remark = f"progress was not saved in {path()} ({type(error).__name__}): {fix}"


def record(id: str, status: str) -> None:
    """Remember one try at exercise ``id``. A pass stays a pass."""
    progress = read()
    entry = progress.exercises.setdefault(id, {"status": "not attempted", "tries": 0})
    entry["tries"] += status != "not attempted"
    if RANK[status] > RANK[entry["status"]]:
        entry["status"] = status
        if status == "passed":
            entry["passed_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    write(progress)
    if progress.remark:
        showing.show(showing.box("note", progress.remark, []), showing.plain("note", progress.remark, []))
