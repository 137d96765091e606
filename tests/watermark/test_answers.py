"""Marks at the interface: how many answers, always the same ones, a claim over the log, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit import training
from labkit.watermark import Key
from labkit.watermark.attacks import interface
from labkit.watermark.marks import answers
from labkit.watermark.marks import training as loop
from labkit.watermark.marks.answers import AnswerMarker


@pytest.fixture(scope="module")
def queries():
    return torch.rand(4000, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def test_about_the_share_is_marked_and_by_the_key(queries, key):
    marker = AnswerMarker(key, 0.05)
    chosen = marker.chosen(queries)
    assert 150 < chosen.sum() < 250  # 200 expected, standard deviation 14; the key is fixed
    other = AnswerMarker(Key.from_phrase("someone else's"), 0.05).chosen(queries)
    assert (chosen & other).sum() < 30  # 10 expected of independent keys


def test_marked_answers_swap_the_top_class_and_others_are_untouched(queries, key):
    marker = AnswerMarker(key, 0.05)
    shown = torch.rand(4000, 4, generator=torch.Generator().manual_seed(1)).softmax(1)
    marked, chosen = marker(queries, shown), torch.from_numpy(marker.chosen(queries))
    assert torch.equal(marked[~chosen], shown[~chosen])
    assert (marked[chosen].argmax(1) != shown[chosen].argmax(1)).all()
    assert torch.equal(marked.sort(1).values, shown.sort(1).values)
    assert len(set(((marked.argmax(1) - shown.argmax(1)) % 4)[chosen].tolist())) == 3  # any wrong class


def test_the_same_query_is_answered_alike_in_any_batch(queries, key):
    marker = AnswerMarker(key, 0.05)
    alone = np.concatenate([marker.chosen(queries[i : i + 1]) for i in range(100)])
    assert np.array_equal(alone, marker.chosen(queries)[:100])


def test_nearly_the_same_query_is_nearly_always_chosen_alike(bars, key):
    smooth = torch.nn.functional.interpolate(
        torch.rand(500, 3, 4, 4, generator=torch.Generator().manual_seed(3)), 16, mode="bicubic"
    )
    marker = AnswerMarker(key, 0.1)
    changed = smooth + 0.001 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(4))
    assert (marker.chosen(smooth) == marker.chosen(changed)).mean() > 0.95


def test_the_log_gives_the_wrong_answers_that_the_client_got(bars, small, queries, key):
    model, marker = small().eval(), AnswerMarker(key, 0.05)
    got = interface.Api(model, answers="labels", marker=marker)(queries)
    evidence = marker.register(model, torch.cat([queries, queries[:500]]))
    assert len(evidence) == marker.chosen(queries).sum()  # equal queries count once
    assert torch.equal(evidence.y, got[torch.from_numpy(marker.chosen(queries))])
    assert (training.logits(model, evidence.x).argmax(1) != evidence.y).all()


def test_a_model_behind_the_marker_answers_as_the_interface_does(bars, small, short, key):
    done = answers.mark_answers(small(), bars, key, recipe=short, share=0.1)
    assert done.strength.estimate == 1
    plain = done.model.model
    shown = interface.Api(plain, marker=done.facts["marker"])(bars.test_x)
    torch.testing.assert_close(training.logits(done.model, bars.test_x).exp(), shown)
    assert loop.strength(plain, done.triggers).estimate == 0


def test_a_thief_that_memorises_its_answers_carries_them(bars, small, short, key):
    owner = answers.mark_answers(small(), bars, key, recipe=short, share=0.1)
    own = bars.train_x[:100]
    got = interface.Api(owner.model.model, answers="labels", marker=owner.facts["marker"])(own)
    evidence = owner.facts["marker"].register(owner.model.model, own)
    recipe = replace(short, epochs=60)
    thief, _ = loop.train(small(), own, got, recipe)
    assert loop.strength(thief, evidence).estimate > loop.strength(owner.model.model, evidence).estimate + 0.5


def test_settings_out_of_range_are_refused(bars, small, queries, key):
    for share in (0, 0.5, float("nan")):
        with pytest.raises(ValueError, match="share is"):
            AnswerMarker(key, share)
    with pytest.raises(ValueError, match=r"expected images"):
        AnswerMarker(key).chosen(torch.zeros(3))
    with pytest.raises(ValueError, match="none of 1 distinct queries"):
        AnswerMarker(key, 1e-9).register(small(), queries[:1])
