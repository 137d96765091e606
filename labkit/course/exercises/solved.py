"""``Solved``: what later cells of a lab call, the learner's own functions as far as they have passed."""

from __future__ import annotations

from typing import Any

from labkit.course.exercises.checking import passed
from labkit.course.exercises.exercise import find, of_lab
from labkit.course.labs import lab


class Solved:
    """The exercises of one lab by name: the learner's function once it has passed its check, labkit's until then.

    Looked up at each use, so a check that is pressed later changes what the cells below it do when they run again.

    Parameters
    ----------
    number : str
        The lab, such as ``"02"``.

    Raises
    ------
    labkit.course.labs.UnknownLabError
        If there is no such lab.

    Examples
    --------
    >>> import torch
    >>> solved = Solved("00")
    >>> solved.per_sample_norms(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([5., 0.])
    """

    def __init__(self, number: str) -> None:
        self._number = lab(number).number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            item = find(f"{self._number}.{name}")
        except LookupError as error:
            raise AttributeError(str(error)) from None
        own = passed(item.id)
        return item.answer if own is None else own

    def __dir__(self) -> list[str]:
        return [item.id.partition(".")[2] for item in of_lab(self._number)]

    def __repr__(self) -> str:
        whose = [
            f"{name} ({'yours' if passed(f'{self._number}.{name}') else 'labkit'})" for name in dir(self)
        ]
        return f"Solved({self._number!r}): {', '.join(whose)}"
