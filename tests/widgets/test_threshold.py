"""The threshold explorer's numbers, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.widgets import threshold

MEMBERS = np.array([0.5, 1.0, 2.0, 3.0])
OTHERS = np.array([-2.0, -1.0, 0.0, 0.0, 0.5, 0.7, 0.9, 2.5])
SETTINGS = {"prior": 0.5, "source": "eight others and four members (made in the test)"}


def test_ties_with_the_threshold_are_accused() -> None:
    point = threshold.operating(MEMBERS, OTHERS, 0.5)
    assert point.tpr.estimate == 1.0
    assert point.fpr.estimate == 0.5
    assert threshold.operating(MEMBERS, OTHERS, 3.1).tpr.estimate == 0


def test_the_figure_says_rates_precision_and_source() -> None:
    fig = threshold.threshold_figure(MEMBERS, OTHERS, threshold=1.0, **SETTINGS)
    # 3 of 4 members and 1 of 8 others: 0.75 / 0.875 at even odds.
    assert "75.00% of members" in fig.alt_text
    assert "12.50% of others" in fig.alt_text
    assert "85.7%" in fig._suptitle.get_text()
    assert SETTINGS["source"] in fig._suptitle.get_text()
    rare = threshold.threshold_figure(MEMBERS, OTHERS, threshold=1.0, **SETTINGS | {"prior": 0.01})
    # 0.01 x 0.75 / (0.01 x 0.75 + 0.99 x 0.125) = 5.7%.
    assert "5.7%" in rare._suptitle.get_text()


def test_the_marked_point_lies_on_the_curve() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 300), rng.normal(0, 1, 500)
    for value in np.quantile(others, [0.2, 0.8, 0.99]):
        fig = threshold.threshold_figure(members, others, threshold=float(value), **SETTINGS)
        curve, _, mark = fig.axes[1].lines[:3]
        corners = np.column_stack(curve.get_data())
        assert np.isclose(corners, [mark.get_xdata()[0], mark.get_ydata()[0]]).all(1).any()


def test_a_threshold_that_accuses_nobody_and_scores_all_equal_are_drawn() -> None:
    fig = threshold.threshold_figure(MEMBERS, OTHERS, threshold=9.0, **SETTINGS)
    assert "nobody is accused" in fig.alt_text
    flat = threshold.threshold_figure(np.ones(5), np.ones(5), threshold=1.0, **SETTINGS)
    assert "50.0%" in flat._suptitle.get_text()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="0 others"):
        threshold.threshold_figure(MEMBERS, [], threshold=0.0, **SETTINGS)
    with pytest.raises(ValueError, match="finite"):
        threshold.threshold_figure(MEMBERS, OTHERS, threshold=float("nan"), **SETTINGS)
    with pytest.raises(ValueError, match="prior is 1"):
        threshold.threshold_figure(MEMBERS, OTHERS, threshold=0.0, prior=1, source="made")


def test_the_sliders_wait_until_they_are_let_go() -> None:
    box = threshold.threshold_explorer(MEMBERS, OTHERS, source="made in the test")
    assert all(not slider.continuous_update for slider in box.children[:2])
    box.children[0].value = 2.0
    assert "Traceback" not in str(box.children[2].children[1].outputs)
