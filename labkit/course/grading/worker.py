"""The process that runs one student's code for one exercise: no checks, no answers, little else that it may touch.

Two fences stand around it: Linux's own where there is one (`labkit.course.grading.landlock`), and one made of Python's
audit events, which says more clearly what is not allowed, and stops what a notebook cell can try in a line or two. See
`labkit.course.grading` for what remains possible.
"""

from __future__ import annotations

import io
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit.course.grading import landlock
from labkit.course.grading.wire import Wire, write_back

HIDDEN_MODULES = ("labkit.course.checks", "labkit.course.bundle")
REFUSED = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request",
    "os.kill", "os.killpg", "signal.pthread_kill", "os.putenv", "os.symlink", "os.link", "sqlite3.connect",
)  # fmt: skip
CHANGING = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "os.utime", "shutil.rmtree",
)  # fmt: skip
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TZ",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "PYTHON",
    "SYSTEMROOT",
)  # of the environment
LARGEST_FILE = 2**26  # bytes


def main(line: Connection, home: Path, answer: str, hidden: list[str], megabytes: int) -> None:
    """Load a student's definitions, then answer the calls that come over the line until it closes.

    Parameters
    ----------
    home : Path
        An empty folder, the one place where the student's code may write; its owner removes it.
    answer : str
        ``module:attribute`` of labkit's own answer, to be put out of reach here; or nothing.
    hidden : list of str
        Folders and files that must not be read.
    megabytes : int
        Memory allowed on top of what the libraries take.
    """
    torch.set_num_threads(1)
    os.chdir(home)
    for name in [name for name in os.environ if not name.startswith(KEPT)]:
        del os.environ[name]  # tokens, and what switches labkit's grading
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), _Silence(), _Silence()
    _close_terminal()
    session = _Session(line)
    _fence(home.resolve(), [*hidden, *(_take_away(answer) if answer else ())], megabytes)
    session.serve()


class _Silence(io.TextIOBase):
    """Where prints go: nowhere, so that no amount of them fills anything."""

    def write(self, text: str) -> int:
        return len(text)


def _close_terminal() -> None:
    """Lead the three standard streams nowhere below Python too: ``os.write(1, …)`` would reach the instructor's screen."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


class _Session:
    """What happens at this end of the line."""

    def __init__(self, line: Connection) -> None:
        self.line = line
        self.wire = Wire(trusting=True, call=self._ask)
        self.chance = Chance()

    def serve(self) -> None:
        while True:
            try:
                message = self.line.recv_bytes()
            except (EOFError, OSError):
                return
            self.wire.leaves.clear()
            self._answer(self.wire.loads(message))

    def _answer(self, message: list[Any]) -> None:
        kind, *content = message
        reply: tuple[Any, ...]
        try:
            if kind == "load":
                self.wire.functions[:] = [self._load(*content)]
                reply = ("returned", None, None, None)
            else:
                number, args, kwargs, chance = content
                self.chance.set(chance)
                result = self.wire.functions[number](*args, **kwargs)
                reply = ("returned", result, [args, kwargs], self.chance.news())
            packed = self.wire.dumps(*reply)  # a list in itself, say, cannot be sent
        except (
            BaseException
        ) as error:  # SystemExit too: nothing of a student's ends this process but os._exit
            kinds = [each.__name__ for each in type(error).__mro__]
            packed = self.wire.dumps("raised", kinds, str(error)[:2000], _line(error))
        self.line.send_bytes(packed)

    def _ask(self, number: int, args: tuple, kwargs: dict) -> Any:
        """Call a function of the grader's, and serve whatever it asks on the way."""
        self.line.send_bytes(self.wire.dumps("call", number, args, kwargs))
        while True:
            kind, *content = self.wire.loads(self.line.recv_bytes())
            if kind == "call":
                self._answer([kind, *content])
            elif kind == "returned":
                result, after = content
                write_back([args, kwargs], after)
                return result
            else:
                raise RuntimeError(content[1])

    def _load(self, source: str, name: str, lent: dict[str, Any], solved: dict[str, Any]) -> Any:
        """Run a student's definitions and return the function asked for.

        Parameters
        ----------
        lent : dict
            What other exercises' functions are called in the notebook: labkit's versions, run by the grader.
        solved : dict
            The same by exercise: what ``solved.NAME`` gives.
        """
        sys.modules["labkit.course"] = _course(solved)
        space: dict[str, Any] = {"__name__": "__main__", **lent}
        exec(compile(source, "submission", "exec"), space)
        if not callable(space.get(name)):
            raise NotImplementedError(f"the notebook defines no function {name}")
        return space[name]


