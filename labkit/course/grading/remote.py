"""A student's function as the grader sees it: calls go to a process of its own, plain data comes back."""

from __future__ import annotations

import builtins
import functools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.course.exercises.exercise import Exercise
from labkit.course.exercises.guarding import TooSlow, time_limit
from labkit.course.grading import worker
from labkit.course.grading.wire import Wire, write_back

LARGEST_MESSAGE = 2**28  # bytes
SPARE = 30  # seconds on top of an exercise's own, for what its definitions load
ENDED = "the function ended the Python process that ran it"


class NotLoaded(Exception):  # noqa: N818 (it says what came of the student's definitions)
    """A student's definitions failed before the function could be called."""


@dataclass(frozen=True)
class Code:
    """What a student handed in for one exercise.

    Attributes
    ----------
    source : str
        The statements that its function needs.
    name : str
        The function's name.
    lent : dict
        Name in the notebook -> exercise, for other exercises' functions that this one calls.
    """

    source: str
    name: str
    lent: dict[str, str] = field(default_factory=dict)


@contextmanager
def running(
    item: Exercise,
    code: Code,
    stub: Callable[..., Any],
    others: dict[str, Callable[..., Any]],
    *,
    hidden: list[str],
    megabytes: int,
) -> Iterator[Callable[..., Any]]:
    """Yield a function that runs a student's in a fresh process, and end that process.

    Parameters
    ----------
    stub : callable
        The function as it was handed out: its parameters and its promise.
    others : dict
        labkit's versions of the lab's other exercises, by exercise name.

    Raises
    ------
    NotLoaded
        If the student's definitions fail, or take longer than the exercise's time.
    """
    context = _context()
    line, far = context.Pipe()
    answer = item.reference if isinstance(item.reference, str) else ""
    with tempfile.TemporaryDirectory(prefix="labkit-grading-", ignore_cleanup_errors=True) as home:
        process = context.Process(
            target=worker.main, args=(far, Path(home), answer, hidden, megabytes), daemon=True
        )
        process.start()
        far.close()
        try:
            session = _Session(line, time.monotonic() + item.seconds + SPARE, megabytes)
            lent = {name: others[exercise] for name, exercise in code.lent.items()}
            try:
                with time_limit(item.seconds + SPARE):  # it may call labkit's functions, which run here
                    session.send("load", code.source, code.name, lent, others)
            except TooSlow as error:
                raise NotLoaded(f"still running after {item.seconds:g} seconds, so it was stopped") from error
            except (Exception, SystemExit) as error:
                raise NotLoaded(f"{type(error).__name__}: {error}") from error
            yield functools.wraps(stub)(lambda *args, **kwargs: session.call(0, args, kwargs))
        finally:
            line.close()
            process.kill()
            process.join()


@functools.cache
def _context() -> Any:
    """Return how processes are made: from a clean server that has loaded the libraries once, where there is one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["labkit.course.grading.worker", "scipy.stats"])
    return context


class _Session:
    """The grader's end of the line."""

    def __init__(self, line: Any, deadline: float, megabytes: int) -> None:
        self.line, self.deadline, self.megabytes = line, deadline, megabytes
        self.wire = Wire(trusting=False, call=self.call)
        self.chance = worker.Chance()

    def call(self, number: int, args: tuple, kwargs: dict) -> Any:
        """Run a function of the student's process; arguments and global generators change here as they did there."""
        self.wire.leaves.clear()
        result, after, chance = self.send("call", number, args, kwargs, self.chance.news())
        write_back([args, kwargs], after)
        self.chance.set(chance)
        return result

    def send(self, *message: Any) -> list[Any]:
        """Send a message and return the answer, serving what the other end asks on the way."""
        self._write(*message)
        while True:
            kind, *content = self.wire.loads(self._receive())
            if kind == "returned":
                return content
            if kind == "raised":
                raise _raised(*content)
            self._serve(*content)

    def _write(self, *message: Any) -> None:
        try:
            self.line.send_bytes(self.wire.dumps(*message))
        except OSError as error:
            raise SystemExit(ENDED) from error

    def _receive(self) -> bytes:
        try:
            # In short waits, so that an alarm or another thread's exception comes through.
            while not self.line.poll(0.5):
                if time.monotonic() > self.deadline:
                    raise TooSlow
            return self.line.recv_bytes(LARGEST_MESSAGE)
        except (EOFError, OSError) as error:
            raise SystemExit(ENDED) from error

    def _serve(self, number: int, args: tuple, kwargs: dict) -> None:
        try:
            with worker.memory_limit(
                self.megabytes
            ):  # the arguments are the student's, and this process is everyone's
                reply = ("returned", self.wire.functions[number](*args, **kwargs), [args, kwargs])
        except Exception as error:
            reply = ("raised", f"{type(error).__name__}: {error}")
        self._write(*reply)


def _raised(kinds: list[str], message: str, line: str) -> BaseException:
    """Return the exception that was raised there: Python's own of that name, or the nearest one.

    What is no `Exception` (a `KeyboardInterrupt`, say) would end the grader and not the exercise; `SystemExit` is known.
    """
    for name in kinds:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and (kind is SystemExit or issubclass(kind, Exception)):
            try:
                error = kind(str(message))
            except TypeError:  # such as UnicodeDecodeError, which takes five arguments
                continue
            if line:
                error.add_note(str(line))
            return error
    return RuntimeError(f"{kinds[0]}: {message}" if kinds else str(message))
