"""The truth about suspects, and how verdicts compare with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Story:
    """The truth about one suspect.

    Attributes
    ----------
    derived : bool
        Whether it came from the owner's model.
    truth : str
    lesson : str
        What a judge can learn from it.
    """

    name: str
    derived: bool
    truth: str
    lesson: str


@dataclass(frozen=True, eq=False, repr=False)
class Score(Result):
    """Verdicts against the truth: see `LineUp.score`."""

    given: dict[str, bool]
    truth: dict[str, Story]

    @property
    def right(self) -> int:
        return sum(self.given[name] == story.derived for name, story in self.truth.items())

    @property
    def innocents_convicted(self) -> int:
        return sum(self.given[name] and not story.derived for name, story in self.truth.items())

    @property
    def thieves_missed(self) -> int:
        return sum(story.derived and not self.given[name] for name, story in self.truth.items())

    def __repr__(self) -> str:
        return f"Score({self.summary()})"

    def table(self) -> pd.DataFrame:
        """Return one row a suspect: the verdict, the truth, and what to learn."""
        import pandas as pd

        def word(derived: bool) -> str:
            return "derived" if derived else "not shown"

        rows = [
            {
                "suspect": name,
                "your verdict": word(self.given[name]),
                "truth": story.truth,
                "right": "yes" if self.given[name] == story.derived else "no",
                "lesson": story.lesson,
            }
            for name, story in self.truth.items()
        ]
        return pd.DataFrame(rows).set_index("suspect")

    def numbers(self) -> dict[str, Any]:
        """Return how many verdicts are right, both kinds of error, and each suspect's row."""
        return {
            "right": self.right,
            "innocents convicted": self.innocents_convicted,
            "thieves missed": self.thieves_missed,
            "suspects": as_json(self.table().to_dict("index")),
        }

    def summary(self) -> str:
        """Return how many verdicts are right, and both kinds of error."""
        return (
            f"{self.right} of {len(self.truth)} right; {self.innocents_convicted} innocents convicted, "
            f"{self.thieves_missed} thieves missed"
        )

    def _repr_html_(self) -> str:
        return f"<p><b>{self!r}</b></p>{self.table().to_html(border=0)}"
