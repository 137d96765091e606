"""The suspects' sliders: a pure plot of p-values against queries, for every line of evidence."""

from __future__ import annotations

import numpy as np
import pytest

from labkit import plots, widgets
from labkit.stats import clopper_pearson
from labkit.watermark.fingerprints.evidence_line import weigh
from labkit.watermark.verification import verify
from labkit.widgets import suspects


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """Collect the alt texts of what is shown."""
    texts: list[str] = []
    monkeypatch.setattr(plots, "show", lambda fig: texts.append(fig.alt_text))
    return texts


def verdicts(**rates: float) -> dict[str, verify.Verdict]:
    rng = np.random.default_rng(0)
    null = rng.random((20, 100)) < 0.1
    return {
        name: verify.judge(rng.random(100) < rate, null, source="made here") for name, rate in rates.items()
    }


def test_p_values_are_those_of_the_verdicts() -> None:
    made = verdicts(stolen=0.9, tuned=0.4, innocent=0.1)
    fig = suspects.suspects_p_values(made, 60)
    stolen, dot, tuned = fig.axes[0].lines[:3]
    assert dot.get_ydata()[0] == max(made["stolen"].after(60).p_value, suspects.FLOOR)
    assert tuned.get_ydata()[-1] == made["tuned"].p_value
    assert stolen.get_ydata()[0] == made["stolen"].after(1).p_value
    assert f"innocent {made['innocent'].after(60).p_value:.2g}" in fig.alt_text
    assert "made here" in fig.axes[0].get_title()
    for wrong in (0, 101):
        with pytest.raises(ValueError, match="1 to 100 queries"):
            suspects.suspects_p_values(made, wrong)
    with pytest.raises(ValueError, match="0 verdicts"):
        suspects.suspects_p_values({}, 1)


def test_a_rehearsal_says_so() -> None:
    rng = np.random.default_rng(0)
    few = verify.judge(rng.random(20) < 0.5, rng.random((3, 20)) < 0.1, minimum=3)
    assert "too few for a claim" in suspects.suspects_p_values({"one": few}, 10).axes[0].get_title()


def test_the_explorer_waits_until_it_is_let_go(shown) -> None:
    box = widgets.suspects_explorer({"mark": verdicts(stolen=0.9, innocent=0.1)})
    assert all(not slider.continuous_update for slider in box.children[1:3])
    box.children[1].value = 10
    assert "After 10 queries" in shown[-1]


def test_another_line_of_evidence_brings_its_own_number_of_queries(shown) -> None:
    rng = np.random.default_rng(1)
    null = rng.random((20, 40)) < 0.4
    hit = rng.random(40) < 0.8
    line = weigh(
        clopper_pearson(int(hit.sum()), 40),
        null.mean(1),
        alpha=1e-4,
        resolution=1 / 40,
        name="shared mistakes",
        citation="made here",
        measures="share",
        queries=40,
        assumption="none",
        source="made here",
        seed=0,
        hit=hit,
        null_hit=null,
    )
    box = widgets.suspects_explorer({"mark": verdicts(stolen=0.9), "mistakes": {"stolen": line}})
    assert box.children[2].value == 1e-4
    box.children[0].value = "mistakes"
    assert (box.children[1].value, box.children[1].max) == (40, 40)
    assert f"stolen {line.p_value:.2g}" in shown[-1]
