from __future__ import annotations

import json

import pytest
from attack_stand_ins import accuracy, dataset, patched, strength

from labkit import cache
from labkit.watermark.attacks import removal
from labkit.watermark.robustness.dose_response import doses


def test_each_dose_leaves_what_the_attack_leaves() -> None:
    data = dataset()
    found = doses([patched()], "prune", "share", (0.8, 0.2), data)
    assert found.usual == (0.5, 0.8)
    assert [point.dose for point in found.of("patch")] == [0.2, 0.8]
    for point in found.points:
        model = removal.remove("prune", patched().model, data, share=point.dose)
        assert point.strength.estimate == pytest.approx(strength(model, patched()))
        assert point.accuracy.estimate == accuracy(model, data)
    few = doses([patched()], "prune", "share", (0.8, 0.2), data, records=50)
    assert few.points[0].accuracy.high - few.points[0].accuracy.low > 0.05


def test_nothing_is_measured_twice(monkeypatch) -> None:
    first = doses([patched()], "blur", "sigma", (0.5, 1.0), dataset())
    monkeypatch.setattr(cache, "save", lambda *_: pytest.fail("attacked and saved again"))
    assert doses([patched()], "blur", "sigma", (0.5, 1.0), dataset()).points == first.points


def test_it_shows_and_saves_itself(tmp_path) -> None:
    found = doses([patched()], "noise", "scale", (0.1, 2.0), dataset())
    assert list(found.table().index) == [("patch", 0.1), ("patch", 2.0)]
    fig = found.plot()
    assert "scale of noise, from 0.1 to 2" in fig.alt_text
    assert found.source in fig.alt_text
    assert "profile smoke" in str(found)
    assert "<table" in found._repr_html_()
    saved = json.loads(found.save(tmp_path / "doses.json").read_text(encoding="utf-8"))
    assert [point["dose"] for point in saved["points"]] == [0.1, 2.0]


def test_what_is_no_dose_is_refused() -> None:
    with pytest.raises(ValueError, match="got option 'depth' of 'prune'"):
        doses([patched()], "prune", "depth", (0.1, 0.2), dataset())
    with pytest.raises(ValueError, match="at least two values"):
        doses([patched()], "prune", "share", (0.1,), dataset())
