"""Every tool that lives beside labkit, really run, at smoke size; and what its bridge promises besides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit import bridges, models
from labkit.bridges import TOOLS, BridgeError

TOGETHER = [name for name, tool in TOOLS.items() if not tool.isolated]


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))


# Lines on random numbers fail by chance with the probability that each states: 1e-6.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TOGETHER)
def test_the_tool_and_labkit_agree(name: str) -> None:
    tool = TOOLS[name]
    if not tool.here:
        pytest.skip(f"{tool.title} is not installed: the extra `{tool.extra}` brings it")
    found = bridges.compare(name)
    assert found.agrees, found.table().to_string()
    assert found.command == f"labkit bridge {name}"
    assert len(found.versions) >= 3  # the tool's, labkit's and Python's
    assert found.source


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BridgeError, match=r"no bridge to 'shadownets'; there are opacus"):
        bridges.compare("shadownets")


def test_a_tool_that_is_not_installed_is_refused_with_the_command(monkeypatch) -> None:
    monkeypatch.setattr("labkit.bridges.registry.importlib.util.find_spec", lambda name: None)
    with pytest.raises(BridgeError, match=r"CleverHans is not installed: pip install 'labkit\[bridges\]'"):
        bridges.compare("cleverhans")


def test_options_of_environments_are_refused_where_there_is_none() -> None:
    with pytest.raises(BridgeError, match="runs beside labkit"):
        bridges.compare("opacus", keep=True)


def test_cleverhans_has_no_membership_attack() -> None:
    pytest.importorskip("cleverhans", reason="the extra `bridges` brings CleverHans")
    from labkit.bridges.evasion import membership_modules

    assert membership_modules() == []


def records(n: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def trained() -> nn.Module:
    """Return a linear model with weights that a gradient attack can use."""
    model = models.logistic_regression(6, 3)
    with torch.no_grad():
        model.linear.weight.copy_(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.parametrize("attack", ["fgm", "pgd", "spsa"])
def test_adversarial_records_stay_within_the_radius_and_raise_the_loss(attack: str) -> None:
    pytest.importorskip("cleverhans", reason="the extra `bridges` brings CleverHans")
    model, (x, y) = trained(), records()
    moved = bridges.adversarial(model, x, y, attack, radius=0.1, steps=10)
    assert moved.shape == x.shape
    assert not moved.requires_grad
    assert float((moved - x).abs().max()) <= 0.1 + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    loss = nn.functional.cross_entropy
    assert float(loss(model(moved), y).detach()) > float(loss(model(x), y).detach()) + 0.05


def test_spsa_is_the_same_with_the_same_seed_and_leaves_the_global_state_alone() -> None:
    pytest.importorskip("cleverhans", reason="the extra `bridges` brings CleverHans")
    model, (x, y) = trained(), records(3)
    before = torch.get_rng_state()
    one = bridges.adversarial(model, x, y, "spsa", radius=0.1, steps=2, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, bridges.adversarial(model, x, y, "spsa", radius=0.1, steps=2, seed=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "membership"}, "is unknown"),
        ({"radius": 0}, "positive radius"),
        ({"steps": 0}, "at least one step"),
    ],
)
def test_adversarial_refuses_before_it_asks_the_model(changes: dict, message: str) -> None:
    def never(x):
        raise AssertionError("the model was asked")

    x, y = records(2)
    with pytest.raises(ValueError, match=message):
        bridges.adversarial(never, x, y, **({"radius": 0.1} | changes))
    with pytest.raises(ValueError, match=r"scaled to \[0, 1\]"):
        bridges.adversarial(never, 255 * x, y, radius=0.1)


def test_art_gets_probabilities_and_casts_doubles() -> None:
    pytest.importorskip("art", reason="the extra `bridges` brings ART")
    model, (x, _) = trained(), records()
    shown = bridges.art_classifier(model, (6,), 3)
    for given in (x.numpy(), x.double().numpy()):
        found = shown.predict(given)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(found, model(x).softmax(1).detach().numpy(), atol=1e-6)
    logits = bridges.art_classifier(model, (6,), 3, outputs="logits").predict(x.numpy())
    np.testing.assert_allclose(logits, model(x).detach().numpy(), atol=1e-6)


def test_art_s_decision_boundary_attack_runs_on_a_float_model() -> None:
    """Handed over as it is, a float model fails there: ART feeds doubles."""
    pytest.importorskip("art", reason="the extra `bridges` brings ART")
    from art.attacks.inference.membership_inference import LabelOnlyDecisionBoundary

    (x, y), shown = records(4), bridges.art_classifier(trained(), (6,), 3)
    attack = LabelOnlyDecisionBoundary(shown, distance_threshold_tau=0.1)
    guesses = attack.infer(x.double().numpy(), y.numpy(), max_iter=1, max_eval=20, init_eval=5, init_size=10)
    assert np.isin(guesses, (0, 1)).all()


def test_art_s_training_through_the_bridge_is_that_of_torch() -> None:
    """The loss takes probabilities: torch's own cross-entropy would take their softmax once more."""
    pytest.importorskip("art", reason="the extra `bridges` brings ART")
    from labkit.bridges.art_models import LogOfProbabilities

    model, (x, y) = trained(), records()
    shown = LogOfProbabilities()(model(x).softmax(1), y)
    assert shown.item() == pytest.approx(nn.functional.cross_entropy(model(x), y).item(), rel=1e-5)


def test_art_refuses_what_it_cannot_know() -> None:
    pytest.importorskip("art", reason="the extra `bridges` brings ART")
    with pytest.raises(ValueError, match="no parameter"):
        bridges.art_classifier(nn.Flatten(), (6,), 3)
    with pytest.raises(ValueError, match="expected 'probabilities' or 'logits'"):
        bridges.art_classifier(trained(), (6,), 3, outputs="labels")
