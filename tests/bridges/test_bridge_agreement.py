"""A bridge never says "agrees" by default, and its tests of laws catch the wrong law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit import dp
from labkit.bridges import Agreement, Line
from labkit.bridges.agreement import absolute, largest, relative
from labkit.bridges.laws import two_samples, whole_numbers


def made(*lines: Line) -> Agreement:
    return Agreement("tool", lines, {"tool": "1"}, "labkit bridge tool", "no records", "smoke")


def test_nothing_judged_is_no_agreement() -> None:
    assert not made().agrees
    assert not made(Line("shown", 1.0, 1.0, 0.0)).agrees
    assert made(Line("shown", 1.0, 2.0, 1.0), relative("ε", 1.0, 1.0005)).agrees


def test_one_line_apart_is_enough() -> None:
    found = made(relative("ε", 1.0, 1.0), relative("ε", 1.0, 1.002))
    assert not found.agrees
    assert found.table()["agree"].tolist() == ["yes", "NO"]
    assert "1 of 2 judged lines agree" in str(found)


def test_a_distance_that_is_no_number_is_no_agreement() -> None:
    assert absolute("accuracy", math.nan, 0.9, 0.1).agrees is False
    assert largest("weights", [1.0, math.nan], [1.0, 1.0], 0.1).agrees is False


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same"):
        largest("weights", np.zeros(3), np.zeros((3, 1)), 1.0)


def test_figures_survive_as_json(tmp_path) -> None:
    import json

    saved = json.loads(made(relative("ε", 1.0, 1.1)).save(tmp_path / "one.json").read_text("utf-8"))
    assert saved["lines"][0]["agrees"] is False
    assert saved["command"] == "labkit bridge tool"
    assert len(saved["date"]) == 10


# False-failure probability of each of the next two: 1e-6, and seeds are fixed.
def test_equal_laws_pass() -> None:
    rng = np.random.default_rng(0)
    assert two_samples("Laplace", rng.laplace(size=3000), rng.laplace(size=3000)).agrees
    law = dp.DiscreteLaplace(1.0)
    drawn = np.round(rng.geometric(1 - math.exp(-1), 4000) - rng.geometric(1 - math.exp(-1), 4000)).astype(
        int
    )
    assert whole_numbers("discrete Laplace", lambda k: law.log_pmf(k, 0), drawn).agrees


def test_wrong_noise_is_caught() -> None:
    rng = np.random.default_rng(0)
    assert not two_samples("scale 1.5", rng.laplace(size=3000), rng.laplace(scale=1.5, size=3000)).agrees
    law = dp.DiscreteLaplace(1.0)
    halved = np.round(rng.laplace(scale=0.8, size=4000)).astype(int)
    assert not whole_numbers("too little noise", lambda k: law.log_pmf(k, 0), halved).agrees
    one_sided = np.abs(np.round(rng.laplace(size=4000))).astype(int)
    assert not whole_numbers("one-sided", lambda k: law.log_pmf(k, 0), one_sided).agrees


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="draw more"):
        whole_numbers("few", lambda k: -np.abs(k).astype(float), np.zeros(5, int))
