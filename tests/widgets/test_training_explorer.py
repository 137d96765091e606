from __future__ import annotations

import pytest
import torch

from labkit.data import Dataset
from labkit.widgets import training as explorer


@pytest.fixture
def clouds() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3000) % 10
    x = (torch.randn(3000, 12, generator=generator) * 0.1 + torch.eye(10, 12)[y]).clamp(0, 1)
    return Dataset(
        "clouds",
        "ten clouds (made in the test)",
        False,
        x[:2000],
        y[:2000],
        x[2000:],
        y[2000:],
        tuple("0123456789"),
        "d",
    )


def settings(**changes: float) -> dict[str, float]:
    return {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "expected_batch_size": 200, "epochs": 2} | changes


def test_more_noise_lowers_epsilon_and_clipping_leaves_it(clouds: Dataset) -> None:
    base = explorer.try_settings(clouds, **settings())
    quiet = explorer.try_settings(clouds, **settings(noise_multiplier=4.0))
    clipped = explorer.try_settings(clouds, **settings(max_grad_norm=0.1))
    assert quiet.privacy.epsilon < base.privacy.epsilon / 3
    assert clipped.privacy.epsilon == base.privacy.epsilon
    assert base.accuracy.estimate > 0.5  # chance is 0.1; fixed seed


def test_the_figure_shows_every_trial_and_tells_the_last(clouds: Dataset) -> None:
    trials = [explorer.try_settings(clouds, **settings(noise_multiplier=s)) for s in (1.0, 2.0)]
    fig = explorer.trials_figure(trials)
    assert len(fig.axes[0].containers) == 2
    assert "σ = 2" in fig.alt_text
    assert "trials so far: 2" in fig.alt_text
    with pytest.raises(ValueError, match="no trials"):
        explorer.trials_figure([])


def test_the_sliders_start_from_valid_options(clouds: Dataset) -> None:
    box = explorer.training_explorer(clouds)
    assert len(box.children) == 5
    assert all(not slider.continuous_update for slider in box.children[:4])
