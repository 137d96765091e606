"""Noise across hospitals: the right amount for each observer, and refusals of promises that would be empty."""

import math
from dataclasses import replace

import numpy as np
import pytest

from labkit.dp import SampledGaussian, privacy_statement
from labkit.dp.mechanisms.additive import gaussian_delta
from labkit.dp.mechanisms.discrete import discrete_gaussian_delta
from labkit.federated import noise as noises
from labkit.federated.noise import Noise, NoiseError, calibrate

FULL = Noise("distributed", noise_multiplier=8.0, hospitals=5, threshold=3)


def test_shares_of_the_threshold_make_up_the_full_noise():
    assert FULL.share_multiplier**2 * 3 == pytest.approx(8.0**2)
    assert FULL.against("the server") == pytest.approx(8.0)
    assert FULL.against("the server", survivors=5) == pytest.approx(8.0 * math.sqrt(5 / 3))


def test_a_colluder_takes_its_share_away_and_the_plan_can_make_up_for_it():
    assert FULL.against("another hospital") == pytest.approx(8.0 * math.sqrt(2 / 3))
    assert FULL.against("the server", colluders=2) == pytest.approx(8.0 * math.sqrt(1 / 3))
    planned = replace(FULL, colluders=2)
    assert planned.against("the server", colluders=2) == pytest.approx(8.0)
    with pytest.raises(NoiseError, match="nobody is left"):
        FULL.against("the server", colluders=3)


def test_central_noise_hides_nothing_from_the_server():
    central = replace(FULL, placement="central")
    assert central.against("the server") == 0
    assert central.statement(10, observer="the server") is None
    assert central.statement(10).epsilon > 0


def test_local_noise_holds_for_one_contribution_and_adds_up_in_the_model():
    local = replace(FULL, placement="local")
    assert local.against("the server") == 8.0
    assert local.against("everyone who gets the model", survivors=4) == 16.0
    assert local.against("another hospital", survivors=4, colluders=3) == 8.0


@pytest.mark.parametrize("placement", ["central", "local", "distributed"])
def test_calibration_keeps_the_target_statistics_included(placement):
    found = calibrate(
        placement, 2.0, rounds=20, statistics_multiplier=15.0, statistics_full_at=4, threshold=4
    )
    observer = "everyone who gets the model" if placement == "central" else "the server"
    statement = found.statement(20, observer=observer)
    if placement != "central":
        assert statement.epsilon <= 2.0
    by_hand = privacy_statement(
        [
            SampledGaussian(found.noise_multiplier, 20, sampler="full"),
            SampledGaussian(15.0, 1, sampler="full"),
        ]
    )
    assert by_hand.epsilon == pytest.approx(2.0, abs=2e-3)
    assert by_hand.epsilon <= 2.0


def test_local_dp_sgd_is_accounted_as_poisson_steps():
    found = calibrate("record", 3.0, rounds=5, local_steps=4, sample_rate=0.2)
    assert found.statement(5).events == (SampledGaussian(found.noise_multiplier, 20, 0.2, "poisson"),)


def test_every_row_of_promises_weakens_as_more_collude():
    rows = noises.promises(FULL, 10).rows
    for survivors in (5, 3):
        others = [p.epsilon for who, _, s, p in rows if who == "another hospital" and s == survivors]
        assert others == sorted(others)
        assert len(others) == survivors - 1
    assert "unit of privacy: patient" in noises.promises(FULL, 10).summary()


def test_rounding_moves_a_sum_by_no_more_than_the_grid_counts():
    grid = noises.Grid(0.5, 40, 1.0)
    rng = np.random.default_rng(
        0
    )  # worst cases of rounding are rare; the bound is a theorem, these are spot checks
    for _ in range(300):
        total, move = rng.normal(0, 3, 40), rng.normal(0, 1, 40)
        move *= 0.5 / np.linalg.norm(move)
        moved = grid.round(total + move) - grid.round(total)
        assert np.linalg.norm(moved) <= grid.sensitivity


