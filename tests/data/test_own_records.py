"""Own arrays, tables and tensors: what goes in comes out in its order, and every refusal names value, expectation and fix."""

import numpy as np
import pandas as pd
import pytest
import torch

from labkit import data

RNG = np.random.default_rng(0)


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "amount": [10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
            "country": ["at", "de", "at", "fr", "de", "at"],
            "night": [True, False, True, False, False, True],
            "fraud": ["no", "no", "yes", "no", "yes", "no"],
        }
    )


def test_arrays_keep_their_order_type_and_owner():
    x = RNG.normal(size=(8, 3))
    own = data.Dataset.from_numpy(x, [0, 1] * 4, test_x=x[::-1], test_y=[1, 0] * 4)
    assert own.train_x.dtype == torch.float32
    assert np.allclose(own.train_x, x)
    assert np.allclose(own.test_x, x[::-1])
    assert own.train_rows is None
    own.train_x[0] = 99.0
    assert x[0, 0] != 99.0
    assert (
        data.Dataset.from_numpy(x, [0, 1] * 4, test_share=0.5, dtype="float64").train_x.dtype == torch.float64
    )


def test_a_drawn_part_says_where_each_record_stood():
    x = np.arange(20.0)[:, None]
    own = data.Dataset.from_numpy(x, np.arange(20) % 2, test_share=0.25, seed=3)
    assert np.array_equal(own.train_x[:, 0], own.train_rows)
    assert np.array_equal(own.test_x[:, 0], own.test_rows)
    assert sorted([*own.train_rows, *own.test_rows]) == list(range(20))
    assert (np.diff(own.train_rows) > 0).all()
    assert "5 of 20 records drawn for testing (seed 3)" in own.source
    taken = own.take(6, 2, seed=1)
    assert np.array_equal(taken.train_x[:, 0], taken.train_rows)
    held = own.holdout(5)
    assert np.array_equal(held.test_x[:, 0], held.test_rows)
    assert np.array_equal(held.train_x[:, 0], held.train_rows)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 1, 3, 2], ("1", "2", "3")),
        ([-1, 1, 1, -1], ("-1", "1")),
        ([True, False, True, False], ("False", "True")),
        (["b", "a", "b", "a"], ("a", "b")),
        ([1.0, 0.0, 2.0, 1.0], ("0", "1", "2")),
    ],
)
def test_labels_of_any_kind_are_numbered_in_sorted_order(labels, classes):
    x = np.zeros((4, 2))
    own = data.Dataset.from_numpy(x, labels, test_x=x, test_y=labels)
    assert own.classes == classes
    assert [own.classes[i] for i in own.train_y] == [
        str(type(sorted(labels)[0])(v)).removesuffix(".0") for v in labels
    ]


def test_classes_can_be_named_or_ordered():
    x = np.zeros((2, 2))
    named = data.Dataset.from_numpy(x, [0, 1], test_x=x, test_y=[0, 1], classes=["no", "yes"])
    assert named.classes == ("no", "yes")
    ordered = data.Dataset.from_numpy(x, ["n", "y"], test_x=x, test_y=["n", "y"], classes=["y", "n"])
    assert ordered.train_y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(4), [0, 1, 0, 1], r"x has shape \(4,\); expected a record in each row.*x\[:, None\]"),
        (np.array([["a"], ["b"]]), [0, 1], "not numbers: pass a table with text to Dataset.from_frame"),
        (np.full((2, 2), np.nan), [0, 1], "first in record 0; expected finite"),
        (np.zeros((2, 8, 8, 3)), [0, 1], r"channels last; expected \(n, C, H, W\): x.transpose"),
        (np.full((2, 1, 8, 8), 200, np.uint8), [0, 1], r"up to 200; expected values in \[0, 1\]: x / 255"),
        (np.zeros((2, 2)), [0], r"y has shape \(1,\) for 2 records"),
        (np.zeros((2, 2)), np.eye(2), r"one-hot rows become labels by .argmax"),
        (np.zeros((2, 2)), [0.5, 1.0], r"real numbers such as \[0.5\]; expected classes"),
        (np.zeros((2, 2)), ["a", None], "several kinds.*drop rows without a label"),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused_with_the_fix(x, y, message):
    with pytest.raises(data.DataError, match=message):
        data.Dataset.from_numpy(x, y, test_share=0.5)


def test_test_records_or_a_share_and_labels_that_train_has():
    x = np.zeros((4, 2))
    with pytest.raises(data.DataError, match="neither test records and test_share"):
        data.Dataset.from_numpy(x, [0, 1, 0, 1])
    with pytest.raises(data.DataError, match="one of test_x and test_y"):
        data.Dataset.from_numpy(x, [0, 1, 0, 1], test_x=x)
    with pytest.raises(data.DataError, match="leaves a record on both sides"):
        data.Dataset.from_numpy(x, [0, 1, 0, 1], test_share=0.01)
    with pytest.raises(data.DataError, match=r"test labels hold 2; expected one of 0, 1: name all classes"):
        data.Dataset.from_numpy(x, [0, 1, 0, 1], test_x=x, test_y=[0, 1, 2, 1])
    with pytest.raises(data.DataError, match="dtype is 'float16'; expected one of float32, float64, int64"):
        data.Dataset.from_numpy(x, [0, 1, 0, 1], test_share=0.5, dtype="float16")


