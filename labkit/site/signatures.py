"""How a name is called, as its source says it: annotations as they are written, defaults that can be read."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdoc.doc import Doc

WIDTH = 88
LONGEST = 40


def declared(member: Doc) -> str:
    """Return the HTML of a function's or class's declaration, or of a constant's value; "" where there is none."""
    from labkit.course.notebooks import page

    text = _constant(member) if member.kind == "variable" else _callable(member)
    return page.markdown(f"```python\n{text}\n```") if text else ""


def _callable(member: Doc) -> str:
    # A class method that is shown unbound would show its class, too.
    value = getattr(member.obj, "__func__", member.obj)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # a class of C, or a name that stands for another
        return ""
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    parts, keyword_only = [], False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            parts += [] if any(other.kind is other.VAR_POSITIONAL for other in parameters) else ["*"]
            keyword_only = True
        parts.append(_parameter(each))
    start = "class " if member.kind == "class" else "def "
    returned = "" if member.kind == "class" else _annotation(signature.return_annotation, " -> ")
    one = f"{start}{member.name}({', '.join(parts)}){returned}"
    if len(one) <= WIDTH:
        return one
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{start}{member.name}(\n{lines}){returned}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    noted = _annotation(parameter.annotation, ": ")
    default = ""
    if parameter.default is not parameter.empty:
        default = f"{' = ' if noted else '='}{_value(parameter.default)}"
    return f"{stars}{parameter.name}{noted}{default}"


def _annotation(annotation: Any, before: str) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    return before + (annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))


def _value(value: Any) -> str:
    """Return a default as one reads it: a function by its name, a long one shortened, no address in memory."""
    text = getattr(value, "__name__", None) or repr(value)
    text = re.sub(r"<(?:function |class )?'?([\w.]+)[^>]*>", r"\1", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _constant(member: Doc) -> str:
    if isinstance(member.obj, property) or member.qualname.count("."):
        return ""
    value = repr(member.obj)
    shown = f" = {value}" if len(value) <= WIDTH - len(member.name) and "<" not in value else ""
    return f"{member.name}{shown}" if shown else ""
