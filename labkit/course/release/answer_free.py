"""What must go before a lab is handed out: answers and third hints from notebooks, and the checks' answers from sight.

Later cells of a lab call labkit's version of what a learner has not solved, so an answer cannot simply be taken out of
the package: the files that hold one are sealed. A sealed file runs as before and shows no text to whoever opens it or
asks for its source. It is an envelope, not a safe: whoever means to open it can.
"""

from __future__ import annotations

import base64
import re
import zlib

from nbformat import NotebookNode

from labkit.course.notebooks import source

THIRD_HINT = re.compile(r"\n*<details>\s*<summary>Hint 3</summary>.*?</details>\n*", re.DOTALL)

SEALED = '''"""Sealed by `labkit classroom release`: this file holds answers. It runs as it always did."""

import base64
import zlib

_TEXT = (
{lines}
)
exec(compile(zlib.decompress(base64.b85decode(_TEXT)).decode(), "<sealed {module}>", "exec", dont_inherit=True))
'''


def released(solved: NotebookNode) -> NotebookNode:
    """Return the copy of a solution notebook that is handed out: stubs, two hints for each exercise, no outputs.

    Third hints go too: most of them are the answer in words, and some in code.
    """
    copy = source.handout(solved)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = THIRD_HINT.sub("\n\n", cell.source).rstrip("\n")
    copy.metadata["labkit"] = NotebookNode(built=source.fingerprint(copy))
    return copy


def plain(text: str) -> str:
    """Return text without white space, so that layout hides no answer."""
    return "".join(text.split())


def answers(solved: NotebookNode) -> dict[str, str]:
    """Return the body of each exercise's solution, `plain`, by the id that nbgrader knows it by."""
    found = {}
    for cell in solved.cells:
        if cell.cell_type == "code" and source.BEGIN in cell.source:
            found[cell.metadata["nbgrader"]["grade_id"]] = plain(source.without_solution(cell.source)[1])
    return found


def seal(text: str, module: str) -> str:
    """Return Python source that runs as ``text`` does and does not show it.

    Examples
    --------
    >>> space = {}
    >>> exec(seal("answer = 6 * 7", "example"), space)
    >>> space["answer"], "6 * 7" in seal("answer = 6 * 7", "example")
    (42, False)
    """
    packed = base64.b85encode(zlib.compress(text.encode(), 9)).decode()
    lines = "\n".join(f'    b"{packed[at : at + 100]}"' for at in range(0, len(packed), 100))
    return SEALED.format(lines=lines, module=module)
