"""``labkit build``: write each lab's two notebooks from its source, run the solution, or check that all agree."""

from __future__ import annotations

import ast
import base64
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labkit import cache, profiles
from labkit.course.labs import LABS, Lab, lab
from labkit.course.notebooks import source, written
from labkit.course.notebooks.execute import execute


class BuildError(RuntimeError):
    """The build cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Places:
    """Where one lab's files are, under the root of a checkout."""

    source: Path
    solution: Path
    learner: Path


def places(item: Lab, root: Path) -> Places:
    """Return where the files of a lab are."""
    solutions = root / "solutions"
    return Places(
        solutions / f"{item.name}.py",
        solutions / f"{item.name}.ipynb",
        root / "notebooks" / f"{item.name}.ipynb",
    )


def checkout() -> Path:
    """Return the root of the checkout that this package runs from.

    Raises
    ------
    BuildError
        For an installed wheel: the sources of the labs are not in it.
    """
    root = cache.checkout()
    if root is None:
        raise BuildError(
            "the notebooks are built from solutions/*.py: run this inside a clone of the repository"
        )
    return root


def sources(numbers: list[str], root: Path) -> list[Lab]:
    """Return the labs asked for (all that have a source, if none is named).

    Raises
    ------
    LookupError
        If a number is no lab.
    BuildError
        If a lab has no source yet.
    """
    chosen = [lab(number) for number in numbers] or [
        item for item in LABS if places(item, root).source.is_file()
    ]
    for item in chosen:
        if not places(item, root).source.is_file():
            raise BuildError(f"{places(item, root).source} is missing: lab {item.number} cannot be built")
    return chosen


def make(item: Lab, root: Path) -> tuple[NotebookNode, NotebookNode]:
    """Return (solution, learner's copy) as the source says; outputs of an unchanged solution are kept."""
    files = places(item, root)
    solved = source.solution(item, files.source.read_text(encoding="utf-8"))
    if files.solution.is_file():
        _keep_outputs(nbformat.read(files.solution, as_version=4), solved)
    return solved, source.learner(solved)


def _keep_outputs(old: NotebookNode, new: NotebookNode) -> None:
    """Carry outputs over when every code cell does the same; a single change makes them all out of date."""
    before, after = ([c for c in book.cells if c.cell_type == "code"] for book in (old, new))
    if [_meaning(c.source) for c in before] != [_meaning(c.source) for c in after]:
        return
    for earlier, cell in zip(before, after, strict=True):
        cell.outputs, cell.execution_count = earlier.outputs, earlier.execution_count
    if "labkit" in old.metadata:
        new.metadata["labkit"] = old.metadata["labkit"]


def _meaning(code: str) -> str:
    """Return what code says, whatever its layout and remarks: no output depends on those."""
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return code


def text(notebook: NotebookNode) -> str:
    """Return a notebook as it is written to disk."""
    return nbformat.writes(notebook, version=4) + "\n"


def build(
    numbers: list[str],
    *,
    run: bool = False,
    check: bool = False,
    force: bool = False,
    classroom: Path | None = None,
) -> list[Path]:
    """Write the notebooks of the labs named (all by default); with ``check`` write nothing.

    Parameters
    ----------
    run : bool
        Execute the solutions, strictly, so that their outputs are those of this machine and profile.
    check : bool
        Only compare.
    force : bool
        Overwrite learner's copies that someone has worked in, and put edited files of a classroom aside.
    classroom : Path
        Also write an nbgrader course here: instructor's versions, answer-free handouts, and its configuration.

    Returns
    -------
    list of Path
        The files written, or with ``check`` those that differ from their source.

    Raises
    ------
    BuildError
        If a learner's copy or a file of the classroom holds someone's work; if a source is missing; if ``check``
        comes with what writes.
    """
    writing = {"--execute": run, "--classroom": classroom, "--force": force}
    if check and (named := [option for option, given in writing.items() if given]):
        raise BuildError(
            f"--check writes nothing, so it goes without {' and '.join(named)}: give one or the other"
        )
    root, touched = checkout(), []
    solutions: dict[Lab, NotebookNode] = {}
    for item in sources(numbers, root):
        files = places(item, root)
        solved, copy = make(item, root)
        if run:
            _run(item, solved, files)
        for path, notebook in ((files.solution, solved), (files.learner, copy)):
            current = path.read_text(encoding="utf-8") if path.is_file() else ""
            if current == text(notebook):
                continue
            if not check:
                if path == files.learner and not force:
                    _guard(path)
                _write(path, text(notebook))
            touched.append(path)
        if not check:
            touched += _posters(item, solved, files.solution.parent / "figures")
        solutions[item] = solved
    if classroom:
        touched += _classroom(solutions, classroom, force=force)
    return touched


