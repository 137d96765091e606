"""WRK: pictures that cross borders, what they are called, and what the attack leaves of a mark."""

from __future__ import annotations

import pytest
import torch
from attack_stand_ins import RECIPE, accuracy, dataset, innocent, patched, strength
from torch.nn import functional as F  # noqa: N812

from labkit.watermark.attacks import wrk


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")


def test_a_step_towards_a_class_makes_it_likelier_and_stays_small() -> None:
    x, model = dataset().test_x[:40], innocent(0)
    labels = (dataset().test_y[:40] + 1) % 4
    moved = wrk.towards_class(model, x, labels, 0.03)
    assert (moved - x).abs().max() <= 0.03 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    with torch.no_grad():
        assert F.cross_entropy(model(moved), labels) < F.cross_entropy(model(x), labels)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_crossing_pictures_get_any_label_but_their_own(monkeypatch) -> None:
    seen = []

    def keep(make_model, x, y, recipe, seed):
        seen.append((x, y, recipe))
        return make_model()

    monkeypatch.setattr(wrk, "tune", keep)
    data = dataset(seed=5)
    wrk.reshape_borders(innocent(0), data, 0, records=200, share=0.3, recipe=RECIPE)
    (x, y, first), (changed, truth, last) = seen
    assert len(x) == 260
    assert (y[200:] != y[:60]).all()
    assert set(y[200:].tolist()) == set(range(4))
    assert torch.equal(truth, y[:200])
    assert changed.shape == x[:200].shape
    assert not torch.equal(changed, x[:200])
    assert last.learning_rate < first.learning_rate


def test_it_weakens_a_patch_and_keeps_accuracy() -> None:
    mark = patched()
    after = wrk.reshape_borders(mark.model, dataset(seed=5), 0, records=400, recipe=RECIPE)
    assert strength(after, mark) < strength(mark.model, mark)
    assert accuracy(after, dataset()) > accuracy(mark.model, dataset()) - 0.1


def test_turning_and_recolouring_keep_what_is_there() -> None:
    x = dataset().test_x[:30]
    generator = torch.Generator().manual_seed(0)
    turned = wrk.turned(x, generator)
    assert turned.shape == x.shape
    assert float((turned - x).abs().mean()) < 0.2
    flat = torch.full((5, 3, 8, 8), 0.5)
    assert (wrk.turned(flat, generator) - flat).abs().max() < 1e-5
    changed = wrk.recoloured(x, generator)
    brightness = changed.mean((1, 2, 3)) / x.mean((1, 2, 3))
    assert 0.7 < float(brightness.min()) < float(brightness.max()) < 1.3


@pytest.mark.parametrize("wrong", [{"step": 0.0}, {"step": 1.0}, {"share": 0.0}, {"share": 1.5}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="got step="):
        wrk.reshape_borders(innocent(0), dataset(), 0, **wrong)
