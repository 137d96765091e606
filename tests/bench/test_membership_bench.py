from __future__ import annotations

import json

import numpy as np
import pytest

from labkit.bench import membership
from labkit.bridges import peers


def test_the_benchmark_prints_ratios_and_writes_json(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(
        membership, "_training_lines", lambda: [membership.Line("one shadow model", 0.5, 1.0, "plain loop")]
    )
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    assert membership.main(["--json", str(tmp_path / "bench.json")]) == 0
    assert "peer / labkit" in capsys.readouterr().out
    saved = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert saved["lines"][0]["ratio"] == 2.0
    assert saved["machine"]["profile"] == "smoke"


def test_training_lines_time_both_sides(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    from labkit.training import many

    monkeypatch.setattr(many, "_cores", lambda: 1)  # no processes: their start is measured elsewhere
    lines = membership._training_lines()
    assert len(lines) == 2
    assert all(line.ours > 0 and line.peer > 0 for line in lines)


def test_art_looks_the_given_outputs_up() -> None:
    pytest.importorskip("art")
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 30)
    labels = rng.integers(0, 4, 30)
    assert (peers.rule_guesses(probabilities, labels) == (probabilities.argmax(1) == labels)).all()
