"""Out of a student's notebook: the statements that one function needs, and no others.

A lab's cells train models for minutes; to grade a function it is enough to run its definition and what that names:
imports, helpers, constants. Cells are read as Python and never matched by place or by nbgrader's ids, so a cell that was
deleted, moved, renamed or split in two costs nothing.
"""

from __future__ import annotations

import ast
import symtable
from collections import defaultdict
from collections.abc import Iterable

from nbformat import NotebookNode

LONGEST = 500_000  # characters of code in a notebook, ten times those of the longest lab


def statements(notebook: NotebookNode) -> list[ast.stmt]:
    """Return the top-level statements of all code cells; what is no Python even with a neighbour's help is left out.

    Raises
    ------
    ValueError
        If there is more code than anybody writes: taking it apart would keep the grader from the next notebook.
    """
    parsed: list[list[ast.stmt]] = []
    before = ""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    if (size := sum(map(len, cells))) > LONGEST:
        raise ValueError(f"{size:,} characters of code are more than is graded ({LONGEST:,})")
    for text in cells:
        alone = _parse(text)
        if alone is None or text.startswith((" ", "\t")):
            # Someone split a function in two: its first half may even be Python, so the whole takes its place.
            both = f"{before.rstrip()}\n{text}"
            if parsed and (joined := _parse(both)) is not None:
                parsed[-1], before = joined, both
                continue
        parsed.append(alone or [])
        before = text
    return [statement for cell in parsed for statement in cell]


def _parse(text: str) -> list[ast.stmt] | None:
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        plain = TransformerManager().transform_cell(text)
        compile(plain, "cell", "exec", dont_inherit=True)  # `return` outside of a function is found only here
        body = ast.parse(plain).body
        for statement in body:
            ast.unparse(statement)
        return body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # null bytes; brackets in brackets
        return None


def needed(name: str, found: Iterable[ast.stmt], *, without: Iterable[str] = ()) -> str:
    """Return the source of ``name`` and of all that it needs, in the notebook's order; empty if nothing defines it.

    Parameters
    ----------
    without : iterable of str
        Names that come from elsewhere: what defines them is left out.

    Examples
    --------
    >>> cells = ast.parse("import math; a = 1; b = 2\\ndef f(x): return x + a\\nprint(f(2))").body
    >>> print(needed("f", cells))
    a = 1
    def f(x):
        return x + a
    """
    kept, elsewhere = list(found), set(without)
    defined_at = defaultdict(list)
    for number, statement in enumerate(kept):
        for bound in _bound(statement) - elsewhere:
            defined_at[bound].append(number)
    wanted, chosen, todo = {name}, set(), [name]
    while todo:
        for number in defined_at[todo.pop()]:
            if number not in chosen:
                chosen.add(number)
                new = _read(kept[number]) - wanted - elsewhere
                wanted |= new
                todo += sorted(new)
    return "\n".join(ast.unparse(kept[number]) for number in sorted(chosen))


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds at top level."""
    top = symtable.symtable(ast.unparse(statement), "cell", "exec")
    return {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}


def _read(statement: ast.stmt) -> set[str]:
    """Return the global names that a statement may look up, inside its functions too."""
    top = symtable.symtable(ast.unparse(statement), "cell", "exec")
    names, tables = {one.get_name() for one in top.get_symbols() if one.is_referenced()}, top.get_children()
    while tables:
        table = tables.pop()
        names |= {one.get_name() for one in table.get_symbols() if one.is_global()}
        tables += table.get_children()
    return names
