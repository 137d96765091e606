"""The same attacks by the Adversarial Robustness Toolbox, on the same models."""

from __future__ import annotations

import numpy as np
import pytest

from labkit import membership, stats
from labkit.bridges import peers
from labkit.membership.shadows import signals

art = pytest.importorskip("art", reason="the extra `bridges` brings ART")


def test_the_gap_attack_is_art_s_rule(bank) -> None:
    target = bank.target(0)
    ours = membership.attack("gap", target, bank.without(0)).scores
    theirs = peers.rule_guesses(peers.probabilities(target.logits), bank.labels)
    np.testing.assert_array_equal(ours, theirs)


def test_the_loss_threshold_finds_what_art_s_threshold_attack_finds(bank) -> None:
    from art.attacks.inference.membership_inference import LabelOnlyGapAttack

    target = bank.target(0)
    table = peers.looked_up(peers.probabilities(target.logits))
    rows = np.arange(len(bank.labels), dtype=np.float32)[:, None]
    theirs = LabelOnlyGapAttack(table).infer(rows, bank.labels)
    # At the threshold log(1/2) of two classes, "loss above" and "right answer" are the same decision.
    ours = signals.signal("loss", target.logits, bank.labels)[:, 0] > np.log(0.5)
    np.testing.assert_array_equal(ours, theirs.astype(bool))


def test_the_shadow_classifier_agrees_with_art_s(bank) -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    target, rest = bank.target(0), bank.without(0)
    trees = GradientBoostingClassifier(random_state=0)
    ours = membership.attack("shokri", target, rest, classifier=trees).scores
    theirs = peers.black_box_scores(target, rest)
    members = target.members

    def auc(scores: np.ndarray) -> float:
        return stats.auc(scores[members], scores[~members])

    assert auc(ours) > 0.52
    assert abs(auc(ours) - auc(theirs)) < 0.03  # same trees on the same outputs, features arranged otherwise
    assert np.corrcoef(ours, theirs)[0, 1] > 0.8
