"""A cache of its own for all tests on foreign ground."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "foreign"))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
