"""Per-sample gradients of every engine against autograd, one record at a time, and against the textbook."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit import models
from labkit.dp.training import gradients, layers, linear, textbook
from labkit.dp.training.engines import Mechanism, OpacusEngine, make_engine

QUIET = (
    1e-9  # a noise multiplier too small to see: Opacus, ours and the textbook can be compared step by step
)


def images(b: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    return torch.rand(b, 1, 28, 28, generator=torch.Generator().manual_seed(seed)), torch.arange(b) % 10


def network(name: str) -> nn.Module:
    """A model with weights that no engine can mistake for others."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if name == "linear":
            model = nn.Sequential(models.Centre(), nn.Flatten(), nn.Linear(784, 10))
        elif name == "groupnorm":
            model = nn.Sequential(
                nn.Conv2d(1, 4, 5, stride=3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(256, 10)
            )
        else:
            model = models.small_cnn("tanh", seed=1)
    return model


def one_by_one(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The yardstick: autograd on each record alone."""
    rows = []
    for i in range(len(x)):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        rows.append({name: p.grad.clone() for name, p in model.named_parameters()})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def flat(grads: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten(1) for g in grads.values()], dim=1)


def stepped(
    engine: str, model: nn.Module, sizes: Sequence[int], *, noise: float = QUIET, clip: float = 0.5
) -> Tensor:
    """The gradient that one private step of ``engine`` used, as one vector."""
    x, y = images(sum(sizes))
    records = torch.utils.data.TensorDataset(*images(64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    mechanism = Mechanism(noise, clip, 0.2, 0.2 * 64)
    made = make_engine(engine, model, optimizer, mechanism, torch.Generator().manual_seed(5), records)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    made.step(list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True)))
    return torch.cat([(before[name] - p.detach()).flatten() for name, p in made.release().named_parameters()])


@pytest.mark.parametrize("name", ["linear", "cnn", "groupnorm"])
def test_vmap_gradients_are_autograds_one_by_one(name: str) -> None:
    model, (x, y) = network(name), images()
    expected = one_by_one(model, x, y)
    found, losses = gradients.per_sample_gradients(model, x, y)
    assert found.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(losses, F.cross_entropy(model(x), y, reduction="none"))
    norms = gradients.per_sample_norms(model, x, y, physical_batch_size=5)
    torch.testing.assert_close(norms, flat(expected).norm(dim=1))  # biases and GroupNorm included


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["linear", "cnn", "groupnorm"])
def test_opacus_gradients_are_autograds_one_by_one(name: str, layout: torch.memory_format) -> None:
    x, y = images()
    expected = one_by_one(network(name), x, y)
    model = network(name).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    records = torch.utils.data.TensorDataset(x, y)
    engine = OpacusEngine(model, optimizer, Mechanism(1, 1, 0.5, 6), torch.Generator(), records)
    engine._backward(x, y)
    for key, p in model.named_parameters():
        torch.testing.assert_close(p.grad_sample, expected[key], atol=1e-6, rtol=1e-5)


def test_opacus_engine_notices_wrong_per_sample_gradients() -> None:
    """Without the engine's own hooks, channels-last convolutions reach Opacus's unfold, which misreads them."""
    (x, y), model = images(), network("cnn").to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    records = torch.utils.data.TensorDataset(x, y)
    engine = OpacusEngine(model, optimizer, Mechanism(1, 1, 0.5, 6), torch.Generator(), records)
    for hook in engine._own_hooks:
        hook.remove()
    with pytest.raises(ValueError, match="miss the true gradient"):
        engine.step([(x, y)])


@pytest.mark.parametrize("sizes", [[12], [5, 7], [1, 11, 0]])
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *[("linear", engine) for engine in ("opacus", "vmap", "layers", "linear")],
        *[("cnn", engine) for engine in ("opacus", "vmap", "layers")],
        *[("groupnorm", engine) for engine in ("opacus", "vmap", "layers")],
    ],
)
def test_one_noiseless_step_is_the_textbooks(name: str, engine: str, sizes: list[int]) -> None:
    x, y = images(12)
    rows = flat(one_by_one(network(name), x, y))
    assert (rows.norm(dim=1) > 0.5).any()
    expected = textbook.noisy_mean(
        textbook.clip_per_sample(rows, 0.5),
        max_grad_norm=0.5,
        noise_multiplier=0.0,
        expected_batch_size=0.2 * 64,
        generator=torch.Generator(),
    )
    torch.testing.assert_close(stepped(engine, network(name), sizes), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("engine", ["vmap", "layers", "linear"])
def test_engines_share_one_stream_of_noise(engine: str) -> None:
    opacus, ours = (stepped(e, network("linear"), [12], noise=1.0) for e in ("opacus", engine))
    torch.testing.assert_close(ours, opacus, atol=1e-6, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_closed_form_norms_count_the_bias(bias: bool) -> None:
    """Small inputs make the bias most of the gradient: a norm that forgets it would clip nothing here."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=bias)).double()
    x, y = images()
    x = 1e-3 * x.double()
    exact = flat(one_by_one(model, x, y))
    clipped = textbook.clip_per_sample(exact, 0.1).sum(0)
    sums, loss = linear.clipped_sum(model, x, y, 0.1)
    found = torch.cat([sums[name].flatten() for name, _ in model.named_parameters()])
    torch.testing.assert_close(found, clipped, atol=1e-5, rtol=0)
    assert bool((exact.norm(dim=1) > 0.1).all()) == bias
    torch.testing.assert_close(loss, F.cross_entropy(model(x), y, reduction="sum"))


@pytest.mark.parametrize("engine", ["opacus", "vmap", "layers", "linear"])
def test_no_record_moves_the_sum_by_more_than_the_bound(engine: str) -> None:
    """Add one record, of any loudness, to a batch: the noiseless step may move by C / expected batch, no more."""
    clip, expected_batch = 0.5, 10.0

    def step_with(x: Tensor, y: Tensor) -> Tensor:
        model = network("linear").double()
        records = torch.utils.data.TensorDataset(x, y)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        mechanism = Mechanism(QUIET, clip, 0.5, expected_batch)
        made = make_engine(engine, model, optimizer, mechanism, torch.Generator().manual_seed(0), records)
        before = torch.cat([p.detach().clone().flatten() for p in model.parameters()])
        made.step([(x, y)])
        return torch.cat([p.detach().flatten() for p in made.release().parameters()]) - before

    x, y = images(8)
    x = x.double()
    for loudness in (0.01, 1.0, 1e4):
        x[-1] = loudness * x[-1]
        moved = (step_with(x, y) - step_with(x[:-1], y[:-1])).norm()
        assert 0 < moved <= clip / expected_batch * (1 + 1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.Linear(4, 10)), "trains Linear, Linear"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Tanh()), "give the model's output"),
        (nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()), "trains Conv2d"),
    ],
)
def test_linear_engine_refuses_other_models(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear.clipped_sum(model, *images(4), 1.0)


def test_linear_engine_takes_a_fixed_network_below_the_trained_layer() -> None:
    model = network("cnn")
    for p in model[:-1].parameters():
        p.requires_grad_(False)
    x, y = images()
    found, _ = linear.clipped_sum(model, x, y, 0.5)
    expected, _ = gradients.clipped_sum(model, x, y, 0.5)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["linear", "cnn", "groupnorm"])
