"""The drill in a notebook: buttons that the keyboard reaches, or folded cards where there are no widgets."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from labkit.course import showing
from labkit.course.interview import sheets, terminal
from labkit.course.interview.bank import SIGNALS, Question, choose
from labkit.course.interview.study import BEST, Study, standing

if TYPE_CHECKING:
    import ipywidgets

KEEP = "Keep the score, next"
TEXT_CARDS = 3  # shown at once where there are no widgets


class Panel:
    """One question at a time: reveal, score, next. Tab goes from control to control, space presses.

    Parameters
    ----------
    some : sequence of Question
    study : Study
    day : date
        Today; a test gives another.
    now : callable
        Seconds of a clock.
    """

    def __init__(
        self,
        some: Sequence[Question],
        study: Study,
        *,
        day: date,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        import ipywidgets

        self.some, self.study, self.day, self.now = tuple(some), study, day, now
        self.queue = study.queue(self.some, day)
        self.place, self.seconds = 0, 0.0
        wide = {"layout": {"width": "auto"}, "style": {"description_width": "10em"}}
        self.question, self.answer = ipywidgets.HTML(), ipywidgets.HTML()
        self.scores = {
            signal: ipywidgets.ToggleButtons(
                options=[str(score) for score in range(BEST + 1)], value=None, description=signal, **wide
            )
            for signal in SIGNALS
        }
        self.reveal = ipywidgets.Button(description="Show the answer", button_style="primary")
        self.keep = ipywidgets.Button(description=KEEP)
        self.skip = ipywidgets.Button(description="Skip")
        self.reveal.on_click(self._reveal)
        self.keep.on_click(self._keep)
        self.skip.on_click(self._skip)
        self.scoring = ipywidgets.VBox([*self.scores.values(), self.keep])
        self.widget: ipywidgets.Widget = ipywidgets.VBox(
            [self.question, ipywidgets.HBox([self.reveal, self.skip]), self.answer, self.scoring]
        )
        self._ask(study.remark)

    @property
    def current(self) -> Question | None:
        """The question that is shown, or None at the end."""
        return self.queue[self.place] if self.place < len(self.queue) else None

    def _ask(self, note: str = "") -> None:
        one, self.answer.value, self.keep.description = self.current, "", KEEP
        self.scoring.layout.display = "none"
        said = f'<p role="status">{html.escape(note)}</p>' if note else ""
        if one is None:
            table = html.escape(standing(self.study.weak_spots(self.some)))
            self.question.value = (
                f"{said}<p>Nothing more is due. Latest answers by area:</p><pre>{table}</pre>"
            )
            self.reveal.disabled = self.skip.disabled = True
            return
        self.question.value = (
            f"{said}<p>{html.escape(sheets.heading(one))}; {self.place + 1} of {len(self.queue)} due</p>"
            f"<p><strong>{html.escape(one.filled()['question'])}</strong></p>"
        )
        self.reveal.disabled = False
        for buttons in self.scores.values():
            buttons.value = None
        self.begun = self.now()

    def _reveal(self, _: Any) -> None:
        one = self.current
        if one is None or self.answer.value:
            return
        self.seconds = self.now() - self.begun
        spent = f"You took {terminal.clock_text(self.seconds)} of {one.minutes}:00."
        self.answer.value = f'<p role="status">{spent}</p>{sheets.answer_html(one)}'
        self.scoring.layout.display = ""
        self.reveal.disabled = True

    def _keep(self, _: Any) -> None:
        one, chosen = self.current, [buttons.value for buttons in self.scores.values()]
        if one is None or not self.answer.value:
            return
        if None in chosen:
            missing = ", ".join(signal for signal, buttons in self.scores.items() if buttons.value is None)
            self.keep.description = f"Score first: {missing}"
            return
        card = self.study.record(one.id, [int(score) for score in chosen], day=self.day, seconds=self.seconds)
        self.place += 1
        self._ask(self.study.remark or f"Kept. {one.id} comes again on {card.next_day}.")

    def _skip(self, _: Any) -> None:
        self.place += 1
        self._ask("Skipped; nothing was kept.")


def start(area: str | None = None, level: int | None = None, *, day: date | None = None) -> Panel | None:
    """Drill in a notebook: what is due of an area and level, as a panel; as folded cards where there are no widgets.

    Raises
    ------
    LookupError
        If nothing fits.
    """
    some, study, day = choose(area, level), Study(), day or date.today()
    try:
        from IPython.display import display

        panel = Panel(some, study, day=day)
    except ImportError:
        due = study.queue(some, day)[:TEXT_CARDS]
        cards = "".join(map(sheets.card_html, due))
        text = "\n\n".join(f"{sheets.asked(one)}\n(labkit drill --show {one.id})" for one in due)
        showing.show(cards, f"{text}\n\n{terminal.agenda(some, study, day)}")
        return None
    display(panel.widget)
    return panel
