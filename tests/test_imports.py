"""Which part may import which: no circle, none upwards, and no domain knows a lab.

All imports count, those inside functions and those for type checkers too: whoever reads a file follows them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import labkit

ROOT = Path(labkit.__file__).parent
GROUND = (
    "facade",
    "contents",
    "reach",
    "cache",
    "profiles",
    "progress",
    "plots",
    "stats",
    "models",
    "adapt",
    "metrics",
    "results",
    "strict_json",
    "keyfiles",
    "signing",
    "timestamps",
    "evidence",
)
# Each floor stands on those before it.
FLOORS = (
    GROUND,
    ("data",),
    ("training",),
    ("dp",),
    ("membership",),
    ("audit",),
    ("watermark",),
    ("federated",),
    ("governance",),
    ("bridges",),
    ("scenarios",),
    ("bench",),
    ("course", "widgets", "doctor"),
    ("site",),
    ("cli",),
)
DOMAINS = ("data", "training", "dp", "membership", "audit", "watermark", "federated")
PEOPLE = ("scenarios", "bench", "course", "widgets", "doctor", "site", "cli")


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("labkit", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path, *, loading: bool = False) -> set[str]:
    """Return the modules of labkit that a file imports; with ``loading``, only those that load with it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if loading else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "labkit":
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "labkit"}
    return found - {"labkit"}


def part_of(module: str) -> str:
    """Return the floor's member that a module belongs to."""
    return module.split(".")[1]


def test_every_part_has_a_floor() -> None:
    parts = {part_of(name) for name in MODULES if name != "labkit"}
    assert parts == {part for floor in FLOORS for part in floor}


@pytest.mark.parametrize("part", [part for floor in FLOORS for part in floor])
def test_nothing_is_imported_from_above(part: str) -> None:
    level = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upwards = {
        f"{name} imports {other}"
        for name, path in MODULES.items()
        if name != "labkit" and part_of(name) == part
        for other in imported(path)
        if level[part_of(other)] > level[part]
    }
    assert not upwards


def test_no_domain_knows_a_lab() -> None:
    knows = {
        f"{name} imports {other}"
        for name, path in MODULES.items()
        if name != "labkit" and part_of(name) in DOMAINS
        for other in imported(path)
        if part_of(other) in PEOPLE
    }
    assert not knows


def test_no_circle() -> None:
    """A circle among what loads at once; a package's own file only hands names out, and loads nothing."""
    needs = {name: imported(path, loading=True) & set(MODULES) for name, path in MODULES.items()}
    done: set[str] = set()
    while ready := {name for name, others in needs.items() if name not in done and others <= done}:
        done |= ready
    assert not {name: sorted(needs[name] - done) for name in needs if name not in done}


def test_labs_import_names_from_packages_never_from_files() -> None:
    """A learner's older copy of a lab survives every move of a file."""
    repository = ROOT.parent
    deep = {
        f"{path.name}: {module}"
        for path in (repository / "solutions").glob("*.py")
        for module in imported_by_a_lab(path)
        if MODULES.get(module, Path("__init__.py")).name != "__init__.py" and module.count(".") > 1
    }
    assert not deep


def imported_by_a_lab(path: Path) -> set[str]:
    """Return the modules from which a lab imports names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {node.module for node in froms if node.module.split(".")[0] == "labkit"}
