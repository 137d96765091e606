"""How often somebody innocent is accused: many draws of keys and words, one leaked copy each, no two draws shared.

Leaks of one draw share words and places, so their scores move together, and hospitals of one draw share the copy: only
draws are independent. Innocents' scores depend on words alone, so nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labkit import progress, stats
from labkit.federated.marks import tracing
from labkit.federated.marks.enrolment import Enrolment
from labkit.federated.marks.leaks import averaged, interleaved, min_or_max
from labkit.watermark.marks.keys import Key

TAG = 0x1EAC  # keeps these streams apart from all others of the same seed
MIXES = (averaged, min_or_max, interleaved)


def redrawn(enrolment: Enrolment, label: str) -> Enrolment:
    """Return the enrolment with other code words and places; marks play no part in copies."""
    return replace(enrolment, tracer=Key.from_phrase(label))


def accuse_innocents(
    models: Sequence[np.ndarray], enrolment: Enrolment, draws: int, *, seed: int = 0
) -> stats.Interval:
    """Return the share of draws in which any innocent hospital is accused: exact interval over independent draws.

    Each draw hands out copies of one of the models, lets one hospital up to as many as the code is long enough for mix
    theirs (one copy is left as it is), and traces.

    Parameters
    ----------
    models : sequence of ndarray of shape [d]
        Taken in turn.
    enrolment : Enrolment
        Its terms; code words, places and leakers are drawn anew each time.
    draws : int
    seed : int
    """
    most = min(enrolment.colluders, len(enrolment.names) - 1)
    level = enrolment.false_accusation / len(enrolment.names)
    wrong = 0
    for draw in progress.track(range(draws), "innocents"):
        weights = models[draw % len(models)]
        fresh = redrawn(enrolment, f"innocents {seed} {draw}")
        random = np.random.default_rng([TAG, seed, draw])
        who = random.choice(len(fresh.names), int(random.integers(1, most + 1)), replace=False)
        copies = np.stack(list(tracing.fingerprint(weights, fresh).values()))[who]
        mix = MIXES[int(random.integers(len(MIXES)))]
        readings = tracing.read(mix(copies, None, (), random), fresh, weights)
        accused = fresh.code.scores(readings) >= fresh.code.threshold(readings, level)
        wrong += bool(np.delete(accused, who).any())
    return stats.clopper_pearson(wrong, draws)
