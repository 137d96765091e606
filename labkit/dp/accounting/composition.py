"""Composition of pure epsilon-DP releases: the basic, the advanced and the optimal theorem.

For the accounting of training and of named mechanisms use `labkit.dp.accounting.statement`; this page is the theory that it
improves on.
"""

from __future__ import annotations

import math

from labkit.dp.limits import check_count, check_delta, check_epsilon

LARGEST_EXPONENT = 700.0


def _check(epsilon: float, releases: int) -> None:
    check_epsilon("epsilon", epsilon)
    check_count("releases", releases)


def basic_composition(epsilon: float, releases: int) -> float:
    """Return the total epsilon of ``releases`` epsilon-DP releases: they add up (Dwork & Roth, 2014, theorem 3.14).

    Raises
    ------
    ValueError
        If epsilon is not positive or ``releases`` is not a whole number of at least 1.
    """
    _check(epsilon, releases)
    return releases * epsilon


def advanced_composition(epsilon: float, releases: int, delta: float) -> float:
    """Return an epsilon that ``releases`` epsilon-DP releases meet together, but for ``delta``.

    ``sqrt(2 k ln(1 / delta)) epsilon + k epsilon (e^epsilon - 1)`` (Dwork, Rothblum & Vadhan, 2010; Dwork & Roth,
    2014, theorem 3.20). It grows like the root of k while epsilon is small, and can exceed the basic bound: from an epsilon
    of about 700 it is more than a double can hold, and infinity is returned.

    Raises
    ------
    ValueError
        If epsilon is not positive, ``releases`` is not a whole number of at least 1, or delta is outside (0, 1).
    """
    _check(epsilon, releases)
    check_delta(delta)
    if epsilon > LARGEST_EXPONENT:
        return math.inf
    return math.sqrt(2 * releases * -math.log(delta)) * epsilon + releases * epsilon * math.expm1(epsilon)


def composed_delta(epsilon: float, releases: int, total_epsilon: float) -> float:
    """Return the least delta for which any ``releases`` epsilon-DP releases are (total_epsilon, delta)-DP together.

    The worst case is k-fold randomised response (Kairouz, Oh & Viswanath, 2015, arXiv 1311.0776, theorem 3.3): with
    i of k coins against, one world is e^((k - 2i) epsilon) times as likely as the other.

    Raises
    ------
    ValueError
        If epsilon is not positive, ``releases`` is not a whole number of at least 1, or the total is negative or NaN.
    """
    _check(epsilon, releases)
    if not total_epsilon >= 0:
        raise ValueError(f"total_epsilon is {total_epsilon}; expected 0 or more")
    delta = 0.0
    for against in range(releases + 1):
        loss = (releases - 2 * against) * epsilon
        if loss <= total_epsilon:
            break
        # In logs, because the binomial coefficient alone overflows from about a thousand releases.
        log_probability = (
            math.lgamma(releases + 1)
            - math.lgamma(against + 1)
            - math.lgamma(releases - against + 1)
            - against * epsilon
            - releases * math.log1p(math.exp(-epsilon))
        )
        delta += math.exp(log_probability) * -math.expm1(total_epsilon - loss)
    return delta


def group_privacy(epsilon: float, size: int, delta: float = 0.0) -> tuple[float, float]:
    """Return the (epsilon, delta) that an (epsilon, delta)-DP release promises to ``size`` people together.

    One record changes at a time: each of ``size`` steps multiplies by e^epsilon and adds delta, so the group gets
    ``size * epsilon`` and ``delta (1 + e^epsilon + ... + e^((size - 1) epsilon))``, cut off at 1 (Dwork & Roth, 2014,
    theorem 2.2; Vadhan, 2017, lemma 2.2, which bounds the sum).

    Raises
    ------
    ValueError
        If epsilon is not positive, ``size`` is not a whole number of at least 1, or delta is outside [0, 1).

    Examples
    --------
    >>> group_privacy(0.5, 4)
    (2.0, 0.0)
    """
    check_epsilon("epsilon", epsilon)
    check_count("size", size)
    if delta == 0:
        return size * epsilon, 0.0
    check_delta(delta)
    # The sum of the series in logs: e^(size * epsilon) overflows from about 700 on.
    log_sum = (
        size * epsilon + math.log(-math.expm1(-size * epsilon)) - epsilon - math.log(-math.expm1(-epsilon))
    )
    return size * epsilon, math.exp(min(0.0, math.log(delta) + log_sum))


def optimal_composition(epsilon: float, releases: int, delta: float) -> float:
    """Return the least total epsilon that holds for any ``releases`` epsilon-DP releases, but for ``delta``.

    By bisection on `composed_delta`; never above the basic or the advanced bound.

    Raises
    ------
    ValueError
        If epsilon is not positive, ``releases`` is not a whole number of at least 1, or delta is outside (0, 1).
    """
    check_delta(delta)
    low, high = 0.0, basic_composition(epsilon, releases)
    while high - low > 1e-12 * releases * epsilon:
        middle = (low + high) / 2
        low, high = (low, middle) if composed_delta(epsilon, releases, middle) <= delta else (middle, high)
    return high  # the end that keeps the promise
