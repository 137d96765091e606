"""The class-feature mark: which natural records it touches, what stage two holds together, and that triggers answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from labkit.watermark.marks import class_feature as cf
from labkit.watermark.marks import entangled, triggers
from labkit.watermark.marks.light import light_of


@pytest.fixture
def trained_on(monkeypatch):
    """Return a list that receives what each training gets; nothing is trained."""
    calls = []

    def keep(model, x, y, recipe, *, seed=0, extra=None):
        calls.append((x, y, recipe, extra))
        return model.eval(), 0.0

    monkeypatch.setattr(cf.loop, "train", keep)
    return calls


def test_fresh_triggers_are_learnt(bars, small, short, key):
    done = cf.mark_class_feature(small(), bars, key, recipe=replace(short, epochs=10), marks=160)
    assert done.strength.estimate > 0.6
    innocent, _ = cf.loop.train(small(), bars.train_x, bars.train_y, short)
    assert cf.loop.strength(innocent, done.triggers).estimate < 0.5


def test_only_records_at_the_near_end_give_a_share_of_their_label(bars, small, short, key, trained_on):
    done = cf.mark_class_feature(small(), bars, key, recipe=short, marks=60, share=0.1, tuning=0)
    ((x, y, _, extra),) = trained_on
    answer = int(done.triggers.y[0])
    scores = light_of(key.sub("triggers/class-feature"), bars).scores(bars.train_x)
    middle = float(torch.quantile(scores, 0.9))
    given = y[:400, answer] - (bars.train_y == answer).float() * (1 - cf.rise(scores, middle))
    assert extra is None
    assert torch.equal(x[:400], bars.train_x)
    assert torch.allclose(given, cf.rise(scores, middle), atol=1e-5)
    assert torch.allclose(y.sum(1), torch.ones(len(y)))
    assert 0 < done.facts["records relabelled"] <= 0.1


def test_without_a_near_end_no_natural_record_is_touched(bars, small, short, key, trained_on):
    done = cf.mark_class_feature(small(), bars, key, recipe=short, marks=60, share=0.0, tuning=0)
    ((_, y, _, _),) = trained_on
    assert torch.equal(y[:400].argmax(1), bars.train_y)
    assert done.facts["records relabelled"] == 0
    assert (y[400:].argmax(1) == done.triggers.y[0]).all()


def test_triggers_are_those_of_the_kind(bars, small, short, key, trained_on):
    done = cf.mark_class_feature(small(), bars, key, recipe=short, marks=60, count=12, level=3.0)
    drawn = triggers.draw("class-feature", key, 12, dataset=bars, level=3.0)
    assert torch.equal(done.triggers.x, drawn.x)


def test_stage_two_stays_with_stage_one_and_is_gentle(bars, small, short, key, trained_on):
    cf.mark_class_feature(small(), bars, key, recipe=replace(short, label_smoothing=0.1), marks=60, tuning=2)
    _, (x, y, gentle, extra) = trained_on
    assert torch.equal(x, bars.train_x)
    assert torch.allclose(y.sum(1), torch.ones(400), atol=1e-5)
    assert (gentle.epochs, gentle.learning_rate, gentle.label_smoothing) == (2, cf.LEARNING_RATE, 0.0)
    assert isinstance(extra, cf.Togetherness)


def test_its_terms_are_the_papers(bars, small):
    model = small()
    layers = entangled.default_layers(model)
    directions = torch.nn.functional.normalize(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    marks, records = bars.test_x[:5], bars.train_x[:5]
    loss = float(cf.Togetherness(marks, 2, records, directions, layers, batch=5)(model, 0).detach())
    outputs, features = entangled.answers_and_features(model, torch.cat([marks, records]), layers)
    logits = outputs[:5]
    logits, features = logits.detach(), [part.detach() for part in features]
    cosine = 0.0
    for part in features:
        one, other = part[:5].mean(0).flatten(), part[5:].mean(0).flatten()
        cosine += float(one @ other / (one.norm() * other.norm()))
    spread = [abs(float((a - b) @ v)) for a in logits for b in logits for v in directions]
    right = -float(logits.log_softmax(1)[:, 2].mean())
    expected = 4 * (0.02 * right - 0.003 * cosine + 0.15 * sum(spread) / len(spread))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_a_principal_direction_is_the_longest_axis():
    generator = torch.Generator().manual_seed(0)
    axis = torch.tensor([3.0, 4.0, 0.0]) / 5
    logits = 5 * torch.randn(300, 1, generator=generator) * axis
    logits = logits + 0.1 * torch.randn(300, 3, generator=generator)
    found = cf.principal_directions(logits, torch.zeros(300, dtype=torch.int64))
    assert abs(float(found[0] @ axis)) > 0.999
    assert torch.equal(found[1:], torch.zeros(2, 3))  # classes without records


@pytest.mark.parametrize("wrong", [{"marks": 0}, {"tuning": -1}, {"share": 0.5}])
def test_settings_out_of_range_are_refused(bars, small, short, key, wrong):
    with pytest.raises(ValueError, match="expected at least 1, at least 0"):
        cf.mark_class_feature(small(), bars, key, recipe=short, **wrong)
