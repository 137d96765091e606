"""The federated wing imports downwards only, and Flower only where messages travel."""

import ast
from pathlib import Path

import labkit.federated as wing

ROOT = Path(wing.__file__).parent
ABOVE = ("scenarios", "bench", "course", "widgets", "cli")
CARRIERS = ("app.py", "app_memory.py", "app_server.py", "quiet.py")


def imported(path: Path) -> set[str]:
    """Return every module that a file names in an import, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_file_imports_what_stands_above_it():
    for path in ROOT.rglob("*.py"):
        upwards = {n for n in imported(path) if n.startswith("labkit.") and n.split(".")[1] in ABOVE}
        assert not upwards, f"{path.relative_to(ROOT)} imports {sorted(upwards)}"


def test_flower_is_imported_where_messages_travel_and_nowhere_else():
    users = {path for path in ROOT.rglob("*.py") if any(n.split(".")[0] == "flwr" for n in imported(path))}
    assert {ROOT / "app.py", ROOT / "app_server.py"} <= users
    elsewhere = {p for p in users if p.name not in CARRIERS and p.parent.name != "deployment"}
    assert not elsewhere, f"Flower is an extra, yet imported by {sorted(p.name for p in elsewhere)}"
