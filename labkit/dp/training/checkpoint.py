"""Stop and go on: checkpoints of a private run, and an interrupt that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from labkit import cache

FORMAT = 1


def save(path: str | Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``state`` with the settings it belongs to; a crash in the middle leaves the earlier file whole."""
    with cache.atomic_path(path) as temporary:
        cache.save({"format": FORMAT, "settings": settings, "state": state}, temporary)


def load(path: str | Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state saved at ``path``, or ``None`` when there is no file.

    Raises
    ------
    ValueError
        If the file cannot be looked at or is no checkpoint of this kit, or was written by a run with other settings: going on from it would
        make the privacy statement false.
    """
    path = Path(path)
    try:
        there = path.exists()
    except OSError as error:  # such as a folder that may not be searched
        raise ValueError(
            f"cannot tell whether there is a checkpoint at {path} ({error.strerror}): name a file in another folder"
        ) from error
    if not there:
        return None
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        complete = saved["format"] == FORMAT and {"settings", "state"} <= saved.keys()
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of a private run: delete it or name another file"
        ) from error
    if not complete:
        raise ValueError(
            f"{path} has format {saved['format']}, expected {FORMAT}: delete it or name another file"
        )
    known = saved["settings"]
    different = [
        f"{key} was {known.get(key)!r}, now {settings.get(key)!r}"
        for key in sorted(known.keys() | settings.keys())
        if known.get(key) != settings.get(key)
    ]
    if different:
        raise ValueError(
            f"{path} belongs to a run with other settings ({'; '.join(different)}): "
            "call with the settings it was made with, or name another file"
        )
    return saved["state"]


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed; the work between two calls of it is never torn.

    A second Ctrl-C stops at once. Outside the main thread signals cannot be caught, and the function says ``False``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
