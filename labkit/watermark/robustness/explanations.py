"""Why marks fall or last: what each common explanation predicts of a robustness matrix, and whether the matrix agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.watermark.robustness.cells import NONE

if TYPE_CHECKING:
    import pandas as pd

    from labkit.watermark.robustness.matrix import Matrix

HOLDS, GONE = ("holds",), ("beaten", "costly")
SEARCH, FILTERS, ANEW = ("neural cleanse",), ("blur", "mirror"), ("distil", "extract")
TUNED = ("fine-tune last", "fine-tune all")


@dataclass(frozen=True)
class Reason:
    """One explanation and what it predicts.

    Attributes
    ----------
    scheme : str
    attacks : tuple of str
        The cells that it speaks of.
    expected : tuple of str
        Verdicts (`labkit.watermark.robustness.matrix.Matrix.verdict`) that agree with it.
    """

    text: str
    scheme: str
    attacks: tuple[str, ...]
    expected: tuple[str, ...]


REASONS = (
    Reason("bits sit in weights, and training anew hands no weight over", "bits", ANEW, GONE),
    Reason("bits are read past every filter on the input", "bits", FILTERS, HOLDS),
    Reason("bits are no backdoor: there is no trigger to search for", "bits", SEARCH, HOLDS),
    Reason("a patch is foreign to the thief's questions: no answer carries it", "patch", ANEW, GONE),
    Reason("a patch is left alone by records that never show it", "patch", TUNED, HOLDS),
    Reason("a patch is one small trigger with one answer: a search finds it", "patch", SEARCH, GONE),
    Reason("abstract pictures have an answer each: no trigger opens all", "abstract", SEARCH, HOLDS),
    Reason("entangled triggers share the units of natural images", "entangled", ("fine-prune",), HOLDS),
    Reason("entangled triggers live in features that a thief has to copy", "entangled", ANEW, HOLDS),
    Reason("composite triggers are natural parts, which answers carry over", "composite", ANEW, HOLDS),
    Reason("the class's near end is natural: a thief asks about it itself", "class-feature", ANEW, HOLDS),
    Reason("a class of its own has no border to images for WRK to move", "class-feature", ("WRK",), HOLDS),
    Reason("a whole light is no small pattern that a search could stamp", "class-feature", SEARCH, HOLDS),
    Reason("true labels of its near end teach the class away", "class-feature", TUNED, GONE),
    Reason("who takes out all light takes out the class", "class-feature", ("even light",), GONE),
    Reason(
        "a margin around each trigger outlasts small changes of weights", "margin", ("noise", *TUNED), HOLDS
    ),
    Reason("wrong answers learned by heart go as weights move", "answers", TUNED, GONE),
)


def weigh(matrix: Matrix) -> pd.DataFrame:
    """Return one row a reason whose mark was there before any attack and whose attacks were tried.

    The last column says how many of its cells are as predicted.
    """
    import pandas as pd

    rows = []
    for reason in REASONS:
        tried = [attack for attack in reason.attacks if attack in matrix.attacks]
        if (
            reason.scheme not in matrix.schemes
            or matrix.verdict(reason.scheme, NONE) == "absent"
            or not tried
        ):
            continue
        seen = {attack: matrix.verdict(reason.scheme, attack) for attack in tried}
        left = {attack: matrix.pooled(reason.scheme, attack).strength.estimate for attack in tried}
        agree = sum(verdict in reason.expected for verdict in seen.values())
        rows.append(
            {
                "scheme": reason.scheme,
                "reason": reason.text,
                "predicts": " or ".join(reason.expected),
                "seen": ", ".join(f"{a}: {word} ({100 * left[a]:.0f}%)" for a, word in seen.items()),
                "as predicted": f"{agree} of {len(tried)}",
            }
        )
    columns = ["scheme", "reason", "predicts", "seen", "as predicted"]
    return pd.DataFrame(rows, columns=columns).set_index(["scheme", "reason"])
