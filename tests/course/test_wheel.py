"""What someone gets who installs the wheel, without the repository: the labs are in it, and one runs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from labkit import cache

ROOT = cache.checkout()
WANTED = (
    "labkit",
    "notebooks",
    "solutions",
    "tests",
    ".ci",
    "data/hospitals",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
DERIVED = shutil.ignore_patterns("__pycache__", ".labkit", ".ipynb_checkpoints", "*.egg-info", "bundle")


def run(*command, folder: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build both distributions in a copy of the source tree, which stays as it is."""
    tree = tmp_path_factory.mktemp("tree")
    for name in WANTED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=DERIVED)
        else:
            shutil.copy(ROOT / name, tree / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", ".", folder=tree)
    return tree / "dist"


def test_wheel_holds_the_labs_and_the_tested_versions(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"labkit/course/bundle/{notebook.name}" in names
    assert "labkit/course/bundle/requirements.lock" in names
    assert not [name for name in names if name.startswith(("tests/", "solutions/"))], "answers stay out"


def test_wheel_holds_the_hospitals_records_and_loads_them(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, here = tmp_path / "site", tmp_path / "elsewhere"
    here.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    assert "CC BY 4.0" in (site / "labkit/data/bundle/hospitals/ATTRIBUTION.md").read_text(encoding="utf-8")
    show = "from labkit.data import load; from labkit.data.formats import heart; print(heart.folder(), len(load('heart').train_y), sep='\\n')"
    folder, records = run(sys.executable, "-c", show, folder=here, PYTHONPATH=str(site)).split()
    assert folder.startswith(str(site)), "the wheel's own files, not the checkout's"
    assert records == "606"


def test_sdist_holds_what_the_wheel_is_made_from(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {re.sub(r"^[^/]+/", "", name) for name in archive.getnames()}
    assert {"notebooks/00_start_here.ipynb", "solutions/00_start_here.py", ".ci/requirements.lock"} <= names
    assert "tests/test_cli.py" in names
    assert "data/hospitals/processed.va.data" in names


def test_an_installed_wheel_runs_the_doctor_and_a_lab(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, here = tmp_path / "site", tmp_path / "elsewhere"
    here.mkdir()
    zipfile.ZipFile(wheel).extractall(
        site
    )  # a pure wheel is its files; the dependencies are this environment's
    settings = {"PYTHONPATH": str(site), "LABKIT_PROFILE": "smoke", "LABKIT_CACHE": str(tmp_path / "cache")}
    settings |= {"LABKIT_PROGRESS_FILE": str(tmp_path / "progress.json")}
    where = run(sys.executable, "-c", "import labkit; print(labkit.__file__)", folder=here, **settings)
    assert where.startswith(str(site)), "the wheel, not the checkout"
    report = run(sys.executable, "-m", "labkit.cli", "doctor", folder=here, **settings)
    assert "Ready: all labs can run here." in report
    paths = run(sys.executable, "-m", "labkit.cli", "run", "00", "--out", "out", folder=here, **settings)
    assert paths.split() == ["out/00_start_here.ipynb", "out/00_start_here.html"]
    assert (here / "out" / "00_start_here.html").stat().st_size > 50_000
