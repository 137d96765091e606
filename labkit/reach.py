"""What a result depends on besides its settings: the code that its function can reach, read from bytecode and globals.

A list of modules written by hand is forgotten when a helper moves. So a function stands here for itself and for all it
names: functions and classes of labkit and of the user (in globals, closures, defaults, local imports, annotations), in
turn, and the values of the constants among them. What belongs to Python or to an installed library counts by name.

A name that is only found while running (a method of an argument without an annotation, ``getattr`` with a computed
name) cannot be seen: put its class beside the function. `tests/test_cache_covers.py` traces what runs and fails on gaps.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import functools
import importlib
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

from labkit import contents

# They show, keep and time results, and make none; what a profile chooses stands in the settings of a key.
SILENT = (
    "labkit.cache",
    "labkit.contents",
    "labkit.data.frames",
    "labkit.facade",
    "labkit.plots",
    "labkit.progress",
    "labkit.reach",
    "labkit.results",
)
# How a dataclass shows itself, or was made of a caller's own arrays, is no part of what it holds.
SHOWN = {"load", "note", "numbers", "plot", "save", "summary", "table", "title"}
SHOWN |= {"from_frame", "from_logits", "from_numpy", "from_scores", "from_torch"}
# What a process fills or draws for itself changes no result; where code lies changes none either.
OWN_TO_PROCESS = ("__file__", "labkit.governance.checks.mark.PROCESS", "labkit.watermark.marks.light._KNOWN")
PLAIN = (str, int, float, bool, bytes, complex, Path, type(None))
BUILT_IN = (
    dict,
    list,
    tuple,
    set,
    frozenset,
    str,
    int,
    float,
)  # a class made of one is read as it is pickled
Reference = tuple[str, ...]


def reachable(*parts: Any) -> list[tuple[str, Any]]:
    """Return name and meaning of all code and constants that ``parts`` can reach, in a fixed order.

    Parameters
    ----------
    *parts : functions, classes, modules, or anything callable
        A module stands for all that it defines.

    Returns
    -------
    list of (str, Any)
        Source text without comments and docstrings for code; numbers, text, arrays and containers of them for values.

    Examples
    --------
    >>> from labkit.training import recipe
    >>> names = [name for name, _ in reachable(recipe.train_one)]
    >>> "labkit.training.recipe.one_cycle" in names
    True
    """
    walk = _Walk()
    described = [walk.describe(part) for part in parts]
    return [*walk.found, ("parts", described)]


def body(function: Any) -> list[tuple[str, Any]]:
    """Return what `reachable` does for a function's own text, but nothing of what it holds.

    For the ``compute`` that a cache is given: what it holds (records, models, settings) stands in the settings of the key.
    """
    walk = _Walk()
    while isinstance(function, functools.partial | MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if isinstance(function, FunctionType):
        walk.text(function)
    else:
        walk.describe(function)
    return walk.found


def held(value: Any) -> list[Any]:
    """Return a value as plain data, together with the code and constants that it reaches."""
    walk = _Walk()
    described = walk.describe(value)
    return [described, [list(found) for found in walk.found]]


def names(*parts: Any) -> set[str]:
    """Return the names of all functions, classes and modules that ``parts`` can reach."""
    return {name for name, _ in reachable(*parts)}


class _Walk:
    """One walk through code; each function, class and module is found once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Any]] = []
        self._seen: dict[int, Any] = {}  # holds what it has seen, so that no id is used twice

    def describe(self, value: Any) -> Any:
        """Return a value as plain data, and walk into the code that it holds."""
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, FunctionType | type | ModuleType):
            self._add(value)
            return _name(value)
        if isinstance(value, functools.partial):
            return ["partial", *map(self.describe, (value.func, value.args, value.keywords))]
        if isinstance(value, MethodType):
            return ["method", self.describe(value.__self__), self.describe(value.__func__)]
        if isinstance(value, staticmethod | classmethod) or hasattr(value, "__wrapped__"):
            return self.describe(inspect.unwrap(value))
        if isinstance(value, BuiltinFunctionType):
            if not isinstance(value.__self__, ModuleType | type | None):
                return ["method", self.describe(value.__self__), value.__name__]
            return f"{value.__module__}.{value.__qualname__}"
        return self._of_object(value)

    def _of_object(self, value: Any) -> Any:
        if type(value) is tuple:  # equal ones may be one or two: which says nothing
            return [self.describe(item) for item in value]
        if id(value) in self._seen:
            return f"again a {type(value).__qualname__}"
        if type(value) is dict:
            self._seen[id(value)] = value
            if all(isinstance(key, str) for key in value):
                return {key: self.describe(item) for key, item in value.items()}
            return [[self.describe(key), self.describe(value[key])] for key in sorted(value, key=_order)]
        if type(value) in (list, set, frozenset):
            self._seen[id(value)] = value
            ordered = value if type(value) is list else sorted(value, key=_order)
            return [self.describe(item) for item in ordered]
        if contents.is_array(value):
            of_objects = str(getattr(value, "dtype", "")) == "object"  # its bytes are addresses
            return ["object", list(value.shape), self.describe(value.tolist())] if of_objects else value
        kind = self.describe(type(value))
        if dataclasses.is_dataclass(value):
            self._seen[id(value)] = value
            return [kind, {f.name: self.describe(getattr(value, f.name)) for f in dataclasses.fields(value)}]
        if isinstance(value, Enum):
            return [kind, value.name]
        of_torch = type(value).__module__ == "torch"  # such as torch.float64
        if of_torch or isinstance(value, range | slice | re.Pattern):
            return [kind, repr(value)]
        readable = _ours(type(value)) or isinstance(value, SimpleNamespace)
        readable = readable and not isinstance(value, BUILT_IN)
        settings = contents.settings_in(value) if readable else {}
        if hasattr(value, "state_dict"):
            self._seen[id(value)] = value
            parts = value.modules() if hasattr(value, "modules") else [value]
            hidden = [
                {n: held for n, held in contents.settings_in(part).items() if n[0] != "_" and n != "training"}
                for part in parts
            ]
            return [
                kind,
                contents.shown(value),
                self.describe(dict(value.state_dict())),
                self.describe(hidden),
            ]
        if settings:
            self._seen[id(value)] = value
            return [kind, self.describe(dict(settings))]
        if readable:
            return kind
        if any(value is each for each in contents.global_random()):  # its state is the process's
            return kind
        self._seen[id(value)] = value
        state = contents.pickled(value)
        return kind if state is None else [kind, self.describe(state)]  # of a lock, its kind must do

    def _add(self, part: Any) -> None:
        if id(part) in self._seen or not _ours(part):
            return
        self._seen[id(part)] = part
        if isinstance(part, ModuleType):
            self._module(part)
        elif isinstance(part, type):
            self._class(part)
        else:
            self._function(part)

    def _module(self, module: ModuleType) -> None:
        self.found.append((module.__name__, "module"))
        for name, value in sorted(vars(module).items()):
            defined = getattr(value, "__module__", None) == module.__name__
            if defined and isinstance(value, FunctionType | type):
                self._add(value)
            elif name.isupper() and not f"{module.__name__}.{name}".endswith(OWN_TO_PROCESS):
                self.found.append((f"{module.__name__}.{name}", self.describe(value)))

    def _class(self, cls: type) -> None:
        fields = (
            {f.name: (f.type, f.default) for f in dataclasses.fields(cls)}
            if dataclasses.is_dataclass(cls)
            else {}
        )
        self.found.append((_name(cls), self.describe({"bases": cls.__bases__, "fields": fields})))
        for kind, _ in fields.values():
            self._annotation(kind, cls.__module__)
        hidden = SHOWN if fields else set()
        for name, value in list(vars(cls).items()):
            if (
                _generated(value)
                or name in hidden
                or name in ("__doc__", "__module__", "__dict__", "__weakref__")
            ):
                continue
            if isinstance(value, property):
                self.describe([f for f in (value.fget, value.fset) if f])
            elif isinstance(value, functools.cached_property):
                self.describe(value.func)
            elif isinstance(value, FunctionType | staticmethod | classmethod) or hasattr(
                value, "__wrapped__"
            ):
                self.describe(value)
            elif isinstance(value, functools.partialmethod):
                self.describe([value.func, value.args, value.keywords])
            elif not name.startswith(("__", "_abc_")) and (
                isinstance(value, (*PLAIN, functools.partial)) or not hasattr(type(value), "__get__")
            ):
                self.found.append((f"{_name(cls)}.{name}", self.describe(value)))

    def _function(self, function: FunctionType) -> None:
        values = [function.__defaults__, function.__kwdefaults__]
        values += [_content(cell) for cell in function.__closure__ or ()]
        self.text(function)
        self.found.append((f"{_name(function)} holds", self.describe(values)))
        if hasattr(function, "__wrapped__"):
            self.describe(function.__wrapped__)

    def text(self, function: FunctionType) -> None:
        """Add a function's own text, and walk into what it names."""
        self.found.append((_name(function), _meaning_of(function.__code__)))
        for reference in _references(function.__code__):
            name, value = _resolve(reference, function.__globals__)
            if isinstance(value, FunctionType | type | ModuleType):
                self._add(value)
            elif value is not None and not name.endswith(OWN_TO_PROCESS):
                self.found.append((name, self.describe(value)))
        for annotation in getattr(function, "__annotations__", {}).values():
            self._annotation(annotation, function.__module__)

    def _annotation(self, annotation: Any, module: str) -> None:
        """Walk into the classes that an annotation names: methods of arguments are found through them."""
        if isinstance(annotation, type):
            self._add(annotation)
        for word in re.findall(r"[A-Za-z_]\w*", annotation if isinstance(annotation, str) else ""):
            value = getattr(sys.modules.get(module), word, None) or _for_checkers(module, word)
            if isinstance(value, type):
                self._add(value)


