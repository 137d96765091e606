"""The ε explorer: its figures are those of the statements, and its sliders redraw once."""

from __future__ import annotations

import numpy as np
import pytest

from labkit import plots, widgets
from labkit.dp.accounting.statement import SampledGaussian, gdp_epsilon, privacy_statement
from labkit.widgets import epsilon as explorer

SMALL = {"sample_rate": 0.02, "steps": 100, "delta": 1e-5}


def test_curves_are_the_statements_within_a_line_width() -> None:
    noise = (0.8, 1.3, 2.0)
    values = explorer.epsilon_values(*SMALL.values(), noise)
    for i, sigma in enumerate(noise):
        exact = privacy_statement(SampledGaussian(sigma, 100, 0.02)).epsilons
        assert exact["PLD"] * 0.9999 <= values["PLD"][i] <= exact["PLD"] * 1.005
        assert values["RDP"][i] == pytest.approx(exact["RDP"])
        assert values["GDP"][i] == pytest.approx(gdp_epsilon(sigma, 100, 0.02))
    assert np.isnan(values["PRV"]).tolist() == [True, False, True]
    for curve in ("PLD", "RDP", "GDP"):
        assert np.all(np.diff(values[curve]) < 0)


def test_figure_draws_every_accountant_and_warns_of_gdp() -> None:
    fig = explorer.epsilon_curves(**SMALL, noise_multipliers=[2.0, 0.8, 1.3])
    labels = [line.get_label() for line in fig.axes[0].get_lines()]
    assert [label.split(" ")[0] for label in labels] == ["PLD", "PRV", "RDP", "GDP"]
    assert "GDP (under-reports)" in labels
    assert list(fig.axes[0].get_lines()[0].get_xdata()) == [0.8, 1.3, 2.0]
    assert "100 steps" in fig.alt_text
    assert "(PLD)" in fig.alt_text
    # With every record at every step the limit overshoots: nothing to warn of but that it is no bound.
    full = explorer.epsilon_values(1.0, 20, 1e-5, (1.0, 2.0))
    assert explorer.gdp_label(full) == "GDP (no bound)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 2.0}, "0 < q <= 1"),
        ({"steps": 0}, "steps=0"),
        ({"delta": 0.0}, "0 < δ < 1"),
        ({"noise_multipliers": []}, "noise_multipliers is empty"),
        ({"noise_multipliers": [0.0]}, "noise_multiplier=0.0"),
    ],
)
def test_wrong_settings_explain_themselves(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explorer.epsilon_curves(**SMALL | settings)


def test_every_preset_is_on_the_sliders() -> None:
    for rate, steps in explorer.PRESETS.values():
        assert rate in explorer.SAMPLE_RATES
        assert steps in explorer.STEPS


def test_sliders_redraw_once_a_move(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict] = []
    monkeypatch.setattr(explorer, "epsilon_curves", lambda **settings: drawn.append(settings))
    monkeypatch.setattr(plots, "show", lambda figure: None)
    box = widgets.epsilon_explorer()
    preset, rate, steps, delta, picture = box.children
    assert not any(slider.continuous_update for slider in (rate, steps, delta))
    preset.value = "large batches, few steps"
    delta.value = 1e-6
    assert drawn == [
        {"sample_rate": 1 / 250, "steps": 3750, "delta": 1e-5},
        {"sample_rate": 0.1, "steps": 200, "delta": 1e-5},
        {"sample_rate": 0.1, "steps": 200, "delta": 1e-6},
    ]
    assert (preset.value, picture.children[0].value) == ("large batches, few steps", "")
    steps.value = 50
    assert preset.value == "your own"
    steps.value = 200
    assert preset.value == "large batches, few steps"
    assert len(drawn) == 5


def test_unknown_explorers_are_named() -> None:
    with pytest.raises(AttributeError, match="epsilon_explorer"):
        _ = widgets.noise_explorer
