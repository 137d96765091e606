"""One page of the site: its place, its content, what search knows of it, and the frame around every page."""

from __future__ import annotations

import html
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.site import anchors


class SiteError(ValueError):
    """The site cannot be made as asked; the message names the page and the fix."""


@dataclass(frozen=True)
class Entry:
    """What search finds: a heading of a page, or a name of the package.

    Attributes
    ----------
    title : str
    kind : str
        Shown beside it, such as ``"Lab 02"`` or ``"function"``.
    target : str
        Path of the page within the site, with its fragment.
    text : str
        Plain words below it.
    """

    title: str
    kind: str
    target: str
    text: str


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    path : str
        Within the site, with slashes: ``"labs/02_dp_sgd.html"``.
    title : str
        Of the browser's tab; the body has its own heading.
    section : str
        The entry of the main menu that it belongs to, or "".
    body : str
        HTML of the article.
    summary : str
        One sentence, for whoever lists the page.
    entries : tuple of Entry
    """

    path: str
    title: str
    section: str
    body: str
    summary: str = ""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What surrounds every page: menus, by (name, path).

    Attributes
    ----------
    menu : sequence of (name, path)
        Of the sections, at the top.
    neighbours : dict of section -> sequence of (name, path)
        Pages of one section, beside the article.
    foot : sequence of (name, path)
    version : str
    """

    menu: Sequence[tuple[str, str]]
    neighbours: dict[str, Sequence[tuple[str, str]]]
    foot: Sequence[tuple[str, str]]
    version: str

    def around(self, page: Page) -> str:
        """Return the whole HTML document of a page."""
        root = "../" * page.path.count("/")
        beside = self.neighbours.get(page.section, ())
        side = _list("side", f"Pages of {page.section}", beside, page.path) if beside else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{html.escape(page.title)} · labkit</title>"
            f'<meta name="description" content="{html.escape(page.summary, quote=True)}">'
            f"<script>{THEME}</script>"
            f'<link rel="stylesheet" href="{root}assets/site.css">'
            f'<link rel="stylesheet" href="{root}assets/code.css">'
            f'<script defer src="{root}assets/site.js" data-root="{root}"></script></head><body>'
            '<a class="skip" href="#content">Skip to the content</a>'
            f"{self._head(page)}"
            f'<div class="columns{" with-side" if side else ""}">'
            f'<main id="content" tabindex="-1"><article>{_with_contents(page)}</article>'
            f"{_turn(beside, page.path)}</main>{side}</div>"
            f"{self._foot(page.path)}</body></html>\n"
        )

    def _head(self, page: Page) -> str:
        return (
            '<header class="top">'
            f'<a class="name" href="{relative("index.html", page.path)}">labkit</a>'
            f"{_list('menu', 'Sections', self.menu, page.path, current=page.section)}"
            '<form class="search" role="search" hidden><label class="unseen" for="query">Search the site</label>'
            '<input id="query" type="search" placeholder="Search ( / )" autocomplete="off" spellcheck="false">'
            '<div id="found" hidden></div></form>'
            '<button id="theme" type="button" hidden>Dark</button></header>'
        )

    def _foot(self, path: str) -> str:
        return f"<footer>{_list('foot', 'More', self.foot, path)}<p>labkit {self.version}, Apache 2.0</p></footer>"


# Before the first paint, so that a chosen theme does not flash; storage may be closed to pages from a disk.
THEME = (
    "try{var t=localStorage.getItem('labkit-theme');if(t)document.documentElement.dataset.theme=t}catch(e){}"
)


def relative(target: str, path: str) -> str:
    """Return the address of ``target`` as seen from the page at ``path``; both within the site."""
    place, _, fragment = target.partition("#")
    start = posixpath.dirname(path) or "."
    found = "" if place == path else posixpath.relpath(place, start)
    return found + (f"#{fragment}" if fragment else "" if found else "#content")


def _list(
    kind: str, label: str, links: Sequence[tuple[str, str]], path: str, *, current: str | None = None
) -> str:
    """Return links as a labelled navigation; the page itself, or its section, is marked as current."""
    items = []
    for name, target in links:
        mark = ' aria-current="page"' if target == path else ' aria-current="true"' if name == current else ""
        items.append(f'<li><a href="{relative(target, path)}"{mark}>{html.escape(name)}</a></li>')
    return f'<nav class="{kind}" aria-label="{html.escape(label)}"><ul>{"".join(items)}</ul></nav>'


def _with_contents(page: Page) -> str:
    """Return the article with a folded list of its headings below the first, where there are enough to want one."""
    headings = [(name, title) for level, name, title in anchors.headings(page.body) if level == 2]
    if len(headings) < 3 or page.path == "index.html":
        return page.body
    items = "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for name, title in headings)
    contents = f'<details class="contents"><summary>On this page</summary><ul>{items}</ul></details>'
    return page.body.replace("</h1>", f"</h1>{contents}", 1)


def _turn(beside: Sequence[tuple[str, str]], path: str) -> str:
    """Return links to the page before and the page after, as the section lists them."""
    paths = [target for _, target in beside]
    if path not in paths:
        return ""
    at, parts = paths.index(path), []
    for word, other in (("Before", at - 1), ("Next", at + 1)):
        if 0 <= other < len(beside):
            name, target = beside[other]
            parts.append(f'<a href="{relative(target, path)}">{word}: {html.escape(name)}</a>')
    return f'<nav class="turn" aria-label="Before and next">{"".join(parts)}</nav>'
