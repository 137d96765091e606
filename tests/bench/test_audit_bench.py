"""`labkit bench audit` counts what it says it counts. No time is asserted."""

from __future__ import annotations

import json

from labkit.audit import planted_bugs
from labkit.bench import audit as bench


def test_the_bench_prints_both_rates_and_writes_json(monkeypatch, tmp_path, capsys) -> None:
    names = ("correct", "noise_at_seven_tenths", "clip_after_sum", "exempt_record")
    monkeypatch.setattr(planted_bugs, "ALL", {name: planted_bugs.ALL[name] for name in names})
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    assert bench.main(["--json", str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    assert "False alarms of conformance: 0 of 5" in printed
    assert "95% interval" in printed
    saved = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert saved["flagged"] == {
        "noise_at_seven_tenths": [True, False],
        "clip_after_sum": [True, True],
        "exempt_record": [False, False],
    }
    assert saved["false alarms"] == {name: [0, 1] for name in (*bench.ENGINES, bench.HAND_WRITTEN)}
    assert saved["machine"]["profile"] == "smoke"
