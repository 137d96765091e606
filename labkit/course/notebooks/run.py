"""``labkit run NN``: a lab without a browser, as an executed notebook and one HTML page; and ``labkit prepare NN``."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import cache
from labkit.course.labs import Lab, lab

if TYPE_CHECKING:
    from nbformat import NotebookNode

BUNDLE = Path(__file__).parents[1] / "bundle"


class RunError(RuntimeError):
    """A lab cannot be run; the message says why and what to do."""


def find(item: Lab) -> Path:
    """Return the learner's copy of a lab: in this folder's ``notebooks/``, the checkout's, or the installed one.

    Raises
    ------
    RunError
        If it is in none of them.
    """
    root = cache.checkout()
    folders = dict.fromkeys([Path.cwd() / "notebooks", *([root / "notebooks"] if root else []), BUNDLE])
    for folder in folders:
        if (path := folder / f"{item.name}.ipynb").is_file():
            return path
    looked = ", ".join(map(str, folders))
    raise RunError(
        f"{item.name}.ipynb is not in {looked}: in a clone, make it with labkit build {item.number}"
    )


def run(number: str, out: Path) -> tuple[Path, Path]:
    """Execute a lab and return the paths of the executed notebook and of its self-contained HTML page.

    Whatever happens on the way, the notebook is written first, as far as it came and with the traceback of what failed.

    Parameters
    ----------
    number : str
        The lab, such as ``"02"``; the profile is that of ``LABKIT_PROFILE``.
    out : Path
        Folder for both files; made if need be.

    Raises
    ------
    LookupError
        If there is no such lab.
    RunError
        If its notebook is nowhere or damaged, or ``out`` cannot be written.
    labkit.data.DataError
        If ``LABKIT_DATA`` names no folder.
    labkit.course.notebooks.execute.LabError
        If a cell fails; its notebook is written all the same.
    labkit.course.notebooks.page.PageError
        If the page could not be read offline; the notebook is written all the same.
    """
    import nbformat

    from labkit.course.notebooks import page
    from labkit.course.notebooks.execute import execute

    item = lab(number)
    notebook = _read(find(item), item)
    _make(out)
    # In the output folder: whatever a learner's cell writes lands beside the results, not in the package.
    written = out / f"{item.name}.ipynb", out / f"{item.name}.html"
    try:
        seconds = execute(notebook, out, item.name, environment=_places())
    except BaseException:
        _write(written[0], nbformat.writes(notebook))
        print(f"as far as it came: {written[0]}", file=sys.stderr)
        raise
    _write(written[0], nbformat.writes(notebook))
    _write(written[1], page.page(notebook, item.title))
    print(f"{item.name}: {seconds:.0f} s", file=sys.stderr)
    return written


def _write(path: Path, text: str) -> None:
    with cache.atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)


def _read(path: Path, item: Lab) -> NotebookNode:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        # Cells have had ids since format 4.5; a notebook that an older program saved gets them here.
        return nbformat.v4.upgrade(notebook, 4, notebook.nbformat_minor)
    except Exception as error:  # text, JSON and format each have errors of their own
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}), expected a Jupyter notebook: "
            f"move it away, then make it anew with labkit build {item.number} in a clone"
        ) from error


def _make(out: Path) -> None:
    """Make the output folder and try it, before a run that may take an hour."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise RunError(
            f"--out is {str(out)!r}, expected a folder that can be made and written in ({error.strerror}): "
            "choose another, such as --out labkit-runs"
        ) from error


def _places() -> dict[str, str]:
    """Return the variables that name files, as they are meant here: the kernel works in another folder."""
    from labkit.course.exercises import progress
    from labkit.data import sources

    places = {"LABKIT_CACHE": cache.directory()}
    if os.environ.get("LABKIT_DATA"):
        places["LABKIT_DATA"] = sources.roots()[0]
    elif cache.checkout() is None and Path("data").is_dir():
        places["LABKIT_DATA"] = Path("data")
    if os.environ.get("LABKIT_PROGRESS_FILE"):
        places["LABKIT_PROGRESS_FILE"] = progress.path()
    return {name: str(place.absolute()) for name, place in places.items()}


def prepare(number: str) -> str:
    """Do a lab's one-off work (banks, features) now, and return a sentence on what was done.

    Raises
    ------
    LookupError
        If there is no such lab.
    """
    item = lab(number)
    if not item.prepare:
        return f"lab {item.number} has no one-off work: it runs as it is"
    module, _, name = item.prepare.partition(":")
    started = time.perf_counter()
    getattr(importlib.import_module(module), name)()
    profile = os.environ.get("LABKIT_PROFILE") or "laptop"
    return f"lab {item.number} is prepared for the {profile} profile, {time.perf_counter() - started:.0f} s"
