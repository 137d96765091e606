"""The wheel alone in a fresh environment, without any extra: an engineer's program runs, and no Jupyter is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tests/programs/engineer.py"
TYPED = ROOT / "tests/programs/typed.py"
SOURCES = ("labkit", "notebooks", ".ci", "data/hospitals", "pyproject.toml", "README.md", "LICENSE")
DERIVED = shutil.ignore_patterns("__pycache__", ".labkit", ".ipynb_checkpoints", "*.egg-info", "bundle")
MOST_DISTRIBUTIONS = 60  # 52 on the day this was written, pip and setuptools among them


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_wheel_alone_runs_an_engineers_program(tmp_path: Path) -> None:
    tree, new, here = tmp_path / "tree", tmp_path / "venv", tmp_path / "elsewhere"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=DERIVED)
        else:
            shutil.copy(ROOT / name, tree / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "."]
    run(*build, folder=tree)
    (wheel,) = (tree / "dist").glob("*.whl")

    here.mkdir()
    run(sys.executable, "-m", "venv", new, folder=here)
    python = new / ("Scripts" if os.name == "nt" else "bin") / "python"
    pinned = [line for line in (ROOT / ".ci/requirements.lock").read_text().splitlines() if "torch" in line]
    run(python, "-m", "pip", "install", "--quiet", wheel, *pinned, folder=here)
    installed = run(python, "-m", "pip", "list", "--format=freeze", folder=here).split()
    assert not [name for name in installed if "jupyter" in name or name.startswith(("ipy", "nb"))]
    assert len(installed) < MOST_DISTRIBUTIONS

    settings = {"LABKIT_CACHE": str(here / "cache"), "LABKIT_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    printed = run(python, "-I", PROGRAM, folder=here, **settings)
    for part in ("trained: ", "attacked: ", "marked: ", "audited: "):
        assert f"\n{part}" in f"\n{printed}"
    assert printed.strip().endswith("Jupyter's modules that were loaded: none")
    # Types reach whoever installs the wheel, too: py.typed is in it.
    check = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        python,
        "--strict",
        "--follow-imports=silent",
    ]
    run(*check, "--config-file=", f"--cache-dir={here / 'mypy'}", TYPED, folder=here)
