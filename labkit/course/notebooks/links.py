"""Links in the text of a lab: to other labs, to its own sections, to papers on arXiv, and to what the kit's names promise.

A source stays plain to read ("lab 05", "section 3", "arXiv 1607.00133", a name of the kit in backticks); the build adds
the addresses. All but those of papers are within the repository, so they lead somewhere without a network too.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path

from nbformat import NotebookNode

import labkit
from labkit.course.labs import LABS, Lab

START = LABS[0]
# What is no running text: code, headings, links and tags that are there, formulas.
ASIDE = (
    r"```.*?```|^#{1,6} [^\n]*$|\[[^\]]*\]\([^)]*\)|<summary>.*?</summary>|<[^>\s][^>]*>|\$[^$]+\$|``.*?``"
)
MORE = r"(?:\s*\([^)]*\))?(?:,|,?\s+and)\s+\d\d\b"  # another lab of a list, behind what is said of the one before
TEXT = re.compile(
    rf"(?P<aside>{ASIDE})"
    r"|`(?P<code>[^`]+)`"
    r"|(?P<there>\b[Ss]ection\s+(?P<part>\d+)\s+of\s+lab\s+(?P<far>\d\d)\b)"
    rf"|(?P<labs>\b[Ll]abs?\s+\d\d\b(?:{MORE})*)"
    r"|(?P<near>\b[Ss]ection\s+(?P<section>\d+)\b(?!\.\d))"
    r"|(?P<paper>(?:\barXiv[:\s]\s*)?\b\d{4}\.\d{5}\b)",
    re.DOTALL | re.MULTILINE,
)
HEADING = re.compile(r"## (\d+)\. ")
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")


def link(lab: Lab, notebook: NotebookNode) -> None:
    """Add links to a lab's Markdown cells, in place, and a way on at its end."""
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    sections = {found[1]: cell.id for cell in texts if (found := HEADING.match(cell.source))}
    names = _imports(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for cell in texts:
        cell.source = TEXT.sub(lambda found: _linked(found, lab, sections, names), cell.source)
    if texts:
        texts[-1].source += f"\n\n{onward(lab)}"


def onward(lab: Lab) -> str:
    """Return the line at the end of a lab that leads to the next one and back to the start."""
    following = LABS[LABS.index(lab) + 1 : LABS.index(lab) + 2]
    ways = [f"**Next:** [lab {item.number}, {item.title}]({item.name}.ipynb)" for item in following]
    ways += [f"[your progress, all labs]({START.name}.ipynb)"] if lab != START else []
    return " · ".join(ways)


def standing_alone(text: str) -> str:
    """Return Markdown without its links to files of the checkout, for a copy that leaves it.

    Examples
    --------
    >>> standing_alone("[`dp.decide`](../labkit/dp/utility/choice.py), [lab 03](03_utility.ipynb)")
    '`dp.decide`, [lab 03](03_utility.ipynb)'
    """
    return OUTSIDE.sub(r"\1", text)


def _linked(found: re.Match[str], lab: Lab, sections: dict[str, str], names: dict[str, str]) -> str:
    """Return one piece of text with its link, or as it was."""
    whole = found.group(0)
    if found["code"]:
        place = _documented(found["code"], names)
        return f"[{whole}]({place})" if place else whole
    if found["there"]:
        return _to_lab(whole, found["far"], lab)
    if found["labs"]:
        return re.sub(
            r"(?:[Ll]abs?\s+)?\b(\d\d)\b(?![^(]*\))", lambda one: _to_lab(one[0], one[1], lab), whole
        )
    if found["near"] and found["section"] in sections:
        # With the file's own name and a cell, JupyterLab finds what it has not drawn yet; headings only what is on screen.
        return f"[{whole}]({lab.name}.ipynb#cell-id={sections[found['section']]})"
    if found["paper"]:
        return f"[{whole}](https://arxiv.org/abs/{whole[-10:]})"
    return whole


def _to_lab(text: str, number: str, here: Lab) -> str:
    """Return a link to another lab; a lab is no link to itself."""
    there = next((item for item in LABS if item.number == number and item != here), None)
    return f"[{text}]({there.name}.ipynb)" if there else text


def _imports(codes: Iterable[str]) -> dict[str, str]:
    """Return what the names that a lab imports from the kit stand for, by the name that the lab uses."""
    found = {}
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "labkit":
                found |= {part.asname or part.name: f"{node.module}.{part.name}" for part in node.names}
    return found


def _documented(code: str, names: dict[str, str]) -> str | None:
    """Return where in the checkout the kit says what a name promises, or None for anything else."""
    match = re.fullmatch(r"(\w+)((?:\.\w+)*)(?:\(\))?", code)
    if match is None or match[1] not in names:
        return None
    try:
        value = pkgutil.resolve_name(names[match[1]] + match[2])
    except (AttributeError, ImportError):
        return None
    if not (inspect.isclass(value) or inspect.isfunction(value)) or "." in value.__qualname__:
        return None
    file = inspect.getsourcefile(value)
    home = Path(str(labkit.__file__)).parent
    if file is None or not Path(file).is_relative_to(home):
        return None
    return f"../labkit/{Path(file).relative_to(home).as_posix()}#{value.__qualname__}"
