"""Shared by all tests: each runs as a learner would, and none touches the progress of whoever runs it.

The notebooks themselves are run by nbval; how (strictly or not, how long they took) is in ``notebooks/nbval_runs.py``.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import tracing

NUMBERS = itertools.count()
sys.path.insert(0, str(Path(__file__).parent / "notebooks"))


def pytest_configure(config):
    from nbval_runs import NotebookRuns

    # Registered, not a conftest of its own: a conftest's hooks reach only the files below it, and notebooks/ is not.
    config.pluginmanager.register(NotebookRuns(), "labkit-notebooks")


@pytest.fixture(autouse=True)
def _nobodys_course(monkeypatch, tmp_path_factory):
    for name in ("LABKIT_STRICT", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)
    # A name of its own for each test, made only by a test that writes to it.
    file = tmp_path_factory.getbasetemp() / f"progress-{next(NUMBERS)}.json"
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(file))


@pytest.fixture(autouse=True)
def _keys_cover_what_runs(monkeypatch: pytest.MonkeyPatch) -> tracing.Watch:
    """Trace every computation that is cached, in all tests: a gap in its key would let results outlive their code."""
    watch = tracing.Watch()
    watch.install(monkeypatch)
    return watch  # kept as long as the test


@pytest.fixture(autouse=True, scope="session")
def _on_the_cpu() -> Iterator[None]:
    """Compute on the CPU whatever the machine holds: a GPU rounds otherwise. `test_on_gpu` tries every wing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labkit.profiles.device", lambda: torch.device("cpu"))
        yield
