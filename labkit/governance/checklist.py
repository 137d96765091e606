"""The audit checklist: questions as data, each with how to check it, and who answers: a check of the review, or a person.

An item that nobody answered is "not shown": it becomes a finding, never silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.governance.findings import SEVERITIES, Finding, Outcome, ReviewError

FILE = Path(__file__).parent / "data" / "checklist.yaml"
FIELDS = ("id", "area", "question", "how", "answered_by", "automatic", "severity_if_failed")
# Questions about something that a submission need not have: by their beginning, the check that says whether it does.
MOOT = {"pitfalls.": "statement", "statement.": "statement", "custody.": "mark"}
STATES = ("failed", "not shown", "answered by a person", "passed", "does not apply")


@dataclass(frozen=True)
class Item:
    """One question of the checklist.

    Attributes
    ----------
    id, area, question, how : str
    answered_by : str or None
        The function of labkit that answers it; None where only a person can.
    automatic : bool
        Whether a review answers it by itself.
    severity_if_failed : str
        Of `labkit.governance.findings.SEVERITIES`.
    references : tuple of str
    """

    id: str
    area: str
    question: str
    how: str
    answered_by: str | None
    automatic: bool
    severity_if_failed: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A person's answer to an item, from the project file.

    Attributes
    ----------
    holds : bool
        Whether what the item asks for is so.
    said : str
        In their words.
    by : str
        Who signs for it.
    """

    holds: bool
    said: str
    by: str


@dataclass(frozen=True)
class Ticked:
    """An item with what came of it: ``state`` is one of `STATES`."""

    item: Item
    state: str
    said: str


def load(path: Path = FILE) -> tuple[Item, ...]:
    """Read a checklist.

    Raises
    ------
    ReviewError
        If a field is unknown or missing, an id stands twice, or a severity is unknown.

    Examples
    --------
    >>> items = load()
    >>> {item.area for item in items if item.id.startswith("sampler.")}
    {'sampler against accountant'}
    """
    import yaml

    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    items = tuple(_item(row) for row in rows)
    names = [item.id for item in items]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ReviewError(
            f"{path.name}: {sorted(twice)} stand twice; expected an id of its own for each item"
        )
    return items


def _item(row: Mapping[str, Any]) -> Item:
    name = row.get("id", "an item without id")
    if missing := [field for field in FIELDS if field not in row]:
        raise ReviewError(f"checklist, {name}: {missing} missing; expected {', '.join(FIELDS)}")
    if unknown := sorted(set(row) - {*FIELDS, "references"}):
        raise ReviewError(f"checklist, {name}: {unknown} unknown; expected {', '.join(FIELDS)}, references")
    if row["severity_if_failed"] not in SEVERITIES or not isinstance(row["automatic"], bool):
        raise ReviewError(
            f"checklist, {name}: severity_if_failed {row['severity_if_failed']!r}, automatic {row['automatic']!r}; "
            f"expected one of {', '.join(SEVERITIES)}, and true or false"
        )
    return Item(
        **{field: row[field] for field in FIELDS}, references=tuple(map(str, row.get("references", ())))
    )


def read_answers(given: Mapping[str, Any], items: Sequence[Item], *, by: str) -> dict[str, Answer]:
    """Return what people answered, by id of the item.

    Parameters
    ----------
    given : mapping
        From id to text ("it holds: this is how"), or to a mapping of ``holds``, ``said`` and, optionally, ``by``.
    by : str
        Who answers where no name stands.

    Raises
    ------
    ReviewError
        If an id is unknown, is one that a check answers, or an answer says nothing.
    """
    known = {item.id: item for item in items}
    found = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected ids such as {next(iter(known))!r}"
            raise ReviewError(f"answers: no item {name!r} in the checklist; {hint}")
        if known[name].automatic:
            raise ReviewError(
                f"answers: {name!r} is answered by {known[name].answered_by}, not by a person: leave it out"
            )
        answer = value if isinstance(value, Mapping) else {"holds": True, "said": value}
        said = answer.get("said")
        if set(answer) - {"holds", "said", "by"} or not isinstance(answer.get("holds"), bool):
            raise ReviewError(
                f"answers: {name!r} is {value!r}; expected text, or holds: true or false, said: text, by: name"
            )
        if not isinstance(said, str) or len(said.strip()) < 3:
            raise ReviewError(f"answers: {name!r} says nothing; expected how it was checked, in words")
        found[name] = Answer(answer["holds"], said.strip(), str(answer.get("by", by)))
    return found


def tick(
    items: Sequence[Item],
    outcomes: Iterable[Outcome],
    answers: Mapping[str, Answer],
    checks: Mapping[str, str],
) -> tuple[Ticked, ...]:
    """Go through the list.

    Parameters
    ----------
    checks : mapping
        From an item's id to the name of the check that answers it.
    """
    done = {outcome.name: outcome for outcome in outcomes}
    return tuple(_tick(item, _outcome(item, done, checks), answers.get(item.id)) for item in items)


def _outcome(item: Item, done: Mapping[str, Outcome], checks: Mapping[str, str]) -> Outcome | None:
    """Return the outcome that answers an item; for a person's, one only where there is nothing to ask about."""
    if item.automatic:
        return done.get(checks.get(item.id, ""))
    about = done.get(next((check for start, check in MOOT.items() if item.id.startswith(start)), ""))
    return about if about is not None and not about.applies else None


def _tick(item: Item, outcome: Outcome | None, answer: Answer | None) -> Ticked:
    if answer is not None:
        said = f"{answer.said} ({answer.by})"
        return Ticked(item, "answered by a person" if answer.holds else "failed", said)
    if outcome is None:
        return Ticked(item, "not shown", "nobody answered")
    if outcome.status == "findings":
        return Ticked(item, "failed", "; ".join(one.title for one in outcome.findings))
    state = {"not run": "not shown", "does not apply": "does not apply", "passed": "passed"}[outcome.status]
    return Ticked(item, state, outcome.why or f"check: {outcome.title}")


def findings_of(ticked: Sequence[Ticked]) -> tuple[Finding, ...]:
    """Return what the list adds to the checks' own findings: answers of "no", and what no person answered, by area."""
    by_hand = [one for one in ticked if not one.item.automatic]
    found = [
        Finding(
            title=f"{one.item.question} No.",
            severity=one.item.severity_if_failed,
            evidence=one.said,
            found_by="labkit.governance.checklist.tick",
            condition=f"Meet item {one.item.id} of the checklist: {one.item.how}",
            refs=one.item.references,
        )
        for one in by_hand
        if one.state == "failed"
    ]
    open_ = [one.item for one in by_hand if one.state == "not shown"]
    return (*found, *(_unanswered(area, open_) for area in dict.fromkeys(item.area for item in open_)))


def _unanswered(area: str, open_: Sequence[Item]) -> Finding:
    here = [item for item in open_ if item.area == area]
    # Nobody said "no": what is unanswered weighs as missing evidence, whatever a "no" would weigh.
    worst = min((item.severity_if_failed for item in here), key=SEVERITIES.index)
    return Finding(
        title=f"Unanswered in the checklist: {area}",
        severity="high" if worst in ("critical", "high") else "medium",
        evidence="Nobody answered: " + " ".join(f"({item.id}) {item.question}" for item in here),
        found_by="labkit.governance.checklist.tick",
        condition=f"Answer {', '.join(item.id for item in here)} in the project file, under answers.",
    )
