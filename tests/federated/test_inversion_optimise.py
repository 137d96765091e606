"""Pictures out of gradients: single updates and sums, and what noise does."""

from __future__ import annotations

import pytest
import torch

from labkit.federated.inversion.observation import observe
from labkit.federated.inversion.optimise import dlg, infer_labels, invert, matched_psnr
from labkit.federated.inversion.pictures import sigmoid_cnn

SHAPE = (1, 16, 16)


def pictures(n: int) -> torch.Tensor:
    """Smooth blobs in [0, 1], shape [n, 1, 16, 16]."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 + 8 * torch.rand(n, 2, 1, generator=generator, dtype=torch.float64)
    axis = torch.arange(16, dtype=torch.float64)
    profile = (-((axis - centres) ** 2) / 10).exp()
    return (profile[:, 0, :, None] * profile[:, 1, None, :])[:, None]


@pytest.mark.parametrize("label", range(0, 10, 3))
def test_label_of_one_record_is_read_off_the_last_bias(label):
    model, x = sigmoid_cnn(label), pictures(1)
    assert infer_labels(model, observe(model, x, torch.tensor([label])), records=1).tolist() == [label]


def test_dlg_returns_the_pictures_of_a_sum_of_two_hospitals():
    model, x, y = sigmoid_cnn(0, width=12), pictures(2), torch.tensor([3, 7])
    found = dlg(
        model,
        observe(model, x, y, hospitals=2),
        shape=SHAPE,
        labels=y,
        steps=120,
        generator=torch.Generator().manual_seed(0),
    )
    blind = matched_psnr(x.mean(0, keepdim=True), x)
    assert float(matched_psnr(found.records, x).min()) > float(blind.max()) + 15
    assert found.mismatch < 1e-6


def test_dlg_knows_the_clipping():
    model, x, y = sigmoid_cnn(1, width=12), pictures(1), torch.tensor([3])
    seen = observe(model, x, y, max_grad_norm=0.5)
    found = dlg(model, seen, shape=SHAPE, labels=y, steps=60, generator=torch.Generator().manual_seed(0))
    assert float(matched_psnr(found.records, x)) > 25


def test_inverting_gradients_beats_the_mean_picture_and_dp_noise_stops_it():
    model, x, y = sigmoid_cnn(2, width=12), pictures(1), torch.tensor([5])
    blank = float(matched_psnr(torch.full((1, *SHAPE), float(x.mean())), x))
    generator = torch.Generator().manual_seed(0)
    options = {"shape": SHAPE, "labels": y, "steps": 120, "generator": generator}
    clear = invert(model, observe(model, x, y), **options)
    noisy = observe(model, x, y, max_grad_norm=1.0, noise_multiplier=0.6, generator=generator)
    assert float(matched_psnr(clear.records, x)) > blank + 10
    assert float(matched_psnr(invert(model, noisy, **options).records, x)) < blank


def test_psnr_is_after_the_best_matching():
    x = pictures(3)
    assert matched_psnr(x.roll(1, 0), x).tolist() == [100.0] * 3
    off = matched_psnr(x + 0.1, x)
    assert torch.allclose(off, torch.full((3,), 20.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="one guess a record"):
        matched_psnr(x[:2], x)