def _run(item: Lab, solved: NotebookNode, files: Places) -> None:
    """Execute a solution in the folder it lives in; whatever is not a pass stops the build."""
    # Beside the solution and of this lab: its overview shows this run alone, whatever else is being built.
    own_progress = Path(".labkit") / f"build-{item.number}.json"
    (files.source.parent / own_progress).unlink(missing_ok=True)
    settings = {"LABKIT_STRICT": "1", "LABKIT_PROGRESS_FILE": str(own_progress)}
    seconds = execute(solved, files.source.parent, item.name, environment=settings)
    profile = profiles.current().name
    solved.metadata["labkit"] = NotebookNode(profile=profile, seconds=round(seconds))
    print(f"{item.name}: all exercises pass, {seconds:.0f} s, profile {profile}", file=sys.stderr)


def _posters(item: Lab, solved: NotebookNode, folder: Path) -> list[Path]:
    """Save the figures that a lab marked as its posters (``plots.show(fig, poster=True)``): NN.png, NN_2.png and on."""
    outputs = (output for cell in solved.cells for output in cell.get("outputs", []))
    marked = [each for each in outputs if each.get("metadata", {}).get("image/png", {}).get("poster")]
    touched = []
    for place, output in enumerate(marked, start=1):
        path = folder / (f"{item.number}.png" if place == 1 else f"{item.number}_{place}.png")
        picture = base64.b64decode(output.data["image/png"])
        if path.is_file() and path.read_bytes() == picture:
            continue
        with cache.atomic_path(path) as part:
            part.write_bytes(picture)
            part.chmod(0o644)
        touched.append(path)
    return touched


def _guard(path: Path) -> None:
    """Stop before a learner's work is overwritten."""
    if not path.is_file():
        return
    current = nbformat.read(path, as_version=4)
    built = current.metadata.get("labkit", {}).get("built")
    if built != source.fingerprint(current):
        raise BuildError(
            f"{path} was edited by hand: someone's answers may be in it. "
            "Move it away, or run labkit build --force to write over it"
        )


def _write(path: Path, content: str) -> None:
    with cache.atomic_path(path) as part:
        part.write_text(content, encoding="utf-8")
        part.chmod(0o644)


CONFIGURATION = """# An nbgrader course made by labkit: https://nbgrader.readthedocs.io
c = get_config()
c.CourseDirectory.course_id = "labkit"
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
# Labs train models: a cell may take minutes, and figures are not graded.
c.ExecutePreprocessor.timeout = 1800
# A check cell that a student deleted is put back, and graded.
c.OverwriteCells.add_missing_cells = True
# Output areas of widgets need no answer while grading; nbclient's answers can leave the next cell waiting for ever.
from nbclient.output_widget import OutputWidget
OutputWidget.send = lambda *args, **kwargs: None
"""


def _classroom(solutions: dict[Lab, NotebookNode], folder: Path, *, force: bool) -> list[Path]:
    """Write labs for nbgrader: ``source/`` to release and grade from, ``handouts/`` to give out by hand.

    What an instructor has edited since it was written is left alone, or with ``force`` kept beside its new version.

    Raises
    ------
    BuildError
        If a file was edited; nothing is written then.
    """
    wanted = {"nbgrader_config.py": CONFIGURATION.format(stub=source.STUB)}
    for item, solved in solutions.items():
        instructor = source.standing_alone(solved)
        for cell in instructor.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        wanted[f"source/{item.name}/{item.name}.ipynb"] = text(instructor)
        wanted[f"handouts/{item.name}.ipynb"] = text(source.handout(instructor))
    try:
        return written.write(folder, wanted, force=force)
    except written.EditedError as error:
        raise BuildError(str(error)) from error
