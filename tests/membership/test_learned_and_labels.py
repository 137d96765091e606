from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from labkit import membership, stats
from labkit.membership.attacks import label_only, learned
from labkit.membership.shadows import training
from labkit.models import perceptron


class Disc(torch.nn.Module):
    """Class 0 inside a ball around the centre of the cube, class 1 outside: the boundary is known."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(radius))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        far = (x - 0.5).norm(dim=1) - self.radius
        return torch.stack([-far, far], dim=1)


@pytest.fixture
def disc(make):
    made = make(classes=2, queries=1, n=100, shape=(5,))
    x = torch.full((100, 5), 0.5)
    y = torch.zeros(100, dtype=torch.int64)
    y[90:] = 1  # a model that says 0 everywhere here is wrong about these
    bank = replace(made.bank, x=x, y=y)
    return replace(made.target, model=Disc(0.3)), bank


def test_boundary_distance_is_the_radius_of_a_ball(disc) -> None:
    target, bank = disc
    found = label_only.boundary_distance(target, bank, directions=40, steps=20)
    assert (found[90:] == 0).all()
    # From the centre, a step of t along a standard normal direction u reaches the boundary at t = 0.3 / |u|; the
    # smallest of 40: |u| of 5 normal numbers lies between 2.6 and 5.5 but for p < 1e-3 (seed fixed anyway).
    assert ((found[:90] > 0.3 / 5.5) & (found[:90] < 0.3 / 2.6)).all()


def test_noise_robustness_grows_with_the_radius(disc) -> None:
    target, bank = disc
    small = label_only.noise_robustness(replace(target, model=Disc(0.1)), bank)
    large = label_only.noise_robustness(replace(target, model=Disc(0.6)), bank)
    assert small[:90].mean() < large[:90].mean()
    assert large[90:].mean() < 0.3
    assert (label_only.noise_robustness(replace(target, model=Disc(9.0)), bank)[:90] == 1).all()


def test_label_only_attacks_score_the_asked_records(bank) -> None:
    records = np.array([5, 17, 300, 8, 9, 10, 11, 12])
    target = bank.target(0)
    for name in ("label-noise", "label-boundary"):
        result = membership.attack(name, target, bank.without(0), records=records)
        assert len(result.scores) == 8
        assert (result.members == bank.masks[0, records]).all()
        assert result.shadows == 0


def test_labels_alone_give_members_away(bank) -> None:
    # A tenth of the labels are wrong: right about those means trained on those, confidence or not. AUC .54 and above
    # in each of 8 models; the standard error of the mean over 8 is below .012.
    aucs = []
    for k in range(8):
        r = membership.attack("label-noise", bank.target(k), bank.without(k))
        aucs.append(stats.auc(r.scores[r.members], r.scores[~r.members]))
    assert np.mean(aucs) > 0.53


def test_the_shadow_classifier_takes_any_scikit_learn_classifier(make) -> None:
    from sklearn.linear_model import LogisticRegression

    made = make(n=600, effect=3.0)
    result = membership.attack("shokri", made.target, made.bank, classifier=LogisticRegression(max_iter=500))
    assert stats.auc(result.scores[result.members], result.scores[~result.members]) > 0.6


def test_quantile_features_hide_the_signal(make) -> None:
    made = make(n=50, queries=1)
    logits = np.array(made.bank.logits(0))
    raised = logits.copy()
    raised[np.arange(50), 0, made.bank.labels] += 5  # moves the label's confidence and nothing else
    x = made.bank.x.numpy()
    before = learned.quantile_features(logits, made.bank.labels, x)
    np.testing.assert_allclose(learned.quantile_features(raised, made.bank.labels, x), before, atol=1e-5)


def test_quantile_threshold_has_the_false_positive_rate_it_aims_at(make) -> None:
    made = make(n=4000, m=4000, effect=2.0, queries=1)
    result = membership.attack("quantile", made.target, made.bank, level=0.9)
    rate = (result.scores[~result.members] > 0).mean()
    assert 0.07 < rate < 0.14  # 10%, with the regression's own error


def test_the_blind_baseline_sees_a_biased_split(make) -> None:
    made = make(n=600, m=50)
    biased = replace(made.target, members=made.bank.x.numpy().mean((1, 2, 3)) > made.bank.x.numpy().mean())
    result = membership.attack("blind", biased, made.bank)
    assert stats.auc(result.scores[result.members], result.scores[~result.members]) > 0.9


def test_shadows_of_other_data_attack_offline(bank, clouds) -> None:
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(600, 8, generator=generator) + (torch.arange(600) % 2)[:, None]
    other = replace(clouds, train_x=x[:400], test_x=x[400:], digest="clouds-elsewhere", name="elsewhere")
    foreign = membership.shadow_bank(
        other, make_model=partial(perceptron, 8, 16), recipe=bank.recipe, shadow_models=4, strategy="stacked"
    )
    moved = membership.transfer_bank(foreign, bank)
    assert not moved.masks.any()
    np.testing.assert_allclose(moved.logits(1)[:, 0], foreign.model(1)(bank.x).detach().numpy(), atol=1e-4)
    target = membership.train_targets(bank)[0]
    assert len(membership.attack("rmia-offline", target, moved).scores) == 400
    with pytest.raises(ValueError, match="use an offline attack"):
        membership.attack("lira-online", target, moved)
    assert membership.transfer_bank(bank, bank) is bank


def test_shadows_of_another_architecture_share_the_halves(bank) -> None:
    other = training.sibling(bank.first(4), make_model=partial(perceptron, 8, 16), strategy="stacked")
    assert (other.masks == bank.masks[:4]).all()
    assert other.folder != bank.folder
    assert other.model(0)[1].out_features == 16
    membership.attack("lira-online", membership.train_targets(bank)[0], other)
    with pytest.raises(ValueError, match="siblings of a whole bank"):
        training.sibling(bank.select([1, 3]))


def test_banks_that_do_not_fit_are_refused(bank, make) -> None:
    with pytest.raises(ValueError, match="choose shadow data of the same shape"):
        membership.transfer_bank(make(classes=2).bank, bank)
    with pytest.raises(ValueError, match="same queries"):
        membership.transfer_bank(make(classes=2, shape=(8,)).bank, bank)
