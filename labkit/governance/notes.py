"""Invented clinical notes with known identifiers in them: what redaction is measured on. No note describes anybody.

Every note holds exactly one item of each kind of `KINDS`, in a form that is drawn at random, and things that look like
identifiers and are none. So notes are independent of each other, and a share of notes has an exact binomial interval.

The forms, and how often each is drawn, are invented as well: what is measured on these notes is a rate for each *form*,
to be weighed by how one's own notes are written.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

SOURCE = "notes made by code (labkit.governance.notes)"


@dataclass(frozen=True)
class Item:
    """One identifier in a note.

    Attributes
    ----------
    start, end : int
        Where it stands in the text, end excluded.
    kind, form : str
        What it is, and how it is written.
    """

    start: int
    end: int
    kind: str
    form: str


@dataclass(frozen=True)
class Note:
    """A note and the truth about it.

    Attributes
    ----------
    text : str
    items : tuple of Item
        One of each kind, in the order of the text.
    urgent : bool
        Whether the complaint is one to be seen at once: what a triage model learns.
    """

    text: str
    items: tuple[Item, ...]
    urgent: bool

    def of_kind(self, kind: str) -> Item:
        """Return the note's one item of a kind."""
        return next(item for item in self.items if item.kind == kind)


def check_digit(digits: str) -> int:
    """Return the digit that makes ``digits`` and it pass the Luhn test (ISO/IEC 7812-1, annex B).

    Examples
    --------
    >>> check_digit("7992739871")
    3
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return -total % 10


def is_record_number(digits: str) -> bool:
    """Return whether eight digits are a record number of the course's hospital: the last is a check digit.

    Examples
    --------
    >>> is_record_number("47112032"), is_record_number("47112033")
    (True, False)
    """
    return len(digits) == 8 and digits.isdigit() and check_digit(digits[:-1]) == int(digits[-1])


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = _words("Maria James Aisha Wei Elena Tomás Ingrid Kofi Yuki Samuel Nadia Pieter Leila Owen Chloe Ravi")
LAST = _words("Gonzalez Okafor Lindqvist Nakamura Petrov Haddad O'Brien Moreau Schmidt Kaur Silva Jansen")
STREETS = _words("Oak Birch Mill Church Station Harbour Garden Victoria")
MONTHS = _words("January February March April May June July August September October November December")


def _number(rng: random.Random) -> str:
    digits = f"{rng.randint(1_000_000, 9_999_999)}"
    return digits + str(check_digit(digits))


def _phone(rng: random.Random) -> tuple[str, str, str]:
    return rng.choice(("212", "415", "617", "305")), "555", f"{rng.randint(100, 199):04d}"  # kept for fiction


def _social(rng: random.Random) -> tuple[str, str, str]:
    return f"{rng.randint(100, 665)}", f"{rng.randint(10, 99)}", f"{rng.randint(1000, 9999)}"


def _date(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(1, 28), rng.randint(1, 12), rng.randint(2019, 2025)


def _person(rng: random.Random) -> tuple[str, str]:
    return rng.choice(FIRST), rng.choice(LAST)


def _place(rng: random.Random) -> tuple[int, str]:
    return rng.randint(1, 199), rng.choice(STREETS)


# kind -> (what is drawn, {form: how it is written}); the words around an item are no part of it.
Draw = Callable[[random.Random], tuple]
FORMS: dict[str, tuple[Draw, dict[str, Callable[..., str]]]] = {
    "record number": (
        lambda rng: (_number(rng),),
        {
            "12345678": lambda n: n,
            "1234-5678": lambda n: f"{n[:4]}-{n[4:]}",
            "1234 5678": lambda n: f"{n[:4]} {n[4:]}",
            "one digit mistyped": lambda n: f"{n[:3]}{(int(n[3]) + 1) % 10}-{n[4:]}",
            "over a line break": lambda n: f"{n[:4]}-\n{n[4:]}",
        },
    ),
    "phone": (
        _phone,
        {
            "212-555-0143": lambda a, b, c: f"{a}-{b}-{c}",
            "(212) 555-0143": lambda a, b, c: f"({a}) {b}-{c}",
            "+1 212 555 0143": lambda a, b, c: f"+1 {a} {b} {c}",
            "212.555.0143": lambda a, b, c: f"{a}.{b}.{c}",
            "without area code": lambda a, b, c: f"{b}-{c}",
        },
    ),
    "e-mail": (
        _person,
        {
            "a.b@example.org": lambda a, b: f"{a}.{b}@example.org".lower().replace("'", ""),
            "a_b@mail.example.com": lambda a, b: f"{a[0]}_{b}@mail.example.com".lower().replace("'", ""),
            "a.b at example dot org": lambda a, b: f"{a}.{b} at example dot org".lower().replace("'", ""),
        },
    ),
    "social security number": (
        _social,
        {
            "536-22-1234": lambda a, b, c: f"{a}-{b}-{c}",
            "536 22 1234": lambda a, b, c: f"{a} {b} {c}",
            "536221234": lambda a, b, c: f"{a}{b}{c}",
        },
    ),
    "date": (
        _date,
        {
            "03/14/2024": lambda d, m, y: f"{m:02d}/{d:02d}/{y}",
            "2024-03-14": lambda d, m, y: f"{y}-{m:02d}-{d:02d}",
            "14.3.2024": lambda d, m, y: f"{d}.{m}.{y}",
            "March 14, 2024": lambda d, m, y: f"{MONTHS[m - 1]} {d}, {y}",
            "14 Mar": lambda d, m, y: f"{d} {MONTHS[m - 1][:3]}",
        },
    ),
    "name": (
        _person,
        {
            "Maria Gonzalez": lambda a, b: f"{a} {b}",
            "Mrs Gonzalez": lambda a, b: f"Mrs {b}",
            "GONZALEZ, M.": lambda a, b: f"{b.upper()}, {a[0]}.",
        },
    ),
    "address": (
        _place,
        {
            "12 Oak Street": lambda n, s: f"{n} {s} Street",
            "12 Oak St, Apt 4": lambda n, s: f"{n} {s} St, Apt {n % 9 + 1}",
        },
    ),
}
KINDS = tuple(FORMS)

SENTENCES = {
    "record number": ("MRN {}.", "Hospital number {}, old file not found.", "Seen under {}."),
    "phone": ("Call back on {}.", "Daughter's phone: {}.", "Next of kin {}."),
    "e-mail": ("Results to {}.", "Writes from {}.", "Email {} for the letter."),
    "social security number": ("SSN {}.", "Social security {} on the form.", "Insurance card shows {}."),
    "date": ("Last seen {}.", "Admitted {}.", "Onset on {}."),
    "name": ("Patient: {}.", "Spoke with {}.", "{} attends with a relative."),
    "address": ("Lives at {}.", "Discharged to {}.", "Home visit, {}."),
}
URGENT = (
    "crushing chest pain radiating to the left arm",
    "sudden weakness of the right arm and slurred speech",
    "short of breath at rest, saturation falling",
    "fever with stiff neck and confusion",
    "vomiting blood since the morning",
    "severe abdominal pain with rigid abdomen",
)
ROUTINE = (
    "renewal of a prescription",
    "mild sore throat for two days",
    "itching rash on the forearm",
    "follow up of blood pressure at home",
    "ankle sprain, walks without help",
    "request for a travel vaccination",
)
FINDINGS = _words("alert pale sweating afebrile anxious calm dehydrated wheezing tender swollen dizzy tired")
# What makes a patient recognisable, and is no identifier of any kind on a list.
STORIES = (
    "restores church organs",
    "keeps forty racing pigeons",
    "fell from a lighthouse ladder",
    "swims the channel each year",
    "translates from Faroese",
    "drives the last steam train",
    "raises alpacas on a roof",
    "won a national chess title",
    "survived a lightning strike",
    "plays the glass harmonica",
    "repairs antique globes",
    "was bitten by a rented camel",
)
LOOK_ALIKES: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"Infusion pump serial {rng.randint(10_000_000, 99_999_999)}.",
    lambda rng: f"Trial NCT{rng.randint(10_000_000, 99_999_999)} discussed.",
    lambda rng: f"BP {rng.randint(100, 180)}/{rng.randint(60, 99)}, Na {rng.randint(128, 145)}.",
    lambda rng: f"Antibiotic for {rng.randint(5, 7)}-{rng.randint(8, 14)} days.",
    lambda rng: f"Visual acuity 6/{rng.choice((6, 9, 12))}.",
    lambda rng: (
        f"Lot {rng.randint(100, 999)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}A of the vaccine."
    ),
    lambda rng: f"Sample {rng.randint(100_000_000, 999_999_999)} sent.",
)


def make_notes(count: int, *, seed: int = 0) -> list[Note]:
    """Return invented notes; the first few are the same whatever ``count``.

    Raises
    ------
    ValueError
        If ``count`` is below 1.

    Examples
    --------
    >>> note = make_notes(1)[0]
    >>> len(note.items) == len(KINDS)
    True
    """
    if count < 1:
        raise ValueError(f"got count {count}; expected at least one note")
    return [_note(random.Random(f"{seed}/{place}")) for place in range(count)]


def _note(rng: random.Random) -> Note:
    """Write one note: the complaint, one sentence for each kind in random order, look-alikes in between."""
    urgent = rng.random() < 0.5
    complaint = rng.choice(URGENT if urgent else ROUTINE)
    parts: list[tuple[str, str, str, str]] = [(f"{complaint.capitalize()}.", "", "", "")]
    for kind in rng.sample(KINDS, len(KINDS)):
        draw, forms = FORMS[kind]
        form = rng.choice(list(forms))
        parts.append((rng.choice(SENTENCES[kind]), kind, form, forms[form](*draw(rng))))
    for look_alike in rng.sample(LOOK_ALIKES, 3):
        parts.insert(rng.randint(1, len(parts)), (look_alike(rng), "", "", ""))
    seen = ", ".join(rng.sample(FINDINGS, 3))
    story = f" {rng.choice(STORIES).capitalize()}." if rng.random() < 0.2 else ""
    parts.append((f"On examination {seen}.{story}", "", "", ""))
    text, items = "", []
    for sentence, kind, form, written in parts:
        text += " " if text else ""
        if kind:
            start = len(text) + sentence.index("{}")
            items.append(Item(start, start + len(written), kind, form))
        text += sentence.format(written) if kind else sentence
    return Note(text, tuple(items), urgent)
