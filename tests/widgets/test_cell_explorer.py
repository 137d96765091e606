"""The cell explorer: a pure plot whose alt text says what one attack did to one scheme, seed by seed."""

from __future__ import annotations

import pytest

from labkit import widgets
from labkit.stats import clopper_pearson
from labkit.watermark.robustness.cells import Cell
from labkit.watermark.robustness.matrix import Matrix
from labkit.widgets.cells import cell_picture


def cell(scheme: str, attack: str, seed: int, hits: int, p: float, right: int) -> Cell:
    lost = 0.8 - right / 100
    strength, accuracy = clopper_pearson(hits, 100), clopper_pearson(right, 100)
    return Cell(scheme, attack, seed, strength, p, p < 1e-3, accuracy, lost, 1.0)


@pytest.fixture
def made() -> Matrix:
    """Two schemes, two attacks, two seeds; figures are made up."""
    cells = [
        cell(scheme, attack, seed, hits - seed, p, right)
        for scheme in ("patch", "bits")
        for attack, hits, p, right in (
            ("none", 100, 1e-9, 80),
            ("prune", 90, 1e-8, 79),
            ("distil", 9, 0.5, 78),
        )
        for seed in (1, 2)
    ]
    return Matrix(tuple(cells), 1e-3, 20, "made up", "smoke")


def test_a_cell_is_drawn_before_and_after_for_each_seed(made) -> None:
    fig = cell_picture(made, "patch", "distil")
    assert "The patch mark under distil: beaten" in fig.alt_text
    assert "seed 1: strength 99%" in fig.alt_text
    assert "seed 2: strength 98%" in fig.alt_text
    assert "p = 0.5" in fig.alt_text
    assert [ax.get_ylabel() for ax in fig.axes] == ["mark strength (%)", "test accuracy (%)"]
    assert "holds" in cell_picture(made, "bits", "prune").alt_text
    with pytest.raises(ValueError, match="no cell"):
        cell_picture(made, "patch", "melt")


def test_the_explorer_offers_every_attack_and_scheme(made) -> None:
    menus = widgets.cell_explorer(made).children[0].children
    assert menus[0].options == ("patch", "bits")
    assert menus[1].options == ("prune", "distil")
    menus[0].value = "bits"
