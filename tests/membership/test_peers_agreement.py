"""Peers' attacks on the same arrays as ours: ART runs here, PrivacyGuard's scores were kept (versions beside them)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labkit.bridges import peers

KEPT = Path(__file__).with_name("privacyguard_scores.json")
RATE = 0.05


def scene(make):
    """Return the target and bank on whose arrays PrivacyGuard's scores were kept."""
    made = make(models=8, n=120, m=60, queries=1, effect=1.5, seed=5)
    return made.target, made.bank


def kept() -> dict[str, np.ndarray]:
    found = json.loads(KEPT.read_text(encoding="utf-8"))
    return {name: np.array(values) for name, values in found["scores"].items()}


def lines(make, theirs: dict[str, np.ndarray]):
    target, bank = scene(make)
    held = peers.arrays(target, bank)
    return peers.guard_lines(
        peers.our_scores(target, bank), theirs, target.members, len(held["population"]), RATE
    )


def test_our_lira_and_rmia_agree_with_privacyguard_s(make) -> None:
    found = lines(make, kept())
    judged = [line for line in found if line.agrees is not None]
    assert len(judged) >= 5
    assert all(line.agrees for line in judged), judged


def test_lira_is_the_same_number(make) -> None:
    """One formula, two programs: each record's own mean and spread, with and without it."""
    target, bank = scene(make)
    np.testing.assert_allclose(
        peers.our_scores(target, bank)["lira-online"], kept()["lira-online"], rtol=1e-9
    )


def test_offline_rmia_differs_as_told(make) -> None:
    """PrivacyGuard takes p(z) from the larger half of the models, so fewer records seem to dominate z."""
    target, bank = scene(make)
    ours, theirs = peers.our_scores(target, bank)["rmia-offline"], kept()["rmia-offline"]
    assert ours.mean() != pytest.approx(theirs.mean(), abs=0.01)


def test_another_attack_does_not_pass_for_theirs(make) -> None:
    theirs = kept()
    swapped = theirs | {"lira-online": theirs["rmia"]}
    assert not all(line.agrees for line in lines(make, swapped) if line.agrees is not None)


def test_art_s_rule_is_our_gap_attack(make) -> None:
    pytest.importorskip("art", reason="the extra `bridges` brings ART")
    target, bank = scene(make)
    rule, *learned = peers.art_lines(target, bank, RATE)
    assert rule.agrees
    # The same trees on the same outputs, arranged otherwise: areas are near, and not judged.
    assert abs(learned[0].ours - learned[0].theirs) < 0.1
    assert all(line.agrees is None for line in learned)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0.5), (0.24, 0.5), (0.25, 0.75), (1.0, 1.0)])
def test_the_rate_is_that_of_a_threshold(rate: float, expected: float) -> None:
    scores = np.array([9, 8, 5, 1, 7, 4, 3, 2.0])
    members = np.arange(8) < 4
    assert peers.tpr_at(scores, members, rate) == expected


@pytest.mark.slow
def test_privacyguard_says_the_same_today(make) -> None:
    """Installs it in an environment of its own."""
    target, bank = scene(make)
    found, _ = peers.privacy_guard(peers.arrays(target, bank))
    for name, values in kept().items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12)
