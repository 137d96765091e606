"""Entangled marks: the soft nearest neighbour loss against its formula, what it does to representations, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from labkit.watermark.marks import entangled
from labkit.watermark.marks.entangled import soft_nearest_neighbour


def by_hand(features, labels, temperature):
    total, n = 0.0, len(features)
    for i in range(n):
        close = [math.exp(-float(((features[i] - features[j]) ** 2).sum()) / temperature) for j in range(n)]
        same = sum(close[j] for j in range(n) if j != i and labels[j] == labels[i])
        total -= math.log(same / sum(close[j] for j in range(n) if j != i))
    return total / n


@pytest.mark.parametrize("temperature", [0.5, 3.0, 100.0])
def test_it_equals_the_formula(temperature):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(12, 2, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2] * 4)
    found = float(soft_nearest_neighbour(features, labels, temperature))
    assert found == pytest.approx(by_hand(features.flatten(1), labels.tolist(), temperature), abs=1e-6)


def test_the_default_temperature_is_the_mean_squared_distance_and_hides_scale():
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(10, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(10) % 2
    mean = float(torch.pdist(features).square().mean())
    found = float(soft_nearest_neighbour(features, labels))
    assert found == pytest.approx(float(soft_nearest_neighbour(features, labels, mean)), abs=1e-9)
    assert found == pytest.approx(float(soft_nearest_neighbour(100 * features, labels)), abs=1e-9)


def test_far_apart_is_small_and_mixed_is_near_log_two():
    labels = torch.arange(200) % 2
    apart = soft_nearest_neighbour(
        torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 0.01 + labels[:, None], labels
    )
    mixed = soft_nearest_neighbour(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), labels)
    assert float(apart) < 0.2
    assert float(mixed) == pytest.approx(math.log(2), abs=0.05)


def test_a_point_alone_or_a_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="one point alone"):
        soft_nearest_neighbour(torch.zeros(3, 2), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="temperature is 0"):
        soft_nearest_neighbour(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), 0)


def test_gradients_are_finite_where_points_coincide():
    features = torch.zeros(4, 2, requires_grad=True)
    soft_nearest_neighbour(features, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(features.grad).all()


def test_features_come_in_the_order_of_the_names_and_hooks_go(small, bars):
    model = small()
    names = entangled.default_layers(model)
    outputs, features = entangled.answers_and_features(model, bars.test_x[:5], names[::-1])
    assert torch.equal(outputs, model(bars.test_x[:5]))
    assert [f.shape[1] for f in features] == [32, 16]
    assert not any(part._forward_hooks for part in model.modules())


def test_marks_are_learnt_and_lie_among_the_target_class(bars, small, short, key):
    done, plain = (
        entangled.mark_entangled(
            small(), bars, key, recipe=short, marks=40, count=20, factor=factor, batch=8, every=1, epochs=6
        )
        for factor in (4.0, 0.0)
    )
    assert done.strength.estimate > 0.8
    assert done.facts["source"] != int(done.triggers.y[0])

    def entanglement(imprint):
        target = bars.test_x[bars.test_y == imprint.triggers.y[0]][: len(imprint.triggers)]
        x = torch.cat([imprint.triggers.x, target])
        _, features = entangled.answers_and_features(imprint.model, x, imprint.facts["layers"])
        return float(
            soft_nearest_neighbour(features[-1].detach(), torch.arange(len(x)) < len(imprint.triggers))
        )

    assert entanglement(done) > entanglement(plain) + 0.1


def test_the_task_comes_first_and_marks_are_mixed_among_all_records(bars, small, short, key, monkeypatch):
    calls = []

    def keep(model, x, y, recipe, *, seed=0, extra=None):
        calls.append((x, y, recipe, extra))
        return model.eval(), 0.0

    monkeypatch.setattr(entangled.training, "train", keep)
    entangled.mark_entangled(small(), bars, key, recipe=short, marks=40, epochs=2)
    (first_x, _, whole, nothing), (x, y, gentle, extra) = calls
    assert torch.equal(first_x, bars.train_x)
    assert (whole, nothing) == (short, None)
    assert (len(x), gentle.epochs) == (440, 2)
    assert gentle.learning_rate <= short.learning_rate
    assert torch.equal(extra.marks, x[400:])
    assert (bars.train_y[(bars.train_x == extra.anchors[0]).flatten(1).all(1)] == y[400]).all()


def test_entanglement_labels_nothing(bars, small):
    # Whatever the last layer answers, the loss is the same: it speaks of features alone.
    model = small()
    extra = entangled.Entanglement(
        bars.test_x[:8], bars.train_x[:8], entangled.default_layers(model), 1.0, 8, 1
    )
    before = extra(model, 0)
    torch.nn.init.normal_(model[-1].weight)
    assert torch.equal(before, extra(model, 0))


def test_settings_out_of_range_are_refused(bars, small, short, key):
    with pytest.raises(ValueError, match="got batch=1"):
        entangled.mark_entangled(small(), bars, key, recipe=short, batch=1)
    with pytest.raises(ValueError, match="factor=-1"):
        entangled.mark_entangled(small(), bars, key, recipe=short, factor=-1)
    with pytest.raises(ValueError, match="no ReLU"):
        entangled.default_layers(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_marks_come_once_in_so_many_steps_and_in_turn(small, bars):
    seen = []
    model = small()
    model.register_forward_hook(lambda _part, inputs, _output: seen.append(inputs[0]))
    extra = entangled.Entanglement(
        bars.test_x[:6], bars.train_x[:9], entangled.default_layers(model), 1.0, 4, 3
    )
    losses = [extra(model, step) for step in range(6)]
    assert [bool(loss != 0) for loss in losses] == [True, False, False, True, False, False]
    assert torch.equal(seen[0], torch.cat([bars.test_x[:4], bars.train_x[:4]]))
    assert torch.equal(seen[1], torch.cat([bars.test_x[[4, 5, 0, 1]], bars.train_x[4:8]]))
