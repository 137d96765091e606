"""The table of tools for people: ``solutions/TOOLS.md``, made of the results that were saved beside it.

``python -m labkit.bridges.page`` writes it; a test fails when the two differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labkit import cache
from labkit.bridges.environment import BridgeError
from labkit.bridges.registry import TOOLS

HEAD = """# The tools that the course names

Each was run beside labkit on the same question. The command of a row runs it again; the date and versions are those of
the run whose result lies in [bridges](bridges), every figure with what it may differ by. "Agree" counts the lines that say
so; lines that are shown and not judged are counted apart.

| Tool | Version | Date | Command | What was run | Outcome | Test |
|---|---|---|---|---|---|---|
"""
# Tools that were looked for and are not run; looked up again by the commands in their rows.
ABSENT = """| ShadowNets | none | 2026-11-26 | `pip index versions shadownets` | looked up: "No matching distribution found" | does not exist; \
shadow models are lab 04 (`labkit.membership.shadow_bank`) | `tests/membership/test_shadows.py` |
| Privacy Meter | 1.0.1; Python 3.11.7 | 2026-11-26 | `pip install privacy-meter`, then `import privacy_meter.audit` | installed alone \
in an environment | not run: "No module named 'tensorflow'" | |
"""
FOOT = """
**Privacy Meter** 1.0.1, of 2023, is all that the package index has: without the LiRA and RMIA attacks of its repository, and
without declared dependencies, while its audits import TensorFlow, PyTorch and Opacus together. PrivacyGuard's RMIA was
written after Privacy Meter's, and is in the table.

Tools with an environment of their own make it in a temporary folder and remove it, also when they fail or are stopped;
`--keep` leaves it there. They need a package index, minutes, and up to 3 GB meanwhile.

## What the runs said besides
"""
TESTS = {
    "attacks": "tests/membership/test_peers_agreement.py",
    "isolated": "tests/bridges/test_bridge_isolated.py",
}
TOGETHER = "tests/bridges/test_bridge_tools.py"


def folder() -> Path:
    """Return where a checkout keeps its results.

    Raises
    ------
    BridgeError
        If labkit was installed as a wheel: there are none then.
    """
    root = cache.checkout()
    if root is None:
        raise BridgeError(
            "results are kept in a checkout of the repository; this labkit was installed as a package"
        )
    return root / "solutions" / "bridges"


def kept() -> dict[str, dict[str, Any]]:
    """Return the saved results, by tool, in the order of `TOOLS`; tools without one are left out."""
    paths = {name: folder() / f"{name}.json" for name in TOOLS}
    return {name: json.loads(p.read_text(encoding="utf-8")) for name, p in paths.items() if p.is_file()}


def page() -> str:
    """Return the page as Markdown."""
    found = kept()
    rows = [_row(name, found[name]) if name in found else _empty(name) for name in TOOLS]
    notes = [
        f"- **{TOOLS[name].title}.** {' '.join(result['notes'])}"
        for name, result in found.items()
        if result["notes"]
    ]
    return HEAD + "\n".join(rows) + "\n" + ABSENT + FOOT + "\n" + "\n".join(notes) + "\n"


def _empty(name: str) -> str:
    """Return the row of a tool without a saved result: it claims nothing."""
    tool = TOOLS[name]
    return f"| {tool.title} | | not run yet | `labkit bridge {name}` | {tool.what} | no result | |"


def _row(name: str, result: dict[str, Any]) -> str:
    tool = TOOLS[name]
    judged = [line for line in result["lines"] if line["agrees"] is not None]
    kept = sum(line["agrees"] for line in judged)
    shown = len(result["lines"]) - len(judged)
    outcome = f"{kept} of {len(judged)} agree" + (f", {shown} shown" if shown else "")
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items() if k not in ("labkit", "python"))
    kind = "isolated" if tool.isolated else "together"
    test = TESTS.get(name, TESTS["isolated"] if kind == "isolated" else TOGETHER)
    cells = [
        tool.title,
        f"{versions}; Python {result['versions']['python']}",
        result["date"],
        f"`{result['command']}` (profile {result['profile']})",
        f"{tool.what}; {result['source']}",
        outcome,
        f"`{test}`",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Write the page beside the results."""
    path = folder().parent / "TOOLS.md"
    with cache.atomic_path(path) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
