"""Accounting: published figures, closed forms, other libraries, and errors that teach."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom, norm

from labkit.dp.accounting import accountants
from labkit.dp.accounting.statement import (
    LaplaceEvent,
    PureDP,
    SampledGaussian,
    calibrate_noise,
    check_loader,
    gdp_epsilon,
    privacy_statement,
    roc_ceiling,
)

# noise multiplier, epochs at q = 1/250; then RDP, GDP, PRV, PLD, and PLD under replace-one, all at delta 1e-5
PUBLISHED = [
    (1.3, 15, 0.922, 0.805, 0.844, 0.834, 1.50),
    (1.1, 60, 2.503, 2.242, 2.306, 2.295, 4.07),
    (0.7, 45, 6.093, 4.879, 5.442, 5.431, 7.75),
]
THREE_DIGITS = 1e-3
OPACUS_README = SampledGaussian(1.3, 3750, 1 / 250)


def gaussian_delta(epsilon, mu):
    """Balle & Wang 2018, arXiv 1805.06530, Theorem 8."""
    return norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize(("noise", "epochs", "rdp", "gdp", "prv", "pld", "replaced"), PUBLISHED)
def test_published_table(noise, epochs, rdp, gdp, prv, pld, replaced):
    event = SampledGaussian(noise, 250 * epochs, 1 / 250)
    statement = privacy_statement(event)
    assert statement.epsilons == pytest.approx({"PLD": pld, "PRV": prv, "RDP": rdp}, rel=THREE_DIGITS)
    assert statement.epsilon == statement.epsilons["PLD"]
    assert gdp_epsilon(noise, 250 * epochs, 1 / 250) == pytest.approx(gdp, rel=THREE_DIGITS)
    assert gdp_epsilon(noise, 250 * epochs, 1 / 250) < statement.epsilon  # the limit under-reports
    other = privacy_statement(event, neighbouring="replace-one")
    assert other.epsilons == pytest.approx({"PLD": replaced}, rel=THREE_DIGITS)
    assert set(other.unavailable) == {"PRV", "RDP"}


def test_fixed_batches_are_as_many_plain_gaussians_as_epochs():
    statement = privacy_statement(SampledGaussian(1.3, 3750, 1 / 250, "fixed"))
    assert statement.epsilon == pytest.approx(16.5, rel=2e-3)
    assert statement.epsilons["PRV"] == pytest.approx(16.5, rel=3e-3)
    assert gaussian_delta(statement.epsilon, math.sqrt(15) / 1.3) == pytest.approx(1e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("steps", "rate", "releases"),
    [(3750, 1 / 250, 15), (3751, 1 / 250, 16), (1, 0.01, 1), (12, 300 / 1000, 4), (7, 1.0, 7), (5, 0.7, 5)],
)
def test_fixed_batches_count_the_rounds(steps, rate, releases):
    assert SampledGaussian(1.0, steps, rate, "fixed").releases == releases


def test_batches_without_replacement_count_the_doubled_sensitivity():
    event = SampledGaussian(1.3, 3750, 1 / 250, "without-replacement")
    statement = privacy_statement(event, neighbouring="replace-one")
    # Others all at -C: the one that differs moves the sum by 2C with probability q, and by nothing otherwise.
    # This pair is a valid attack, so no bound may lie below it.
    attack = privacy_statement(SampledGaussian(1.3 / 2, 3750, 1 / 250)).epsilon
    assert statement.epsilons.keys() == {"RDP"}
    assert attack < statement.epsilon < 2 * attack
    with pytest.raises(ValueError, match="replace-one neighbours only"):
        privacy_statement(event)


@pytest.mark.parametrize("neighbouring", ["add/remove", "replace-one"])
def test_one_gaussian_is_exact(neighbouring):
    mu = (2 if neighbouring == "replace-one" else 1) / 2.0
    statement = privacy_statement(SampledGaussian(2.0), neighbouring=neighbouring)
    assert gaussian_delta(statement.epsilon, mu) == pytest.approx(1e-5, rel=5e-3)
    np.testing.assert_allclose(
        accountants.rdp_curve(statement.events, neighbouring), accountants.orders() * mu**2 / 2
    )
    points = np.array([3.0, 0.5, 1.0])  # in no order
    np.testing.assert_allclose(statement.delta_at(points), gaussian_delta(points, mu), rtol=5e-3)
    assert isinstance(statement.delta_at(0.5), float)


@pytest.mark.parametrize(("noise", "steps", "rate"), [(1.0, 500, 0.02), (4.0, 200, 0.1), (0.8, 2000, 0.001)])
def test_rdp_agrees_with_opacus(noise, steps, rate):
    from opacus.accountants import RDPAccountant

    opacus = RDPAccountant()
    opacus.history = [(noise, rate, steps)]
    ours = accountants.rdp_epsilon([SampledGaussian(noise, steps, rate)], 1e-5)
    assert ours == pytest.approx(opacus.get_epsilon(1e-5), rel=2e-3)  # the libraries try different orders


def test_pure_dp_composes_like_randomised_response():
    """Kairouz, Oh & Viswanath, arXiv 1311.0776, Theorem 3.3, by summing over all answers."""
    epsilon, count, total = 0.1, 40, 1.0
    truths = np.arange(count + 1)
    p = math.exp(epsilon) / (1 + math.exp(epsilon))
    gap = binom.pmf(truths, count, p) - math.exp(total) * binom.pmf(truths, count, 1 - p)
    statement = privacy_statement(PureDP(epsilon, count))
    assert statement.delta_at(total) == pytest.approx(gap.clip(0).sum(), rel=2e-3)
    assert statement.epsilon < count * epsilon
    assert "PRV" in statement.unavailable


@pytest.mark.parametrize(("event", "once"), [(PureDP(1.0), 1.0), (LaplaceEvent(2.0), 0.5)])
def test_pure_events_cost_what_they_say_and_twice_that_when_replaced(event, once):
    for neighbouring, cost in (("add/remove", once), ("replace-one", 2 * once)):
        statement = privacy_statement(event, neighbouring=neighbouring)
        assert statement.epsilon == pytest.approx(cost, abs=5e-4)
        assert statement.epsilon <= cost + 2e-4
        assert cost >= statement.epsilons["RDP"] * 0.98


def test_epsilon_moves_the_right_way():
    def epsilon(noise=1.0, steps=300, rate=0.02, delta=1e-5):
        return accountants.pld_epsilon([SampledGaussian(noise, steps, rate)], delta)

    base = epsilon()
    assert epsilon(noise=1.2) < base < epsilon(noise=0.9)
    assert epsilon(steps=200) < base < epsilon(steps=400)
    assert epsilon(rate=0.01) < base < epsilon(rate=0.03)
    assert epsilon(delta=1e-4) < base < epsilon(delta=1e-6)


def test_events_compose():
    mean, training = SampledGaussian(8.0, sampler="full"), SampledGaussian(2.2, 200, 0.1)
    parts = [privacy_statement(event).epsilon for event in (mean, training)]
    for accountant in ("PLD", "PRV", "RDP"):
        whole = [privacy_statement(e).epsilons[accountant] for e in ([mean, training], (training, mean))]
        assert whole[0] == pytest.approx(whole[1], rel=1e-3)
    statement = privacy_statement([mean, training])
    assert max(parts) < statement.epsilon < sum(parts)
    assert statement.main is training
    assert (statement.sampler, statement.sample_rate, statement.steps) == ("poisson", 0.1, 200)
    assert statement.noise_multiplier == 2.2
    halves = [SampledGaussian(2.2, 80, 0.1), SampledGaussian(2.2, 120, 0.1)]
    assert privacy_statement(halves).epsilon == pytest.approx(parts[1], rel=1e-3)


@pytest.mark.parametrize(
    ("target", "rate", "steps", "others"),
    [
        (0.2, 0.01, 300, ()),
        (1.0, 0.1, 200, (SampledGaussian(8.0),)),
        (3.0, 0.02, 500, (PureDP(0.3),)),
        (12.0, 1.0, 10, ()),
    ],
)
def test_calibrated_noise_lands_just_below_the_target(target, rate, steps, others):
    noise = calibrate_noise(target, sample_rate=rate, steps=steps, other_events=others, n=60_000)
    reached = privacy_statement([*others, SampledGaussian(noise, steps, rate)]).epsilon
    assert target - 1e-3 * min(1, target) <= reached <= target


def test_calibration_for_other_samplers_and_neighbours():
    settings = {"sample_rate": 0.01, "steps": 300}
    poisson = calibrate_noise(2.0, **settings)
    replaced = calibrate_noise(2.0, **settings, neighbouring="replace-one")
    fixed = calibrate_noise(2.0, **settings, sampler="fixed")
    assert poisson < replaced < fixed
    assert fixed == pytest.approx(calibrate_noise(2.0, sample_rate=1.0, steps=3), rel=1e-3)


def test_calibration_refuses_a_spent_budget():
    with pytest.raises(ValueError, match=r"already spent.*Fix: add noise to them"):
        calibrate_noise(0.3, sample_rate=0.1, steps=10, other_events=[PureDP(0.5)])


def test_tradeoff_curve_is_that_of_a_gaussian_and_below_the_two_line_ceiling():
    statement = privacy_statement(SampledGaussian(1.5))
    fpr = np.concatenate([[0.0], np.logspace(-5, 0, 60)])
    exact = norm.cdf(norm.ppf(fpr) + 1 / 1.5)
    ours, lines = statement.tradeoff_curve(fpr), statement.roc_ceiling(fpr)
    np.testing.assert_allclose(ours, exact, atol=2e-3)
    assert np.all(ours >= exact - 1e-9)
    assert np.all(ours <= lines)
    assert np.any(ours < lines - 0.1)


def test_roc_ceiling_is_reached_by_randomised_response_and_nothing_beats_it():
    odds = math.e
    truth = odds / (1 + odds)
    assert roc_ceiling(np.array([1 - truth]), 1.0)[0] == pytest.approx(truth)
    fpr = np.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(roc_ceiling(fpr, 0.0), fpr)
    np.testing.assert_allclose(roc_ceiling(fpr, 0.0, 0.05), [0.05, 0.15, 0.55, 1.0])
    np.testing.assert_allclose(roc_ceiling(fpr, math.inf), [0.0, 1.0, 1.0, 1.0])
    brute = [min(math.e * a + 0.01, 1 - (1 - 0.01 - a) / math.e, 1) for a in fpr]
    np.testing.assert_allclose(roc_ceiling(fpr, 1.0, 0.01), brute)


def test_statement_reads_as_one_line_a_table_and_html():
    statement = privacy_statement(OPACUS_README, n=60_000)
    expected = (
        "ε = 0.834 (PLD) / 0.844 (PRV) / 0.922 (RDP), δ = 1e-5, "
        "Poisson q = 0.004, 3750 steps, add/remove, 1 run"
    )
    assert str(statement) == expected
    assert list(statement.table().index) == ["PLD", "PRV", "RDP"]
    mixed = privacy_statement([PureDP(0.5), LaplaceEvent(4.0, 3), OPACUS_README])
    assert str(mixed).endswith(
        "PRV n/a, δ = 1e-5, Poisson q = 0.004, 3750 steps + pure ε = 0.5 + Laplace, scale 4, 3 times, "
        "add/remove, 1 run"
    )
    assert "Gaussian steps only" in mixed.table().loc["PRV", "note"]
    assert math.isnan(mixed.table().loc["PRV", "epsilon"])
    assert "Gaussian steps only" in mixed._repr_html_()
    assert pickle.loads(pickle.dumps(statement)) == statement
    assert hash(statement) == hash(privacy_statement(OPACUS_README, n=60_000))


def test_prv_refuses_what_would_take_minutes():
    event = SampledGaussian(1.0, 1_000_000, 0.01)
    with pytest.raises(accountants.NotAccountable, match="minutes"):
        accountants.prv_epsilon((event,), 1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier=0.0.*Without noise"),
        ({"noise_multiplier": -1.0}, "noise_multiplier=-1.0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier=nan"),
        ({"sample_rate": 1.5}, "0 < q <= 1.*expected_batch_size / n"),
        ({"sample_rate": 256}, "0 < q <= 1"),
        ({"sample_rate": 0.0}, "0 < q <= 1"),
        ({"sample_rate": math.nan}, "0 < q <= 1"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 10.5}, "whole number"),
        ({"sampler": "shuffle"}, "no tight privacy bound.*2403.17673, 2411.04205"),
        ({"sampler": "sorted"}, "not one of 'poisson'"),
        ({"sampler": "full", "sample_rate": 0.5}, "leave sample_rate at 1"),
    ],
)
def test_events_explain_what_is_wrong(settings, message):
    with pytest.raises(ValueError, match=message):
        SampledGaussian(**{"noise_multiplier": 1.0, "steps": 10, "sample_rate": 0.1} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": 0.0}, "0 < δ < 1"),
        ({"delta": 1.0}, "0 < δ < 1"),
        ({"delta": math.nan}, "0 < δ < 1"),
        ({"delta": 1e-5, "n": 1000 * 100}, r"\(0, 1/n\)-DP"),
        ({"delta": 1e-3, "n": 500}, None),
        ({"neighbouring": "swap"}, "replace-one"),
    ],
)
def test_statements_explain_what_is_wrong(settings, message):
    if message is None:
        assert privacy_statement(OPACUS_README, **settings).n == settings["n"]
        return
    with pytest.raises(ValueError, match=message):
        privacy_statement(OPACUS_README, **settings)


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_calibration_explains_an_impossible_target(target):
    with pytest.raises(ValueError, match=r"target_epsilon=.*expected a finite number > 0"):
        calibrate_noise(target, sample_rate=0.1, steps=10)


def test_other_wrong_inputs():
    with pytest.raises(ValueError, match="events is empty"):
        privacy_statement([])
    with pytest.raises(TypeError, match="no privacy event"):
        privacy_statement([1.0])
    with pytest.raises(ValueError, match=r"rates in \[0, 1\]"):
        roc_ceiling(np.array([0.5, 1.5]), 1.0)
    with pytest.raises(ValueError, match="epsilon=-1"):
        roc_ceiling(np.array([0.5]), -1.0)
    with pytest.raises(ValueError, match="epsilon=-1"):
        privacy_statement(PureDP(1.0)).delta_at(-1.0)


def test_fixed_batches_are_stated_for_emptied_places():
    assert "zero-out" in str(privacy_statement(SampledGaussian(1.0, 10, 0.1, "fixed")))
    assert "add/remove" in str(privacy_statement(SampledGaussian(1.0, 10, 0.1)))


def test_targets_beyond_reason_are_refused():
    with pytest.raises(ValueError, match="target_epsilon=10000: expected at most 200"):
        calibrate_noise(1e4, sample_rate=0.1, steps=5)
    with pytest.raises(ValueError, match="n=0"):
        calibrate_noise(1.0, sample_rate=0.1, steps=5, n=0)


def test_loader_must_sample_as_accounted():
    import torch
    from opacus.data_loader import DPDataLoader
    from torch.utils.data import DataLoader, TensorDataset

    records = TensorDataset(torch.zeros(1000, 1))
    plain, shuffled = (DataLoader(records, batch_size=300, shuffle=shuffle) for shuffle in (False, True))
    poisson = DPDataLoader.from_data_loader(plain)
    with pytest.raises(ValueError, match="fixed batches, yet the event is accounted as Poisson"):
        check_loader(plain, SampledGaussian(1.0, 10, 0.3))
    with pytest.raises(ValueError, match=r"q = 0.3, yet the event says 0.1"):
        check_loader(plain, SampledGaussian(1.0, 10, 0.1, "fixed"))
    with pytest.raises(ValueError, match="no tight bound"):
        check_loader(shuffled, SampledGaussian(1.0, 10, 0.3, "without-replacement"))
    with pytest.raises(ValueError, match=r"q = 0.25, yet the event says 0.3.*rounded up"):
        check_loader(poisson, SampledGaussian(1.0, 10, 0.3))
    with pytest.raises(ValueError, match="sampler='poisson'"):
        check_loader(poisson, SampledGaussian(1.0, 10, 0.25, "fixed"))
    check_loader(plain, SampledGaussian(1.0, 10, 0.3, "fixed"))
    check_loader(poisson, SampledGaussian(1.0, 10, 0.25))


def test_import_is_cheap():
    heavy = "{'torch', 'opacus', 'dp_accounting', 'scipy', 'pandas'}"
    code = f"import sys, labkit.dp.accounting.statement; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
