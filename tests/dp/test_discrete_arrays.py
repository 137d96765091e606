"""Exact discrete Gaussian noise for vectors: its law, its borderline coins, and what it refuses."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from labkit.dp.mechanisms import discrete_arrays as arrays


@pytest.mark.parametrize("variance", [Fraction(1, 3), 2, Fraction(37, 2)])
def test_the_law_is_that_of_the_formula(variance):
    # Seed fixed; over seeds a chi-square test at 1e-3 would fail once in a thousand.
    drawn = arrays.discrete_gaussian(variance, 60_000, np.random.default_rng(3))
    edge = math.ceil(3.5 * math.sqrt(float(variance)))
    k = np.arange(-40 - edge, 41 + edge)
    p = np.exp(-(k**2) / (2 * float(variance)))
    inside = np.abs(k) <= edge
    expected = np.append(p[inside], p[~inside].sum()) / p.sum() * len(drawn)
    observed = np.array([(drawn == i).sum() for i in k[inside]])
    observed = np.append(observed, len(drawn) - observed.sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_wide_noise_has_the_variance_asked_for():
    # Standard error of a variance from 40,000 draws is 0.7%: five of them, fixed seed.
    drawn = arrays.discrete_gaussian(10**16, 40_000, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(1e8, rel=0.018)
    assert abs(drawn.mean()) < 5 * 1e8 / 200
    assert (
        len(np.unique(drawn % 1000)) == 1000
    )  # the low digits are noise, too: no coarse grid shines through


def test_a_borderline_coin_is_decided_by_exact_digits():
    # 64 bits that equal the chance to the last one: floating point cannot tell, the next bits must.
    gamma = Fraction(1)
    word = int(math.exp(-1) * 2**64)
    for first, heads in ((word - 2**14, True), (word + 2**14, False)):
        words = [np.array([0, 0], dtype=np.uint64), np.array([first], dtype=np.uint64)]
        found = arrays.coins(np.array([1.0]), lambda i: gamma, lambda count, left=words: left.pop())
        assert found.tolist() == [heads]
        assert not words, "the exact path was not taken"


def test_uniform_numbers_redraw_words_that_favour_small_values():
    limit = 3 * 2**62  # the last quarter of all words is of no use
    words = iter([np.array([2**64 - 1, 5], dtype=np.uint64), np.array([7], dtype=np.uint64)])
    assert arrays.uniform_below(limit, 2, lambda count: next(words)).tolist() == [7, 5]


def test_without_a_generator_two_draws_differ_and_with_one_they_repeat():
    again = [arrays.discrete_gaussian(10**6, 50, np.random.default_rng(4)).tolist() for _ in range(2)]
    assert again[0] == again[1]
    # Two vectors of 50 wide draws agree by chance with probability below 1e-150.
    assert arrays.discrete_gaussian(10**6, 50).tolist() != arrays.discrete_gaussian(10**6, 50).tolist()


def test_it_refuses_a_variance_or_generator_that_it_cannot_use():
    for variance in (0, -1, 2**101):
        with pytest.raises(ValueError, match="variance is"):
            arrays.discrete_gaussian(variance, 1)
    with pytest.raises(TypeError, match=r"expected numpy\.random\.default_rng"):
        arrays.discrete_gaussian(1, 1, np.random.RandomState(0))
