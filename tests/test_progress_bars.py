"""Bars of progress: one line, whoever is inside of whom, and none left behind."""

import io

import pytest

from labkit import progress


@pytest.fixture
def screen(monkeypatch):
    """What a notebook's output area gets: it knows the carriage return, and no way up."""
    stream = io.StringIO()
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "_stream", lambda: stream)
    return stream


def test_nested_bars_share_one_line_and_leave_none(screen):
    for _ in progress.track(range(2), "models"):
        for _ in progress.track(range(3), "epochs"):
            pass
    written = screen.getvalue()
    assert "\n" not in written, "a second line could not be taken away again"
    assert "\x1b" not in written, "no way up is asked for"
    assert "models 1/2 · epochs" in written, "the inner bar says where it stands"
    assert written.split("\r")[-1].strip() == "" or written.endswith("\r")
    assert not progress._open


def test_an_outer_bar_is_silent_while_an_inner_one_runs(screen):
    with progress.bar(10, "outer") as outer, progress.bar(10, "inner"):
        before = screen.getvalue()
        outer.refresh()
        assert screen.getvalue() == before


def test_bars_that_are_switched_off_write_nothing(screen, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    assert [number for number in progress.track(range(3), "outer") for _ in progress.track(range(2), "in")]
    assert screen.getvalue() == ""
    assert not progress._open
