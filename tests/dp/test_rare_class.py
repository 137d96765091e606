"""A table with 5% fraud: accuracy near 95% is what always answering "no" has, and no decision rests on that."""

from functools import partial

import numpy as np
import pytest
from torch import nn

from labkit import data, dp, training

EPSILONS = [8.0]
METRICS = ("balanced accuracy", "auc", "recall at 5% fpr", "log loss")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("LABKIT_PROGRESS", "0")


def fraud():
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.05).astype(int)
    x = rng.normal(size=(3000, 5)) + 1.3 * y[:, None]
    return data.Dataset.from_numpy(x, y, test_share=0.4, classes=["fine", "fraud"], name="fraud", real=False)


def private(dataset, *, target_epsilon, delta, seed, class_weights=None):
    model = nn.Linear(5, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return dp.train_private(
        model,
        dataset,
        target_epsilon=target_epsilon,
        delta=delta,
        seed=seed,
        steps=40,
        expected_batch_size=400,
        learning_rate=0.5,
        max_grad_norm=0.5,
        engine="linear",
        class_weights=class_weights,
    )


def ceiling(dataset, *, seed):
    return training.fit(nn.Linear(5, 2), dataset, epochs=2, seed=seed)


def measured(**settings):
    pipeline = partial(private, **settings)
    pipeline.__name__ = "private"
    return dp.tradeoff(
        fraud(),
        EPSILONS,
        seeds=3,
        delta=1e-4,
        pipeline=pipeline,
        ceiling=ceiling,
        metrics=METRICS,
        positive=1,
    )


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("curves")))
    made = measured(), measured(class_weights=(0.053, 1.0))
    patch.undo()
    return made


def test_no_model_is_recommended_that_does_not_beat_the_majority_answer(curves):
    curve = curves[0]
    assert curve.base_rate == pytest.approx(0.95, abs=0.01)
    with pytest.raises(
        dp.NoDecision, match=r"always answering 'fine' has 9[45].*not shown to be better than the majority"
    ):
        dp.decide(curve, max_epsilon=10)
    assert "always 'fine': 9" in curve.summary()


def test_a_decision_by_another_metric_names_what_the_majority_answer_has(curves):
    curve = curves[1]
    record = dp.decide(curve, metric="recall at 5% fpr", required=0.4)
    assert record.epsilon in EPSILONS
    assert record.assured >= 0.4
    assert record.metric == "recall at 5% fpr"
    for form in (str(record), record.markdown()):
        assert "always answering 'fine' has accuracy 9" in form
        assert "recall at 5% fpr 5.00%" in form
        assert "Assured recall at 5% fpr" in form
    table = curve.measured()
    assert table.loc[("balanced accuracy", 8.0), "majority answer"] == "50.00%"
    by_loss = dp.decide(curve, metric="auc", max_epsilon=100)
    assert by_loss.epsilon in EPSILONS
    # Weighted, the model cries fraud too often for its probabilities to be worth more than the base rate.
    with pytest.raises(dp.NoDecision, match=r"log loss; always answering 'fine' has 0\.[12]"):
        dp.decide(curve, metric="log loss", max_epsilon=100)
    with pytest.raises(
        ValueError, match="'cost' was not measured; this curve has accuracy, balanced accuracy"
    ):
        dp.decide(curve, metric="cost", max_epsilon=100)
    with pytest.raises(ValueError, match="pass required= for another metric"):
        dp.decide(curve, metric="auc", required_accuracy=0.9)


def test_results_print_the_base_rate_beside_the_accuracy():
    own = fraud()
    result = training.fit(nn.Linear(5, 2), own, epochs=1, metrics=("recall at 5% fpr",))
    assert "always the commonest class: 9" in str(result)
    assert result.measured.majority == {"recall at 5% fpr": 0.05}
    evaluated = training.evaluate(
        result.model, own.test_x, own.test_y, metrics=["cost"], costs=[[0, 1], [20, 0]]
    )
    assert evaluated.measured.values["cost"].high < evaluated.measured.majority["cost"]
    made = dp.train_private(
        nn.Linear(5, 2),
        own,
        noise_multiplier=2.0,
        steps=2,
        delta=1e-4,
        metrics=["auc"],
        expected_batch_size=200,
    )
    assert "always the commonest class: 9" in str(made)
    assert made.numbers()["metrics"]["auc"]["estimate"] > 0


TRAINED = []


def weighted(dataset, *, target_epsilon, delta, seed, rare=1.0):
    TRAINED.append(target_epsilon)
    return private(
        dataset,
        target_epsilon=target_epsilon,
        delta=delta,
        seed=seed,
        class_weights=(min(1.0, 1 / rare), 1.0),
    )


SPACE = {"rare": dp.Range(1, 40)}


def test_a_search_by_balanced_accuracy_chooses_other_settings_than_one_by_accuracy():
    ask = partial(
        dp.search,
        fraud(),
        epsilons=(8, 8),
        trials=5,
        space=SPACE,
        delta=1e-4,
        pipeline=weighted,
        validation=600,
    )
    by_accuracy, by_balance = ask(), ask(metric="balanced accuracy")
    assert by_accuracy.settings()["rare"] < by_balance.settings()["rare"]
    best = max(run.measured.values["balanced accuracy"].estimate for run in by_balance.runs)
    assert by_balance.value(by_balance.front[-1]) == best > 0.6
    assert "validation balanced accuracy; the majority answer has 50.00%" in str(by_balance)
    assert by_balance.table()["validation balanced accuracy"].iloc[0] == best
    assert by_balance.plot().axes[0].get_ylabel() == "validation balanced accuracy (%)"
    assert by_balance.numbers()["runs"][0]["balanced accuracy"] > 0


def test_a_search_by_a_loss_seeks_the_smallest(tmp_path):
    ask = partial(
        dp.search,
        fraud(),
        epsilons=(8, 8),
        trials=2,
        space=SPACE,
        delta=1e-4,
        pipeline=weighted,
        validation=600,
    )
    storage = str(tmp_path / "study.log")
    found = ask(metric="log loss", storage=storage)
    values = [found.value(run) for run in found.runs]
    assert found.value(found.front[-1]) == min(values) < max(values)
    assert found.table()["validation log loss"].iloc[0] == min(values)
    with pytest.raises(ValueError, match="was searched by log loss, not by auc: give another study_name"):
        ask(metric="auc", storage=storage)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"metric": "beauty"}, "'beauty' is unknown"),
        ({"metric": "cost"}, "needs a cost matrix"),
        ({"metric": "auc", "positive": 2}, "expected a class from 0 to 1"),
        ({"metric": "auc", "validation": 3}, "of one class"),
    ],
)
def test_what_no_run_could_be_measured_by_is_refused_before_any_run(asked, why):
    TRAINED.clear()
    with pytest.raises(ValueError, match=why):
        dp.search(fraud(), trials=1, space=SPACE, delta=1e-4, pipeline=weighted, **asked)
    if "validation" not in asked:
        curve = {"metrics": [asked["metric"]], "positive": asked.get("positive")}
        with pytest.raises(ValueError, match=why):
            dp.tradeoff(fraud(), EPSILONS, seeds=1, pipeline=weighted, ceiling=ceiling, **curve)
    assert not TRAINED
