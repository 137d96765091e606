"""Pictures that follow sliders: drawn anew at each move, with what the work says of itself beside them.

Not with ``ipywidgets.interactive_output``, nor ``with Output()``: both catch what is shown by the number of the message
that asked for it, and in a burst of moves JupyterLab can be left with an earlier picture for good. Here a picture is
drawn first and handed over whole, as the value of the output area.
"""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ipywidgets

BUSY = "working …"


class Picture:
    """An output area that shows what a function shows, with a line above it that says how far the work has come.

    Attributes
    ----------
    widget : ipywidgets.VBox
        The line and the area, to be put beside sliders.
    """

    def __init__(self) -> None:
        import ipywidgets

        self.line = ipywidgets.Label()
        self.area = ipywidgets.Output()
        self.widget = ipywidgets.VBox([self.line, self.area])

    def draw(self, show: Callable[[], None]) -> None:
        """Call a function, and show in one step what it displays and prints; an error is shown in the same place.

        Its progress, which goes to standard error, is seen in the line while it works.
        """
        from IPython.utils.capture import capture_output

        self.line.value = BUSY
        said, failed = io.StringIO(), ""
        told = _Line(lambda text: setattr(self.line, "value", text))
        caught = capture_output(stdout=False, stderr=False)
        with caught as shown, contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            try:
                show()
            except Exception:
                failed = traceback.format_exc(limit=-3)
        outputs: list[dict[str, Any]] = []
        for name, text in (("stdout", said.getvalue()), ("stderr", failed)):
            outputs += [{"output_type": "stream", "name": name, "text": text}] if text else []
        outputs += [
            {"output_type": "display_data", "data": one.data, "metadata": one.metadata or {}}
            for one in shown.outputs
        ]
        self.area.outputs = tuple(outputs)
        self.line.value = ""


class _Line(io.TextIOBase):
    """A stream whose last line is handed on, as a progress bar writes it over and over."""

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self.hand_on = hand_on

    def write(self, text: str) -> int:
        if last := text.replace("\r", "\n").strip().rpartition("\n")[2].strip():
            self.hand_on(last)
        return len(text)


def follow(draw: Callable[..., None], controls: Mapping[str, ipywidgets.Widget]) -> ipywidgets.Widget:
    """Return a picture that a function draws now, and again whenever one of the controls has another value.

    Parameters
    ----------
    draw : function
        Shows figures (``plots.show``) and prints text for the values of the controls, by name.
    controls : dict of name -> widget with a ``value``
    """
    picture = Picture()
    drawn: dict[str, Any] = {}

    def redraw(_: Any = None) -> None:
        values = {name: control.value for name, control in controls.items()}
        if values != drawn:
            drawn.clear()
            drawn.update(values)
            picture.draw(lambda: draw(**values))

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return picture.widget
