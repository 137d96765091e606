from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from attack_stand_ins import dataset, innocent

from labkit import training
from labkit.watermark.attacks.interface import Api, BudgetSpent, as_targets
from labkit.watermark.attacks.theft import steal
from labkit.watermark.verification import verify


@pytest.fixture
def victim():
    return innocent(0)


@pytest.fixture
def x():
    return dataset().test_x[:30]


def test_answers_are_the_softmax_and_every_record_counts(victim, x) -> None:
    api = Api(victim)
    torch.testing.assert_close(api(x), training.logits(victim, x).softmax(1))
    api(x[:5])
    assert api.queries == 35


def test_labels_alone_show_the_best_class(victim, x) -> None:
    shown = Api(victim, answers="labels")(x)
    assert shown.dtype == torch.int64
    assert torch.equal(shown, training.logits(victim, x).argmax(1))


def test_top_k_keeps_the_k_largest_and_hides_the_rest(victim, x) -> None:
    shown, whole = Api(victim, answers="top-k", k=2)(x), Api(victim)(x)
    assert ((shown > 0).sum(1) == 2).all()
    torch.testing.assert_close(shown.sum(1), whole.topk(2, dim=1).values.sum(1))


def test_rounding_leaves_that_many_digits(victim, x) -> None:
    shown = Api(victim, decimals=1)(x)
    torch.testing.assert_close(shown * 10, (shown * 10).round())
    assert (shown - Api(victim)(x)).abs().max() <= 0.05 + 1e-6


def test_a_spent_budget_answers_nothing_and_counts_nothing(victim, x) -> None:
    api = Api(victim, budget=35)
    api(x)
    with pytest.raises(BudgetSpent, match="30 records asked, 5 of 35 left"):
        api(x)
    assert (api.queries, api.left) == (30, 5)
    api(x[:5])
    assert api.left == 0


def test_a_marker_changes_answers_before_they_are_cut_to_labels(victim, x) -> None:
    def turn(asked: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        assert len(asked) == len(probabilities)
        return probabilities.roll(1, dims=1)

    plain = training.logits(victim, x).argmax(1)
    assert torch.equal(Api(victim, answers="labels", marker=turn)(x), (plain + 1) % 4)


def test_a_judge_can_ask_through_it(victim, x) -> None:
    api = Api(victim, answers="labels", budget=40)
    assert (verify.answers(api, x) == verify.answers(victim, x)).all()
    assert api.queries == 30
    with pytest.raises(ValueError, match="only 10 more"):
        verify.answers(api, x)
    with pytest.raises(ValueError, match="labels only"):
        verify.probabilities(Api(victim, answers="labels"), x)


def test_targets_sum_to_one_after_truncation_and_rounding(victim, x) -> None:
    for api in (Api(victim, answers="top-k", k=1), Api(victim, decimals=1), Api(victim)):
        torch.testing.assert_close(as_targets(api(x)).sum(1), torch.ones(30))
    torch.testing.assert_close(
        as_targets(torch.tensor([[0.0, 0.0], [0.2, 0.6]])), torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"answers": "logits"}, "expected one of probabilities"),
        ({"answers": "top-k"}, "needs k >= 1"),
        ({"k": 2}, "needs k >= 1"),
        ({"answers": "labels", "decimals": 2}, "no rounding of labels"),
        ({"decimals": 0}, "at least 1"),
        ({"budget": 0}, "at least 1 record"),
    ],
)
def test_settings_without_sense_are_refused(victim, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Api(victim, **settings)


def test_broken_queries_are_refused_and_not_counted(victim, x) -> None:
    api = Api(victim)
    for query in (x[:0], x * math.nan, x / 0, torch.tensor(1.0)):
        with pytest.raises(ValueError, match="at least one record, and neither NaN nor infinity"):
            api(query)
    assert api.queries == 0


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.bool])
def test_other_types_than_floats_and_tokens_are_refused_with_the_way_out(victim, x, kind) -> None:
    api = Api(victim)
    with pytest.raises(ValueError, match=r"torch.int64 for tokens: convert it with .float\(\) or .long\(\)"):
        api(x.abs().to(kind))
    assert api.queries == 0


def test_tokens_are_refused_by_a_model_that_has_no_use_for_them(victim) -> None:
    api = Api(victim)
    with pytest.raises(ValueError, match="no embedding to look them up"):
        api(torch.zeros(3, 3, 8, 8, dtype=torch.int64))
    assert api.queries == 0


def test_tokens_are_answered_by_a_model_that_looks_them_up() -> None:
    torch.manual_seed(0)
    reader = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(20, 3))
    tokens = torch.arange(10).reshape(2, 5) % 9
    api = Api(reader)
    torch.testing.assert_close(api(tokens), training.logits(reader, tokens).softmax(1))
    assert api.queries == 2


def test_a_forest_is_stolen_by_its_answers() -> None:
    from sklearn.ensemble import RandomForestClassifier

    from labkit.data import Dataset

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = np.digitize(x[:, 0], [-0.5, 0.5])
    own = Dataset.from_numpy(x[:300], y[:300], test_x=x[300:], test_y=y[300:], name="rows")
    forest = RandomForestClassifier(random_state=0).fit(own.train_x.numpy(), own.train_y.numpy())
    api = Api(forest)
    expected = torch.from_numpy(forest.predict_proba(own.test_x.numpy())).float()
    torch.testing.assert_close(api(own.test_x), expected)
    theft = steal(
        api,
        own.train_x,
        lambda: torch.nn.Linear(4, 3),
        training.Recipe(epochs=30, learning_rate=0.5),
        test=own,
    )
    assert api.queries == 400
    assert theft.agreement.estimate > 0.7


def test_what_cannot_be_asked_is_refused_when_the_interface_is_made() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import LinearSVC

    with pytest.raises(TypeError, match="wrap it in sklearn"):
        Api(LinearSVC())
    with pytest.raises(ValueError, match="is not fitted"):
        Api(RandomForestClassifier())


def test_it_says_what_it_gives_away(victim) -> None:
    api = Api(victim, answers="top-k", k=3, decimals=2, budget=1000)
    assert api.describe() == "top 3 to 2 digits, at most 1,000 queries"
