from __future__ import annotations

import json
from functools import partial

import pytest
from attack_stand_ins import SHORT, dataset

from labkit import models
from labkit.bench import watermark
from labkit.training import many
from labkit.watermark.verification import verify


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))
    monkeypatch.setattr(many, "_cores", lambda: 1)  # no processes: their start is measured elsewhere


def test_the_benchmark_prints_and_writes_what_it_measured(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(watermark, "SCHEMES", ("patch",))
    monkeypatch.setattr(watermark.run, "__defaults__", (("patch", "unrelated"),))
    assert watermark.main(["--json", str(tmp_path / "bench.json")]) == 0
    shown = capsys.readouterr().out
    assert "one null model, 600 records" in shown
    assert "queries for p < 1e-06" in shown
    saved = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert [need["scheme"] for need in saved["queries_needed"]] == ["patch", "unrelated"]
    assert saved["null_models"] == 3
    assert saved["machine"]["profile"] == "smoke"
    assert saved["lines"][0]["ratio"] > 0


def test_null_models_are_trained_and_both_sides_timed() -> None:
    make = partial(models.fast_cnn, 8, classes=4)
    line, nulls = watermark.null_line(dataset(), make, SHORT, 2)
    assert len(nulls) == 2
    assert line.ours > 0 < line.peer
    one, two = (next(model.parameters()) for model in nulls)
    assert not one.equal(two)


def test_what_is_needed_follows_from_the_measured_rates(monkeypatch) -> None:
    make = partial(models.fast_cnn, 8, classes=4)
    nulls = [make(seed=seed) for seed in (1, 2)]
    needed = watermark.need("patch", dataset(), make, SHORT, nulls)
    assert 0 <= needed.rate <= 1
    if needed.rate > needed.null_rate:
        assert needed.queries == verify.queries_needed(needed.rate, needed.null_rate, 1e-6)
    else:
        assert needed.queries is None


def test_a_mark_that_null_models_show_too_is_not_provable() -> None:
    make = partial(models.fast_cnn, 8, classes=4)
    from labkit.watermark.marks import embed
    from labkit.watermark.marks.keys import Key

    key = Key.from_phrase("bench")
    copies = [embed.embed("patch", make(seed=seed), dataset(), key, recipe=SHORT).model for seed in (0, 1)]
    needed = watermark.need("patch", dataset(), make, SHORT, copies)
    assert needed.queries is None
    assert (
        "not provable"
        in watermark.MarkBench(watermark.Bench((), {}), (needed,), "made", 2).table().to_string()
    )
