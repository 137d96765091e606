"""Three ways through the course, and a small menu to choose one."""

from __future__ import annotations

import html
from typing import Any

from labkit.course import showing
from labkit.course.exercises import progress

TRACKS = {
    "self-paced": (
        "All labs in order, at your own speed.",
        (
            "Predict, run, explain: write your prediction down before each cell that asks for one.",
            "Try each exercise before you open a hint, and each hint before the answer.",
            "Stop after lab 03 for the first project; come back for the next.",
        ),
    ),
    "classroom": (
        "With an instructor who hands out the labs and collects them.",
        (
            "Work in the copy that you were given: it has no answers, and nbgrader collects it as it is.",
            "Fill in only the cells that say raise NotImplementedError; check cells are locked.",
            "Restart the kernel and run all cells before you hand in.",
        ),
    ),
    "interview": (
        "You know the field and want to be able to defend it aloud.",
        (
            "Start each lab at its end: the list of what you can now defend. Say it aloud first.",
            "Then do the exercises of importance 4 and 5, without hints.",
            "Then lab 14: labkit drill asks what is due, ten minutes a day; tie each claim to a figure that you computed.",
        ),
    ),
}


def plan(track: str) -> str:
    """Return a track as HTML.

    Raises
    ------
    LookupError
        If there is no such track; the message lists them.
    """
    if track not in TRACKS:
        raise LookupError(f"no track {track!r}; the tracks are: {', '.join(TRACKS)}")
    summary, steps = TRACKS[track]
    items = "".join(f"<li>{html.escape(step)}</li>" for step in steps)
    return f"<p><strong>{track}</strong>: {html.escape(summary)}</p><ul>{items}</ul>"


def text(track: str) -> str:
    """Return a track as plain text."""
    plan(track)
    summary, steps = TRACKS[track]
    return "\n".join([f"{track}: {summary}", *(f"  - {step}" for step in steps)])


def choose(track: str | None = None) -> None:
    """Choose a track and remember it: from a menu, or by name where there are no widgets.

    Parameters
    ----------
    track : str, optional
        ``"self-paced"``, ``"classroom"`` or ``"interview"``; without it a menu is shown.
    """
    if track is not None:
        showing.show(plan(track), text(track))
        _remember(track)
        return
    current = progress.read().track
    current = current if current in TRACKS else "self-paced"
    try:
        from IPython.display import display

        display(_menu(current))
    except ImportError:
        showing.show(plan(current), text(current) + '\n(no widgets here: call choose("interview") instead)')


def _menu(current: str) -> Any:
    """Return a drop-down with the plan of the chosen track below it."""
    import ipywidgets

    menu = ipywidgets.Dropdown(options=list(TRACKS), value=current, description="Track")
    area = ipywidgets.Output()

    def shown(change: dict[str, Any] | None) -> None:
        if change:
            _remember(menu.value)
        area.clear_output(wait=True)
        with area:
            showing.show(plan(menu.value), text(menu.value))

    menu.observe(shown, names="value")
    shown(None)
    return ipywidgets.VBox([menu, area])


def _remember(track: str) -> None:
    saved = progress.read()
    saved.track = track
    progress.write(saved)
    if saved.remark:
        showing.show(showing.box("note", saved.remark, []), saved.remark)
