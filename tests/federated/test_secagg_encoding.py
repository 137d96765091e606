"""Fixed point: exact on the grid, and nothing ever wraps without a word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.federated.secagg import Encoding, EncodingError, SecAggError

GRID = Encoding(scale=1000, bits=32, parties=5, bound=2.0)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=20))
def test_a_value_is_off_by_at_most_half_a_step(values: list[float]) -> None:
    error = np.abs(GRID.decode(GRID.encode(np.array(values))) - values)
    assert error.max() <= 0.5 / GRID.scale * (1 + 1e-9)


@given(st.integers(2, 50), st.sampled_from([32, 64]), st.floats(1e-6, 1e6))
def test_the_finest_grid_holds_the_worst_sum_and_a_finer_one_does_not(
    parties: int, bits: int, bound: float
) -> None:
    grid = Encoding.finest(bound, parties, bits)
    top = grid.to_ring(grid.encode(np.full(1, bound)))
    for sign in (1, -1):
        ring = np.zeros(1, grid.dtype)
        for _ in range(parties):
            ring = ring + top if sign == 1 else ring - top
        assert int(grid.from_ring(ring)[0]) == sign * parties * grid.limit
    with pytest.raises(EncodingError):
        Encoding(2 * grid.scale, bits, parties, bound)


@pytest.mark.parametrize("bad", [2.0000001, -2.1, np.inf, -np.inf, np.nan])
def test_a_value_beyond_the_bound_is_refused_and_named(bad: float) -> None:
    with pytest.raises(EncodingError, match="value 1 is"):
        GRID.encode(np.array([0.0, bad, 1.0]))


def test_a_sum_that_could_wrap_is_refused_before_any_value_comes() -> None:
    Encoding(scale=1, bits=32, parties=2, bound=2**30 - 1)
    with pytest.raises(EncodingError, match=r"less than 2\^31.*bits=64"):
        Encoding(scale=1, bits=32, parties=2, bound=2**30)
    with pytest.raises(EncodingError, match=r"2\^53"):
        Encoding(scale=1, bits=64, parties=2, bound=2.0**53)


@pytest.mark.parametrize("worst", [2001, -2001, np.iinfo(np.int64).min])
def test_an_integer_beyond_the_limit_is_refused(worst: int) -> None:
    assert GRID.check_integers(np.array([2000, -2000])).tolist() == [2000, -2000]
    with pytest.raises(EncodingError, match="room for the noise"):
        GRID.to_ring(np.array([0, worst]))


def test_reals_are_not_taken_for_integers() -> None:
    with pytest.raises(EncodingError, match="use encode first"):
        GRID.check_integers(np.array([1.0]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bits": 16}, "bits is 16"),
        ({"parties": 0}, "parties is 0"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"bound": float("nan")}, "bound is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, said: str) -> None:
    with pytest.raises(SecAggError, match=said):
        Encoding(**({"scale": 1.0, "bits": 32, "parties": 3, "bound": 1.0} | change))


def test_a_grid_of_a_single_point_is_no_grid() -> None:
    with pytest.raises(EncodingError, match="no grid of 32 bits holds"):
        Encoding.finest(1.0, parties=2**31)
