"""The clipping explorer's numbers, checked on gradients whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.widgets import clipping

SETTINGS = {"noise_multiplier": 1.0, "expected_batch_size": 10.0, "steps": 1}


def test_equal_gradients_are_shortened_but_not_turned() -> None:
    found = clipping.clipping_errors(np.tile([3.0, 4.0], (5, 1)), np.array([1.0, 5.0, 50.0]), **SETTINGS)
    np.testing.assert_allclose(found["bias"], 0, atol=1e-12)
    np.testing.assert_array_equal(found["clipped"], [1, 0, 0])
    # Noise of length C sqrt(2) / 10 against a signal of min(C, 5).
    np.testing.assert_allclose(found["noise"], np.sqrt(2) / 10 * np.array([1, 1, 10]))


def test_clipping_one_loud_record_turns_the_mean() -> None:
    gradients = np.array([[1.0, 0.0], [0.0, 9.0]])
    found = clipping.clipping_errors(gradients, np.array([1.0, 9.0]), **SETTINGS)
    truth = np.array([1.0, 9.0]) / np.sqrt(82)
    across = np.array([0.5, 0.5]) - (np.array([0.5, 0.5]) @ truth) * truth
    assert found["bias"][0] == pytest.approx(np.linalg.norm(across) / (np.array([0.5, 0.5]) @ truth))
    assert found["bias"][1] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found["total"] ** 2, found["bias"] ** 2 + found["noise"] ** 2)


def test_the_noise_is_as_long_as_sampled_noise() -> None:
    gradients = clipping.example_gradients()
    found = clipping.clipping_errors(
        gradients, np.array([1e9]), **SETTINGS
    )  # nothing clipped: signal = |mean|
    draws = np.random.default_rng(0).normal(0, 1e9 / 10, (20, gradients.shape[1]))
    expected = np.linalg.norm(draws, axis=1).mean() / np.linalg.norm(gradients.mean(0))
    # A norm over 7,850 coordinates varies by 0.8%, a mean of 20 by 0.18%: 1% is more than 5 of those (p < 1e-6).
    assert found["noise"][0] == pytest.approx(expected, rel=0.01)


def test_small_norms_are_biased_and_large_ones_noisy() -> None:
    gradients = clipping.example_gradients()
    lengths = np.linalg.norm(gradients, axis=1)
    found = clipping.clipping_errors(
        gradients, np.geomspace(lengths.min() / 2, lengths.max(), 20), **SETTINGS
    )
    assert (np.diff(found["clipped"]) <= 0).all()
    assert found["bias"][0] > 0.05 > found["bias"][-1]
    assert found["noise"][-1] > 1.5 * found["noise"][0]


def test_the_figure_says_what_it_shows() -> None:
    fig = clipping.clipping_figure(
        clipping.example_gradients(), max_grad_norm=2.0, source="digits", **SETTINGS
    )
    assert "C = 2" in fig.alt_text
    assert fig._suptitle.get_text() == "digits"
    assert fig.axes[1].get_xlabel() == "clipping norm C"


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        clipping.clipping_errors(np.ones(3), np.array([1.0]), **SETTINGS)
    with pytest.raises(ValueError, match="mean that is not zero"):
        clipping.clipping_errors(np.zeros((3, 2)), np.array([1.0]), **SETTINGS)
    with pytest.raises(ValueError, match="C from 0"):
        clipping.clipping_errors(np.ones((3, 2)), np.array([0.0]), **SETTINGS)


def test_the_sliders_draw_once_let_go() -> None:
    box = clipping.clipping_explorer()
    assert all(not slider.continuous_update for slider in box.children[:4])
    box.children[1].value = 2.0
    assert "Traceback" not in str(box.children[4].children[1].outputs)


def test_steps_average_the_noise_and_not_the_bias() -> None:
    once, often = (
        clipping.clipping_errors(
            clipping.example_gradients(), np.array([1.0]), **(SETTINGS | {"steps": steps})
        )
        for steps in (1, 100)
    )
    np.testing.assert_allclose(often["noise"], once["noise"] / 10)
    np.testing.assert_allclose(often["bias"], once["bias"])
