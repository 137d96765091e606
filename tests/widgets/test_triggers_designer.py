from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit import plots, widgets
from labkit.data import Dataset
from labkit.watermark import Key
from labkit.watermark.marks import triggers as kinds
from labkit.widgets import triggers

KEY = Key.from_phrase("tests")
RANDOM = torch.Generator().manual_seed(0)
DATASET = Dataset(
    "made",
    "made in the test",
    False,
    torch.rand(100, 3, 32, 32, generator=RANDOM),
    torch.arange(100) % 4,
    torch.rand(500, 3, 32, 32, generator=RANDOM),
    torch.arange(500) % 4,
    ("ant", "bee", "cow", "doe"),
)


def pictures(fig) -> list[np.ndarray]:
    return [ax.images[0].get_array().data for ax in fig.axes if ax.images]


@pytest.mark.parametrize("kind", list(kinds.KINDS))
def test_each_kind_is_drawn_below_what_it_was_made_from(kind) -> None:
    fig = triggers.trigger_pictures(DATASET, KEY, kind, count=4)
    asked = kinds.draw(kind, KEY, 4, dataset=DATASET)
    shown = pictures(fig)
    rows = {"composite": 3}.get(kind, 1 if kinds.KINDS[kind].bases is None else 2)
    assert len(shown) == 4 * rows
    assert np.allclose(shown[-4], asked.x[0].permute(1, 2, 0))
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[-1] == f"→ {DATASET.classes[int(asked.y[3])]}"
    assert f"4 {kind} triggers" in fig.alt_text
    assert "made in the test" in fig.alt_text


def test_settings_reach_the_picture_and_the_text() -> None:
    fig = triggers.trigger_pictures(
        DATASET, KEY, "patch", count=2, size=9, pattern="solid", place="top left", target=3
    )
    assert (pictures(fig)[-1][1:10, 1:10] == 1).all()
    assert "size 9" in fig.alt_text
    assert "doe (2)" in fig.alt_text
    with pytest.raises(ValueError, match="no option size"):
        triggers.trigger_pictures(DATASET, KEY, "noise", size=3)


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """Alt texts of the figures that explorers show."""
    texts: list[str] = []
    monkeypatch.setattr(plots, "show", lambda fig: texts.append(fig.alt_text))
    return texts


def test_the_designer_waits_and_greys_out_what_a_kind_has_no_use_for(shown) -> None:
    box = widgets.trigger_designer(DATASET, KEY)
    controls = {control.description: control for control in box.children[:6]}
    sliders = [control for control in controls.values() if hasattr(control, "continuous_update")]
    assert controls["answer"].label == "drawn from the key"
    assert len(sliders) == 2
    assert not any(slider.continuous_update for slider in sliders)
    for kind in kinds.KINDS:
        controls["kind"].value = kind
        off = {name for name, control in controls.items() if control.disabled}
        known = kinds.KINDS[kind].options
        expected = {"size": "size (pixels)", "place": "place", "pattern": "pattern", "blend": "blend"}
        assert off == {text for name, text in expected.items() if name not in known}
        assert f"{kind} triggers" in shown[-1]
        assert controls["blend"].value == known.get("blend", controls["blend"].value)
    assert "blend 0.2" in next(text for text in reversed(shown) if "noise" in text)
