"""Models that were not made for this kit: what is made of them, and what is said where nothing can be."""

import numpy as np
import pytest
import torch
from torch import nn

from labkit import adapt, training

X = torch.rand(12, 3, generator=torch.Generator().manual_seed(0))


class Parts(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.linear, self.kind = nn.Linear(3, 2), kind

    def forward(self, x):
        hidden = self.linear(x)
        return {"tuple": (hidden, x), "dict": {"logits": hidden, "features": x}}[self.kind]


@pytest.mark.parametrize(
    ("kind", "output"), [("tuple", 0), ("dict", "logits"), ("dict", lambda a: a["logits"])]
)
def test_the_part_that_holds_the_logits_is_named(kind, output):
    model = Parts(kind)
    assert torch.equal(training.logits(adapt.as_module(model, output=output), X), model.linear(X).detach())


def test_an_answer_that_is_no_tensor_lists_its_parts():
    with pytest.raises(ValueError, match=r"a tuple of 2: \(12, 2\), \(12, 3\).*with output="):
        training.logits(Parts("tuple"), X)
    with pytest.raises(ValueError, match="a dict of 'logits', 'features'"):
        training.logits(Parts("dict"), X)
    with pytest.raises(ValueError, match="no part 'scores': it is a dict of 'logits', 'features'"):
        training.logits(adapt.as_module(Parts("dict"), output="scores"), X)


def test_an_estimator_answers_with_the_logarithms_of_its_probabilities():
    from sklearn.linear_model import LogisticRegression

    y = np.arange(12) % 2
    fitted = LogisticRegression().fit(X.numpy(), y)
    answered = training.logits(adapt.as_module(fitted), X)
    assert np.allclose(answered.exp(), fitted.predict_proba(X.numpy()), atol=1e-6)
    some = LogisticRegression().fit(X.numpy(), 2 * y)  # met classes 0 and 2 of four
    assert training.logits(adapt.as_module(some, classes=4), X).shape == (12, 4)
    assert training.logits(adapt.as_module(some, classes=4), X)[:, [1, 3]].max() < -60
    with pytest.raises(ValueError, match="not fitted"):
        adapt.as_module(LogisticRegression())
    with pytest.raises(ValueError, match=r"fitted on labels \['a', 'b'\]; expected class indices"):
        adapt.as_module(LogisticRegression().fit(X.numpy(), np.array(["a", "b"])[y]))
    with pytest.raises(TypeError, match="expected a torch module, or an estimator with predict_proba"):
        adapt.as_module(print)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Linear(3, 2), X.double(), "weights are float32 and the records float64.*model.double"),
        (nn.Linear(3, 2).double(), X, "weights are float64 and the records float32.*model.float"),
        (
            nn.Linear(3, 2),
            torch.zeros(4, 3, dtype=torch.long),
            "int64 .tokens. and the model has no embedding",
        ),
        (nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), X, "looks tokens up and the records are float32"),
        (nn.Linear(4, 2), X, r"cannot take records of shape \(3,\)"),
    ],
)
def test_a_model_and_records_that_do_not_fit_say_how_they_would(model, x, message):
    y = torch.arange(len(x)) % 2
    for use in (
        lambda: training.logits(model, x),
        lambda: list(training.descend(model, x, y, training.Recipe(1), seed=0)),
    ):
        with pytest.raises(ValueError, match=message):
            use()
