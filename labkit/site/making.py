"""Put the site together: all pages, the files beside them, and a look at every link before anything is handed over."""

from __future__ import annotations

import html
import posixpath
import re
import shutil
import tempfile
from pathlib import Path

import labkit
from labkit.course.notebooks import build
from labkit.course.notebooks.page import PageError, refuse_fetches
from labkit.site import colours, documents, front, labs, reference, reports, search
from labkit.site.pages import Frame, Page, SiteError

ASSETS = Path(__file__).parent / "assets"
MARK = ".labkit-site"  # says that a folder is a site, which the next one may replace


def make_site(out: Path) -> Path:
    """Write the whole site into a folder, in one step, and return its front page.

    Parameters
    ----------
    out : Path
        A new or empty folder, or one that holds a site.

    Raises
    ------
    SiteError
        Before anything is written: if the folder holds something else, a lab or a report cannot be read, a page would
        load something from the web, or a link leads nowhere.
    """
    root = build.checkout()
    _check_place(out)
    found = reports.files(root)
    pages = all_pages(root, found)
    frame = _frame(pages)
    with tempfile.TemporaryDirectory(prefix="labkit-site-") as folder:
        made = Path(folder) / "site"
        for page in pages:
            _write(made / page.path, frame.around(page))
        _write(made / "assets" / "search-index.js", search.index(pages))
        _write(made / "assets" / "code.css", colours.code_css())
        for asset in ("site.css", "site.js"):
            shutil.copy(ASSETS / asset, made / "assets" / asset)
        for folder_name, files in (
            ("figures", documents.pictures(root)),
            ("reports", found),
        ):
            (made / folder_name).mkdir(exist_ok=True)
            for file in files:
                shutil.copy(file, made / folder_name / file.name)
        (made / MARK).write_text(f"made by labkit {labkit.__version__}\n", encoding="utf-8")
        check(made)
        if out.exists():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, out)
    return out / documents.FRONT


def all_pages(root: Path, found: list[Path]) -> list[Page]:
    """Return every page of the site, the front page first."""
    places = documents.atlas(root, found)
    written = {name: documents.document(name, root, places) for name in documents.sources(root)}
    welcome = written.pop("README.md")
    others = list(written.values())
    described = reference.reference_pages()
    executed = labs.lab_pages(root, places | reference.definitions())
    listed = [reports.overview(found)] if found else []
    return [
        front.welcome(welcome, executed, described, listed, others),
        *executed,
        *described,
        *listed,
        *others,
    ]


def _frame(pages: list[Page]) -> Frame:
    """Return the menus: sections at the top, documents of lesser interest at the foot."""
    there = {page.path: page for page in pages}
    wanted = (
        (labs.SECTION, labs.OVERVIEW),
        (reference.SECTION, reference.OVERVIEW),
        (reports.SECTION, reports.OVERVIEW),
        ("Benchmarks", documents.BENCHMARKS),
        ("Tools", documents.TOOLS),
    )
    menu = [("Start", documents.FRONT), *((name, path) for name, path in wanted if path in there)]
    top = {path for _, path in menu}
    foot = [(page.title, page.path) for page in pages if "/" not in page.path and page.path not in top]
    beside = {
        labs.SECTION: [(page.title, page.path) for page in pages if page.path.startswith("labs/")],
        reference.SECTION: [
            (page.title, page.path)
            for page in pages
            if page.path.startswith("api/") and reference.is_listed(page)
        ],
    }
    return Frame(menu, beside, foot, labkit.__version__)


def _check_place(out: Path) -> None:
    """Refuse a folder in which something else lies: it would be lost."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file()):
        raise SiteError(
            f"--out is {str(out)!r}, which holds something else than a site: choose another folder"
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def check(made: Path) -> None:
    """Raise `SiteError` if a page would load something from the web, or a link of it leads nowhere."""
    texts = {
        path.relative_to(made).as_posix(): path.read_text(encoding="utf-8") for path in made.rglob("*.html")
    }
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    names = {
        path: set(map(html.unescape, re.findall(r'\bid="([^"]+)"', text))) for path, text in texts.items()
    }
    broken = []
    for path, text in texts.items():
        try:
            refuse_fetches(text)
        except PageError as error:
            raise SiteError(f"{path}: {error}") from error
        for address in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            place, _, fragment = html.unescape(address).partition("#")
            if documents.HOST.match(address) and not address.startswith("#"):
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), place)) if place else path
            if target not in files or (fragment and target in names and fragment not in names[target]):
                broken.append(f"{path} links to {address}")
    if broken:
        raise SiteError(f"{len(broken)} links lead nowhere: {'; '.join(sorted(set(broken))[:5])}")
