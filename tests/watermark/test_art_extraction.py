"""The same theft by the Adversarial Robustness Toolbox: same victim, same queries, same optimiser settings.

ART takes what the victim's ``predict`` returns for probabilities, so the victim must end in a softmax: given logits,
its thieves learn from numbers that are no distribution.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attack_stand_ins import CLASSES, RECIPE, dataset, innocent, pictures, tiny_cnn
from torch import nn

from labkit import training
from labkit.training import many
from labkit.training.recipe import fresh
from labkit.watermark.attacks import theft as thieves
from labkit.watermark.attacks.interface import Api

pytest.importorskip("art", reason="the extra `bridges` brings ART")

QUERIES = 400
MARGIN = 0.06  # between two thieves' agreement with the victim on 200 records: order of batches and schedule differ


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))
    monkeypatch.setattr(many, "_cores", lambda: 1)


def queries() -> torch.Tensor:
    return pictures(QUERIES, 55)[0]


def wrapped(model: nn.Module):
    """Return a model as ART's classifier, with the optimiser of our recipe."""
    from art.estimators.classification import PyTorchClassifier

    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=RECIPE.momentum, nesterov=True)
    return PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        (3, 8, 8),
        CLASSES,
        optimizer=optimizer,
        clip_values=(0, 1),
        device_type="cpu",
    )


def victim() -> nn.Module:
    return nn.Sequential(innocent(0), nn.Softmax(dim=1))


def agreement(thief: nn.Module) -> float:
    x = dataset().test_x
    own = training.logits(innocent(0), x).argmax(1)
    return float((training.logits(thief, x).argmax(1) == own).float().mean())


def theirs(attack) -> float:
    np.random.seed(0)
    torch.manual_seed(0)
    thief = wrapped(fresh(tiny_cnn, 0))
    attack.extract(queries().numpy(), thieved_classifier=thief)
    return agreement(thief.model)


def ours(answers: str) -> float:
    theft = thieves.steal(Api(innocent(0), answers=answers), queries(), tiny_cnn, RECIPE, test=dataset())
    assert theft.agreement.estimate == pytest.approx(agreement(theft.model))
    return theft.agreement.estimate


def settings() -> dict:
    return {
        "batch_size_fit": RECIPE.batch_size,
        "batch_size_query": 100,
        "nb_epochs": RECIPE.epochs,
        "nb_stolen": QUERIES,
    }


def test_knockoff_nets_on_probabilities() -> None:
    from art.attacks.extraction import KnockoffNets

    attack = KnockoffNets(
        wrapped(victim()), sampling_strategy="random", use_probability=True, verbose=False, **settings()
    )
    assert ours("probabilities") > 0.85
    assert abs(ours("probabilities") - theirs(attack)) < MARGIN


def test_copycat_on_labels() -> None:
    from art.attacks.extraction import CopycatCNN

    attack = CopycatCNN(wrapped(victim()), use_probability=False, **settings())
    assert ours("labels") > 0.85
    assert abs(ours("labels") - theirs(attack)) < MARGIN


def test_art_and_the_interface_see_the_same_answers() -> None:
    shown = wrapped(victim()).predict(queries().numpy())
    np.testing.assert_allclose(shown, Api(innocent(0))(queries()).numpy(), atol=1e-6)
