"""Paired leakage: the visible size against simulation, arms that differ in one thing, and a whole run on a tiny bank."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats as st

from labkit import data, membership, models
from labkit.stats import mean_interval
from labkit.training.recipe import Recipe
from labkit.watermark import Key
from labkit.watermark.privacy import leakage


@pytest.mark.parametrize("pairs", [3, 5, 20])
def test_the_visible_difference_is_found_in_four_of_five_simulated_studies(pairs: int) -> None:
    size = leakage.visible_difference(1.0, pairs)
    rng = np.random.default_rng(pairs)
    gaps = size + rng.normal(size=(4000, pairs))
    error = gaps.std(1, ddof=1) / np.sqrt(pairs)
    found = np.abs(gaps.mean(1) / error) > st.t.isf(0.025, pairs - 1)
    # The textbook sum of two t quantiles is an approximation to the noncentral t: exact power is .74 to .80 here, and
    # 4,000 runs stray by less than .025 except with probability 1e-3 (fixed seed: never).
    assert 0.70 < found.mean() < 0.83
    assert leakage.visible_difference(2.0, pairs) == pytest.approx(2 * size)
    assert leakage.visible_difference(1.0, pairs, power=0.9) > size


def test_one_pair_shows_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        leakage.visible_difference(1.0, 1)


def made(marked: np.ndarray, ordinary: np.ndarray, plain: np.ndarray) -> leakage.Leakage:
    """A result with these values on its primary figure."""
    endpoint = leakage.Endpoint("lira-online")
    values = {endpoint: {leakage.PLAIN: plain, leakage.ORDINARY: ordinary, leakage.MARKED: marked}}
    return leakage.Leakage(
        "patch", values, endpoint, mean_interval([0.9, 0.95]), 128, tuple(range(len(plain))), "made", "smoke"
    )


PLAIN = np.array([0.60, 0.62, 0.61, 0.63])
NOISE = np.array([0.001, -0.001, 0.002, -0.002])


def test_the_verdict_is_about_marks_against_as_many_ordinary_records() -> None:
    assert made(PLAIN + 0.05 + NOISE, PLAIN, PLAIN).verdict == "raised"
    assert made(PLAIN - 0.05 + NOISE, PLAIN, PLAIN).verdict == "lowered"
    # More records raise leakage, marks do not: a pair of marked and plain models would have blamed the marks.
    found = made(PLAIN + 0.05 + NOISE, PLAIN + 0.05, PLAIN)
    assert found.verdict.startswith("no difference found")
    assert f"{found.visible(found.primary):.3f}" in found.verdict
    assert found.difference(found.primary, "ordinary records against none").low > 0
    assert found.difference(found.primary) == mean_interval((PLAIN + 0.05 + NOISE) - (PLAIN + 0.05))


@pytest.mark.parametrize(("marks", "batch", "expected"), [(200, 128, 256), (1, 50, 50), (300, 100, 300)])
def test_marks_fill_whole_batches(marks: int, batch: int, expected: int) -> None:
    assert leakage.whole_batches(marks, batch) == expected


@pytest.fixture
def bank(bars):
    return membership.shadow_bank(
        bars,
        make_model=partial(models.fast_cnn, 8, classes=len(bars.classes)),
        recipe=Recipe(epochs=2, learning_rate=0.1, batch_size=50),
        shadow_models=4,
        pool=200,
        population=200,
    )


@pytest.fixture
def others(bars, bank):
    left = np.setdiff1d(np.arange(len(bars.train_y)), bank.positions)
    return replace(bars, train_x=bars.train_x[left], train_y=bars.train_y[left], digest="")


def test_arms_differ_in_the_marks_alone(bank, others, monkeypatch) -> None:
    """Equal numbers of records, steps and lengths of batches for marked and ordinary; the plain arm has fewer whole ones."""
    seen: list[tuple[int, np.ndarray, torch.Tensor, list[int]]] = []
    whole = leakage.shelf.train_missing

    def watched(paths, make_model, x, y, masks, recipe, *, seeds, **options):
        seen.append((recipe.batch_size, masks, x, list(seeds)))
        return whole(paths, make_model, x, y, masks, recipe, seeds=seeds, **options)

    monkeypatch.setattr(leakage.shelf, "train_missing", watched)
    leakage.leakage(
        bank, others, Key.from_phrase("pairs"), seeds=(1, 2), attacks=("loss",), marks=50, count=20
    )
    for batch, masks, x, seeds in seen:
        plain, ordinary, marked = masks
        assert len(set(seeds)) == 1
        assert ordinary.sum() == marked.sum() == plain.sum() + 50
        assert len({int(mask.sum()) % batch for mask in masks}) == 1
        assert (ordinary & marked == plain).all()
        members = {picture.numpy().tobytes() for picture in x[torch.from_numpy(plain)]}
        extra = {picture.numpy().tobytes() for picture in x[torch.from_numpy(ordinary & ~plain)]}
        assert not members & extra


def test_a_study_is_reported_saved_and_made_once(bank, others, tmp_path) -> None:
    study = partial(
        leakage.leakage, bank, others, Key.from_phrase("pairs"), attacks=("loss",), marks=50, count=20
    )
    found = study(seeds=(1, 2))
    assert [str(endpoint) for endpoint in found.values] == [
        "loss, AUC, all records",
        "loss, TPR at 1% FPR, all records",
        "loss, AUC, stamped members",
    ]
    for arms in found.values.values():
        assert all(((values >= 0) & (values <= 1)).all() and len(values) == 2 for values in arms.values())
    assert found.plot().alt_text
    assert len(found.table()) == 3
    assert bank.source in str(found)
    written = json.loads(found.save(tmp_path / "leak.json").read_text())
    assert written["pairs"] == 2
    assert len(written["lines"]) == 6
    again = study(seeds=(1, 2))
    assert all(
        (again.values[e][arm] == v).all() for e, arms in found.values.items() for arm, v in arms.items()
    )
    with pytest.raises(ValueError, match="at least 2 seeds"):
        study(seeds=(1,))


@pytest.mark.parametrize("marks", [0, 49, 51])
def test_a_last_batch_of_another_length_is_refused(bank, others, marks: int) -> None:
    with pytest.raises(ValueError, match="multiple of the batch size"):
        leakage.leakage(bank, others, Key.from_phrase("pairs"), seeds=(1, 2), marks=marks, count=20)


@pytest.fixture(scope="module")
def rows():
    """300 rows of four numbers with a column of categories' worth of noise, and 100 test rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = rng.normal(size=(400, 4)) + 0.7 * y[:, None]
    return data.Dataset.from_numpy(x, y, test_share=0.25, name="rows", real=False)


