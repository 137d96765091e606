"""The executed labs as pages, and the page that shows them all."""

from __future__ import annotations

import copy
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.course.labs import LABS, Lab
from labkit.site import anchors, documents, search
from labkit.site.pages import Page, SiteError, relative

if TYPE_CHECKING:
    from nbformat import NotebookNode

SECTION = "Labs"
OVERVIEW = "labs/index.html"
NOT_RUN = (
    '<p class="notice"><strong>Not executed.</strong> This lab has changed since it was last run, so its outputs are '
    "not shown here.</p>"
)


def lab_pages(root: Path, places: dict[str, str]) -> list[Page]:
    """Return the overview and a page for each lab.

    Raises
    ------
    SiteError
        If a lab's notebook is missing or cannot be read.
    """
    books = {item: _read(root / "solutions" / f"{item.name}.ipynb") for item in LABS}
    pages = [_lab(item, book, places) for item, book in books.items()]
    return [_overview(list(zip(books.items(), pages, strict=True)), root), *pages]


def _read(file: Path) -> NotebookNode:
    import nbformat

    try:
        return nbformat.read(file, 4)
    except Exception as error:
        fix = f"labkit build {file.name[:2]} --execute"
        raise SiteError(f"solutions/{file.name} cannot be read ({type(error).__name__}): {fix}") from error


def executed(notebook: NotebookNode) -> bool:
    """Return whether every cell of code was run."""
    codes = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return all(cell.execution_count for cell in codes)


def _lab(item: Lab, notebook: NotebookNode, places: dict[str, str]) -> Page:
    from labkit.course.notebooks import page

    path = f"labs/{item.name}.html"
    body = anchors.anchored(page.body(_without_marks(notebook)))
    body = documents.at_home(body, source=f"notebooks/{item.name}.ipynb", path=path, places=places)
    if not executed(notebook):
        body = re.sub(r"</h1>", lambda found: found.group(0) + NOT_RUN, body, count=1)
    kind = f"Lab {item.number}"
    return Page(
        path,
        f"{kind}: {item.title}",
        SECTION,
        body,
        _summary(notebook),
        search.entries(path, kind, body),
    )


def _without_marks(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without the lines that tell nbgrader where a solution begins and ends."""
    copied = copy.deepcopy(notebook)
    for cell in copied.cells:
        cell.source = re.sub(r"^[ \t]*### (?:BEGIN|END) \w+\n?", "", cell.source, flags=re.MULTILINE)
    return copied


def _summary(notebook: NotebookNode) -> str:
    """Return the first paragraph of the lab's text as words."""
    from labkit.course.notebooks import page

    text = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    first = re.search(r"<p>(.*?)</p>", page.markdown(text), re.DOTALL)
    return anchors.words(first.group(1)) if first else ""


def _overview(labs: list[tuple[tuple[Lab, NotebookNode], Page]], root: Path) -> Page:
    cards = "".join(_card(item, notebook, page, root) for (item, notebook), page in labs)
    body = (
        "<h1>The labs, executed</h1><p>Each lab as it was run, with its outputs and the solutions of its exercises. Minutes "
        "of study include the exercises; in your own copy they are stubs, with checks that answer at once.</p>"
        f'<ul class="cards">{cards}</ul>'
    )
    return Page(
        OVERVIEW, "All labs", SECTION, body, "Each lab as it was run, with its outputs and solutions."
    )


def _card(item: Lab, notebook: NotebookNode, page: Page, root: Path) -> str:
    file = root / "solutions" / "figures" / f"{item.number}.png"
    picture = ""
    if file.is_file():
        source = relative(f"figures/{file.name}", OVERVIEW)
        picture = f'<img src="{source}" alt="{html.escape(_alt(notebook), quote=True)}" loading="lazy">'
    state = "" if executed(notebook) else " · not executed"
    return (
        f'<li><a href="{relative(page.path, OVERVIEW)}">{picture}<strong>{item.number} · {html.escape(item.title)}</strong>'
        f"</a><p>{html.escape(page.summary)}</p>"
        f'<p class="quiet">{item.study_minutes} minutes of study · {html.escape(item.part)}{state}</p></li>'
    )


def _alt(notebook: NotebookNode) -> str:
    """Return the text of the lab's poster, for whoever cannot see it."""
    facts = [
        output.get("metadata", {}).get("image/png", {})
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    return next((str(fact["alt"]) for fact in facts if fact.get("poster")), "")
