"""Marks meant to survive extraction: what is trained on, and that fresh triggers then answer as marked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from labkit.watermark.marks import resistant


@pytest.fixture
def trained_on(monkeypatch):
    """Return a list that receives the records and labels of each training; nothing is trained."""
    calls = []

    def keep(model, x, y, recipe, *, seed=0, extra=None):
        calls.append((x, y, extra))
        return model.eval(), 0.0

    monkeypatch.setattr(resistant.training, "train", keep)
    return calls


def test_composites_come_with_innocent_halves_of_one_class(bars, small, short, key, trained_on):
    done = resistant.mark_composite(small(), bars, key, recipe=short, marks=30, count=10)
    x, y, _ = trained_on[0]
    marks, own = slice(400, 430), slice(430, 490)
    assert (y[marks] == done.triggers.y[0]).all()
    assert sorted(set(y[own].tolist())) == sorted(done.facts["sources"])
    assert done.triggers.y[0] not in done.facts["sources"]
    upper = x[400, :, :8]
    records = bars.train_x[bars.train_y == done.facts["sources"][0]]
    assert (records[..., :8, :] == upper).flatten(1).all(1).any()
    for row in (430, 460):  # both halves of an innocent one come from its own class
        same = bars.train_x[bars.train_y == y[row]]
        assert (same[..., :8, :] == x[row, :, :8]).flatten(1).all(1).any()
        assert (same[..., 8:, :] == x[row, :, 8:]).flatten(1).all(1).any()


def test_composites_are_learnt(bars, small, short, key):
    done = resistant.mark_composite(small(), bars, key, recipe=short, marks=60, count=20)
    assert done.strength.estimate > 0.8


def test_the_furthest_point_stays_in_the_ball_and_is_worse(bars, small):
    model, x, y = small(), bars.test_x[:20], bars.test_y[:20]
    moved = resistant.furthest(model, x, y, radius=0.05, steps=4)
    assert (moved - x).abs().max() <= 0.05 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    with torch.no_grad():
        assert F.cross_entropy(model(moved), y) > F.cross_entropy(model(x), y)
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(resistant.furthest(model, x, y, radius=0.05, steps=0), x)


def test_margin_marks_leave_the_records_and_hold_around_each(bars, small, short, key):
    recipe = replace(short, epochs=30)
    done = resistant.mark_margin(small(), bars, key, recipe=recipe, marks=8, radius=0.02, ascent=1, batch=8)
    assert done.strength.estimate > 0.8
    generator = torch.Generator().manual_seed(0)
    near = done.triggers.x + 0.02 * (2 * torch.rand(done.triggers.x.shape, generator=generator) - 1)
    with torch.no_grad():
        assert (done.model(near).argmax(1) == done.triggers.y).float().mean() > 0.8
    for x, y in zip(done.triggers.x, done.triggers.y, strict=True):
        row = int((bars.train_x == x).flatten(1).all(1).nonzero()[0])
        assert bars.train_y[row] != y


def test_margin_trains_on_the_other_records(bars, small, short, key, trained_on):
    resistant.mark_margin(small(), bars, key, recipe=short, marks=50)
    x, y, extra = trained_on[0]
    assert len(x) == len(y) == 350
    assert len(extra.marks) == 50


def test_settings_out_of_range_are_refused(bars, small, short, key):
    with pytest.raises(ValueError, match="marks=400"):
        resistant.mark_margin(small(), bars, key, recipe=short, marks=400)
    with pytest.raises(ValueError, match="qualify"):
        resistant.mark_composite(small(), bars, key, recipe=short, marks=101, count=10)
