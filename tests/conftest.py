"""Shared by all tests: each runs as a learner without strict mode, and none touches the progress of whoever runs it."""

import pytest


@pytest.fixture(autouse=True)
def _nobodys_course(monkeypatch, tmp_path_factory):
    for name in ("LABKIT_STRICT", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABKIT_PROGRESS_FILE", str(tmp_path_factory.getbasetemp() / "progress.json"))
