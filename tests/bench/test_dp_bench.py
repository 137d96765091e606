"""The benchmark runs, compares like with like, and claims no speed-up where accuracy is lost. No time is asserted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from labkit import data
from labkit.bench import private_steps, race, step_costs
from labkit.data import Dataset


@pytest.fixture
def digits() -> Dataset:
    """A few synthetic digits: the bench takes any images of MNIST's shape."""
    x, y = data.strokes(1600, seed=5)
    classes = tuple(str(i) for i in range(10))
    return Dataset("strokes", "synthetic strokes", False, x[:1300], y[:1300], x[1300:], y[1300:], classes)


def test_quick_bench_prints_tables_and_writes_json(digits: Dataset, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    result = private_steps.run(quick=True, dataset=digits)
    assert {"plain", "Opacus hooks", "engine vmap", "engine layers"} <= {cost.step for cost in result.costs}
    assert all(0 < c.seconds[0] <= c.seconds[1] <= c.seconds[2] for c in result.costs)
    assert all(c.ratio == 1 for c in result.costs if c.step == "plain")
    stock, *ours = result.races
    assert all(
        abs(r.epsilon - stock.epsilon) < 2e-3 for r in ours
    )  # the same privacy, by the same accountant
    assert stock.prior is None  # it knew nothing beforehand
    assert all(0 <= r.prior <= 1 for r in ours)
    assert "synthetic strokes" in str(result)
    assert "engine linear" in str(result)
    saved = json.loads(result.save(tmp_path / "bench.json").read_text())
    assert saved["machine"]["processor"]
    assert len(saved["races"]) == 4
    assert not (
        tmp_path / "cache"
    ).exists()  # "first time" means that nothing was cached, and nothing is left


def test_no_speed_up_is_claimed_below_the_stock_accuracy() -> None:
    stock = race.Race("stock", 100.0, 0.95, 1.0, "somewhere")
    ours = race.Race("ours", 10.0, 0.96, 1.0, "somewhere")
    worse = replace(ours, loop="worse", accuracy=0.94)
    result = private_steps.Bench({}, 1, (), (stock, ours, worse))
    assert result.speedup("ours") == 10
    assert result.speedup("worse") is None
    assert result.race_table().loc["worse", "times faster"] == "not as accurate"


def test_steps_are_timed_in_turns() -> None:
    order: list[str] = []
    steps = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    costs = step_costs.time_in_turns(steps, 4, baseline="a", model="none")
    assert order == ["a", "b"] * 6  # two rounds of warming up, four that count
    assert (costs[0].ratio, costs[0].same_layout) == (1, 1)


def test_stock_pictures_are_torchvisions(digits: Dataset) -> None:
    """What the stock loop sees is what torchvision's MNIST with the example's transforms would give."""
    pictures = race._Pictures(digits.train_x, digits.train_y)
    image, label = pictures[3]
    assert label == int(digits.train_y[3])
    torch.testing.assert_close(image, (digits.train_x[3] - 0.1307) / 0.3081, atol=0.5 / 255 / 0.3081, rtol=0)


def test_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(step_costs, "_private", lambda *_: lambda: None)
    assert private_steps.main(["--quick", "--steps-only", "--json", str(tmp_path / "b.json")]) == 0
    assert "over a plain step" in capsys.readouterr().out
    assert json.loads((tmp_path / "b.json").read_text())["races"] == []


def test_a_profile_names_operations_and_their_shares(capsys: pytest.CaptureFixture[str]) -> None:
    shares = step_costs.profiles_of(("layers",), 4)
    assert list(shares) == ["plain", "layers"]
    for found in shares.values():
        assert any("convolution" in name for name in found)
        assert 0.3 < sum(found.values()) <= 1 + 1e-9
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert private_steps.main(["--profile", "--quick"]) == 0
    assert "vmap: aten::" in capsys.readouterr().out
