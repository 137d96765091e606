"""Metrics by name agree with their definitions, and say what the majority answer has."""

import numpy as np
import pytest
from sklearn import metrics as theirs

from labkit import metrics

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 400)
P = RNG.dirichlet(np.ones(3), 400) * 0.6 + 0.4 * np.eye(3)[Y]


def test_each_is_what_its_name_says():
    found = metrics.measure(
        Y,
        probabilities=P,
        metrics=("accuracy", "balanced accuracy", "auc", "log loss", "cost"),
        costs=1 - np.eye(3),
    ).values
    assert found["accuracy"].estimate == (P.argmax(1) == Y).mean()
    assert found["cost"].estimate == pytest.approx(1 - found["accuracy"].estimate)
    assert found["balanced accuracy"].estimate == pytest.approx(
        theirs.balanced_accuracy_score(Y, P.argmax(1))
    )
    assert found["auc"].estimate == pytest.approx(theirs.roc_auc_score(Y, P, multi_class="ovr"))
    assert found["log loss"].estimate == pytest.approx(-np.log(P[np.arange(400), Y]).mean())
    for value in found.values():
        assert value.low <= value.estimate <= value.high


@pytest.mark.parametrize("level", [1, 5, 20])
def test_recall_at_a_rate_flags_no_more_than_the_rate(level):
    y, scores = (RNG.random(1000) < 0.1).astype(int), RNG.normal(size=1000)
    p = 1 / (1 + np.exp(-(scores + 2 * y)))
    found = metrics.measure(y, probabilities=np.stack([1 - p, p], 1), metrics=[f"recall at {level}% fpr"])
    threshold = np.sort(p[y == 0])[-int(level / 100 * (y == 0).sum()) - 1]
    assert next(iter(found.values.values())).estimate == pytest.approx((p[y == 1] > threshold).mean())


def test_recall_at_a_precision():
    y = np.array([1, 1, 0, 1, 0, 0, 1, 0])
    p = np.linspace(0.9, 0.1, 8)
    task = metrics.Task(y, np.stack([1 - p, p], 1), 1)
    assert metrics.metric("recall at 75% precision").of(task) == 0.75
    assert metrics.metric("recall at 100% precision").of(task) == 0.5


def test_the_majority_answer_beats_itself_in_nothing():
    y = np.array([0] * 90 + [1] * 10)
    always = np.tile([0.9, 0.1], (100, 1))
    names = ("accuracy", "balanced accuracy", "auc", "recall at 5% fpr", "log loss")
    found = metrics.measure(y, probabilities=always, metrics=names)
    assert found.useless() == list(names)
    assert found.majority["log loss"] == pytest.approx(found.values["log loss"].estimate)
    assert "is right on 90.00%" in str(found)
    assert metrics.metric("cost").majority(
        metrics.Task(y, always, 1, np.array([[0, 1], [20, 0]]))
    ) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["f1"]}, "metric 'f1' is unknown; expected one of accuracy"),
        ({"metrics": ["cost"]}, "needs costs="),
        ({"logits": P}, "exactly one of logits= and probabilities="),
        ({"probabilities": 2 * P}, "pass logits="),
        ({"y": Y[:-1]}, r"labels of int64 \(399,\) and answers \(400, 3\)"),
        ({"y": np.zeros(400, int)}, "at least two classes"),
        ({"y": Y + 1}, "expected 0 to 2"),
        ({"positive": 3}, "expected a class from 0 to 2"),
        ({"costs": np.eye(2)}, r"costs has shape \(2, 2\); expected \(3, 3\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    given = {"y": Y, "probabilities": P} | change
    y = given.pop("y")
    with pytest.raises(ValueError, match=message):
        metrics.measure(y, **given)
