"""One self-contained HTML page of a notebook: readable offline, mathematics as MathML, nothing fetched."""

from __future__ import annotations

import html
import re

from nbformat import NotebookNode

STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:58rem;margin:2rem auto;padding:0 1rem}
h1,h2,h3{line-height:1.25} a{color:#0b57a4} img{max-width:100%;height:auto}
pre{font:13px/1.45 ui-monospace,monospace;overflow-x:auto;margin:0}
.input_area{background:#f6f6f6;border:1px solid #ddd;border-radius:4px;padding:.6em .8em;margin:.8em 0 .3em}
.output_subarea{margin:.3em 0 .3em .8em;overflow-x:auto} .output_error{color:#8a1010}
.prompt{display:none} table{border-collapse:collapse;margin:.6em 0} caption{text-align:left;font-weight:600}
th,td{border:1px solid #ccc;padding:.25em .6em;text-align:left} details{margin:.4em 0} summary{cursor:pointer}
math[display=block]{margin:.8em 0}
"""
TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{%- block input -%}
{%- if cell.metadata.get('jupyter', {}).get('source_hidden') -%}
<details class="source"><summary>Code</summary>{{ super() }}</details>
{%- else -%}
{{ super() }}
{%- endif -%}
{%- endblock input -%}
"""
FETCH = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio|object|embed)\b[^>]*\b(?:src|href|data)\s*=\s*["']?(?:https?:)?//"""
    r"""|@import\b|url\(\s*["']?(?:https?:)?//""",
    re.IGNORECASE,
)


class PageError(ValueError):
    """A notebook cannot become a page that is readable offline."""


def page(notebook: NotebookNode, title: str) -> str:
    """Return a notebook as one HTML page.

    Parameters
    ----------
    title : str
        For the browser's tab.

    Raises
    ------
    PageError
        If a cell or output would make the page load something from the web.
    """
    from pygments.formatters import HtmlFormatter

    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    document = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}{colours}</style></head>'
        f"<body><main>{_alone(body(notebook))}</main></body></html>\n"
    )
    refuse_fetches(document)
    return document


def _alone(body: str) -> str:
    """Turn links to sections of the lab into those of the page, and links to other files, which it is without, into text."""

    def kept(found: re.Match[str]) -> str:
        address, inner = found.groups()
        if re.match(r"[a-z][a-z0-9+.-]*:|//", address, re.IGNORECASE):
            return found.group(0)
        part = address.partition("#")[2]
        return f'<a href="#{part}">{inner}</a>' if f'id="{part}"' in body else inner

    return re.sub(r'<a\b[^>]*?\bhref="([^"]*)"[^>]*>(.*?)</a>', kept, body, flags=re.DOTALL)


def refuse_fetches(document: str) -> None:
    """Raise `PageError` if a browser that shows this HTML would load something from the web."""
    if found := FETCH.search(document):
        raise PageError(
            f"the page would load {found.group(0)[:120]!r} from the web: embed it in the notebook instead"
        )


def body(notebook: NotebookNode) -> str:
    """Return a notebook's cells and outputs as HTML without a page around it; code that it hides is folded."""
    from nbconvert.exporters import HTMLExporter

    # The basic template is the body alone: the full ones load MathJax and require.js from the web.
    exporter = HTMLExporter(raw_template=TEMPLATE)
    exporter.register_filter("markdown2html", markdown)
    return str(exporter.from_notebook_node(notebook)[0])


def markdown(source: str) -> str:
    """Return Markdown as HTML, with mathematics as MathML."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class WithMathML(IPythonRenderer):
        def image(self, text: str, url: str, title: str | None = None) -> str:
            if re.match(
                r"(?:https?:)?//", url, re.IGNORECASE
            ):  # a learner's note may show a picture of the web
                return f'<a href="{html.escape(url)}">{html.escape(text or url)}</a> (a picture on the web)'
            return super().image(text, url, title)

        def inline_math(self, body: str) -> str:
            return mathml(body, block=False)

        def block_math(self, body: str) -> str:
            return mathml(body, block=True)

        def latex_environment(self, name: str, body: str) -> str:
            return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

    return MarkdownWithMath(renderer=WithMathML(escape=False, exclude_anchor_links=True)).render(source)


def mathml(latex: str, *, block: bool) -> str:
    """Return LaTeX mathematics as MathML, which browsers draw and screen readers speak; as code where that fails."""
    from latex2mathml.converter import convert

    try:
        return convert(latex.strip(), display="block" if block else "inline")
    except Exception:  # a rare command that the converter does not know: the source is still readable
        return f"<code>{html.escape(latex)}</code>"