def _course(solved: dict[str, Any]) -> types.ModuleType:
    """Return what ``labkit.course`` is here: ``Solved`` asks the grader, all else does nothing."""
    module = types.ModuleType("labkit.course")
    module.__path__ = []  # type: ignore[attr-defined]
    module.Solved = lambda number: types.SimpleNamespace(**solved)  # type: ignore[attr-defined]
    module.__getattr__ = _nothing  # type: ignore[method-assign]
    return module


def _nothing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *args, **kwargs: None


def _take_away(answer: str) -> list[str]:
    """Put a refusal in the place of labkit's own answer, under every name that it is known by; return its files."""
    import importlib.util

    module, _, name = answer.partition(":")
    own = getattr(importlib.import_module(module), name)

    def refused(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(f"{name} is labkit's own answer to this exercise: write yours")

    for loaded in [each for key, each in sys.modules.items() if key.startswith("labkit")]:
        for key in [key for key, value in vars(loaded).items() if value is own]:
            setattr(loaded, key, refused)
    file = os.path.realpath(str(sys.modules[module].__file__))
    # Without the compiled copies the module could be imported once more.
    return [file, *(importlib.util.cache_from_source(file, optimization=level) for level in ("", "1", "2"))]


class Chance:
    """The global random generators of one end, kept in step with those of the other: only news are sent."""

    def __init__(self) -> None:
        self.known: tuple[Any, ...] | None = None

    def news(self) -> tuple[Any, ...] | None:
        """Return the states of the generators if they have moved since they were last sent or set."""
        now = random.getstate(), np.random.get_state(), torch.get_rng_state()
        if self.known is not None and _same_states(now, self.known):
            return None
        self.known = now
        return now

    def set(self, states: tuple[Any, ...] | None) -> None:
        """Move this end's generators to the states that the other end has sent, if it has."""
        if states is not None:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
            self.known = states


def _same_states(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    same_numpy = one[1][2:] == other[1][2:] and np.array_equal(one[1][1], other[1][1])
    return same_numpy and one[0] == other[0] and torch.equal(one[2], other[2])


def _line(error: BaseException) -> str:
    """Return the line of the student's code that failed."""
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "submission"]
    return f"line {frames[-1].lineno} of your code, in {frames[-1].name}" if frames else ""


def _fence(home: Path, hidden: list[str], megabytes: int) -> None:
    """Limit memory, and refuse files, processes, sockets and modules that no answer needs."""
    _limit(megabytes)
    landlock.restrict(home, [Path(path) for path in hidden])
    inside, roots = f"{home}{os.sep}", tuple(hidden)

    def guard(event: str, args: tuple[Any, ...]) -> None:
        if event == "import" and args[0].startswith(HIDDEN_MODULES):
            raise ImportError(f"{args[0]} is not here: it holds answers")
        if event in REFUSED:
            raise PermissionError(f"{event} is not allowed while an exercise is graded")
        if event == "open" or event in CHANGING:
            writes = event != "open" or _writes(args)
            for path in filter(None, map(_path, args[: 2 if event == "os.rename" else 1])):
                outside = not f"{path}{os.sep}".startswith(inside)
                # What is open as a folder can be written in by names that say nothing of where it lies.
                folder = event == "open" and args[1] is None and os.path.isdir(path)
                if path.startswith(roots) or (outside and (writes or folder)):
                    raise PermissionError(
                        f"{path} cannot be {'changed' if writes else 'read'} while an exercise is graded"
                    )

    sys.addaudithook(guard)


def _limit(megabytes: int) -> None:
    try:
        import resource

        most = _memory(megabytes)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    except (
        ImportError,
        ValueError,
        OSError,
    ):  # Windows, and systems that know no such limit: time is limited all the same
        pass


@contextmanager
def memory_limit(megabytes: int) -> Iterator[None]:
    """Let this process take so much memory on top of what it has, inside the block, where the system can limit it."""
    try:
        import resource

        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_memory(megabytes), before[1]))
    except (ImportError, ValueError, OSError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _memory(megabytes: int) -> int:
    import psutil

    return int(psutil.Process().memory_info().vms + megabytes * 2**20)


def _path(name: Any) -> str:
    if isinstance(name, int):
        return ""
    return os.path.realpath(os.fsdecode(name))


def _writes(args: tuple[Any, ...]) -> bool:
    _, mode, flags = args
    if mode is None:
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    return any(letter in mode for letter in "wax+")
