"""The Dataset: subsets that do not overlap and can be repeated, and refusals that name the record."""

from dataclasses import replace

import pytest
import torch

from labkit import data


@pytest.fixture
def numbered():
    """100 train and 20 test records, each of which knows its own number."""
    train = torch.arange(100.0)[:, None]
    test = torch.arange(1000.0, 1020.0)[:, None]
    return data.Dataset(
        "n", "numbers", True, train, train[:, 0].long() % 3, test, test[:, 0].long() % 3, ("a", "b", "c")
    )


def test_take_draws_without_replacement_and_repeats(numbered):
    taken = numbered.take(30, 5, seed=1)
    assert len(taken.train_x.unique()) == 30
    assert len(taken.test_x.unique()) == 5
    assert torch.equal(taken.train_x[:, 0].long() % 3, taken.train_y)
    again = numbered.take(30, 5, seed=1)
    assert torch.equal(again.train_x, taken.train_x)
    assert again.digest == taken.digest
    other = numbered.take(30, 5, seed=2)
    assert not torch.equal(other.train_x, taken.train_x)
    assert other.digest != taken.digest != numbered.digest
    assert torch.equal(numbered.take(30).test_x, numbered.test_x)
    assert "30 train records" in taken.source


def test_holdout_leaves_the_test_set_out_and_does_not_overlap(numbered):
    split = numbered.holdout(25, seed=3)
    train, held = set(split.train_x[:, 0].tolist()), set(split.test_x[:, 0].tolist())
    assert len(held) == 25
    assert train | held == set(range(100))
    assert not train & held
    assert "validation split of 25" in split.source
    assert torch.equal(numbered.holdout(25, seed=3).test_x, split.test_x)
    assert numbered.holdout(25, seed=4).digest != split.digest


@pytest.mark.parametrize("size", [0, -1, 100, 101])
def test_holdout_must_leave_records_to_train_on(numbered, size):
    with pytest.raises(data.DataError, match=r"holdout of .* out of 100"):
        numbered.holdout(size)


@pytest.mark.parametrize(
    ("train", "test", "part"), [(0, None, "train"), (101, None, "train"), (5, 21, "test")]
)
def test_take_refuses_more_than_there_is(numbered, train, test, part):
    with pytest.raises(data.DataError, match=f"asked for .* {part} records"):
        numbered.take(train, test)


def test_digest_follows_replaced_labels_and_records(numbered):
    assert replace(numbered, source="elsewhere").digest == numbered.digest
    relabelled = replace(numbered, train_y=numbered.train_y.roll(1))
    assert relabelled.digest != numbered.digest
    assert relabelled.digest == replace(numbered, train_y=numbered.train_y.roll(1), digest="").digest
    assert replace(relabelled, train_y=numbered.train_y).digest == numbered.digest
    assert replace(numbered, test_x=numbered.test_x + 1).digest != numbered.digest
    part = numbered.take(10)
    assert replace(part, train_y=part.train_y.roll(1)).digest != part.digest


def test_digest_follows_labels_changed_in_place(numbered):
    own = replace(numbered, train_y=numbered.train_y.clone())
    own.train_y[0] = (own.train_y[0] + 1) % len(own.classes)
    assert replace(own).digest != numbered.digest


def test_a_given_digest_is_believed_and_goes_along_to_a_device(numbered):
    named = replace(numbered, digest="named")
    assert named.digest == "named"
    assert named.to("cpu").digest == "named"
    assert numbered.to("cpu").digest == numbered.digest
    assert replace(named, train_y=numbered.train_y.roll(1)).digest != "named"


def test_digest_follows_content(numbered):
    same = replace(numbered, digest="")
    assert same.digest == numbered.digest
    changed = numbered.train_x.clone()
    changed[7] += 1
    assert replace(numbered, train_x=changed, digest="").digest != numbered.digest


def test_to_keeps_everything(numbered):
    moved = numbered.to("cpu")
    assert moved.digest == numbered.digest
    assert "numbers; real; 100 train, 20 test; records of shape (1,)" in repr(moved)


def broken(numbered, how):
    x, y = numbered.train_x.clone(), numbered.train_y.clone()
    if how == "nan":
        x[3] = float("nan")
    elif how == "inf":
        x[4] = float("inf")
    elif how == "float64":
        x = x.double()
    elif how == "shape":
        x = x[:, 0]
    elif how == "half":
        x = x.half()
    elif how == "labels":
        y[0] = 3
    elif how == "negative":
        y[0] = -1
    elif how == "length":
        y = y[:-1]
    elif how == "one-hot":
        y = torch.nn.functional.one_hot(y)
    elif how == "empty":
        x, y = x[:0], y[:0]
    elif how == "width":
        x = torch.cat([x, x], 1)
    return replace(numbered, train_x=x, train_y=y)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", "NaN or infinite value, first in record 3"),
        ("inf", "NaN or infinite value, first in record 4"),
        ("float64", r"train records are float64 .* test records float32 .*expected the same"),
        ("half", "is float16; expected float32, float64 .* or int64"),
        ("shape", r"train_x has shape \(100,\); expected \[n, d\] or images \[n, C, H, W\]"),
        ("labels", "runs from 0 to 3; expected 0 to 2"),
        ("negative", "runs from -1 to 2"),
        ("length", r"expected int64 \[100\]"),
        ("one-hot", "train_y is"),
        ("empty", "no train records"),
        ("width", "expected the same"),
    ],
)
def test_malformed_data_is_refused(numbered, how, says):
    with pytest.raises(data.DataError, match=says):
        broken(numbered, how)
