from __future__ import annotations

from dataclasses import replace

from labkit.stats import clopper_pearson
from labkit.watermark.attacks import removal
from labkit.watermark.marks import embed
from labkit.watermark.robustness import explanations
from labkit.watermark.robustness.cells import Cell
from labkit.watermark.robustness.matrix import Matrix


def cell(scheme: str, attack: str, p: float) -> Cell:
    share = clopper_pearson(90 if p < 1e-3 else 10, 100)
    return Cell(scheme, attack, 1, share, p, p < 1e-3, clopper_pearson(80, 100), 0.0, 1.0)


def made(**p_values: float) -> Matrix:
    """Return a made-up matrix of one scheme, "patch"."""
    names = {name.replace("_", " "): p for name, p in p_values.items()}
    return Matrix(tuple(cell("patch", name, p) for name, p in names.items()), 1e-3, 20, "made up", "smoke")


def test_every_reason_speaks_of_cells_that_exist() -> None:
    for reason in explanations.REASONS:
        assert reason.scheme in embed.SCHEMES
        assert set(reason.attacks) <= set(removal.REMOVALS)


def test_a_prediction_is_counted_cell_by_cell() -> None:
    table = explanations.weigh(made(none=1e-9, distil=0.5, extract=1e-9, neural_cleanse=0.5)).loc["patch"]
    assert len(table) == 2  # nobody trained on, so nothing is said of that
    foreign, found = table["as predicted"]
    assert (foreign, found) == ("1 of 2", "1 of 1")
    assert "distil: beaten (10%), extract: holds (90%)" in table["seen"].iloc[0]


def test_a_mark_that_was_never_there_supports_no_reason() -> None:
    never = made(none=0.5, distil=0.5)
    assert explanations.weigh(never).empty
    other = replace(never, cells=tuple(replace(c, scheme="ood") for c in made(none=1e-9, distil=0.5).cells))
    assert explanations.weigh(other).empty
