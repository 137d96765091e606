"""A tool's own environment: it answers questions, and nothing of it is left, whatever went wrong."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from labkit.bridges import BridgeError, Environment
from labkit.bridges import environment as module

HERE = tuple(sys.version_info[:2])
RANGE = (HERE, (HERE[0], HERE[1] + 1))


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path) -> Path:
    """Have environments made in a folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "made"))
    (tmp_path / "made").mkdir()
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    return tmp_path / "made"


@pytest.fixture
def script(tmp_path):
    """Write a script and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "script.py"
        path.write_text("import json, sys\nasked, found = sys.argv[1:]\n" + text, encoding="utf-8")
        return str(path)

    return write


def bare(**options) -> Environment:
    return Environment("trial", (), pythons=RANGE, gigabytes=0.01, **options)


def test_a_script_asks_and_is_answered(script, temporary) -> None:
    path = script(
        "n = json.load(open(asked))['n']\ntotal = 0\n"
        "print('noise')\n"
        "for i in range(n):\n"
        "    print(json.dumps({'ask': [i]}), flush=True)\n"
        "    total += json.loads(sys.stdin.readline())['square']\n"
        "json.dump({'total': total}, open(found, 'w'))\n"
    )
    with bare() as place:
        assert place.run(path, {"n": 4}, lambda asked: {"square": asked[0] ** 2}) == {"total": 14}
    assert not list(temporary.iterdir())


def test_the_tool_sees_neither_our_home_nor_our_packages(script) -> None:
    path = script(
        "import os, pathlib\n"
        "json.dump({'home': str(pathlib.Path.home()), 'path': sys.path, 'prefix': sys.prefix}, open(found, 'w'))\n"
    )
    with bare() as place:
        seen = place.run(path, {})
        assert Path(seen["home"]).is_relative_to(place.folder)
        assert Path(seen["prefix"]).is_relative_to(place.folder)
    assert not [
        entry for entry in seen["path"] if entry.endswith("site-packages") and str(place.folder) not in entry
    ]


def test_a_failed_run_says_why_and_leaves_nothing(script, temporary) -> None:
    path = script("raise RuntimeError('no such operator: nms')\n")
    with (
        pytest.raises(BridgeError, match=r"exit code 1(.|\n)*no such operator: nms(.|\n)*--keep"),
        bare() as place,
    ):
        place.run(path, {})
    assert not list(temporary.iterdir())


def test_a_script_that_writes_nothing_has_failed(script) -> None:
    with pytest.raises(BridgeError, match="its run failed"), bare() as place:
        place.run(script("pass\n"), {})


def test_a_failed_install_says_why_and_leaves_nothing(temporary) -> None:
    steps = [["--no-index", "no-such-package-of-labkit"]]
    with (
        pytest.raises(
            BridgeError, match=r"pip install --no-index(.|\n)*No matching distribution(.|\n)*package index"
        ),
        Environment("trial", steps, pythons=RANGE, gigabytes=0.01),
    ):
        pass
    assert not list(temporary.iterdir())


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")
def test_an_interrupt_ends_what_runs_and_leaves_nothing(script, tmp_path, temporary) -> None:
    alive = tmp_path / "alive"
    path = script(
        "import subprocess\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(alive)!r}, 'w').write(str(child.pid))\n"
        "print(json.dumps({'ask': 0}), flush=True)\n"
        "sys.stdin.readline()\n"
    )

    def interrupted(asked) -> dict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), bare() as place:
        place.run(path, {}, interrupted)
    assert not list(temporary.iterdir())
    assert _ended(int(alive.read_text()))


def _ended(pid: int) -> bool:
    """Return whether a process is gone, or waits only to be collected."""
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if state.is_file() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_keep_leaves_it_and_says_where(capsys, temporary) -> None:
    with bare(keep=True) as place:
        pass
    assert place.python.is_file()
    assert str(place.folder) in capsys.readouterr().err
    assert [place.folder] == list(temporary.iterdir())


def test_a_full_disk_is_refused_before_anything_is_made(monkeypatch, temporary) -> None:
    usage = shutil.disk_usage(temporary)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=5e8))
    with pytest.raises(BridgeError, match=r"needs about 3 GB in .* where 0.5 GB are free.*TMPDIR"):
        Environment("trial", (), pythons=RANGE, gigabytes=3)
    assert not list(temporary.iterdir())


def test_no_python_that_fits_is_refused_with_the_way_out(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BridgeError, match=r"runs on Python 2\.6 to 2\.7.*--python PATH"):
        Environment("trial", (), pythons=((2, 6), (2, 8)))


def test_a_named_python_must_fit() -> None:
    with pytest.raises(BridgeError, match=r"is no Python"):
        Environment("trial", (), pythons=RANGE, python="/no/such/python")
    with pytest.raises(BridgeError, match=rf"is {HERE[0]}\.{HERE[1]}; trial runs on 2\.6 to 2\.7"):
        Environment("trial", (), pythons=((2, 6), (2, 8)), python=sys.executable)


def test_a_launcher_without_its_version_is_passed_over(monkeypatch, tmp_path) -> None:
    """Version managers put a python3.9 on the search path that only says that 3.9 is not installed."""
    fake = tmp_path / "python3.9"
    fake.write_text("#!/bin/sh\nexit 127\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BridgeError, match="the search path has none"):
        module.interpreter("trial", (3, 8), (3, 10))
