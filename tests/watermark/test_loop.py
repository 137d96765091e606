"""The loop: the recipe's own arithmetic, an extra loss that counts, a cache keyed by content, refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from labkit.training.recipe import Recipe, one_cycle, train_one
from labkit.watermark import TriggerSet
from labkit.watermark.marks import training as loop


@dataclass(frozen=True)
class Pull:
    """Pull the output layer's bias to one: something to see the extra loss by."""

    weight: float

    def __call__(self, model, step):
        return self.weight * (model[-1].bias - 1).square().sum()


def equal(one, other):
    return all(torch.equal(a, other.state_dict()[name]) for name, a in one.state_dict().items())


@pytest.mark.parametrize("extra", [None, Pull(0.0)])
def test_without_an_extra_loss_it_is_train_one_bit_for_bit(bars, small, extra):
    recipe = Recipe(
        epochs=2,
        learning_rate=0.1,
        batch_size=64,
        weight_decay=1e-3,
        label_smoothing=0.1,
        mirror=True,
        shift=1,
    )
    expected = small()
    expected.load_state_dict(train_one(small, bars.train_x, bars.train_y, recipe, 3, torch.device("cpu")))
    trained, _ = loop.train(small(), bars.train_x, bars.train_y, recipe, seed=3, extra=extra)
    assert equal(trained, expected)


def test_it_is_plain_sgd_written_out(bars, small):
    recipe = Recipe(epochs=2, learning_rate=0.05, batch_size=50, momentum=0.0)
    x, y = (
        bars.train_x[:100].double(),
        bars.train_y[:100],
    )  # rounding must not decide which pixel wins a pooling
    model, order, step = small().double(), torch.Generator().manual_seed(0), 0
    for _ in range(2):
        for rows in torch.randperm(100, generator=order).split(50):
            model.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.05 * one_cycle(step, 4) * p.grad
            step += 1
    trained, _ = loop.train(small().double(), x, y, recipe)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(
            trained.state_dict()[name], value, rtol=1e-5, atol=1e-7
        )  # the loss is float32


def test_the_extra_loss_pulls(bars, small, short):
    trained, _ = loop.train(small(), bars.train_x, bars.train_y, short, extra=Pull(1.0))
    plain, _ = loop.train(small(), bars.train_x, bars.train_y, short)
    assert (trained[-1].bias - 1).abs().max() < 0.2 < (plain[-1].bias - 1).abs().max()


def test_the_given_model_is_left_as_it_is(bars, small, short):
    model = small()
    loop.train(model, bars.train_x, bars.train_y, short, extra=Pull(0.5))
    assert equal(model, small())


def test_the_cache_answers_for_the_same_content_only(bars, small, short, monkeypatch):
    arguments = (small(), bars.train_x, bars.train_y, short)
    first, seconds = loop.train(*arguments, seed=8, extra=Pull(0.3))

    def training(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop.progress, "bar", training)
    again, same = loop.train(*arguments, seed=8, extra=Pull(0.3))
    assert equal(first, again)
    assert same == seconds


def test_what_differs_is_trained_anew(bars, small):
    short = Recipe(epochs=1, batch_size=50)
    base, _ = loop.train(small(), bars.train_x, bars.train_y, short, extra=Pull(0.3))
    labels = bars.train_y.clone()
    labels[0] = 1 - labels[0]
    others = [
        loop.train(small(), bars.train_x, bars.train_y, short, extra=Pull(0.4))[0],
        loop.train(small(), bars.train_x, bars.train_y, short, seed=1, extra=Pull(0.3))[0],
        loop.train(small(), bars.train_x, labels, short, extra=Pull(0.3))[0],
        loop.train(small(), bars.train_x, bars.train_y, replace(short, momentum=0.8), extra=Pull(0.3))[0],
        loop.train(base, bars.train_x, bars.train_y, short, extra=Pull(0.3))[0],
    ]
    assert not any(equal(base, other) for other in others)


def test_a_loss_that_explodes_is_refused(bars, small):
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        loop.train(small(), bars.train_x, bars.train_y, Recipe(epochs=1, batch_size=50), extra=Pull(1e30))


def test_bad_records_are_refused(bars, small, short):
    bad = bars.train_x.clone()
    bad[3, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        loop.train(small(), bad, bars.train_y, short)
    with pytest.raises(ValueError, match="400 inputs and 10 labels"):
        loop.train(small(), bars.train_x, bars.train_y[:10], short)


def test_marks_follow_the_records_and_strength_counts(bars, small, short):
    marks = TriggerSet(bars.test_x[:8], torch.zeros(8, dtype=torch.int64), "patch")
    x, y = loop.with_marks(bars, [marks, marks])
    assert torch.equal(x[-8:], marks.x)
    assert len(x) == len(y) == 416
    model, _ = loop.train(small(), bars.train_x, bars.train_y, short)
    known = loop.strength(model, TriggerSet(bars.test_x, bars.test_y, "patch"))
    assert known.estimate > 0.9
    assert "200 trials" in known.method
