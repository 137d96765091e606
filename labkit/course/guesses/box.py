"""The small box in which a guess is written: from the keyboard, Enter keeps it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from labkit.course.guesses import kept
from labkit.course.guesses.question import Question

if TYPE_CHECKING:
    import ipywidgets

UNCHOSEN = "choose …"


class Box:
    """A field for a number or for words, or a menu of choices, and a button that keeps the guess.

    The label belongs to its field, the question is the field's description for a screen reader, and what was kept is
    announced.

    Parameters
    ----------
    question : Question
    """

    def __init__(self, question: Question) -> None:
        import ipywidgets

        self.question = question
        self._wanted = "a sentence" if question.words else "a number"
        label = "Your choice" if question.choices else "Your guess"
        look: dict[str, Any] = {
            "description": f"{label} ({question.unit})" if question.unit else label,
            "tooltip": question.text,
            "style": {"description_width": "initial"},
            "layout": {"width": "auto", "max_width": "100%"},
        }
        if question.choices:
            options = [(UNCHOSEN, None), *((choice, choice) for choice in question.choices)]
            self.field: ipywidgets.Widget = ipywidgets.Dropdown(options=options, value=None, **look)
        else:
            if question.words:
                look["layout"] = {"width": "44em", "max_width": "100%"}
            self.field = ipywidgets.Text(placeholder=self._wanted, **look)
            self.field.on_msg(self._submitted)
        self.button = ipywidgets.Button(
            description="Keep", tooltip=f"Keep the guess at {question.id}", layout={"width": "auto"}
        )
        self.button.on_click(self._keep)
        self.status = ipywidgets.HTML()
        self._say(kept.standing(question, kept.entry(question.id)))
        hint = "" if question.choices or question.words else f" (near: {html.escape(question.nearness)})"
        asked = f"<strong>Predict</strong> · {html.escape(question.text)}{hint}"
        self.widget: ipywidgets.Widget = ipywidgets.VBox(
            [ipywidgets.HTML(asked), ipywidgets.HBox([self.field, self.button]), self.status]
        )

    def _submitted(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        if content.get("event") == "submit":  # Enter inside the field
            self._keep(None)

    def _keep(self, _: Any) -> None:
        if not self.field.value:
            wanted = "choose one" if self.question.choices else f"write {self._wanted}"
            self._say(f"Nothing kept: {wanted} first.")
            return
        try:
            guess = self.question.read(self.field.value)
        except ValueError as error:
            self._say(f"Nothing kept: {error}.")
            return
        self._say(kept.keep(self.question, guess))

    def _say(self, sentence: str) -> None:
        self.status.value = f'<span role="status">{html.escape(sentence)}</span>'


def mimebundle(question: Question, text: str, rich: str) -> dict[str, Any]:
    """Return what to display: the box, and the same in text and HTML for a front end that draws no widgets.

    Raises
    ------
    ImportError
        If ipywidgets is not installed.
    """
    bundle = Box(question).widget._repr_mimebundle_()
    return {**bundle, "text/plain": text, "text/html": rich}