class Calls:
    """With how many records it was called; behind a weak reference, as what a global object holds is part of a function."""

    def __init__(self) -> None:
        self.lengths: list[int] = []


KEPT = Calls()
CALLS = weakref.ref(KEPT)


def own_loop(x, y, seed):
    """Adam, 30 steps of all records: a loop that this kit did not write."""
    CALLS().lengths.append(len(y))
    model = torch.nn.Sequential(torch.nn.Linear(4, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def forest(x, y, seed):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(10, random_state=seed).fit(x.numpy(), y.numpy())


def of_rows(rows, train):
    bank = membership.shadow_bank(rows, train=train, shadow_models=4, pool=160, population=60)
    left = np.setdiff1d(np.arange(len(rows.train_y)), bank.positions)
    return bank, replace(rows, train_x=rows.train_x[left], train_y=rows.train_y[left], digest="")


@pytest.mark.parametrize("train", [own_loop, forest])
def test_the_callers_own_training_function_trains_the_arms(rows, train) -> None:
    bank, others = of_rows(rows, train)
    study = partial(
        leakage.leakage,
        bank,
        others,
        Key.from_phrase("rows"),
        scheme="rare-values",
        seeds=(1, 2),
        marks=40,
        count=20,
    )
    CALLS().lengths.clear()
    found = study(attacks=("loss",), batch_size=1)
    plain, ordinary, marked = 80, 120, 120
    assert CALLS().lengths == ([plain, ordinary, marked] * 2 if train is own_loop else [])
    assert found.pairs == 2
    assert bank.source in str(found)
    CALLS().lengths.clear()
    assert study(attacks=("loss",), batch_size=1).numbers() == found.numbers()
    assert not CALLS().lengths  # kept, and found by the function's code


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "does not show its batches: pass the records of one"),
        ({"batch_size": 3}, "multiple of the batch size"),
        ({"batch_size": 1, "attacks": ("luck",)}, "'luck'; expected at least one of"),
        ({"batch_size": 1, "scheme": "noise"}, "are for images.*use 'rare-values'"),
    ],
)
def test_what_an_own_function_cannot_answer_for_is_refused_before_any_training(rows, asked, why) -> None:
    bank, others = of_rows(rows, own_loop)
    CALLS().lengths.clear()
    with pytest.raises(ValueError, match=why):
        leakage.leakage(
            bank,
            others,
            Key.from_phrase("rows"),
            **{"scheme": "rare-values", "marks": 40, "count": 20} | asked,
        )
    assert not CALLS().lengths


def test_a_bank_of_arrays_has_nothing_to_train_the_arms_with(rows) -> None:
    bank, others = of_rows(rows, own_loop)
    answers = np.stack([bank.logits(k) for k in range(len(bank))])
    given = membership.ShadowBank.from_logits(answers, bank.masks, bank.labels, name="given")
    with pytest.raises(ValueError, match=r"was made of arrays.*shadow_bank\(dataset, train="):
        leakage.leakage(given, others, Key.from_phrase("rows"), scheme="rare-values")


def test_a_batch_size_beside_a_recipe_is_the_recipes(bank, others) -> None:
    with pytest.raises(ValueError, match="recipe says 50: leave it out"):
        leakage.leakage(bank, others, Key.from_phrase("pairs"), seeds=(1, 2), batch_size=64)
