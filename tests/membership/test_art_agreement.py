"""The same attacks by the Adversarial Robustness Toolbox, on the same models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit import membership, stats
from labkit.bench import membership as bench
from labkit.membership.shadows import signals

art = pytest.importorskip("art", reason="the extra `bridges` brings ART")


def probabilities(logits: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(np.array(logits[:, 0])), dim=1).numpy()


def test_the_gap_attack_is_art_s_rule(bank) -> None:
    target = bank.target(0)
    ours = membership.attack("gap", target, bank.without(0)).scores
    theirs = bench.art_rule(probabilities(target.logits), bank.labels)
    np.testing.assert_array_equal(ours, theirs)


def test_the_loss_threshold_finds_what_art_s_threshold_attack_finds(bank) -> None:
    from art.attacks.inference.membership_inference import LabelOnlyGapAttack

    target = bank.target(0)
    table = bench._precomputed(probabilities(target.logits))
    rows = np.arange(len(bank.labels), dtype=np.float32)[:, None]
    theirs = LabelOnlyGapAttack(table).infer(rows, bank.labels)
    # At the threshold log(1/2) of two classes, "loss above" and "right answer" are the same decision.
    ours = signals.signal("loss", target.logits, bank.labels)[:, 0] > np.log(0.5)
    np.testing.assert_array_equal(ours, theirs.astype(bool))


def test_the_shadow_classifier_agrees_with_art_s(bank) -> None:
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from sklearn.ensemble import GradientBoostingClassifier

    target, rest = bank.target(0), bank.without(0)
    trees = GradientBoostingClassifier(random_state=0)
    ours = membership.attack("shokri", target, rest, classifier=trees).scores
    known = [probabilities(rest.logits(k)) for k in range(len(rest))]
    inside = np.concatenate([p[m] for p, m in zip(known, rest.masks, strict=True)])
    outside = np.concatenate([p[~m] for p, m in zip(known, rest.masks, strict=True)])
    labels_in = np.concatenate([rest.labels[m] for m in rest.masks])
    labels_out = np.concatenate([rest.labels[~m] for m in rest.masks])
    shown = probabilities(target.logits)
    tool = MembershipInferenceBlackBox(
        bench._precomputed(shown),
        attack_model_type="gb",
    )
    tool.fit(x=None, y=labels_in, test_x=None, test_y=labels_out, pred=inside, test_pred=outside)
    theirs = np.ravel(tool.infer(None, bank.labels, pred=shown, probabilities=True))
    members = target.members

    def auc(scores: np.ndarray) -> float:
        return stats.auc(scores[members], scores[~members])

    assert auc(ours) > 0.52
    assert abs(auc(ours) - auc(theirs)) < 0.03  # same trees on the same outputs, features arranged otherwise
    assert np.corrcoef(ours, theirs)[0, 1] > 0.8
