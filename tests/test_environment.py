"""The three places that name versions agree: pyproject.toml, the lock file and environment.yml."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from pkgutil import iter_modules

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
    heavy = "torch,matplotlib,scipy,sklearn,opacus,optuna,pandas,numpy,IPython"
    code = f"import sys, labkit, labkit.cli; print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def switched_off(config_path: str) -> tuple[set[str], set[str]]:
    """Return the lab extensions and the server extensions that JupyterLab leaves out with this search path."""
    code = """
import json, os
from jupyter_core.paths import jupyter_config_path
from jupyter_server.config_manager import BaseJSONConfigManager, recursive_update
from jupyterlab_server.config import get_static_page_config
server = {}
for folder in reversed(jupyter_config_path()):
    recursive_update(server, BaseJSONConfigManager(config_dir=folder).get("jupyter_server_config"))
ours = server.get("ServerApp", {}).get("jpserver_extensions", {})
lab = get_static_page_config(level="all").get("disabledExtensions", {})
print(json.dumps([[n for n in lab if lab[n]], [n for n in ours if not ours[n]]]))
"""
    settings = os.environ | {"JUPYTER_CONFIG_PATH": config_path}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings, cwd=ROOT
    )
    lab, server = json.loads(done.stdout)
    return set(lab), set(server)


def test_a_self_paced_learner_is_shown_no_grading_menus_and_a_class_is() -> None:
    installed = metadata.entry_points(group="console_scripts")
    if not any(script.name == "nbgrader" for script in installed):
        pytest.skip("nbgrader is not installed here")
    from nbgrader import server_extensions

    own = {f"{server_extensions.__name__}.{each.name}" for each in iter_modules(server_extensions.__path__)}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["variables"]["JUPYTER_CONFIG_PATH"]
    for path in (str(ROOT / ".ci/self-paced"), conda):
        lab, server = switched_off(path)
        assert "@jupyter/nbgrader" in lab
        assert server >= own
    lab, server = switched_off("")
    assert "@jupyter/nbgrader" not in lab
    assert not server & own
    commands = {
        target: subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=ROOT).stdout
        for target in ("lab", "classroom")
    }
    assert f'JUPYTER_CONFIG_PATH="{ROOT}/.ci/self-paced:' in commands["lab"]
    assert "self-paced" not in commands["classroom"]


def test_every_environment_variable_is_in_the_contributors_table() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "labkit").rglob("*.py"))
    rows = re.findall(
        r"^\| `(LABKIT_\w+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(rows) == set(re.findall(r"\bLABKIT_[A-Z_]+\b", code))
