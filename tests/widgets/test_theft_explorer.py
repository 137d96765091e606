"""The theft slider: a pure plot whose alt text says what a budget buys."""

from __future__ import annotations

import pytest
from torch import nn

from labkit import widgets
from labkit.stats import clopper_pearson
from labkit.watermark.attacks.theft import Point, Theft
from labkit.widgets.theft import budgets_of, theft_at


@pytest.fixture
def thefts() -> dict[str, Theft]:
    """Two thefts with figures that are made up."""

    def theft(name: str, hits: dict[int, int]) -> Theft:
        curve = tuple(
            Point(queries, clopper_pearson(n, 100), clopper_pearson(n + 10, 100))
            for queries, n in hits.items()
        )
        return Theft(
            nn.Identity(), curve, clopper_pearson(80, 100), "random", name, "made up", "smoke", 0, 0.0
        )

    return {
        "soft": theft("probabilities", {100: 40, 1000: 70}),
        "hard": theft("labels", {500: 50, 1000: 60}),
    }


def test_a_budget_buys_the_last_thief_within_it(thefts) -> None:
    assert budgets_of(thefts) == [100, 500, 1000]
    text = theft_at(thefts, 999).alt_text.partition("With a limit of 999 queries")[2]
    assert "soft: agreement 50.0%" in text
    assert "hard: agreement 60.0%" in text
    assert "hard" not in theft_at(thefts, 100).alt_text.partition("With a limit")[2]
    fig = theft_at(thefts, 1000)
    assert all(ax.get_xlabel() == "queries" for ax in fig.axes)


@pytest.mark.parametrize("queries", [0, 99])
def test_a_budget_below_all_thieves_is_refused(thefts, queries: int) -> None:
    with pytest.raises(ValueError, match=f"queries={queries}; expected at least one theft, and at least 100"):
        theft_at(thefts, queries)
    with pytest.raises(ValueError, match="0 thefts"):
        theft_at({}, 1000)


def test_the_explorer_offers_every_measured_budget(thefts) -> None:
    slider = widgets.theft_explorer(thefts).children[0]
    offered = [value for _, value in slider.options]
    assert set(budgets_of(thefts)) <= set(offered)
    assert offered == sorted(offered)
    assert slider.value == 1000
    slider.value = 100
