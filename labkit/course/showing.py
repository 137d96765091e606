"""How values and outcomes look: short text for any value, and HTML that a screen reader can follow."""

from __future__ import annotations

import codecs
import html
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

LONGEST = 400
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")  # where an object lies says nothing, and differs at every press
# Dark text on a pale ground where there is no theme; in JupyterLab and VS Code the theme's own text on its own ground,
# and the colour at the edge alone. The word carries the meaning, not the hue.
TONES = {
    "passed": ("✓ Passed", "#0b4a27", "#e6f4ea"),
    "wrong": ("✗ Not yet", "#7a1212", "#fdecea"),
    "not attempted": ("○ Not attempted", "#333333", "#f0f0f0"),
    "note": ("Note", "#3d3200", "#fff8e1"),
}

EDGES = {
    "passed": "var(--jp-success-color1,#0b4a27)",
    "wrong": "var(--jp-error-color1,#7a1212)",
    "not attempted": "var(--jp-border-color1,#333333)",
    "note": "var(--jp-warn-color1,#3d3200)",
}


def brief(value: Any, longest: int = LONGEST) -> str:
    """Return a short text for any value: text as it is, named arguments as ``a = 1, b = 2``, floats to six
    digits, tensors with shape."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        text = ", ".join(f"{key} = {brief(item, longest)}" for key, item in value.items())
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        text = _array(value)
    elif callable(value) and hasattr(value, "__name__"):
        text = value.__name__
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif type(value) in (list, tuple) and any(isinstance(item, float) for item in value):
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
        text = f"{opening}{', '.join(brief(item, longest) for item in value)}{closing}"
    else:
        try:
            text = ADDRESS.sub("", repr(value))
        except Exception as error:
            text = f"a {type(value).__name__} whose repr fails with {error!r}"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _array(value: Any) -> str:
    """Return dtype, shape and the first numbers of an array or tensor."""
    shape = tuple(value.shape)
    kind = str(value.dtype).removeprefix("torch.")
    if shape == ():
        item = value.item()
        return f"{item:.6g} ({kind})" if isinstance(item, int | float) and kind != "bool" else brief(item)
    if 0 in shape or len(shape) > 3:
        return f"{type(value).__name__}{shape} of {kind}"
    flat = [item.item() for item in value.reshape(-1)[:13]]
    numbers = ", ".join(f"{item:.5g}" if isinstance(item, int | float) else repr(item) for item in flat[:12])
    numbers += ", …" if len(flat) > 12 else ""
    return f"[{numbers}]" + (f" of shape {shape}" if len(shape) > 1 or len(flat) > 12 else "")


def box(tone: str, heading: str, lines: list[tuple[str, str]], closing: str = "") -> str:
    """Return an HTML box: a tone of `TONES`, a heading, named lines as a description list, and a closing remark."""
    word, ink, paper = TONES[tone]
    colour = f"var(--jp-content-font-color1,var(--vscode-foreground,{ink}))"
    ground = f"var(--jp-layout-color2,var(--vscode-textBlockQuote-background,{paper}))"
    items = "".join(
        f'<dt style="font-weight:600;margin-top:.4em">{html.escape(name)}</dt>'
        f'<dd style="margin:0 0 0 1em;white-space:pre-wrap;overflow-wrap:anywhere;{_font(name)}">{html.escape(text)}</dd>'
        for name, text in lines
    )
    listing = f'<dl style="margin:.3em 0 0">{items}</dl>' if lines else ""
    closing = f'<p style="margin:.4em 0 0">{html.escape(closing)}</p>' if closing else ""
    return (
        f'<div role="note" aria-label="{html.escape(f"{word}: {heading}", quote=True)}" '
        f'style="border-left:5px solid {EDGES[tone]};background:{ground};color:{colour};'
        f'padding:.6em .9em;margin:.3em 0;max-width:60em">'
        f"<strong>{word}</strong> · {html.escape(heading)}{listing}{closing}</div>"
    )


def _font(name: str) -> str:
    return "" if name in ("Likely cause", "What to do") else "font-family:monospace"


def plain(tone: str, heading: str, lines: list[tuple[str, str]], closing: str = "") -> str:
    """Return the same as `box` in plain text."""
    listing = "".join(f"\n  {name + ':':<14}{text}" for name, text in lines)
    return f"{TONES[tone][0]} · {heading}{listing}" + (f"\n  {closing}" if closing else "")


def home() -> Path | None:
    """Return the user's home folder, or None where there is none: a container may run as an id that nobody named."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def in_words(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: a Greek letter by its name, anything else by a question mark.

    Examples
    --------
    >>> "ε = 3 ✓".encode("cp1252", IN_WORDS).decode("cp1252")
    'epsilon = 3 ?'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    names = [unicodedata.name(letter, "") for letter in error.object[error.start : error.end]]
    words = [name.rpartition(" ")[2].lower() if name.startswith("GREEK") else "?" for name in names]
    return "".join(words), error.end


IN_WORDS = "in-words"  # the name of an error handler for streams
codecs.register_error(IN_WORDS, in_words)


def show(rich: str, text: str) -> None:
    """Display HTML (with text for front ends that have none) inside a notebook, or print the text elsewhere."""

    # Outside a notebook IPython may not be loaded at all; loading it to learn that would be slow.
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            display({"text/html": rich, "text/plain": text}, raw=True)
            return
    try:
        print(text)
    except UnicodeEncodeError:  # output into a file on Windows is cp1252, which knows no epsilon
        print(text.encode(sys.stdout.encoding, IN_WORDS).decode(sys.stdout.encoding))
