"""Check of lab 05's exercise on the attacker who knows the defence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labkit.course.checks.lab05.attacks import _expect, reference_lira_online
from labkit.course.exercises.exercise import exercise

Lira = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def reference_knowing_attack(values: np.ndarray, masks: np.ndarray, k: int, lira: Lira) -> np.ndarray:
    """Return ``lira`` on model ``k`` with the other models of its kind, its partner on the other half left out, (n,)."""
    same = (masks == masks[k]).all(1)
    partner = (masks != masks[k]).all(1)
    others = ~(same | partner)
    return lira(values[k], values[others], masks[others])


@exercise(
    "05.knowing_attack",
    title="the attacker who knows the defence",
    reference=reference_knowing_attack,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_knowing_attack(attempt: Callable) -> None:
    """Against a loop over the models, with LiRA from SciPy's normal density; one order of pairs is shuffled."""
    rng, k = np.random.default_rng(4), 2
    for order in (np.arange(8), np.array([3, 0, 6, 2, 7, 1, 5, 4])):
        masks = np.zeros((8, 12), dtype=bool)
        for first in range(0, 8, 2):
            masks[first, rng.permutation(12)[:6]] = True
            masks[first + 1] = ~masks[first]
        masks = masks[order]
        values = rng.normal(size=(8, 12)) + rng.normal(0, 2, 12) + 1.5 * masks
        twin = next(j for j in range(8) if (masks[j] ^ masks[k]).all())

        def without(*left_out: int, values=values, masks=masks) -> np.ndarray:
            kept = [j for j in range(8) if j not in left_out]
            return reference_lira_online(values[k], values[kept], masks[kept])

        expected = without(k, twin)
        causes = {
            "the target is among its own shadow models: leave it out, or the result is void": without(),
            "the partner is still there: it was trained on the other half of the records, so it gives the target's half "
            "away": without(k),
            "the partner is left out, but the target itself is still among the shadow models": without(twin),
            "the model beside k was left out: its partner is the one whose mask is the opposite everywhere": without(
                k, k ^ 1
            ),
            "the sign is turned: members score high": -expected,
        }
        got = attempt(values.copy(), masks.copy(), k, reference_lira_online)
        given = f"8 models on 12 records, k = {k}, its partner is model {twin}"
        because = (
            "attack model k as if it were the target: which of the models may serve as its shadow models?"
        )
        causes = {text: wrong for text, wrong in causes.items() if not np.allclose(wrong, expected)}
        _expect(got, expected, given, causes, because)