def test_closed_forms_of_layers_are_torch_funcs(name: str, layout: torch.memory_format) -> None:
    model, (x, y) = network(name).to(memory_format=layout), images()
    for clip in (0.3, 1e6):
        found, loss = layers.clipped_sum(model, x, y, clip)
        expected, same_loss = gradients.clipped_sum(model, x, y, clip)
        assert list(found) == list(expected)
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(loss, same_loss)


def test_closed_forms_of_layers_skip_what_is_frozen() -> None:
    model, (x, y) = network("cnn"), images()
    model[1].weight.requires_grad_(False)
    model[4].requires_grad_(False)
    found, _ = layers.clipped_sum(model, x, y, 0.3)
    expected, _ = gradients.clipped_sum(model, x, y, 0.3)
    assert list(found) == list(expected)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=1e-5)


def test_closed_forms_of_layers_refuse_what_they_do_not_know() -> None:
    x, y = images(4)
    with pytest.raises(ValueError, match="no closed form for LayerNorm"):
        layers.clipped_sum(nn.Sequential(nn.Flatten(), nn.LayerNorm(784)), x, y, 1.0)
    with pytest.raises(ValueError, match=r"no closed form for Conv2d.*groups"):
        layers.clipped_sum(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), x, y, 1.0)
    twice = nn.Linear(784, 784)
    with pytest.raises(ValueError, match="used exactly once"):
        layers.clipped_sum(nn.Sequential(nn.Flatten(), twice, nn.Tanh(), twice), x, y, 1.0)
