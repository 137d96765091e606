"""p-values from redrawn keys hold whatever the suspect is, and never promise more than the keys carry."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch
from court_stand_ins import JUDGE, network, noisy_copy, world
from scipy import stats

from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.verification import redrawn_keys as redrawing
from labkit.watermark.verification.redrawn_keys import (
    ask_redrawn,
    keys_needed,
    redrawn_keys,
    redrawn_p,
    sequential_p,
)


def settled(own: float, drawn: np.ndarray, enough: int) -> np.ndarray:
    """Return the draws up to the one that settles it."""
    as_high = np.flatnonzero(drawn >= own)
    return drawn[: as_high[enough - 1] + 1] if len(as_high) >= enough else drawn


@pytest.mark.parametrize("most", [39, 199])
def test_p_at_most_t_has_probability_at_most_t(most):
    """20,000 innocents with clumped hits, ties included; a false alarm of this test has probability below 1e-6."""
    rng, runs = np.random.default_rng(0), 20_000
    rate = rng.beta(0.3, 1.0, runs)[:, None]  # some suspects hit nearly everything, most hardly anything
    hits = rng.binomial(12, rate, (runs, most + 1))
    p = np.array([sequential_p(row[0], settled(row[0], row[1:], 10), most) for row in hits])
    plain = np.array([redrawn_p(row[0], row[1:]) for row in hits])
    for t in (0.025, 0.05, 0.1, 0.2, 0.5):
        assert stats.binom.sf((p <= t).sum() - 1, runs, t) > 1e-6
        assert stats.binom.sf((plain <= t).sum() - 1, runs, t) > 1e-6
    assert p.min() == 1 / (1 + most)


def test_owners_and_redrawn_keys_are_exchangeable_on_networks():
    """300 keys on 6 innocent networks, untrained ones too: at t = .1, below 1e-6 for a false alarm."""
    everybody = world()
    torch.manual_seed(0)
    suspects, found = [*everybody.innocents[:4], network().eval(), network().eval()], []
    for number in range(300):
        owned = redrawing.triggers.draw(
            "patch", Key.from_phrase(f"owner {number}"), 20, dataset=everybody.owner
        )
        judge = Key.from_phrase(f"judge {number}")
        suspect = suspects[number % len(suspects)]
        found.append(
            redrawn_keys(suspect, owned, judge=judge, dataset=everybody.owner, most=19, enough=5).p_value
        )
    assert stats.binom.sf((np.array(found) <= 0.1).sum() - 1, 300, 0.1) > 1e-6
    assert 0.35 < np.mean(found) < 0.75


def test_margins_tell_the_owners_key_from_keys_that_the_network_takes_for_it():
    """A network that learnt one patch answers other patches alike, less surely."""
    everybody = world()
    stolen, settings = noisy_copy(everybody.marked.model, 0.3), {"judge": JUDGE, "dataset": everybody.owner}
    owned = everybody.claim.triggers.take(50)
    surely = redrawn_keys(stolen, owned, most=199, **settings)
    alike = redrawn_keys(stolen, owned, most=199, labels_alone=True, **settings)
    assert surely.p_value == 1 / 200
    assert alike.p_value > surely.p_value
    assert (surely.statistic, alike.statistic) == ("margin", "hits")


def test_innocents_are_settled_after_few_keys():
    everybody = world()
    found = redrawn_keys(
        everybody.innocents[0],
        everybody.claim.triggers.take(50),
        judge=JUDGE,
        dataset=everybody.owner,
        most=999,
    )
    assert len(found.redrawn) < 200
    assert found.queries == found.own.size + found.redrawn.size


def asked(own, rows, **settings):
    """Return what comes of these scores, key by key."""
    drawn = (
        TriggerSet(torch.zeros(len(own), 1, 1, 1), torch.zeros(len(own), dtype=torch.int64), "x")
        for _ in count()
    )
    stream = iter(rows)
    scored = lambda triggers: np.concatenate([next(stream) for _ in range(len(triggers) // len(own))])  # noqa: E731
    return ask_redrawn(np.array(own), drawn, scored, statistic="hits", **settings)


def test_drawing_stops_at_the_last_of_enough_keys_that_did_as_well():
    rows = [np.array([float(k % 2)] * 4) for k in range(40)]
    found = asked([1.0] * 4, rows, most=40, enough=3)
    assert len(found.redrawn) == 6
    assert found.p_value == 3 / 6


def test_refused_keys_do_not_make_the_owners_look_good():
    nothing = [np.full(4, np.nan)] * 40
    assert asked([1.0] * 4, nothing, most=40).p_value == 1
    assert asked([np.nan] * 4, [np.zeros(4)] * 40, most=40).p_value == 1
    some = [np.zeros(4)] * 9 + [np.array([0, np.nan, np.nan, np.nan])] * 31
    assert asked([1.0] * 4, some, most=40).p_value == 1 / 10


def test_after_fewer_triggers_the_draws_end_where_they_would_have():
    rows = [np.array([1.0, 0.0, 0.0, 0.0])] * 20
    found = asked([1.0] * 4, rows, most=20, enough=3)
    assert found.p_value == 1 / 21
    assert found.after(1).p_value == 3 / 3
    assert found.after(4).p_value == found.p_value


def test_levels_ask_for_keys():
    for level in (0.001, 0.0005, 1 / 7, 0.05):
        needed = keys_needed(level)
        assert 1 / (1 + needed) <= level * (1 + 1e-9)
        assert 1 / needed > level
    with pytest.raises(ValueError, match="between 0 and 1"):
        keys_needed(0)


def test_drawing_on_is_refused():
    with pytest.raises(ValueError, match="drawing went on"):
        sequential_p(1, np.ones(11), 99)
    with pytest.raises(ValueError, match="at least 1 of each"):
        asked([1.0], [], most=0)


def test_it_shows_and_saves_itself(tmp_path):
    found = asked([1.0] * 4, [np.zeros(4)] * 20, most=20)
    assert "0 of 20 redrawn keys did as well" in str(found)
    assert "redrawn keys" in found.plot().alt_text
    assert redrawing.RedrawnKeys.load(found.save(tmp_path / "found.pt")).p_value == found.p_value
