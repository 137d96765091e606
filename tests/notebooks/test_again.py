"""Any cell may be run again after the whole notebook, as whoever goes back to an exercise does, and means the same."""

import symtable

import pytest
from lab_books import books_of

from labkit.course.labs import LABS


def scopes(table):
    """Give a table of symbols and all within it."""
    yield table
    for child in table.get_children():
        yield from scopes(child)


def bound_and_read(code):
    """Return the names that a cell binds, and those that it reads and does not bind."""
    top = symtable.symtable(code, "cell", "exec")
    bound = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
    read = {
        name.get_name()
        for table in scopes(top)
        for name in table.get_symbols()
        if name.is_referenced() and (table is top or name.is_global())
    }
    return bound, read - bound


def rebound(codes):
    """Return ``(cell, name)`` where a cell reads what an earlier one bound, and a later one binds anew."""
    names = [bound_and_read(code) for code in codes]
    before = [set().union(*(bound for bound, _ in names[:k])) for k in range(len(names))]
    after = [set().union(*(bound for bound, _ in names[k + 1 :])) for k in range(len(names))]
    return [(k, name) for k, (_, read) in enumerate(names) for name in sorted(read & before[k] & after[k])]


def test_what_is_looked_for_is_found():
    assert rebound(["rows = 1", "print(rows)", "rows = 2"]) == [(1, "rows")]
    assert rebound(["rows = 1", "f = lambda: rows", "for rows in 1, 2: print(rows)"]) == [(1, "rows")]
    assert rebound(["rows = 1\nprint(rows)", "rows = 2\nprint(rows)", "def f(rows): return rows"]) == []


@pytest.mark.parametrize("number", [item.number for item in LABS])
def test_no_cell_reads_a_name_that_a_later_one_gives_away(number):
    book, _ = books_of(number)
    assert rebound([cell.source for cell in book.cells if cell.cell_type == "code"]) == []