def test_an_error_never_expects_what_it_got():
    x, y = torch.zeros(3), torch.zeros(3, dtype=torch.long)
    with pytest.raises(data.DataError, match=r"has shape \(3,\); expected \[n, d\]"):
        data.Dataset("flat", "made", True, x, y, x, y, ("a",))
    with pytest.raises(data.DataError, match="is float16; expected float32, float64"):
        data.Dataset("half", "made", True, x[:, None].half(), y, x[:, None].half(), y, ("a",))
    with pytest.raises(data.DataError, match=r"train_y is int32 .*convert indices with .long\(\)"):
        data.Dataset("short", "made", True, x[:, None], y.int(), x[:, None], y, ("a",))


def test_tensors_and_torch_data_sets():
    tokens, y = torch.randint(0, 9, (10, 5)), torch.arange(10) % 2
    own = data.Dataset.from_torch((tokens, y), test_share=0.2)
    assert own.train_x.dtype == torch.int64
    assert own.shape == (5,)
    pairs = torch.utils.data.TensorDataset(torch.rand(6, 1, 8, 8), torch.arange(6) % 3)
    images = data.Dataset.from_torch(pairs, test=pairs, name="pictures")
    assert torch.equal(images.train_x, pairs.tensors[0])
    assert images.name == "pictures"
    with pytest.raises(data.DataError, match=r"not a loader or an iterator: pass loader.dataset"):
        data.Dataset.from_torch(iter(torch.utils.data.DataLoader(pairs)), test_share=0.5)
    with pytest.raises(data.DataError, match="yields records of 2 shapes"):
        data.Dataset.from_torch([(torch.zeros(2), 0), (torch.zeros(3), 1)] * 3, test_share=0.5)


def test_a_table_is_learned_on_train_rows_alone(table):
    later = table.assign(amount=1e6, country="xx")
    own = data.Dataset.from_frame(table, label="fraud", test=later)
    assert own.encoding.columns == ("amount", "country = at", "country = de", "country = fr", "night")
    assert own.encoding.groups == ((0,), (1, 2, 3), (4,))
    assert abs(float(own.train_x[:, 0].mean())) < 1e-6
    assert float(own.train_x[:, 0].std(correction=0)) == pytest.approx(1)
    assert own.train_x[0, 1:4].tolist() == [1, 0, 0]
    assert own.test_x[0, 1:4].tolist() == [0, 0, 0]
    assert own.classes == ("no", "yes")
    said = str(own.encoding)
    assert "country: xx in the test rows alone" in said
    assert "standardised by the train rows' mean 35" in said
    assert "covered by no privacy statement: amount, country" in said
    assert "scaled by the train rows without noise" in own.source
    assert torch.equal(own.encoding.encode(table.drop(columns="fraud")), own.train_x)


def test_public_bounds_and_declared_categories_read_nothing(table):
    table["country"] = table["country"].astype(pd.CategoricalDtype(["at", "de", "fr", "it"]))
    own = data.Dataset.from_frame(
        table, label="fraud", test_share=0.5, ranges={"amount": (0, 100), "night": (0, 1)}
    )
    assert own.encoding.read_from_train == ()
    assert "without noise" not in own.source
    assert own.train_x.shape[1] == 6
    assert np.allclose(own.train_x[:, 0], table["amount"].to_numpy()[own.train_rows] / 100)
    clipped = own.encoding.encode(table.assign(amount=500.0))
    assert clipped[:, 0].tolist() == [1.0] * 6


def test_missing_values_are_named_or_indicated(table):
    table.loc[[1, 4], "amount"] = None
    table.loc[2, "country"] = None
    with pytest.raises(
        data.DataError, match=r"missing values in amount \(4\), country \(2\).*missing='indicate'"
    ):
        data.Dataset.from_frame(table, label="fraud", test=table)
    own = data.Dataset.from_frame(table, label="fraud", test=table, missing="indicate")
    assert "amount is missing" in own.encoding.columns
    assert own.train_x[:, own.encoding.columns.index("amount is missing")].tolist() == [0, 1, 0, 0, 1, 0]
    assert own.train_x[2, own.encoding.columns.index("country = missing")] == 1
    assert any("2 train and 2 test values missing" in note for note in own.encoding.notes)


def test_tables_that_cannot_be_meant_are_refused_with_the_fix(table):
    refuse = [
        ({"label": "x"}, "no column 'x'.*there are amount"),
        ({"ranges": {"country": (0, 1)}}, "expected a column of numbers"),
        ({"ranges": {"city": (0, 1)}}, "'city', which is no column"),
        ({"missing": "drop"}, "expected one of 'refuse', 'indicate'"),
    ]
    for settings, message in refuse:
        with pytest.raises(data.DataError, match=message):
            data.Dataset.from_frame(table, **{"label": "fraud", "test_share": 0.5} | settings)
    with pytest.raises(data.DataError, match=r"1 (train|test) rows have no 'fraud'"):
        data.Dataset.from_frame(table.assign(fraud=[None, *"abcde"]), label="fraud", test_share=0.5)
    many = pd.DataFrame({"id": [f"person {i}" for i in range(60)], "y": [0, 1] * 30})
    with pytest.raises(data.DataError, match="a name or an identifier, not a category"):
        data.Dataset.from_frame(many, label="y", test_share=0.5)
    dated = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=6), "y": [0, 1] * 3})
    with pytest.raises(data.DataError, match="such as days since a date"):
        data.Dataset.from_frame(dated, label="y", test_share=0.5)
