"""The ceiling explorer's plot: right about what an ε forbids, and readable without eyes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.membership.reports import curves
from labkit.widgets import ceilings


def curve(name: str, power: float) -> curves.Curve:
    """A ROC tpr = fpr ** power with a band of a tenth on either side."""
    fpr = np.geomspace(1e-4, 1, 200)
    tpr = fpr**power
    return curves.Curve(name, fpr, tpr, 0.9 * tpr, np.minimum(1.1 * tpr, 1))


def test_the_title_says_what_the_ceiling_forbids():
    strong, weak = curve("strong", 0.4), curve("weak", 0.9)  # at 1%: 15.8% and 1.58%
    fig = ceilings.attack_under_ceiling([strong, weak], 2.0, 0.01, source="made up")
    assert f"{100 * (math.exp(2) * 0.01 + 1e-5):.3g}%" in fig.alt_text
    assert "it forbids strong." in fig.alt_text
    fig = ceilings.attack_under_ceiling([strong, weak], 5.0, 0.01, source="made up")
    assert "forbids none of these" in fig.alt_text


def test_what_chance_could_have_done_breaks_no_ceiling():
    epsilon = math.log(0.01**0.4 / 0.01) - 0.05  # just below the curve, but above its lower band
    fig = ceilings.attack_under_ceiling([curve("strong", 0.4)], epsilon, 0.01, source="made up", delta=0.0)
    assert "forbids none" in fig.alt_text


@pytest.mark.parametrize(
    ("measured", "epsilon", "rate"), [([], 1, 0.1), ([curve("a", 0.5)], 1, 0), ([curve("a", 0.5)], -1, 0.1)]
)
def test_bad_settings_are_refused(measured, epsilon, rate):
    with pytest.raises(ValueError, match="expected"):
        ceilings.attack_under_ceiling(measured, epsilon, rate, source="made up")


def test_the_explorer_has_a_slider_for_each_setting():
    box = ceilings.ceiling_explorer([curve("strong", 0.4)], source="made up")
    assert [child.description for child in box.children[:2]] == ["ε of the ceiling", "false-positive rate"]
