"""A Python environment of its own for a tool that cannot live beside labkit: made, used, and gone again.

`Environment` is a context manager. What it makes lies in one temporary folder, home and caches of the tool included, and
the folder goes when the block ends, however it ends; ``keep=True`` leaves it and says where.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from labkit import progress

SCRIPTS = Path(__file__).parent / "scripts"
TAIL = 12  # lines of a failed program's output that a message repeats
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class BridgeError(RuntimeError):
    """A tool could not be brought to run; the message says what failed and what to do."""


class Environment:
    """A virtual environment with one tool in it.

    Parameters
    ----------
    name : str
        For messages and the folder's name.
    steps : sequence of sequences of str
        Arguments of one ``pip install`` each, in order.
    pythons : (low, high)
        Versions of Python that the tool runs on: from ``low``, below ``high``, as (major, minor).
    gigabytes : float
        Free disk space that it needs.
    python : path, optional
        Interpreter to use; by default this one or, where its version does not fit, one of the search path that does.
    keep : bool
        Leave the environment there.

    Raises
    ------
    BridgeError
        Before anything is made, if no Python fits or the disk is too full; later if pip or the tool fails.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Sequence[str]],
        *,
        pythons: tuple[tuple[int, int], tuple[int, int]] = ((3, 10), (3, 14)),
        gigabytes: float = 1.0,
        python: str | Path | None = None,
        keep: bool = False,
    ) -> None:
        self.name, self.steps, self.keep = name, steps, keep
        self.interpreter = interpreter(name, *pythons, wanted=python)
        free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
        if free < gigabytes:
            raise BridgeError(
                f"{name} needs about {gigabytes:g} GB in {tempfile.gettempdir()}, where {free:.1f} GB are free: free some "
                "space, or set TMPDIR to a folder on another disk"
            )
        self.folder = Path()
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Environment:
        self.folder = Path(tempfile.mkdtemp(prefix=f"labkit-bridge-{self.name}-"))
        try:
            self._make()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return self.folder / "env" / inside

    def _make(self) -> None:
        bare = [] if self.steps else ["--without-pip"]
        made = [self.interpreter, "-m", "venv", *bare, str(self.folder / "env")]
        advice = "on Debian and Ubuntu this usually means that python3-venv is missing; or name another Python with --python"
        self._call(made, "make a virtual environment", advice)
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--no-cache-dir", "--quiet"]
        advice = "this needs a package index (network, or PIP_INDEX_URL); a version that it no longer has cannot be replaced"
        with progress.bar(len(self.steps), f"installing {self.name}") as bar:
            for step in self.steps:
                self._call(
                    [*pip, "--disable-pip-version-check", *step], f"pip install {' '.join(step)}", advice
                )
                bar.update()

    def _leave(self) -> None:
        self._stop()
        if self.keep:
            print(f"kept: {self.folder}", file=sys.stderr)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            print(f"could not remove {self.folder}: delete it by hand", file=sys.stderr)

    def versions(self, distributions: Sequence[str]) -> dict[str, str]:
        """Return the version of each distribution in the environment, with its Python's."""
        code = (
            "import json, platform, sys; from importlib.metadata import version; "
            "print(json.dumps({**{n: version(n) for n in sys.argv[1:]}, 'python': platform.python_version()}))"
        )
        shown = self._call(
            [str(self.python), "-I", "-c", code, *distributions], "read versions", "report this as a fault"
        )
        return json.loads(shown)

    def run(self, script: str, request: dict[str, Any], answer: Answer | None = None) -> dict[str, Any]:
        """Run one of labkit's scripts in the environment and return what it found.

        The script gets the path of a JSON file with ``request`` and that of the JSON file to write. Lines that it prints
        as ``{"ask": ...}`` are questions: each is answered on its input with one line, what ``answer`` makes of it.

        Raises
        ------
        BridgeError
            If the script fails, with the end of what it said.
        """
        asked, found = self.folder / "request.json", self.folder / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        found.unlink(missing_ok=True)
        words = [str(self.python), "-I", str(SCRIPTS / script), str(asked), str(found)]
        log = self.folder / "script.log"
        with log.open("w", encoding="utf-8") as errors:
            self._running = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=self._surroundings(),
                cwd=self.folder,
                start_new_session=True,
            )
            _converse(self._running, answer)
            code = self._running.wait()
        self._stop()
        if code or not found.is_file():
            raise BridgeError(
                f"{self.name} was installed, and its run failed (exit code {code}):\n{_tail(log.read_text('utf-8'))}\n"
                "--keep leaves the environment to look into"
            )
        return json.loads(found.read_text(encoding="utf-8"))

    def _surroundings(self) -> dict[str, str]:
        """Return the variables for a tool: its home and temporary files lie in the folder, and nothing of ours leaks in."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "XDG_"))}
        return kept | {
            "HOME": str(home),
            "USERPROFILE": str(home),
            "TMPDIR": str(home),
            "TEMP": str(home),
            "TMP": str(home),
        }

    def _call(self, words: Sequence[str], what: str, advice: str) -> str:
        """Run a program to its end and return what it printed."""
        plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        built = self.folder / "built"  # pip's own temporary files: killed, it leaves them
        built.mkdir(exist_ok=True)
        plain |= {"TMPDIR": str(built), "TEMP": str(built), "TMP": str(built)}
        self._running = subprocess.Popen(
            list(words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=plain,
            start_new_session=True,
        )
        shown, errors = self._running.communicate()
        if self._running.returncode:
            raise BridgeError(f"{self.name}: could not {what}:\n{_tail(errors or shown)}\n{advice}")
        return shown

    def _stop(self) -> None:
        """End what still runs, with the programs that it started."""
        process, self._running = self._running, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()


def interpreter(
    name: str, low: tuple[int, int], high: tuple[int, int], wanted: str | Path | None = None
) -> str:
    """Return a Python from version ``low`` on, below ``high``: the one asked for, this one, or one of the search path.

    Raises
    ------
    BridgeError
        If there is none.
    """
    if wanted is not None:
        found = _version(str(wanted))
        if found is None or not low <= found < high:
            raise BridgeError(
                f"--python {wanted} is {_text(found)}; {name} runs on {_text(low)} to {_below(high)}"
            )
        return str(wanted)
    if low <= sys.version_info[:2] < high:
        return sys.executable
    for minor in range(high[1] - 1, low[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path and _version(path) == (3, minor):  # a launcher may be there without the version behind it
            return path
    raise BridgeError(
        f"{name} runs on Python {_text(low)} to {_below(high)}; this is {_text(sys.version_info[:2])}, and the search path "
        f"has none of them: install one, and name it with --python PATH"
    )


def _version(python: str) -> tuple[int, int] | None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        shown = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        major, minor = shown.stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return int(major), int(minor)


def _text(version: tuple[int, ...] | None) -> str:
    return "no Python" if version is None else ".".join(map(str, version))


def _below(high: tuple[int, int]) -> str:
    return _text((high[0], high[1] - 1))


def _converse(process: subprocess.Popen[str], answer: Answer | None) -> None:
    """Answer a script's questions until it closes its output; what else it prints is passed over."""
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        if answer is None or not line.startswith('{"ask"'):
            continue
        process.stdin.write(json.dumps(answer(json.loads(line)["ask"])) + "\n")
        process.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _tail(text: str) -> str:
    """Return the last lines that say something."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return "\n".join(f"  {line}" for line in lines[-TAIL:])
