"""What is installed with what: the package without Jupyter, the course with it, and an answer where one is missing."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import labkit
from labkit import cli

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COURSE = ("course", "widgets", "site", "cli.py", "doctor.py")  # parts that may need Jupyter when used
OWN_EXTRAS = ("federated", "simulation", "bridges", "site", "cluster")
BROUGHT_ALONG = {"cycler": "matplotlib", "tldextract": "presidio-analyzer", "ray": "flwr"}
NOTEBOOKS_ONLY = {("plots.py", "ipython")}  # plots.show displays in a notebook, and is called nowhere else
HIDE = """
import sys, importlib.abc
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def names(group: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in group}


CORE = names(PROJECT["dependencies"])
EXTRAS = {name: names(group) for name, group in PROJECT["optional-dependencies"].items()}


@functools.cache
def imported() -> dict[str, set[str]]:
    """Return the distributions that each part of the package imports anywhere, by the part's name."""
    owners = metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        if "scripts" in path.parts:  # run by `labkit bridge` in environments of their own
            continue
        part = path.relative_to(ROOT / "labkit").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"labkit"}
            for top in tops:
                assert top in owners, f"{path.name} imports {top}, which is not installed here"
                found.setdefault(part, set()).update(canonicalize_name(name) for name in owners[top])
    return found


def test_the_package_itself_installs_no_jupyter() -> None:
    assert not CORE & EXTRAS["course"]
    assert not {name for name in CORE if "jupyter" in name or name.startswith(("ipy", "nb"))}


def test_what_domains_import_is_installed_without_any_extra() -> None:
    known = CORE | set().union(*(EXTRAS[name] for name in OWN_EXTRAS))
    known |= {name for name, owner in BROUGHT_ALONG.items() if owner in known}
    foreign = {
        f"{part} imports {name}"
        for part, found in imported().items()
        for name in found - known
        if part not in COURSE and (part, name) not in NOTEBOOKS_ONLY
    }
    assert not foreign


def test_what_the_course_imports_comes_with_its_extra() -> None:
    # What Jupyter itself is made of comes with it, and setuptools with whoever builds the wheel.
    inside = {"ipython", "jupyter-client", "pygments", "setuptools"}
    known = CORE | EXTRAS["course"] | EXTRAS["site"] | inside
    missing = {name for part in COURSE for name in imported().get(part, set())} - known
    assert not missing


def test_every_module_that_the_command_line_knows_to_come_with_an_extra_does() -> None:
    owners = metadata.packages_distributions()
    for extra, modules in cli.EXTRAS.items():
        assert extra in EXTRAS
        for module in modules:
            assert module not in {name.replace("-", "_") for name in CORE}
            assert owners.get(module), f"{module} is not installed with all extras"


def without(*hidden: str, run: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a Python that lacks some modules."""
    code = HIDE.format(hidden=set(hidden)) + f"from labkit import cli; sys.exit(cli.main({run.split()}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("command", ["run 00", "build --check", "classroom grade nowhere"])
def test_a_course_command_without_jupyter_names_the_extra(command: str) -> None:
    done = without(*cli.EXTRAS["course"], run=command)
    assert done.returncode == 2
    assert "pip install 'labkit[course]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["progress", "data", "--version"])
def test_the_other_commands_need_no_jupyter(command: str) -> None:
    done = without(*cli.EXTRAS["course"], "pygments", "traitlets", run=command)
    assert done.returncode == 0, done.stderr


def test_a_module_that_no_extra_brings_keeps_its_traceback() -> None:
    done = without("ast", run="run 00")
    assert "Traceback" in done.stderr


def test_the_version_is_said_once_and_told_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"labkit {labkit.__version__}"
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]


def test_the_changelog_knows_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert labkit.__version__ in headings
    links = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    assert links <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
