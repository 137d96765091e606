"""The one base of results: what a pipeline returns shows, saves and loads itself in the same way everywhere.

A result is a frozen dataclass. It says what it is in `summary`, gives its figures as plain numbers in `numbers`, rows in
`table`, and a picture in `plot` where there is something to draw. Saving and loading come from here.

Examples
--------
>>> from dataclasses import dataclass
>>> from labkit.results import Result
>>> @dataclass(frozen=True)
... class Toss(Result):
...     heads: int
...     tosses: int
...     def numbers(self):
...         return {"heads": self.heads, "tosses": self.tosses}
>>> print(Toss(3, 5))
Toss: heads 3, tosses 5
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cache import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

R = TypeVar("R", bound="Result")
WIDE = 8  # columns; a table of more is set smaller, and on its side if it has fewer rows


class ResultError(RuntimeError):
    """A saved result cannot be read as what it was asked for; the message names the file and the fix."""


class Result:
    """Base of frozen dataclasses that a pipeline returns."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # IPython asks the class itself first; there it would find the dataclass's own repr, with every field.
        cls._repr_pretty_ = Result._repr_pretty_

    def numbers(self) -> dict[str, Any]:
        """Return the result's figures by name: numbers, text, lists and dicts of them, nothing else."""
        raise NotImplementedError(f"{type(self).__name__} has no numbers()")

    def summary(self) -> str:
        """Return one line for a person."""
        return ", ".join(f"{name} {_short(value)}" for name, value in self.numbers().items())

    def table(self) -> pd.DataFrame:
        """Return the figures as rows."""
        import pandas as pd

        return pd.DataFrame(
            [{"figure": name, "value": _short(value)} for name, value in self.numbers().items()]
        ).set_index("figure")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the result, on ``ax`` where one is given, and return the figure.

        Raises
        ------
        NotImplementedError
            If there is nothing to draw.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to draw: use table()")

    def save(self, path: str | Path) -> Path:
        """Write the result as JSON that a person can read (``.json``), or whole (any other ending); return the path.

        Raises
        ------
        OSError
            If the file cannot be written; the message names the fix.
        """
        from labkit import cache

        path = Path(path)
        with atomic_path(path) as temporary:
            if path.suffix == ".json":
                content = {"result": type(self).__name__, **as_json(self.numbers())}
                temporary.write_text(
                    json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                )
            else:
                cache.save(self, temporary)
        return path

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Return a result that `save` wrote whole. It is a pickle: load files of your own only.

        Raises
        ------
        ResultError
            If the file is missing, damaged, holds figures only (``.json``), or holds another kind of result.
        """
        import torch

        path = Path(path)
        if path.suffix == ".json":
            raise ResultError(
                f"{path} holds figures only: save the result under another ending to load it again"
            )
        try:
            found = torch.load(path, weights_only=False)
        except FileNotFoundError as error:
            raise ResultError(f"{path} is not there: save a {cls.__name__} to it first") from error
        except Exception as error:
            raise ResultError(
                f"{path} cannot be read ({error}): make the result again and save it"
            ) from error
        if not isinstance(found, cls):
            raise ResultError(f"{path} holds a {type(found).__name__}; expected a {cls.__name__}")
        return found

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the summary as text in a notebook, not every field."""
        printer.text(type(self).__name__ if cycle else str(self))

    def _repr_html_(self) -> str:
        import pandas as pd

        table, size = self.table(), ""
        if table.shape[1] > WIDE:  # half of it would be out of sight in a window of 900 pixels
            table, size = table.T if len(table) < table.shape[1] else table, ' style="font-size:85%"'
        with pd.option_context("display.max_colwidth", None):  # a statement that is cut off states nothing
            shown = table.to_html().replace("<table", f"<table{size}", 1)
        return f"<p>{html.escape(self.summary())}</p>{shown}"


def as_json(value: Any) -> Any:
    """Return ``value`` as JSON has it: intervals and other dataclasses as objects, infinities and NaN as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _short(value: Any) -> str:
    """Return a figure as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_json(path: str | Path, content: dict[str, Any]) -> Path:
    """Write JSON atomically and return the path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(as_json(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return path
