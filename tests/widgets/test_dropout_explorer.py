"""The dropout explorer: its picture says what the protocol did, for every stage at which somebody vanishes."""

from __future__ import annotations

from itertools import product

import pytest

from labkit import plots, widgets
from labkit.federated.secagg.terms import STAGES
from labkit.widgets import dropouts


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """Collect the alt texts of what is shown."""
    texts: list[str] = []
    monkeypatch.setattr(plots, "show", lambda fig: texts.append(fig.alt_text))
    return texts


def words(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[0].texts]


@pytest.mark.parametrize("who", ["", "E", "BD"])
def test_the_sum_is_of_those_whose_vectors_came(who: str) -> None:
    for stages in product(STAGES, repeat=len(who)):
        flow = dropouts.run(dict(zip(who, stages, strict=True)))
        assert flow.total == sum(dropouts.HOSPITALS[name] for name in flow.survivors)
        assert set(flow.present) == set(STAGES)


def test_the_picture_stops_where_the_protocol_stopped() -> None:
    """With three that vanish together, or one below a higher threshold, at each stage."""
    for drop, threshold in (({"A", "B", "C"}, 3), ({"D", "E"}, 4), ({"E"}, 5)):
        for stage in STAGES:
            flow = dropouts.run(dict.fromkeys(drop, stage), threshold)
            assert flow.total is None
            assert flow.stopped.endswith(f"left at stage {stage!r}")
            assert list(flow.present)[-1] == stage
            assert len(flow.present[stage]) == 5 - len(drop) < threshold


def test_the_picture_shows_messages_crosses_and_the_stop() -> None:
    fig = dropouts.message_flow({"B": "share", "D": "masked"})
    assert words(fig).count("×") == 4 + 3
    assert "seed shares of 3,\nkey shares of 1" in words(fig)  # B never shared: nothing of it is left over
    assert "sum 21" in words(fig)
    assert "sum 21 = 1 + 4 + 16" in fig.alt_text
    stopped = dropouts.message_flow({"B": "share", "D": "masked", "E": "masked"})
    assert "STOP: 2 left,\n3 needed" in words(stopped)
    assert words(stopped).count("does not\nhappen") == 2


@pytest.mark.parametrize(
    ("drop", "threshold", "said"),
    [({"F": "share"}, 3, "'F'"), ({"A": "lunch"}, 3, "lunch"), ({}, 2, "3 to 5")],
)
def test_what_is_no_round_is_refused(drop: dict, threshold: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dropouts.message_flow(drop, threshold)


def test_the_explorer_redraws_for_menus_and_threshold(shown) -> None:
    box = widgets.dropout_explorer()
    assert "sum 31" in shown[-1]
    *menus, slider, _ = box.children
    menus[4].value = "masked"
    assert "sum 15" in shown[-1]
    slider.value = 5
    assert "no sum: 4 of 5 hospitals are left at stage 'masked'" in shown[-1]