def _order(item: Any) -> str:
    """Return what to sort by where there is no order: the same in every process."""
    return repr(item) if isinstance(item, PLAIN) else contents.shown(held(item))


@functools.cache
def _checked_imports(module: str) -> dict[str, tuple[str, str]]:
    """Return what a module imports for type checkers alone: name, home and name there."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError, SyntaxError):
        return {}
    blocks = [n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom) and n.module]
    return {a.asname or a.name: (str(n.module), a.name) for n in imports for a in n.names}


def _for_checkers(module: str, word: str) -> Any:
    home, name = _checked_imports(module).get(word, ("", ""))
    labkits = home == "labkit" or home.startswith("labkit.")
    return _attribute(importlib.import_module(home), name) if labkits else None


def _generated(value: Any) -> bool:
    """Whether a method was written by ``@dataclass``: its text follows from the fields."""
    code = getattr(inspect.unwrap(value) if hasattr(value, "__wrapped__") else value, "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _name(part: Any) -> str:
    if isinstance(part, ModuleType):
        return part.__name__
    return f"{part.__module__}.{part.__qualname__}"


@functools.cache
def _installed() -> tuple[Path, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_path(kind)).resolve() for kind in kinds})


@functools.cache
def _own(name: str) -> bool:
    """Whether a module is labkit's or the user's, and makes results."""
    if name == "labkit" or name.startswith("labkit."):
        return not any(name == quiet or name.startswith(quiet + ".") for quiet in SILENT)
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if name in sys.builtin_module_names or module is None:
        return False
    if file is None:  # a notebook or a prompt, or a namespace package
        return name == "__main__"
    return not any(Path(file).resolve().is_relative_to(folder) for folder in _installed())


def _ours(part: Any) -> bool:
    return _own(part.__name__ if isinstance(part, ModuleType) else getattr(part, "__module__", None) or "")


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


@functools.cache
def meaning(source: str) -> str:
    """Return Python source without comments, docstrings and layout, which change no result."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@functools.cache
