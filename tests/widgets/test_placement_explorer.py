"""The placement explorer: figures of the curve alone, losses that are the study's own, and menus that never stick."""

from __future__ import annotations

import sys
from functools import lru_cache

import numpy as np
import pytest

from labkit import plots, widgets
from labkit.federated import noise as noises
from labkit.federated.study import PlacementCurve, Point
from labkit.widgets import placements

FOUR = ("central", "distributed", "local", "record")
SEEDS = (0, 1, 2, 3)
ROUNDS = 6


@lru_cache
def terms(name: str, epsilon: float, unit: str = "patient") -> noises.Noise:
    """Noise as the recipes place it: statistics of patients at the threshold, at each, or at all hospitals."""
    more = {"threshold": 5}
    if unit == "patient":
        full_at = {"central": 5, "distributed": 4}.get(name, 1)
        more = {"threshold": 4, "statistics_multiplier": 8.0, "statistics_full_at": full_at}
    return noises.calibrate(name, epsilon, rounds=ROUNDS, unit=unit, **more)


def curve(
    unit: str = "patient", names: tuple[str, ...] = FOUR, epsilons: tuple = (1.0, 3.0)
) -> PlacementCurve:
    random = np.random.default_rng(0)
    points = [Point("none", "patient", None, "none", tuple(random.normal(0.97, 0.01, 4)))]
    for epsilon in epsilons:
        for name in names if unit == "patient" else names[:3]:
            said = f"the promise of {name} at {epsilon:g}; unit {unit}"
            drawn = tuple(random.normal(0.93, 0.01, 4))
            points.append(Point(name, unit, epsilon, said, drawn, "", terms(name, epsilon, unit), ROUNDS))
    return PlacementCurve(tuple(points), SEEDS, f"drawn numbers, unit {unit}", "smoke")


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """Collect the alt texts of what is shown."""
    texts: list[str] = []
    monkeypatch.setattr(plots, "show", lambda fig: texts.append(fig.alt_text))
    return texts


@pytest.mark.parametrize(
    ("unit", "placement"),
    [("patient", "distributed"), ("patient", "local"), ("patient", "central"), ("hospital", "distributed")],
)
def test_what_is_left_is_what_the_studys_own_terms_promise(unit: str, placement: str) -> None:
    noise = terms(placement, 1.0, unit)
    left = placements.against(curve(unit).point(placement, 1.0, unit))
    rows = [row for row in noises.promises(noise, ROUNDS).rows if row[2] == noise.threshold]
    promised = [found.epsilon if found else np.inf for *_, found in rows]
    assert [one.epsilon for one in left] == pytest.approx(promised)


def test_more_colluders_leave_less_where_they_hold_shares_and_the_server_sees_all_under_central() -> None:
    left = {name: [one.epsilon for one in placements.against(curve().point(name, 3.0))] for name in FOUR}
    assert left["central"][0] == np.inf
    assert all(np.isfinite(left["central"][1:]))
    assert left["distributed"][2:] == sorted(set(left["distributed"][2:]))
    assert left["distributed"][2] > left["distributed"][0]
    assert left["local"][1] < left["local"][0]
    assert max(left["record"]) == left["record"][0]  # a hospital's own noise is full


def test_words_name_accuracy_loss_promise_and_who_is_not_protected() -> None:
    one = curve()
    text = placements.words([one], "central", 3.0)
    assert one.point("central", 3.0).mean.percent(1) in text
    assert "the promise of central at 3; unit patient" in text
    assert "drawn numbers, unit patient; smoke" in text
    assert "same seeds" in text
    (server,) = (line for line in text.splitlines() if line.strip().startswith("the server"))
    assert "no promise: sees the exact sum" in server


def test_the_loss_is_paired_by_seed() -> None:
    """An arm that loses exactly one point on every seed has no interval, however far the seeds lie apart."""
    plain = (0.90, 0.99, 0.93, 0.96)
    points = (
        Point("none", "patient", None, "none", plain),
        Point(
            "local", "patient", 1.0, "said", tuple(a - 0.01 for a in plain), "", terms("local", 1.0), ROUNDS
        ),
    )
    assert "costs 1.0 [1.0, 1.0] points" in placements.words(
        [PlacementCurve(points, SEEDS, "drawn", "smoke")], "local", 1.0
    )


def test_the_picture_has_a_bar_an_observer_and_hatches_what_is_no_promise() -> None:
    fig = placements.placement_picture([curve()], FOUR, 3.0)
    bars = fig.axes[1].patches
    assert len(bars) == 4 * 5
    assert sum(bar.get_hatch() is not None for bar in bars) == 1
    assert "central against the server no promise" in fig.alt_text
    assert "distributed against 3 hospitals together" in fig.alt_text
    assert fig.get_size_inches()[0] * 100 <= 800


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: placements.words([curve()], "local", 2.0), LookupError, "no point 'local' at 2.0"),
        (lambda: placements.words([curve()], "local", 1.0, "hospital"), LookupError, "nothing measured for unit"),
        (lambda: placements.placement_picture([curve()], [], 1.0), ValueError, "placements is empty"),
        (lambda: widgets.placement_explorer(), ValueError, "no curve was given"),
        (lambda: widgets.placement_explorer(curve(epsilons=())), LookupError, "no point of the curves is private"),
    ],
)  # fmt: skip
def test_what_was_not_measured_is_refused_and_named(call, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        call()


def test_the_explorer_redraws_for_every_menu_and_says_what_was_not_measured(shown, capsys) -> None:
    box = widgets.placement_explorer(curve(), curve("hospital", ("distributed",), (3.0, 8.0)))
    unit, epsilon, placement, beside, _ = box.children
    assert (unit.value, epsilon.value, placement.value) == ("patient", 1.0, "distributed")
    picture, drawing = shown
    assert all(f"{name} against the server" in picture for name in FOUR)
    assert "Noise is drawn in every hospital (add its share of the noise)" in drawing
    placement.value = "central"
    assert "The server draws the noise" in shown[-1]
    beside.value = False
    assert "distributed" not in shown[-2]
    count = len(shown)
    unit.value = "hospital"  # central was not measured for hospitals
    assert len(shown) == count
    placement.value, epsilon.value = "distributed", 8.0
    assert "unit hospital" in shown[-2]
    assert "clip the whole update" in shown[-1]
    assert epsilon.options == (("ε = 1", 1.0), ("ε = 3", 3.0), ("ε = 8", 8.0))


def test_without_ipywidgets_one_choice_is_shown_as_text_and_pictures(shown, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert widgets.placement_explorer(curve()) is None
    assert len(shown) == 2
    assert "the promise of distributed at 1; unit patient" in capsys.readouterr().out
