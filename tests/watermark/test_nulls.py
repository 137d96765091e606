from __future__ import annotations

import pytest
import torch
from attack_stand_ins import CLASSES, dataset, tiny_cnn

from labkit import cache
from labkit.training import many
from labkit.training.recipe import Recipe
from labkit.watermark import Key, null_models
from labkit.watermark.court.commitments import model_digest
from labkit.watermark.marks import triggers
from labkit.watermark.verification import verify

RECIPE = Recipe(epochs=1, learning_rate=0.05, batch_size=50)


def train(count: int, **options):
    return null_models(dataset(), tiny_cnn, RECIPE, count=count, strategy="loop", **options)


def test_models_are_independent_and_the_same_again(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    first = [model_digest(model) for model in train(3)]
    assert len(set(first)) == 3
    assert [model_digest(model) for model in train(3)] == first
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "elsewhere"))
    assert [model_digest(model) for model in train(2)] == first[:2]
    assert not set(first) & {model_digest(model) for model in train(2, seed=1)}
    assert not any(model.training for model in train(2))


def test_saved_models_are_not_trained_again_and_an_interrupt_loses_one_at_most(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    whole = many.train_many

    def interrupted(*args, **options):
        for k, found in enumerate(whole(*args, **options)):
            if k == 2:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(many, "train_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(4)
    trained = []

    def counted(*args, **options):
        trained.extend(options["seeds"])
        return whole(*args, **options)

    monkeypatch.setattr(many, "train_many", counted)
    train(4)
    assert len(trained) == 2
    train(4)
    assert len(trained) == 2


def test_each_model_may_draw_records_of_its_own(monkeypatch) -> None:
    masks = []
    whole = many.train_many

    def watched(make_model, x, y, given, *args, **options):
        masks.append(given)
        return whole(make_model, x, y, given, *args, **options)

    monkeypatch.setattr(many, "train_many", watched)
    train(3, records=100, seed=5)
    assert masks[0].sum(1).tolist() == [100, 100, 100]
    assert not (masks[0][0] == masks[0][1]).all()
    for wrong in ({"records": 0}, {"records": 401}):
        with pytest.raises(ValueError, match="1 to 400 records"):
            train(3, **wrong)
    with pytest.raises(ValueError, match="at least 1 model"):
        train(0)


def test_other_settings_have_files_of_their_own(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    train(1)
    null_models(dataset(), tiny_cnn, Recipe(epochs=2), count=1, strategy="loop")
    null_models(dataset(), lambda: tiny_cnn(16), RECIPE, count=1, strategy="loop")
    null_models(dataset(1), tiny_cnn, RECIPE, count=1, strategy="loop")
    assert len(list((cache.directory() / "nulls").iterdir())) == 4


def test_null_models_that_are_really_trained_are_not_accused() -> None:
    models = train(21)
    asked = triggers.draw("patch", Key.from_phrase("nulls"), 60, dataset=dataset(), size=3)
    assert asked.x.shape[1:] == (3, 8, 8)
    assert asked.y.max() < CLASSES
    verdict = verify.verify(models[-1], asked, models[:-1])
    assert not verdict.decided
    # One of 20 at most by the theorem; trained from fixed seeds.
    assert verdict.false_claim_rate.estimate <= 1 / 20
    assert torch.isfinite(torch.as_tensor(verdict.null_rates)).all()