def _meaning_of(code: CodeType) -> Any:
    """Return a function's source; its bytecode for a lambda inside a longer expression, or one typed at a prompt."""
    try:
        text = inspect.getsource(code)
        several = code.co_name == "<lambda>" and text.count("lambda") > 1  # a line tells none from the other
        return [meaning(text), _bytecode(code)] if several else meaning(text)
    except (OSError, TypeError, SyntaxError):
        return _bytecode(code)


def _bytecode(code: CodeType) -> list[Any]:
    return [code.co_code, code.co_flags, list(code.co_names), [_constant(each) for each in code.co_consts]]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _bytecode(value)
    # A set prints in no order of its own.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _references(code: CodeType) -> tuple[Reference, ...]:
    """Return what a function names: ("", global, attribute, ...) or (module, name, attribute, ...), nested code too."""
    return tuple(dict.fromkeys(_scan(code, ())))


@functools.cache
def _scan(code: CodeType, outer: tuple[tuple[str, Reference], ...]) -> tuple[Reference, ...]:
    found: list[Reference] = []
    local = dict(outer)  # names of this function that hold an import
    module: str | None = None
    current: Reference | None = None
    for step in dis.get_instructions(code):
        named = step.argval if isinstance(step.argval, tuple) else (step.argval,)  # 3.13 packs two into one
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and current is not None:
            current = (*current, step.argval)
            continue
        if step.opname.startswith("STORE_") and current is not None and current[0]:
            local[named[0]] = current  # the target of a local import: what is used of it comes later
        elif current is not None:
            found.append(current)
        current = None
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            current = local.get(step.argval) or ("", step.argval)
        elif step.opname == "IMPORT_NAME":
            module = step.argval
            current = (step.argval,)
        elif step.opname == "IMPORT_FROM" and module is not None:
            current = (module, step.argval)
        elif "LOAD_FAST" in step.opname or "LOAD_DEREF" in step.opname:
            held = [local[name] for name in named if name in local]
            found += held[:-1]
            current = held[-1] if held else None
    nested: Iterator[CodeType] = (c for c in code.co_consts if isinstance(c, CodeType))
    return (*found, *(name for c in nested for name in _scan(c, tuple(local.items()))))


def _resolve(reference: Reference, scope: dict[str, Any]) -> tuple[str, Any]:
    """Return a reference's full name and what it stands for now, or ``None`` if it is nobody's but Python's."""
    first, *attributes = reference
    if first:
        if not (first == "labkit" or first.startswith("labkit.") or _own(first)) or not attributes:
            return first, None
        value: Any = importlib.import_module(first)
        name = first
    else:
        name = attributes.pop(0)
        if name not in scope:
            return name, None
        value = scope[name]
        name = f"{scope.get('__name__', '')}.{name}"
    while attributes and isinstance(value, ModuleType):
        if not _own(value.__name__) and value.__name__ != "labkit":
            return name, None
        name, value = f"{value.__name__}.{attributes[0]}", _attribute(value, attributes.pop(0))
    return name, value


def _attribute(module: ModuleType, name: str) -> Any:
    """Return a module's attribute, which may be a module of a package that nobody has imported yet."""
    if not hasattr(module, name) and hasattr(module, "__path__"):
        return importlib.import_module(f"{module.__name__}.{name}")
    return getattr(module, name, None)
