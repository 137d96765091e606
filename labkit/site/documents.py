"""Pages out of the repository's own Markdown, and where each of its files is found on the site."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from labkit.course.labs import LABS
from labkit.site import anchors, search
from labkit.site.pages import Page, relative

FRONT = "index.html"
PLACES = {"README.md": FRONT, "data/README.md": "data.html"}  # any other is named after its file
FOLDERS = ("", "docs", "data", "solutions")
BENCHMARKS, TOOLS = "benchmarks.html", "tools.html"
HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*:|//|#)", re.IGNORECASE)


def sources(root: Path) -> dict[str, str]:
    """Return {Markdown file of the repository: its page}, in a fixed order."""
    files = sorted(path for folder in FOLDERS for path in (root / folder).glob("*.md"))
    names = [path.relative_to(root).as_posix() for path in files]
    return {
        name: PLACES.get(name, posixpath.basename(name).lower().removesuffix(".md") + ".html")
        for name in names
    }


def pictures(root: Path) -> list[Path]:
    """Return the pictures that the repository's pages show."""
    return sorted(
        path for ending in ("png", "gif") for path in (root / "solutions/figures").glob(f"*.{ending}")
    )


def atlas(root: Path, reports: Iterable[Path] = ()) -> dict[str, str]:
    """Return where each file of the repository is on the site, by its path in the repository."""
    found = dict(sources(root))
    for item in LABS:
        for name in (
            f"notebooks/{item.name}.ipynb",
            f"solutions/{item.name}.ipynb",
            f"solutions/{item.name}.py",
        ):
            found[name] = f"labs/{item.name}.html"
    found |= {"notebooks": "labs/index.html", "solutions": "labs/index.html"}
    for picture in pictures(root):
        found[f"solutions/figures/{picture.name}"] = f"figures/{picture.name}"
    for report in reports:
        found[report.relative_to(root).as_posix()] = f"reports/{report.name}"
    return found


def at_home(body: str, *, source: str, path: str, places: dict[str, str]) -> str:
    """Turn addresses within the repository into addresses within the site; what is not on the site is no link.

    Parameters
    ----------
    body : str
        HTML made from ``source``, a path in the repository.
    path : str
        Of the page that it becomes.
    places : dict
        See `atlas`.
    """

    def moved(address: str) -> str | None:
        if HOST.match(address) and not address.startswith("#"):
            return address
        place, _, fragment = html.unescape(address).partition("#")
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), place)) if place else source
        if inside.endswith(".ipynb"):  # Jupyter keeps capitals and marks in the address of a heading
            whole = not fragment or fragment.startswith("cell-id=")
            fragment = fragment if whole else anchors.slug(unquote(fragment))
        if not place:
            return f"#{fragment}"
        if f"{inside}#{fragment}" in places:  # a name of the kit
            return relative(places[f"{inside}#{fragment}"], path)
        target = places.get(inside)
        return None if target is None else relative(target + (f"#{fragment}" if fragment else ""), path)

    def link(found: re.Match[str]) -> str:
        before, address, after, inner = found.groups()
        new = moved(address)
        return inner if new is None else f'<a{before}href="{html.escape(new, quote=True)}"{after}>{inner}</a>'

    def picture(found: re.Match[str]) -> str:
        before, address, after = found.groups()
        if address.startswith("data:"):
            return found.group(0)
        new = moved(address)
        return "" if new is None else f'<img{before}src="{html.escape(new, quote=True)}"{after}>'

    body = re.sub(r'<a\b([^>]*?)\bhref="([^"]*)"([^>]*)>(.*?)</a>', link, body, flags=re.DOTALL)
    return re.sub(r'<img\b([^>]*?)\bsrc="([^"]*)"([^>]*)>', picture, body)


def document(name: str, root: Path, places: dict[str, str]) -> Page:
    """Return the page of a Markdown file."""
    from labkit.course.notebooks import page

    path = places[name]
    body = page.markdown((root / name).read_text(encoding="utf-8"))
    body = anchors.scrolling(anchors.anchored(body))
    body = at_home(body, source=name, path=path, places=places)
    title = next((title for _, _, title in anchors.headings(body)), name)
    first = re.search(r"<p>(.*?)</p>", body, re.DOTALL)
    summary = anchors.words(first.group(1)) if first else title
    return Page(path, title, title, body, summary, search.entries(path, title, body))
