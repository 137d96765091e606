"""Adam, class weights and own losses in private training: every engine the same, and no record moves the sum by more than C."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from labkit import data, dp
from labkit.dp.training import gradients, layers, linear
from labkit.dp.training.losses import Loss

WEIGHTED = Loss((1.0, 9.0))


def fraud(n=400, share=0.05):
    """A table in which 5% of the rows are of class 1, and one feature tells most of them."""
    rng = np.random.default_rng(0)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=(n, 4))
    x[:, 0] += 1.5 * y
    return data.Dataset.from_numpy(x, y, test_share=0.5, name="fraud", real=False)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 2))


def test_class_weights_give_the_same_clipped_sum_in_every_engine():
    own = fraud()
    x, y = own.train_x[:60], own.train_y[:60]
    each, _ = gradients.per_sample_gradients(model(), x, y, WEIGHTED)
    by_hand = F.cross_entropy(model()(x), y, reduction="none") * torch.tensor([1.0, 9.0])[y]
    sums, loss = gradients.clipped_sum(model(), x, y, 0.5, WEIGHTED)
    assert float(loss) == pytest.approx(by_hand.sum().item(), rel=1e-5)
    for engine in (linear, layers):
        found, same = engine.clipped_sum(model(), x, y, 0.5, WEIGHTED)
        assert float(same) == pytest.approx(float(loss), rel=1e-5)
        for name in sums:
            assert torch.allclose(found[name], sums[name], atol=1e-5)
    norms = gradients.norms_of(each)
    assert float(norms.max()) > 0.5  # some are clipped, so the weights meet the bound


def test_one_record_moves_the_weighted_sum_by_no_more_than_the_bound():
    own = fraud()
    whole, _ = gradients.clipped_sum(model(), own.train_x, own.train_y, 0.3, Loss((1.0, 1000.0)))
    for record in np.flatnonzero(own.train_y.numpy())[:5]:
        kept = torch.arange(len(own.train_y)) != int(record)
        without, _ = gradients.clipped_sum(
            model(), own.train_x[kept], own.train_y[kept], 0.3, Loss((1.0, 1000.0))
        )
        moved = torch.cat([(whole[name] - without[name]).flatten() for name in whole]).norm()
        assert float(moved) <= 0.3 + 1e-4


def test_a_weight_above_one_is_clipped_off_again_and_one_below_is_not():
    """Why the docstring says (0.05, 1) instead of (1, 20)."""
    own, few = fraud(), 0.01
    x, y = own.train_x[:60], own.train_y[:60]
    plain, above, below = (
        gradients.clipped_sum(model(), x, y, few, loss)[0]["0.weight"]
        for loss in (Loss(), Loss((1.0, 20.0)), Loss((0.001, 1.0)))
    )
    assert torch.allclose(plain, above, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(plain, below, rtol=0.1)


@pytest.mark.parametrize("engine", ["opacus", "vmap", "layers", "linear"])
def test_weights_and_adam_train_alike_in_every_engine(engine):
    settings = {"noise_multiplier": 1e-6, "expected_batch_size": 200, "steps": 5, "delta": 1e-3, "seed": 0}
    trained = dp.train_private(
        model(),
        fraud(),
        engine=engine,
        optimizer="adam",
        learning_rate=0.05,
        class_weights=[1, 9],
        **settings,
    )
    reference = dp.train_private(
        model(),
        fraud(),
        engine="vmap",
        optimizer="adam",
        learning_rate=0.05,
        class_weights=[1, 9],
        **settings,
    )
    for a, b in zip(trained.model.parameters(), reference.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)
    assert trained.settings["class_weights"] == (1.0, 9.0)


def test_epsilon_does_not_depend_on_optimizer_or_weights():
    settings = {"noise_multiplier": 1.0, "expected_batch_size": 50, "steps": 5, "delta": 1e-3, "seed": 0}
    plain = dp.train_private(model(), fraud(), **settings)
    other = dp.train_private(model(), fraud(), optimizer="adam", class_weights=[1, 9], **settings)
    assert plain.privacy.epsilon == other.privacy.epsilon
    assert "optimizer" not in plain.settings  # as it was before there was a choice


def test_an_own_loss_is_of_each_record():
    settings = {"noise_multiplier": 1.0, "expected_batch_size": 50, "steps": 3, "delta": 1e-3, "seed": 0}

    def focal(logits, y):
        losses = F.cross_entropy(logits, y, reduction="none")
        return (1 - torch.exp(-losses)) ** 2 * losses

    assert dp.train_private(model(), fraud(), loss=focal, **settings).settings["loss"].endswith("focal")
    with pytest.raises(ValueError, match=r"loss gives \(\) for three records; expected \(3,\)"):
        dp.train_private(model(), fraud(), loss=F.cross_entropy, **settings)
    with pytest.raises(ValueError, match="knows the gradient of cross-entropy alone"):
        dp.train_private(model(), fraud(), loss=focal, engine="linear", **settings)

    def mixing(logits, y):
        losses = F.cross_entropy(logits, y, reduction="none")
        return losses * losses.mean()

    with pytest.raises(ValueError, match="misses the true gradient"):
        dp.train_private(model(), fraud(), loss=mixing, **settings)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"class_weights": [1.0]}, "expected 2 positive numbers"),
        ({"class_weights": [1.0, float("nan")]}, "expected 2 positive numbers"),
        ({"loss": "hinge"}, "expected 'cross-entropy', or a function"),
        ({"optimizer": "lbfgs"}, "expected one of sgd, adam"),
        ({"optimizer": "adam", "momentum": 0.9}, "has its own averages"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_training(wrong, message):
    with pytest.raises(ValueError, match=message):
        dp.train_private(model(), fraud(), noise_multiplier=1.0, expected_batch_size=50, delta=1e-3, **wrong)
