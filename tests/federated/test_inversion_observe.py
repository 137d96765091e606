"""What the server sees: the right sum, the right clipping, the right amount of noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from labkit.federated.inversion.observation import as_gradient, observe, per_record_gradients


@pytest.fixture
def scene():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    return model, 3 * torch.randn(10, 5, dtype=torch.float64), torch.arange(10) % 3


def test_sum_is_the_gradient_of_the_summed_loss(scene):
    model, x, y = scene
    loss = F.cross_entropy(model(x), y, reduction="sum")
    expected = torch.autograd.grad(loss, list(model.parameters()))
    seen = observe(model, x, y, hospitals=5)
    for got, wanted in zip(seen.gradient.values(), expected, strict=True):
        assert torch.allclose(got, wanted)


def test_every_record_is_clipped_as_a_whole_and_small_ones_are_left(scene):
    model, x, y = scene
    free = per_record_gradients(model, x, y)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in free.values()]).sum(0).sqrt()
    norm = float(norms.median())
    clipped = per_record_gradients(model, x, y, max_grad_norm=norm)
    after = torch.stack([g.flatten(1).square().sum(1) for g in clipped.values()]).sum(0).sqrt()
    assert torch.allclose(after, norms.clamp(max=norm))


@pytest.mark.parametrize(
    ("options", "factor"),
    [({}, 1.0), ({"noise_by": "each"}, math.sqrt(5)), ({"rounds": 4}, 0.5)],
)
def test_noise_is_as_large_as_stated(scene, options, factor):
    model, x, y = scene
    generator = torch.Generator().manual_seed(1)
    settings = {"max_grad_norm": 2.0, "hospitals": 5}
    clean = observe(model, x, y, **settings).gradient
    draws = []
    for _ in range(60):  # 66 values each: the standard deviation is known to 1.1%; 6 sigma are allowed
        seen = observe(model, x, y, **settings, noise_multiplier=1.5, generator=generator, **options)
        draws += [(seen.gradient[name] - clean[name]).flatten() for name in clean]
    assert seen.noise_std == pytest.approx(3.0 * factor)
    assert float(torch.cat(draws).std()) == pytest.approx(3.0 * factor, rel=0.07)


def test_a_flat_vector_is_the_same_gradient(scene):
    model, x, y = scene
    seen = observe(model, x, y)
    flat = np.concatenate([g.numpy().ravel() for g in seen.gradient.values()])
    for name, got in as_gradient(model, flat).items():
        assert torch.equal(got, seen.gradient[name])
    with pytest.raises(ValueError, match="has 3 values"):
        as_gradient(model, flat[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_multiplier": 1.0}, "max_grad_norm"),
        ({"noise_multiplier": 1.0, "max_grad_norm": 1.0}, "generator"),
        ({"noise_multiplier": float("nan"), "max_grad_norm": 1.0}, "noise_multiplier"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"hospitals": 11}, "hospitals"),
        ({"rounds": 0}, "rounds"),
        ({"noise_by": "nobody"}, "noise_by"),
    ],
)
def test_nonsense_is_refused(scene, options, message):
    with pytest.raises(ValueError, match=message):
        observe(*scene, **options)
