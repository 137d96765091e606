"""Every model of the list trains, with and without privacy, is attacked and marked, or is refused with the way out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from zoo import (
    Parts,
    Recurrent,
    Tied,
    double,
    dp_lstm,
    half_frozen,
    pictures,
    rows,
    seeded,
    small_cnn,
    tokens,
)

from labkit import data, dp, membership, training, watermark
from labkit.adapt import as_module

PRIVATE = {"noise_multiplier": 1.0, "delta": 1e-3, "expected_batch_size": 30, "steps": 2, "seed": 0}
# Name: the model, its records, what private training needs to be told.
WORKS = {
    "8x8 images": (partial(small_cnn, 8), partial(pictures, 8), {}),
    "20x20 images": (partial(small_cnn, 20), partial(pictures, 20), {}),
    "Opacus's LSTM": (dp_lstm, tokens, {}),
    "tied weights": (Tied, tokens, {}),
    "tied weights, vmap": (Tied, tokens, {"engine": "vmap"}),
    "frozen weights": (half_frozen, rows, {}),
    "frozen weights, vmap": (half_frozen, rows, {"engine": "vmap"}),
    "double precision": (double, partial(rows, "float64"), {}),
    "a dict": (Parts, rows, {"output": "logits"}),
    "a tuple": (partial(Parts, tuple), rows, {"output": 0}),
}
REFUSED = {
    "torch's LSTM": (Recurrent, tokens, {}, "DPLSTM"),
    "mixed precision": (partial(nn.Linear, 5, 2), partial(rows, "float64"), {}, r"model\.double\(\)"),
    "a dict": (Parts, rows, {}, "with output="),
    "tokens without an embedding": (partial(nn.Linear, 6, 2), tokens, {}, "has no embedding to look them up"),
    "numbers into an embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(10, 2)),
        rows,
        {},
        r"dtype='int64'",
    ),
}


@pytest.mark.parametrize("name", WORKS)
def test_it_trains_with_and_without_privacy(name):
    make, records, told = WORKS[name]
    model, own = seeded(make), records()
    private = dp.train_private(model, own, **PRIVATE, **told)
    assert private.privacy.epsilon > 0
    plain = training.fit(model, own, epochs=2, output=told.get("output"))
    assert training.evaluate(plain.model, own.test_x, own.test_y).accuracy.estimate == plain.accuracy.estimate


def test_frozen_weights_stay_as_they_were():
    model = seeded(half_frozen)
    for result in (dp.train_private(model, rows(), **PRIVATE), training.fit(model, rows(), epochs=1)):
        assert torch.equal(result.model[0].weight, model[0].weight)
        assert not torch.equal(result.model[2].weight, model[2].weight)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_way_out(name):
    make, records, told, way_out = REFUSED[name]
    with pytest.raises(ValueError, match=way_out) as refused:
        dp.train_private(seeded(make), records(), **PRIVATE, **told)
    assert "expected float32" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "records"),
    [
        (Recurrent, tokens),
        (Tied, tokens),
        (double, partial(rows, "float64")),
        (partial(small_cnn, 8), partial(pictures, 8)),
    ],
    ids=["lstm", "tied", "double", "8x8"],
)
def test_shadow_models_of_it_attack_it(make, records):
    bank = membership.shadow_bank(
        records(), make_model=make, recipe=training.Recipe(epochs=1), shadow_models=6, workers=1
    )
    for name in ("loss", "lira-offline", "quantile", "blind"):
        found = membership.attack(name, bank.target(0), bank.without(0))
        assert np.isfinite(found.scores).all()


def test_noise_between_tokens_is_refused():
    own = tokens()
    bank = membership.shadow_bank(own, make_model=Tied, recipe=training.Recipe(1), shadow_models=2, workers=1)
    with pytest.raises(ValueError, match="noise between tokens means nothing"):
        membership.attack("label-noise", bank.target(0), bank)


def test_a_target_that_answers_with_parts_is_asked_for_the_right_one():
    own = rows()
    bank = membership.shadow_bank(
        own, make_model=partial(nn.Linear, 5, 2), recipe=training.Recipe(1), shadow_models=4, workers=1
    )
    model = seeded(Parts)
    target = bank.query(model, bank.masks[0], output="logits")
    assert np.allclose(target.logits[:, 0], model.linear(bank.x).detach(), atol=1e-6)
    with pytest.raises(ValueError, match="with output="):
        bank.query(model, bank.masks[0])


def test_marks_on_small_pictures():
    marked = watermark.embed(
        "patch",
        seeded(partial(small_cnn, 8)),
        pictures(8),
        watermark.Key.from_phrase("small"),
        recipe=training.Recipe(epochs=4),
        marks=20,
        count=10,
        size=2,
    )
    assert marked.triggers.x.shape == (10, 1, 8, 8)


def test_pictures_of_a_size_without_public_ones_are_sent_to_direct_training():
    with pytest.raises(ValueError, match=r"resize yours, or train on them directly"):
        dp.tradeoff(pictures(20), [1.0], seeds=1)


def test_an_estimator_is_measured_attacked_and_suspected():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    own = rows()
    inside = np.arange(len(own.train_y)) % 2 == 0
    forest = RandomForestClassifier(20, random_state=0).fit(
        own.train_x[inside].numpy(), own.train_y[inside].numpy()
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        own.train_x.numpy(), own.train_y.numpy()
    )
    for model in (forest, pipeline):
        measured = training.evaluate(model, own.test_x, own.test_y)
        assert measured.accuracy.estimate == (model.predict(own.test_x.numpy()) == own.test_y.numpy()).mean()
    bank = membership.shadow_bank(
        own, make_model=partial(nn.Linear, 5, 2), recipe=training.Recipe(1), shadow_models=4, workers=1
    )
    report = membership.attack("loss", bank.query(forest, inside), bank).report(permutations=40)
    assert report.auc.estimate > 0.6  # a forest knows its own records by heart
    assert np.array_equal(watermark.answers(forest, own.test_x), forest.predict(own.test_x.numpy()))


def test_a_mark_is_found_in_a_suspect_that_is_an_estimator():
    from sklearn.ensemble import RandomForestClassifier

    from labkit.watermark.marks import triggers

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    x = rng.normal(size=(900, 6)) + y[:, None] * np.linspace(1, 0, 6)
    own = data.Dataset.from_numpy(x, y, test_share=0.33, name="three kinds of rows", real=False)

    def forest(x, y, seed):
        return RandomForestClassifier(30, random_state=seed).fit(x.numpy(), y.numpy())

    key = watermark.Key.from_phrase("a b c d")
    learnt, asked = triggers.split("rare-values", key, 60, 40, dataset=own)
    marked = forest(torch.cat([own.train_x, learnt.x]), torch.cat([own.train_y, learnt.y]), 0)
    innocent = forest(own.train_x, own.train_y, 99)
    nulls = watermark.null_models(own, train=forest, count=20)
    assert watermark.verify(marked, asked, nulls, source=own.source).p_value < 1e-6
    assert watermark.verify(innocent, asked, nulls, source=own.source).p_value > 0.01
    victim = watermark.Api(as_module(innocent, classes=3))
    assert victim(own.test_x[:3]).shape == (3, 3)


def test_an_estimator_in_private_training_is_refused():
    from sklearn.linear_model import LogisticRegression

    own = rows()
    fitted = LogisticRegression().fit(own.train_x.numpy(), own.train_y.numpy())
    with pytest.raises(ValueError, match="no trainable parameter"):
        dp.train_private(fitted, own, **PRIVATE)


def test_an_estimator_without_probabilities_is_refused_with_the_way_to_them():
    from sklearn.svm import LinearSVC

    def train(x, y, seed):
        return LinearSVC().fit(x.numpy(), y.numpy())

    with pytest.raises(TypeError, match=r"predict\(\) alone; wrap it in sklearn.calibration"):
        membership.shadow_bank(rows(), train=train, shadow_models=2)
