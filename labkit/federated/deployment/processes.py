"""Programs that run side by side and end together, whatever happens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from labkit.federated.quiet import QUIET

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class DeploymentError(RuntimeError):
    """The deployment cannot go on; the message names the program, what it last said, and its log."""


def environment(home: Path) -> dict[str, str]:
    """Return the environment of every program: quiet, Flower's files under ``home``, programs beside this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **QUIET, "PATH": path, "FLWR_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Program:
    """One running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    family: set = field(default_factory=set)  # itself and all it started: some outlive their parent

    def look(self) -> bool:
        """Return whether the program still runs; remember whom it started."""
        self.family |= set(_family(self.process.pid))
        return self.process.poll() is None

    def said(self) -> str:
        """Return what the program has written so far, without colours."""
        return _COLOURS.sub("", self.log.read_text(encoding="utf-8", errors="replace"))

    def last_words(self, lines: int = 8) -> str:
        return "\n".join(f"  {line}" for line in self.said().strip().splitlines()[-lines:])

    def wait_for(self, text: str, seconds: float) -> None:
        """Wait until the program has written ``text``.

        Raises
        ------
        DeploymentError
            If it ends first, or does not write it within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while text not in self.said():
            if not self.look() and text not in self.said():
                raise DeploymentError(
                    f"{self.name} ended with code {self.process.returncode} before it said {text!r}; "
                    f"its log {self.log} ends:\n{self.last_words()}"
                )
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"{self.name} did not say {text!r} within {seconds:.0f} s; its log {self.log} ends:\n{self.last_words()}"
                )
            time.sleep(0.2)

    def kill(self) -> None:
        """End the program and everything that it started at once, as a power cut would."""
        self.look()
        for process in self.family:
            _signal(process.kill)
        self.process.wait()


@dataclass
class Programs:
    """Programs that end when the block ends: by its end, an error, or Ctrl-C.

    Examples
    --------
    >>> import sys, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Programs(Path(folder)) as programs:
    ...     sleeper = programs.start("sleeper", [sys.executable, "-c", "print('ready'); import time; time.sleep(60)"])
    ...     sleeper.wait_for("ready", seconds=30)
    >>> sleeper.process.poll() is None
    False
    """

    folder: Path
    env: dict[str, str] | None = None
    running: list[Program] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], env: dict[str, str] | None = None) -> Program:
        """Start ``command`` with its output in ``folder/logs/<name>.log``, in ``env`` or else everybody's."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env or self.env,
                cwd=self.folder,
                # Ctrl-C reaches this program only, which then ends the others in order.
                start_new_session=True,
            )
        self.running.append(Program(name, process, log))
        return self.running[-1]

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import psutil

        for program in self.running:
            program.look()
        families = {process for program in self.running for process in program.family}
        for process in families:
            _signal(process.terminate)
        _, stubborn = psutil.wait_procs(families, timeout=8)
        for process in stubborn:
            _signal(process.kill)
        for program in self.running:
            program.process.wait()


def _family(pid: int) -> list:
    """Return the process and all its descendants, or nothing where it is gone."""
    import psutil

    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(send) -> None:
    import contextlib

    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        send()
