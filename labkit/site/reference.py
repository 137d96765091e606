"""The API reference: what every public name promises, read from docstrings by pdoc."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

import labkit
from labkit.site import anchors
from labkit.site.docstrings import Names, rendered
from labkit.site.pages import Entry, Page, relative
from labkit.site.signatures import declared

if TYPE_CHECKING:
    from pdoc.doc import Doc

SECTION = "API"
OVERVIEW = "api/index.html"
# How the kit is put together and how programs of others are run: nothing that one imports.
INSIDE = ("labkit.cli", "labkit.facade", "labkit.reach", "labkit.site", "labkit.bridges.scripts")

SHALLOW = ("bench", "course", "widgets")  # what lies deeper serves labs and commands


def reference_pages() -> list[Page]:
    """Return the overview, a page for each package and module of the first floor, and one for what lies deeper.

    A package's page documents the names that it hands out; the page of a module inside of it documents the rest.
    """
    modules, shown = _shown()
    names = _names(shown)
    texts = {module.__name__: inspect.getdoc(module) or "" for module in modules}
    pages = [_page(name, texts[name], members, names) for name, members in shown.items()]
    return [_overview(shown, texts, names), *pages]


def definitions() -> dict[str, str]:
    """Return where each name is documented, by its file in the repository and itself: ``labkit/dp/x.py#name``."""
    _, shown = _shown()
    return {
        f"{member.taken_from[0].replace('.', '/')}.py#{member.taken_from[1]}": f"{_path(module)}#{member.name}"
        for module, members in shown.items()
        for member in members
    }


@functools.cache
def _shown() -> tuple[list[ModuleType], dict[str, list[Doc]]]:
    """Return all modules, and what the page of each documents, by the name of the module."""
    modules = _modules()
    handed = {
        _home(getattr(module, name), name, module): module.__name__
        for module in modules
        if module.__name__.count(".") == 1 and _is_package(module)
        for name in getattr(module, "__all__", ())
    }
    shown = {module.__name__: _members(module, handed) for module in modules}
    return modules, {name: members for name, members in shown.items() if members or name.count(".") == 1}


def is_listed(page: Page) -> bool:
    """Return whether a page of the reference stands in the menu beside it: deeper modules do not."""
    return page.path == OVERVIEW or page.path.count(".") == 2


def _modules() -> list[ModuleType]:
    """Import and return every module that others may import, by name; façades hand all their names out."""
    found, deep = [], [[name] for name in SHALLOW]
    for part in pkgutil.walk_packages(labkit.__path__, "labkit."):
        above = part.name.split(".")[1:-1]
        if part.name.startswith(INSIDE) or "._" in part.name or above[:1] in deep:
            continue
        module = importlib.import_module(part.name)
        if _is_package(module):
            for name in getattr(module, "__all__", ()):
                module.__dict__.setdefault(name, getattr(module, name))
        found.append(module)
    return sorted(found, key=lambda module: module.__name__)


def _is_package(module: ModuleType) -> bool:
    return hasattr(module, "__path__")


def _home(value: object, name: str, module: ModuleType) -> tuple[str, str]:
    """Return the module and the name under which something was made; a constant belongs to whoever shows it."""
    return getattr(value, "__module__", None) or module.__name__, getattr(value, "__qualname__", None) or name


def _members(module: ModuleType, handed: dict[tuple[str, str], str]) -> list[Doc]:
    """Return what one module's page documents, in the order of its source."""
    from pdoc.doc import Module, Variable

    members = Module(module).members.values()
    if _is_package(module):
        return [member for member in members if member.kind != "module"]
    own = [member for member in members if not member.name.startswith("_") and member.kind != "module"]
    own = [member for member in own if member.taken_from[0] == module.__name__]
    own = [member for member in own if member.docstring or not isinstance(member, Variable)]
    if module.__name__.count(".") == 1:
        return own
    return [member for member in own if (module.__name__, member.qualname) not in handed]


def _path(module: str) -> str:
    return f"api/{module}.html"


def _names(shown: dict[str, list[Doc]]) -> Names:
    """Return where each name is documented: by its full name, by its home and by package and name."""
    found = {module: _path(module) for module in shown}
    for module, members in shown.items():
        for member in members:
            target = f"{_path(module)}#{member.name}"
            home = ".".join(part for part in member.taken_from if part)
            for name in (f"{module}.{member.name}", home, f"{module.removeprefix('labkit.')}.{member.name}"):
                found.setdefault(name, target)
    return Names(found)


