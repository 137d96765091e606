"""How nbval runs the course: solutions strictly, learner's copies leniently, each timed, none past its first failure."""

import os
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile


def environment(notebook: Path) -> dict[str, str]:
    """Return what the kernel of one notebook is told: an unsolved exercise is an error in solutions/ alone."""
    return {
        "LABKIT_STRICT": "1" if notebook.parent.name == "solutions" else "0",
        "LABKIT_PROFILE": os.environ.get("LABKIT_PROFILE", "smoke"),
        "LABKIT_PROGRESS": "0",
        "LABKIT_PROGRESS_FILE": str(Path(tempfile.mkdtemp(prefix="labkit-")) / "progress.json"),
    }


def start(book: IPyNbFile, setup) -> None:
    """Start the kernel of a notebook; it takes its environment from ours at that moment."""
    with mock.patch.dict(os.environ, environment(book.path)):
        setup()


class NotebookRuns:
    """A pytest plugin."""

    def pytest_collection_modifyitems(self, items):
        for book in {item.parent for item in items if isinstance(item, IPyNbCell)}:
            book.setup = partial(start, book, book.setup)

    def pytest_runtest_setup(self, item):
        # nbval goes on after a failed or timed-out cell; what follows then says nothing.
        if isinstance(item, IPyNbCell) and getattr(item.parent, "stopped", False):
            pytest.skip("an earlier cell of this notebook failed")

    def pytest_runtest_makereport(self, item, call):
        if isinstance(item, IPyNbCell) and call.when == "call" and call.excinfo:
            item.parent.stopped = True

    def pytest_terminal_summary(self, terminalreporter):
        seconds = defaultdict(float)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
            if ".ipynb::" in report.nodeid:
                seconds[report.nodeid.split("::")[0]] += report.duration
        if seconds:
            terminalreporter.section("notebooks")
            for name, taken in sorted(seconds.items()):
                terminalreporter.write_line(f"{taken:7.1f} s  {name}")
