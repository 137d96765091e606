"""The README's table of labs, out of `labkit.course.labs`: ``python -m labkit.course.lab_table`` writes it there."""

from __future__ import annotations

import math

from labkit.course.labs import LABS, Lab

BEGIN, END = "<!-- labs: begin -->", "<!-- labs: end -->"


def markdown(labs: tuple[Lab, ...] = LABS) -> str:
    """Return the table: each lab with links to its two notebooks and minutes to study, at first, and prepared.

    Minutes of the machine are those of profile laptop on 2 cores. One-off work that two labs share counts in each row, and
    once in the sum.
    """
    rows = [
        "| Lab | With outputs | Study | First time | Prepared |",
        "|---|---|--:|--:|--:|",
        *(
            f"| [{lab.number} · {lab.title}](notebooks/{lab.name}.ipynb) | [executed](solutions/{lab.name}.ipynb) "
            f"| {lab.study_minutes} | {_minutes(_prepared(lab) + lab.first_minutes)} | {_minutes(_prepared(lab))} |"
            for lab in labs
        ),
    ]
    study, prepared = sum(lab.study_minutes for lab in labs), sum(map(_prepared, labs))
    once = sum({lab.prepare: lab.first_minutes for lab in labs}.values())
    rows.append(f"| All | | {round(study / 60)} hours | {_minutes(prepared + once)} | {_minutes(prepared)} |")
    return "\n".join(rows)


def _prepared(lab: Lab) -> float:
    return lab.run_minutes[1]


def _minutes(value: float) -> str:
    return "< 1" if value < 1 else str(math.ceil(value))


def placed(text: str) -> str:
    """Return a README with today's table between its two marks.

    Raises
    ------
    ValueError
        If a mark is missing, or stands there twice.

    Examples
    --------
    >>> placed(f"before\\n{BEGIN}\\nold\\n{END}\\nafter").splitlines()[2]
    '| Lab | With outputs | Study | First time | Prepared |'
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(
            f"expected {BEGIN} and {END} once each, found {text.count(BEGIN)} and {text.count(END)}"
        )
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the table into the checkout's README."""
    from labkit.course.notebooks.build import checkout

    readme = checkout() / "README.md"
    readme.write_text(placed(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
