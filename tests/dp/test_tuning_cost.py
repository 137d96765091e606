"""The cost of tuning: against the theorems, plain composition, and draws."""

import math

import numpy as np
import pytest

from labkit.dp.accounting import accountants
from labkit.dp.accounting.statement import PureDP, SampledGaussian, TuningCost, privacy_statement

EVENT = SampledGaussian(1.1, 1000, 0.01)


def test_a_fixed_number_of_runs_is_plain_composition():
    tuned = privacy_statement(EVENT, tuning=TuningCost(4))
    longer = privacy_statement(SampledGaussian(1.1, 4000, 0.01))
    assert tuned.epsilons == pytest.approx(longer.epsilons, rel=1e-3)
    assert tuned.tuning_runs == 4
    assert str(tuned).endswith("1000 steps, add/remove, 4 runs")
    assert tuned.delta_at(tuned.epsilon) == pytest.approx(1e-5, rel=1e-3)
    assert privacy_statement(EVENT, tuning=TuningCost(1)).epsilons == privacy_statement(EVENT).epsilons


@pytest.mark.parametrize(
    ("cost", "shape"),
    [
        (TuningCost(20, "geometric"), 1.0),
        (TuningCost(20, "logarithmic"), 0.0),
        (TuningCost(20, "negative-binomial", 0.5), 0.5),
    ],
)
def test_random_runs_follow_theorem_2(cost, shape):
    """Papernot & Steinke, arXiv 2110.03620, Theorem 2, minimised over the second order by brute force."""
    orders, one = accountants.orders(), accountants.rdp_curve([EVENT], "add/remove")
    gamma = {1.0: 1 / 20}.get(shape, cost._gamma(shape))
    constant = (1 + shape) * min(
        (1 - 1 / a) * r + math.log(1 / gamma) / a for a, r in zip(orders, one, strict=True)
    )
    theorem = one + constant + math.log(20) / (orders - 1)
    bound = np.minimum.accumulate(theorem[::-1])[::-1]  # divergences grow with the order
    np.testing.assert_allclose(cost.rdp_curve([EVENT], "add/remove"), bound, rtol=1e-4)


def test_poisson_runs_follow_theorem_6():
    """Checked at an order where the theorem's side condition holds with the library's own δ̂."""
    from dp_accounting.rdp import rdp_privacy_accountant as library

    orders, one = accountants.orders(), accountants.rdp_curve([EVENT], "add/remove")
    at = int(np.flatnonzero(orders == 8)[0])
    delta_hat = library.compute_delta(orders, one, math.log1p(1 / 7))[0]
    ours = TuningCost(20, "poisson").rdp_curve([EVENT], "add/remove")[at]
    assert ours == pytest.approx(one[at] + 20 * delta_hat + math.log(20) / 7)


def test_many_random_runs_cost_less_than_composing_them():
    once = privacy_statement(EVENT)
    drawn = privacy_statement([EVENT, PureDP(0.01)], tuning=TuningCost(50, "geometric"))
    composed = privacy_statement(EVENT, tuning=TuningCost(50))
    assert once.epsilons["RDP"] < drawn.epsilon < composed.epsilon
    assert drawn.epsilons.keys() == {"RDP"}
    assert str(drawn).endswith("50 runs expected (geometric)")
    assert drawn.delta_at(drawn.epsilon) <= 1e-5 * 1.001
    assert np.all(drawn.tradeoff_curve([0.01, 0.1]) <= drawn.roc_ceiling([0.01, 0.1]))


def test_random_runs_under_replace_one_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="add/remove neighbours only"):
        privacy_statement(EVENT, neighbouring="replace-one", tuning=TuningCost(5, "geometric"))


@pytest.mark.parametrize(
    "cost",
    [
        TuningCost(7, "poisson"),
        TuningCost(7, "geometric"),
        TuningCost(7, "logarithmic"),
        TuningCost(7, "negative-binomial", 2.5),
        TuningCost(7, "negative-binomial", 0.5),
    ],
    ids=lambda cost: f"{cost.distribution}-{cost.shape}",
)
def test_drawn_runs_have_the_stated_mean(cost):
    rng = np.random.default_rng(0)
    runs = np.array([cost.draw_runs(rng) for _ in range(4000)])
    assert runs.min() >= (0 if cost.distribution == "poisson" else 1)
    # Seeded; over seeds, six standard errors fail with probability below 1e-6 (normal tail 2e-9, skewed laws more).
    assert abs(runs.mean() - 7) < 6 * runs.std() / math.sqrt(len(runs))


def test_fixed_runs_are_not_random():
    assert TuningCost(3).draw_runs(np.random.default_rng(0)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean_runs": 0}, "at least 1"),
        ({"mean_runs": math.nan}, "at least 1"),
        ({"mean_runs": 2.5}, "whole number"),
        ({"mean_runs": 5, "distribution": "uniform"}, "expected one of 'fixed'"),
        ({"mean_runs": 1, "distribution": "geometric"}, "nothing random"),
        ({"mean_runs": 5, "distribution": "geometric", "shape": 2.0}, "belongs to"),
        ({"mean_runs": 5, "distribution": "negative-binomial"}, "needs it"),
        ({"mean_runs": 5, "distribution": "negative-binomial", "shape": -1.0}, "finite number > 0"),
    ],
)
def test_wrong_settings_explain_themselves(settings, message):
    with pytest.raises(ValueError, match=message):
        TuningCost(**settings)
