"""Docstrings in NumPy style as HTML, with their examples as code and the names that they mention as links."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from labkit.site.pages import relative

CODE = re.compile(r"<code>([A-Za-z_][\w.]*)(\(\))?</code>")
EXAMPLE = re.compile(r"(?:^[ \t]*>>> .*\n(?:^[ \t]*(?!>>> )\S.*\n?)*)+", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """Where each public name is documented.

    Attributes
    ----------
    targets : dict of name -> path within the site, with a fragment
    """

    targets: dict[str, str]

    def find(self, name: str, module: str) -> str | None:
        """Return where a name is documented that stands in the docstring of some module."""
        tries = (name, f"{module}.{name}", f"labkit.{name}")
        return next((self.targets[option] for option in tries if option in self.targets), None)

    def modules(self) -> list[str]:
        """Return the modules that have a page."""
        return [name for name, target in self.targets.items() if target == f"api/{name}.html"]


def rendered(text: str, names: Names, module: str, path: str) -> str:
    """Return a docstring as HTML.

    Parameters
    ----------
    names : Names
        What it may mention.
    module : str
        Whose docstring it is.
    path : str
        Of the page on which it will stand.
    """
    from pdoc.docstrings import convert

    from labkit.course.notebooks import page

    fenced = EXAMPLE.sub(lambda found: f"\n```pycon\n{_flush(found.group(0))}\n```\n", text + "\n")
    body = page.markdown(_safe(convert(fenced, "numpy", None)))
    # The parts of a docstring are no headings of the page: its contents list names.
    body = re.sub(r"<h[1-6][^>]*>(.*?)</h[1-6]>", r'<p class="part">\1</p>', body)

    def link(found: re.Match[str]) -> str:
        target = names.find(found.group(1), module)
        return (
            found.group(0) if target is None else f'<a href="{relative(target, path)}">{found.group(0)}</a>'
        )

    return CODE.sub(link, body)


def _flush(example: str) -> str:
    """Return an example without its indentation."""
    lines = example.rstrip().splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] for line in lines)


def _safe(text: str) -> str:
    """Escape what is neither Markdown nor code: a docstring holds no HTML and no TeX, but signs that look like both."""
    pieces = re.split(r"(```.*?```|`+[^`\n]+`+)", text, flags=re.DOTALL)
    return "".join(
        piece if number % 2 else html.escape(piece, quote=False).replace("$", "&#36;")
        for number, piece in enumerate(pieces)
    )
