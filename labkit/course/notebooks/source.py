"""From a lab's one source (py:percent) to its two notebooks: the solution, and the learner's copy.

Nothing here runs a cell or writes a file; the same text always gives the same notebooks, cell ids included.
"""

from __future__ import annotations

import hashlib
import re
from textwrap import dedent

from nbformat import NotebookNode

from labkit.course.exercises.exercise import Exercise, find
from labkit.course.labs import Lab
from labkit.course.notebooks import links

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your turn")'
HEADING = re.compile(r"^### Exercise (\d\d\.\w+): (.+)$", re.MULTILINE)
CHECK = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\w+)[\"']")
HINT = re.compile(r"<details>\s*<summary>Hint (\d)</summary>")
FOLDED = "hide-input"  # the tag of Jupyter Book: a cell that only draws, whose code is folded away
DRAWS = re.compile(r"\bplots\.show\(")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class SourceError(ValueError):
    """A lab's source breaks one of the rules that the build relies on."""


def solution(lab: Lab, text: str) -> NotebookNode:
    """Return the solution notebook of a lab, without outputs, from its source text.

    Cells get stable ids; exercise and check cells get nbgrader's metadata; exercise headings get their facts; text gets
    its links; cells that are marked as only drawing are folded.

    Raises
    ------
    SourceError
        If an exercise lacks its solution cell, its check cell or one of its three hints, or has two of them; if a cell is
        folded that shows no figure, or that a learner has to see.
    """
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python")
    )
    notebook.nbformat_minor = 5
    notebook.cells = [part for cell in notebook.cells for part in _sections(cell)]
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        # By content, not position: inserting a cell leaves all other ids, and so the diff, alone.
        key = f"{lab.number}/{cell.cell_type}/{cell.source}"
        seen[key] = seen.get(key, 0) + 1
        cell.id = hashlib.sha256(f"{key}/{seen[key]}".encode()).hexdigest()[:12]
        cell.metadata = _folding(lab, cell) if FOLDED in cell.metadata.get("tags", ()) else NotebookNode()
    _mark_exercises(lab, notebook)
    links.link(lab, notebook)
    return notebook


def _sections(cell: NotebookNode) -> list[NotebookNode]:
    """Return a cell, or where text goes on with the next section the parts: links lead to the beginning of a cell."""
    from nbformat.v4 import new_markdown_cell

    if cell.cell_type != "markdown":
        return [cell]
    return [
        new_markdown_cell(text.strip()) for text in re.split(r"^(?=## )", cell.source, flags=re.M) if text
    ]


def _folding(lab: Lab, cell: NotebookNode) -> NotebookNode:
    """Return the metadata of a cell whose code is folded: JupyterLab reads the one, Jupyter Book and others the tag."""
    if not DRAWS.search(cell.source) or BEGIN in cell.source or CHECK.search(cell.source):
        raise SourceError(
            f"lab {lab.number} folds a cell that is no figure, or more than one: {cell.source[:60]!r}; only code that "
            "draws is folded away"
        )
    return NotebookNode(jupyter=NotebookNode(source_hidden=True), tags=[FOLDED])


def _mark_exercises(lab: Lab, notebook: NotebookNode) -> None:
    """Walk through the cells, give each exercise its metadata, and refuse one that is not complete."""
    parts: dict[str, list[str]] = {}
    current: Exercise | None = None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for id, _ in HEADING.findall(cell.source):
                current = find(id)
                parts.setdefault(id, []).append("heading")
            if current:
                parts[current.id] += [f"hint {number}" for number in HINT.findall(cell.source)]
            cell.source = HEADING.sub(lambda match: f"{match[0]}\n*{find(match[1]).facts}*", cell.source)
            continue
        if BEGIN in cell.source:
            if current is None:
                raise SourceError(f"lab {lab.number}: a solution stands before the first exercise heading")
            parts[current.id].append("solution cell")
            cell.metadata["nbgrader"] = _grading(current, "solution")
        for id in CHECK.findall(cell.source):
            parts.setdefault(id, []).append("check cell")
            cell.metadata["nbgrader"] = _grading(find(id), "check")
    expected = sorted(["heading", "solution cell", "check cell", "hint 1", "hint 2", "hint 3"])
    for id, found in parts.items():
        if sorted(found) != expected:
            raise SourceError(f"exercise {id} has {sorted(found)}; expected exactly {expected}")


def _grading(item: Exercise, role: str) -> NotebookNode:
    """Return nbgrader's cell metadata (schema 3): solutions are filled in, checks are locked and carry the points."""
    graded = role == "check"
    grade_id = item.id.replace(".", "_") + ("_check" if graded else "")
    fields = {"grade": graded, "grade_id": grade_id, "locked": graded, "schema_version": 3}
    return NotebookNode(
        fields | {"solution": not graded, "task": False} | ({"points": item.points} if graded else {})
    )


def without_solution(source: str) -> tuple[str, str]:
    """Return a cell's text with each solution region cut to the stub, and the regions themselves, dedented.

    Raises
    ------
    SourceError
        If a region is not closed, or opens inside another.
    """
    kept, answer, region = [], [], None
    for line in source.split("\n"):
        if BEGIN in line:
            if region is not None:
                raise SourceError(f"a solution region opens inside another: {line!r}")
            region = []
            kept.append(line[: len(line) - len(line.lstrip())] + STUB)
        elif END in line:
            if region is None:
                raise SourceError(f"{END} without {BEGIN}")
            answer.append(dedent("\n".join(region)))
            region = None
        else:
            (kept if region is None else region).append(line)
    if region is not None:
        raise SourceError(f"a solution region is not closed by {END}: {kept[0]!r}")
    return "\n".join(kept), "\n\n".join(answer)


def standing_alone(notebook: NotebookNode) -> NotebookNode:
    """Return a copy for a place outside of the checkout: without links to the kit's own files."""
    from nbformat import from_dict

    copy = from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = links.standing_alone(cell.source)
    return copy


def handout(notebook: NotebookNode) -> NotebookNode:
    """Return the answer-free copy of a solution notebook: stubs in place of solutions, no outputs."""
    from nbformat import from_dict

    copy = from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.source, _ = without_solution(cell.source)
            cell.outputs, cell.execution_count = [], None
    copy.metadata.pop("labkit", None)
    return copy


def learner(notebook: NotebookNode) -> NotebookNode:
    """Return the self-paced learner's copy: the handout, with each answer folded away after its three hints."""
    copy = handout(notebook)
    hints: dict[str, NotebookNode] = {}
    answers: dict[str, str] = {}
    current = ""
    for original, cell in zip(notebook.cells, copy.cells, strict=True):
        if cell.cell_type == "code" and BEGIN in original.source:
            _, answers[current] = without_solution(original.source)
        elif cell.cell_type == "markdown":
            current = ([current] + [id for id, _ in HEADING.findall(cell.source)])[-1]
            if "<summary>Hint 3</summary>" in cell.source:
                hints[current] = cell
    for id, cell in hints.items():
        folded = f"<details><summary>Answer</summary>\n\n```python\n{answers[id]}\n```\n\n</details>"
        cell.source += f"\n{folded}"
    copy.metadata["labkit"] = NotebookNode(built=fingerprint(copy))
    return copy


def fingerprint(notebook: NotebookNode) -> str:
    """Return a short hash of the cells' texts, by which the build knows a copy that someone has worked in."""
    texts = "\x00".join(f"{cell.cell_type}\x01{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(texts.encode()).hexdigest()[:16]
