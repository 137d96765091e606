"""The benchmark runs each scheme on the same vectors, and every scheme's mean is right. No time is asserted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labkit.bench import federated
from labkit.bench.federated import FLOWER, OURS, PLAIN, Case

SMALL = (Case(4, 50), Case(5, 50, 1))


@pytest.fixture(autouse=True)
def smoke(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")


def test_without_flower_the_report_says_so(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(federated, "_flower", lambda: False)
    assert federated.main(["--json", str(tmp_path / "bench.json")]) == 0
    assert federated.MISSING in capsys.readouterr().out
    saved = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert (saved["lines"], saved["notes"]) == ([], [federated.MISSING])
    assert {cost["scheme"] for cost in saved["costs"]} == {PLAIN, OURS}


def test_both_sum_the_survivors_alone_and_ours_sends_no_more_than_words() -> None:
    for case in SMALL:
        vectors = {f"h{i}": np.full(case.values, i / 10) for i in range(case.hospitals)}
        for scheme in (federated.plain, federated.ours):
            found = scheme(case, vectors)
            assert found.error < 1e-6
            assert min(found.client, found.server, found.everybody) > 0
        assert found.bytes_up > 4 * case.values * (case.hospitals - case.dropped) / case.hospitals


def test_flowers_protocol_gives_the_mean_too_and_ratios_compare_what_is_added() -> None:
    pytest.importorskip("flwr")
    result = federated.run(SMALL, repeats=1)
    flowers = [cost for cost in result.costs if cost.scheme == FLOWER]
    assert len(flowers) == len(SMALL)
    assert all(cost.error < 1e-5 for cost in flowers)  # its grid has 2^22 steps on [-1, 1]
    assert len(result.times.lines) == 3 * len(SMALL)
    plain, ours, peer = result.costs[:3]
    line = result.times.lines[0]
    assert line.ours == pytest.approx(ours.everybody - plain.everybody)
    assert line.ratio == pytest.approx((peer.everybody - plain.everybody) / line.ours)
    assert "seed 0" in str(result)
