"""The three places that name versions agree: pyproject.toml, the lock file and environment.yml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def locked() -> dict[str, str]:
    """Return package -> version for this Python from the lock file."""
    versions = {}
    for line in (ROOT / ".ci/requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"python_full_version": "3.11.9"}):
            versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    return versions


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize("requirement", declared(), ids=lambda r: r.name)
def test_the_lock_satisfies_every_declared_range(requirement: Requirement) -> None:
    version = locked()[requirement.name]
    assert requirement.specifier.contains(version), f"lock has {requirement.name} {version}: run `make lock`"


def test_environment_yml_agrees_with_the_lock() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    pins = [re.split("==?", entry) for entry in [*entries, *pip] if isinstance(entry, str) and "=" in entry]
    pins = [(CONDA_NAMES.get(name, name), version) for name, version in pins if name != "python"]
    assert len(pins) > 20
    assert {name: locked().get(name) for name, _ in pins} == dict(pins)


def test_environment_yml_covers_the_core_dependencies() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    names = {re.split("=", entry)[0] for entry in [*entries, *pip] if isinstance(entry, str)}
    names = {CONDA_NAMES.get(name, name) for name in names}
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {Requirement(text).name for text in core} <= names


def test_the_lock_names_no_cuda_package() -> None:
    assert not [name for name in locked() if name.startswith(("nvidia", "cuda", "triton"))]


def test_import_labkit_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    heavy = "torch,matplotlib,scipy,sklearn,opacus,optuna,pandas,numpy,IPython"
    code = f"import sys, labkit, labkit.cli; print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_environment_variable_is_in_the_contributors_table() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "labkit").rglob("*.py"))
    rows = re.findall(
        r"^\| `(LABKIT_\w+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(rows) == set(re.findall(r"\bLABKIT_[A-Z_]+\b", code))