def _page(module: str, text: str, members: list[Doc], names: Names) -> Page:
    path = _path(module)
    parts = [f"<h1><code>{module}</code></h1>", rendered(text, names, module, path)]
    entries = [Entry(module, "module", path, _first(text))]
    for member in members:
        parts.append(_item(member, names, module, path))
        entries += _entries(member, module, path)
    if inner := _inner(module, names):
        parts.append(f"<h2>Modules inside</h2><ul>{inner}</ul>")
    body = anchors.scrolling(anchors.anchored("".join(parts)))
    return Page(path, module, SECTION, body, _first(text), tuple(entries))


def _item(member: Doc, names: Names, module: str, path: str) -> str:
    """Return one name: its kind, how it is called, what it promises; for a class its own members, too."""
    head = f'<h2 id="{member.name}"><code>{member.name}</code> <span class="kind">{member.kind}</span></h2>'
    text = rendered(member.docstring, names, module, path)
    inner = "".join(_method(part, names, module, path) for part in _public(member))
    return f'<section class="item">{head}{declared(member)}{text}{inner}</section>'


def _method(member: Doc, names: Names, module: str, path: str) -> str:
    owner, name = member.qualname.split(".")[-2:]
    head = (
        f'<h3 id="{owner}.{name}"><code>{owner}.{name}</code> <span class="kind">{_kind(member)}</span></h3>'
    )
    return f"{head}{declared(member)}{rendered(member.docstring, names, module, path)}"


def _public(member: Doc) -> list[Doc]:
    """Return the methods and properties of a class that say what they do; its fields stand in its own text."""
    from pdoc.doc import Class

    if not isinstance(member, Class):
        return []
    members = [part for part in member.own_members if not part.name.startswith("_")]
    return [part for part in members if part.docstring]


def _kind(member: Doc) -> str:
    if member.kind == "variable":
        return "property"
    return "class method" if getattr(member, "is_classmethod", False) else "method"


def _entries(member: Doc, module: str, path: str) -> list[Entry]:
    short = module.removeprefix("labkit.")
    found = [Entry(f"{short}.{member.name}", member.kind, f"{path}#{member.name}", _first(member.docstring))]
    for part in _public(member):
        owner, name = part.qualname.split(".")[-2:]
        title = f"{short}.{owner}.{name}"
        found.append(Entry(title, _kind(part), f"{path}#{owner}.{name}", _first(part.docstring)))
    return found


def _first(text: str) -> str:
    """Return the first paragraph of a docstring as one line of words."""
    return anchors.words(html.escape(" ".join(text.strip().partition("\n\n")[0].split()))).replace("`", "")


def _inner(module: str, names: Names) -> str:
    """Return links to the pages of modules that lie inside of one."""
    inside = [name for name in names.modules() if name.startswith(f"{module}.")]
    return "".join(f'<li><a href="{relative(_path(name), _path(module))}">{name}</a></li>' for name in inside)


def _overview(shown: dict[str, list[Doc]], texts: dict[str, str], names: Names) -> Page:
    parts = [
        "<h1>API reference</h1><p>What each public name takes, returns and refuses, with shapes, units and the papers "
        "followed. Import names from the packages below, never from the files inside them: files may move.</p>"
    ]
    for module, members in shown.items():
        if module.count(".") > 1:
            continue
        link = f'<a href="{relative(_path(module), OVERVIEW)}"><code>{module}</code></a>'
        parts.append(f'<h2 id="{module}">{link}</h2><p>{html.escape(_first(texts[module]))}</p>')
        rows = "".join(
            f'<tr><td><a href="{relative(_path(module), OVERVIEW)}#{member.name}"><code>{member.name}</code></a></td>'
            f"<td>{html.escape(_first(member.docstring) or member.kind)}</td></tr>"
            for member in members
        )
        parts.append(f'<table class="names"><tbody>{rows}</tbody></table>' if rows else "")
        if inner := [name for name in shown if name.startswith(f"{module}.")]:
            links = "".join(
                f'<li><a href="{relative(_path(name), OVERVIEW)}"><code>{name}</code></a></li>'
                for name in inner
            )
            parts.append(
                f"<details><summary>{len(inner)} modules with further names</summary><ul>{links}</ul></details>"
            )
    body = anchors.scrolling("".join(parts))
    return Page(OVERVIEW, "All packages", SECTION, body, "What each public name takes, returns and refuses.")
