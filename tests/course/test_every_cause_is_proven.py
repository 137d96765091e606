"""No cause without a mistake that gets it: the named mistakes of all labs against all sentences that a check may print.

A cause that no mistake proves may be false of those that get it, or be printed for none. A message of a named mistake
(`proofs.prove_mistake`) proves the cause that it is a part of, if it is part of no other cause of that lab.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from test_hint_ladder import FILES, sentences

from labkit.course.labs import LABS

# What reads like a sentence and is no cause: the names of cases, which a check shows as the input, and texts to search.
NAMES = re.compile(
    r"""(?x)
      \d+\ (members|records|more\ records|record|triggers|of\ the\ key's|classes)\b
    | 7,\ the\ true\ share | a\ hall\ that | logits\ as\ far | scores\ rounded | all\ scores\ equal
    | the\ first\ 4\ of | the\ victim\ was | a\ last\ layer\ of | check\ of\ lab | the\ key's\ | find:
    | one\ letter\ moved | an\ entry\ said | two\ (secrets|rounds),\ two | secret\ … | the\ sum, | the\ sum\ of
    | the\ median\ of | the\ update\ closest | the\ same\ order | fresh\ draws\ of | shuffled\ epochs, | coin\ flips\ at
    | math\.log\ rounds  # test_checks_lab01.py proves it on machines whose two logarithms differ
    | MRN\  | Hospital\ number | Old\ number | Infusion | Sample\ 4 | BP\  | 4711-2032\ is
    """
)

HERE = Path(__file__).parent
TESTS = [*HERE.glob("test_checks_lab*.py"), *HERE.glob("test_further_causes*.py")]


def messages(lab: str) -> set[str]:
    """Return what the named mistakes of a lab expect to read: rows and calls of (exercise, attempt, message)."""
    found = set()
    for file in TESTS:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            row = node.elts if isinstance(node, ast.Tuple) else getattr(node, "args", [])
            parts = [getattr(part, "value", None) for part in row] if isinstance(row, list) else []
            if len(parts) == 3 and isinstance(parts[2], str) and str(parts[0]).startswith(f"{lab}."):
                found.add(parts[2])
    return found


def printed(lab: str) -> dict[str, str]:
    """Return {first line: whole text} of what the checks of a lab may print as a cause; a value in it reads 7."""
    found: dict[str, str] = defaultdict(str)
    for file in (file for file in FILES if f"lab{lab}" in str(file)):
        for _, text in sentences(file):
            if not NAMES.match(text):
                found[text.partition("\n")[0]] += f"{text}\n"
    return found


@pytest.mark.parametrize("lab", [lab.number for lab in LABS])
def test_each_cause_is_got_by_a_named_mistake(lab):
    texts = printed(lab)
    assert texts
    proven = set()
    for message in messages(lab):
        told = [first for first, whole in texts.items() if message in whole]
        proven |= set(told if len(told) == 1 else ())
    unproven = sorted(set(texts) - proven)
    assert not unproven
