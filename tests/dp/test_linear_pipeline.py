"""The linear pipeline on fixed features: what is known before a private record is read, and what is not looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit import data, dp, training
from labkit.data import Dataset
from labkit.dp.utility.linear_pipeline import linear_learning_rate


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "features-cache"))


@pytest.fixture
def digits() -> Dataset:
    x, y = data.strokes(500, 3)
    return Dataset("digits", "drawn digits", False, x[:300], y[:300], x[300:], y[300:], tuple("0123456789"))


def test_the_prior_knows_digits_and_reads_no_train_record(digits) -> None:
    prior = dp.linear_prior(dp.features(digits, "scattering"))
    assert prior.accuracy.estimate > 0.6  # the same pen drew what it was taught
    assert "no private record" in prior.source
    wrong = replace(digits, train_x=1 - digits.train_x, train_y=digits.train_y.flip(0), digest="")
    assert dp.linear_prior(dp.features(wrong, "scattering")).accuracy == prior.accuracy


def test_images_and_their_features_train_the_same_model(digits) -> None:
    seen = dp.features(digits)
    one, other = (dp.linear_pipeline(d, target_epsilon=8.0, steps=3, sample_rate=0.5) for d in (digits, seen))
    assert one.accuracy == other.accuracy
    assert one.privacy.epsilon <= 8.0
    assert len(one.privacy.events) == 2  # the mean is paid for


def test_the_model_takes_features_as_they_come(digits) -> None:
    """The centring that it was trained with is folded into its bias."""
    seen = dp.features(digits, "scattering")
    result = dp.linear_pipeline(seen, target_epsilon=8.0, steps=20, sample_rate=0.5)
    again = training.evaluate(result.model, seen.test_x, seen.test_y).accuracy
    assert again == result.accuracy
    assert result.accuracy.estimate > 0.3


def test_more_noise_or_fewer_records_ask_for_a_smaller_rate() -> None:
    rate = linear_learning_rate(2.0, 0.6, 150, 8000)
    assert linear_learning_rate(4.0, 0.6, 150, 8000) == pytest.approx(rate / 2)
    assert linear_learning_rate(2.0, 0.6, 150, 2000) == pytest.approx(rate / 4)
    assert linear_learning_rate(2.0, 0.6, 600, 8000) == pytest.approx(rate / 2)
