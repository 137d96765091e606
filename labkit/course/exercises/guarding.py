"""What stands around a learner's function while a check calls it: a time limit, no way out of Python, fixed randomness."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

MISSING = object()


class TooSlow(BaseException):
    """The code under a time limit was still running when its time was over."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` inside the block once it has run for so long, and again each second until the block is left.

    In the main thread an alarm also interrupts a sleep; elsewhere, and on Windows, the exception comes with the next
    Python instruction. A single call that never returns from C is beyond both.
    """
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if alarm else _watcher(seconds):
        yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlow

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # somebody else's alarm was running: theirs goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.01), interval)


@contextmanager
def _watcher(seconds: float) -> Iterator[None]:
    import ctypes

    over, own = threading.Event(), threading.get_ident()

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(own), ctypes.py_object(TooSlow))
            wait = 1.0

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def names_bound(space: dict[str, Any], names: Mapping[str, Any]) -> Iterator[None]:
    """Bind names in a global namespace for the length of the block."""
    before = {name: space.get(name, MISSING) for name in names}
    space.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is MISSING:
                space.pop(name, None)
            else:
                space[name] = value


def no_exit(*_: object) -> None:
    """Stand in for IPython's ``exit`` and ``quit``, which end the kernel and with it all that the learner computed."""
    raise SystemExit("exit() and quit() end Python")


@contextmanager
def fixed_randomness(seed: int = 0) -> Iterator[None]:
    """Run the block with seeded global generators (Python, NumPy, torch), then put their states back."""
    import numpy as np

    from labkit.models import seeded

    python, numpy_state = random.getstate(), np.random.get_state()
    try:
        with seeded(seed):
            random.seed(seed)
            np.random.seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
