"""The one-off work of all labs: parts, minutes left, failures, and the order that the labs share models in."""

from __future__ import annotations

import json
import sys
import types

import pytest

from labkit import cache, cli
from labkit.bench import prepare as preparing
from labkit.course.labs import LABS
from labkit.scenarios import one_off
from labkit.scenarios.one_off import Work


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list[Work]:
    """Two labs: one that names its parts, one that fails on its second model until that exists."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_PROFILE", "laptop")
    module = types.ModuleType("made_up_labs")

    def in_parts() -> None:
        for name in ("first", "second"):
            with one_off.part(name):
                cache.cached("made-up", {"name": name}, lambda: 1)

    def failing() -> None:
        raise FloatingPointError("it diverged")

    module.in_parts, module.failing = in_parts, failing
    monkeypatch.setitem(sys.modules, "made_up_labs", module)
    return [Work("71", "made_up_labs:failing", 2.0), Work("72", "made_up_labs:in_parts", 3.0)]


def test_each_part_is_cold_once_and_a_failure_stops_no_other_lab(works) -> None:
    heard = []
    done = preparing.prepare(works, say=heard.append)
    assert list(done.table()["state"]) == ["cached", "cold", "cold"]
    assert list(done.table().index) == ["71", "72", "72"]
    assert done.failed == (("71", "FloatingPointError: it diverged"),)
    assert "LAB 71 FAILED" in str(done)
    assert heard[0].startswith("lab 71 (1 of 2): at most 2 minutes, 5 left in all")
    assert set(preparing.prepare(works[1:]).table()["state"]) == {"cached"}


def test_parts_within_a_part_belong_to_it() -> None:
    with one_off.listen() as heard, one_off.part("outer"), one_off.part("inner"):
        pass
    assert [part.what for part in heard] == ["outer"]
    with one_off.part("nobody listens"):
        pass


def test_the_bench_prints_and_writes_its_table(works, capsys, tmp_path) -> None:
    path = tmp_path / "prepare.json"
    assert preparing.main(["72", "--cold", "--json", str(path)], works) == 0
    assert "second" in capsys.readouterr().out
    assert [part["state"] for part in json.loads(path.read_text())["parts"]] == ["cold", "cold"]
    assert list(preparing.prepare(works[1:]).table()["state"]) == [
        "cold",
        "cold",
    ]  # that cache was thrown away
    assert preparing.main([], works) == 1
    with pytest.raises(SystemExit):
        preparing.main(["73"], works)


def test_all_labs_with_one_off_work_are_prepared_in_their_order_each_once(monkeypatch, capsys) -> None:
    asked = []
    monkeypatch.setattr(
        preparing, "_done", lambda work: (asked.append(work) or [one_off.Part("all of it", 0.0, 0)], None)
    )
    assert cli.main(["prepare", "all"]) == 0
    assert [work.lab for work in asked] == sorted(work.lab for work in asked)
    assert {work.prepare for work in asked} == {lab.prepare for lab in LABS if lab.prepare}
    assert len(asked) == len({work.prepare for work in asked})
    assert "cached" in capsys.readouterr().out