def test_shares_carry_the_variance_that_was_promised():
    grid = noises.Grid(0.5, 20_000, 3.0)
    drawn = grid.noise(np.random.default_rng(1)) * grid.step
    # Standard error of the deviation is 0.5%; fixed seed.
    assert drawn.std() == pytest.approx(3.0 * 0.5, rel=0.02)
    assert grid.variance >= (3.0 * grid.sensitivity) ** 2


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_the_discrete_gaussian_costs_what_the_continuous_one_does(epsilon):
    # The fine grid of the kit is beyond this sum's reach; at 2,000 steps the two agree to nine digits already.
    sensitivity = 2_000
    sigma = 2.0 * sensitivity
    discrete = discrete_gaussian_delta(epsilon, sigma, sensitivity)
    assert discrete == pytest.approx(gaussian_delta(epsilon, 2.0, 1.0), rel=1e-3, abs=1e-12)


def test_a_grid_refuses_what_it_cannot_hold():
    grid = noises.Grid(1.0, 2, 1.0)
    with pytest.raises(NoiseError, match="NaN or infinite"):
        grid.round(np.array([0.0, np.nan]))
    with pytest.raises(NoiseError, match="the grid of step"):
        grid.round(np.array([0.0, 1e12]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"placement": "everywhere"}, "placement is 'everywhere'"),
        ({"placement": "central"}, "noise_multiplier is 0.0"),
        ({"placement": "local", "noise_multiplier": float("nan")}, "noise_multiplier is nan"),
        ({"placement": "local", "noise_multiplier": 1.0, "max_grad_norm": 0}, "max_grad_norm is 0"),
        ({"threshold": 6}, "threshold is 6 of 5"),
        ({"placement": "distributed", "noise_multiplier": 1.0, "colluders": 3}, "colluders is 3"),
        ({"placement": "local", "noise_multiplier": 1.0, "colluders": 1}, "changes nothing"),
        ({"placement": "record", "unit": "hospital", "noise_multiplier": 1.0}, "hides a patient"),
        ({"placement": "local", "noise_multiplier": 1.0, "local_steps": 2}, "belong to placement 'record'"),
        ({"unit": "ward"}, "unit is 'ward'"),
        ({"statistics_multiplier": -1.0}, "statistics_multiplier is -1.0"),
    ],
)
def test_it_refuses_settings_that_promise_nothing(settings, message):
    with pytest.raises(NoiseError, match=message):
        Noise(**settings)


def test_calibrating_no_noise_is_refused():
    with pytest.raises(NoiseError, match="leave target_epsilon out"):
        calibrate("none", 1.0, rounds=3)


def test_statistics_lose_what_colluders_know_whatever_the_placement_of_the_training():
    central = Noise("central", noise_multiplier=8.0, statistics_multiplier=10.0, statistics_full_at=5)
    assert central.statistics_against("everyone who gets the model") == pytest.approx(10.0)
    assert central.statistics_against("another hospital", colluders=2) == pytest.approx(10 * math.sqrt(3 / 5))
    told = [
        central.statement(9, observer="another hospital", colluders=k, survivors=5).epsilon for k in (1, 2, 4)
    ]
    assert told == sorted(told)
    assert told[-1] > told[0]


def test_a_patient_is_in_the_statistics_with_their_own_hospitals_share_at_least():
    thin = Noise("distributed", noise_multiplier=8.0, statistics_multiplier=10.0, statistics_full_at=4)
    left = thin.statistics_against("another hospital", colluders=4, survivors=5)
    assert left == pytest.approx(10 / math.sqrt(4))


def test_statistics_of_patients_hide_no_hospital():
    with pytest.raises(NoiseError, match="take public features"):
        Noise("central", unit="hospital", noise_multiplier=1.0, statistics_multiplier=5.0)
