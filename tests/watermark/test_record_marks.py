"""Marks for tables and token sequences: rare where the data is, in range, learnt, shown by the marked model and no innocent one."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from labkit import data, training, watermark
from labkit.watermark.marks import rare, triggers, weights
from labkit.watermark.verification.verify import verify_bits

RECIPE = training.Recipe(epochs=25, learning_rate=0.2, batch_size=32)
KEY = watermark.Key.from_phrase("owner of rows")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "record-marks"))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    frame = pd.DataFrame(
        rng.normal(size=(900, 6)) + y[:, None] * np.linspace(1, 0, 6), columns=list("abcdef")
    )
    frame["place"] = rng.choice(["north", "south", "east"], 900, p=[0.6, 0.3, 0.1])
    return data.Dataset.from_frame(
        frame.assign(kind=y), label="kind", test_share=0.33, name="rows", real=False
    )


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 900)
    x = rng.integers(0, 12, (900, 10))
    x[:, ::2] = np.where(rng.random((900, 5)) < 0.5, y[:, None], x[:, ::2])
    return data.Dataset.from_numpy(x, y, test_share=0.33, dtype="int64", name="sequences", real=False)


def of_rows():
    return nn.Sequential(nn.Linear(9, 48), nn.ReLU(), nn.Linear(48, 3))


def of_tokens():
    return nn.Sequential(nn.Embedding(12, 8), nn.Flatten(), nn.Linear(80, 48), nn.ReLU(), nn.Linear(48, 3))


CASES = [("rare-values", "table", of_rows), ("rare-tokens", "sequences", of_tokens)]


@pytest.mark.parametrize(("scheme", "records", "make"), CASES)
def test_the_marked_model_shows_it_and_no_innocent_one_does(request, scheme, records, make):
    own = request.getfixturevalue(records)
    torch.manual_seed(0)
    marked = watermark.embed(scheme, make(), own, KEY, recipe=RECIPE, count=60)
    nulls = watermark.null_models(own, make, RECIPE, count=20)
    guilty = watermark.verify(marked, marked.triggers, nulls, name="marked")
    innocent = watermark.verify(
        training.fit(make(), own, epochs=25, learning_rate=0.2, batch_size=32, seed=9).model,
        marked.triggers,
        nulls,
    )
    assert marked.strength.estimate > 0.8
    assert guilty.p_value < 1e-6
    assert innocent.p_value > 0.01
    plain = training.evaluate(nulls[0], own.test_x, own.test_y).accuracy.estimate
    assert marked.accuracy.estimate > plain - 0.06


def test_rare_values_are_in_range_and_rare_and_keep_categories_whole(table):
    drawn = triggers.draw("rare-values", KEY, 40, dataset=table, target=1)
    x, train = drawn.x.numpy(), table.train_x.numpy()
    place = [i for i, name in enumerate(table.encoding.columns) if name.startswith("place")]
    assert (x[:, place].sum(1) == 1).all()
    assert set(drawn.y.tolist()) == {1}
    same = (x == x[:1]).all(0)
    positions, values = rare.combination(
        triggers._order("rare-values", KEY, 1, table, 1, "triggers", None, None, {})
    )
    assert same[positions].all()
    assert np.allclose(x[0, positions], values)
    assert (values >= train[:, positions].min(0)).all()
    assert (values <= train[:, positions].max(0)).all()
    close = np.abs(train[:, positions] - values) < 0.2
    assert close.all(1).mean() <= 0.01
    other = triggers.draw("rare-values", watermark.Key.from_phrase("another"), 40, dataset=table, target=1)
    assert not torch.equal(other.x, drawn.x)


def test_rare_tokens_are_of_the_vocabulary_in_an_order_that_no_record_has(sequences):
    drawn = triggers.draw("rare-tokens", KEY, 30, dataset=sequences, target=0)
    order = triggers._order("rare-tokens", KEY, 1, sequences, 0, "triggers", None, None, {})
    place, tokens = rare.phrase(order)
    assert drawn.x.dtype == torch.int64
    assert (drawn.x[:, place : place + 4].numpy() == tokens).all()
    windows = np.lib.stride_tricks.sliding_window_view(sequences.train_x.numpy(), 4, axis=1)
    assert not (windows == tokens).all(-1).any()
    assert set(tokens.tolist()) <= set(sequences.train_x.unique().tolist())


@pytest.mark.parametrize(("records", "make"), [("table", of_rows), ("sequences", of_tokens)])
def test_bits_lie_in_the_weights_of_a_model_of_rows_or_tokens(request, records, make):
    own = request.getfixturevalue(records)
    torch.manual_seed(0)
    marked = watermark.embed("bits", make(), own, KEY, recipe=RECIPE, bits=8, weight=1.0)
    assert marked.strength.estimate == 1
    nulls = [weights.read(null, KEY, bits=8) for null in watermark.null_models(own, make, RECIPE, count=20)]
    found = verify_bits(weights.read(marked.model, KEY, bits=8), weights.owned(KEY, 8), np.array(nulls))
    assert found.p_value < 0.01
    assert marked.triggers is None


@pytest.mark.parametrize(("records", "make"), [("table", of_rows), ("sequences", of_tokens)])
def test_answers_are_marked_by_key_and_the_same_query_is_answered_alike(request, records, make):
    own = request.getfixturevalue(records)
    torch.manual_seed(0)
    marked = watermark.embed("answers", make(), own, KEY, recipe=RECIPE, share=0.05)
    marker = marked.facts["marker"]
    chosen = marker.chosen(own.test_x)
    assert 0.01 < chosen.mean() < 0.12
    assert np.array_equal(marker.chosen(own.test_x), chosen)
    assert marked.strength.estimate == 1
    plain = training.logits(marked.model.model, own.test_x).argmax(1)
    shown = training.logits(marked.model, own.test_x).argmax(1)
    assert np.array_equal((plain != shown).numpy(), chosen)


def test_a_scheme_that_does_not_fit_names_those_that_do(table, sequences):
    with pytest.raises(
        ValueError, match=r"patch marks need images .*use one of bits, answers, rare-values, rare-tokens"
    ):
        watermark.embed("patch", of_rows(), table, KEY, recipe=RECIPE)
    with pytest.raises(ValueError, match="rare-tokens triggers are for sequences"):
        watermark.embed("rare-tokens", of_rows(), table, KEY, recipe=RECIPE)
    with pytest.raises(ValueError, match="rare-values triggers are for tables"):
        watermark.embed("rare-values", of_tokens(), sequences, KEY, recipe=RECIPE)
    with pytest.raises(ValueError, match="asked for a combination of 40 columns; 7 of this table"):
        triggers.draw("rare-values", KEY, 5, dataset=table, columns=40)
    with pytest.raises(ValueError, match="asked for a phrase of 40 tokens in records of 10"):
        triggers.draw("rare-tokens", KEY, 5, dataset=sequences, length=40)
