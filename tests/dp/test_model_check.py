"""What private training finds out about a model before the first step: by what it does, not by its type."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from labkit import dp
from labkit.data import Dataset
from labkit.dp.training import engines
from labkit.dp.training.model_check import check_gradients, check_model, without_batchnorm

REFUSED_BY_OPACUS = ("borrowed", "in place")
SGD_ENGINES = ("opacus", "vmap", "layers")


def points(d: int = 4, n: int = 60) -> Dataset:
    x = torch.randn(n + 20, d, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return Dataset("points", "points", False, x[:n], y[:n], x[n:], y[n:], ("left", "right"))


class Model(nn.Module):
    """Two linear layers around any function of the hidden units."""

    def __init__(self, between=torch.tanh, before=lambda x: x) -> None:
        super().__init__()
        self.first, self.last, self.between, self.before = nn.Linear(4, 6), nn.Linear(6, 2), between, before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(self.before(x))))


def by_hand(h: torch.Tensor) -> torch.Tensor:
    return (h - h.mean(0)) / (h.std(0, unbiased=False) + 1e-5)


@pytest.mark.parametrize(
    "between",
    [
        lambda h: h - h.mean(0),
        by_hand,
        lambda h: F.batch_norm(h, None, None, training=True),
        lambda h: F.dropout(h, 0.5) - 0.01 * h.mean(0),
        lambda h: h / len(h),
        lambda h: h.flip(0),
        lambda h: h.softmax(0),
    ],
)
def test_models_that_mix_records_are_refused(between) -> None:
    with pytest.raises(ValueError, match=r"mixes records|in a batch of one"):
        check_model(Model(between), points())


@pytest.mark.parametrize("record", [0.0, 7.0])
def test_equal_records_do_not_hide_the_mixing(record: float) -> None:
    data = points()
    data.train_x.fill_(record)
    with pytest.raises(ValueError, match="mixes records"):
        check_model(Model(before=lambda x: x - x.mean(0)), data)


class Keeps(nn.Module):
    """A layer that keeps something of what it saw, in one of many ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.last, self.bank, self.level = how, None, [torch.zeros(4)], 0.0
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.frozen = nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.detach()
        if self.how == "buffer":
            self.mean = 0.9 * self.mean + 0.1 * seen.mean(0)
        elif self.how == "count":
            self.count += len(x)
        elif self.how == "in place":
            self.mean.mul_(0.9).add_(seen[0])
        elif self.how == "frozen parameter":
            self.frozen.data.add_(seen[0])
        elif self.how == "attribute":
            self.last = seen
        elif self.how == "list":
            self.bank[0] = seen[-1]
        elif self.how == "number":
            self.level = float(seen.sum())
        return x


@pytest.mark.parametrize(
    "how", ["buffer", "count", "in place", "frozen parameter", "attribute", "list", "number"]
)
def test_what_keeps_the_records_it_saw_is_refused_before_training(how: str) -> None:
    """meta-pytorch/opacus #227, #261: such a buffer was released without noise; one record moved it by 603."""
    model = nn.Sequential(Keeps(how), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="changed in one forward pass"):
        dp.train_private(model, points(), noise_multiplier=1.0, steps=1, expected_batch_size=20, delta=1e-3)
    assert not model[0].mean.any()  # the caller's model was not the one that was tried
    check_model(nn.Sequential(Keeps("nothing"), nn.Linear(4, 2)), points())


def test_batchnorm_is_refused_even_when_frozen() -> None:
    """meta-pytorch/opacus #315, #472: a frozen layer's statistics still follow the records in training mode."""
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match=r"BatchNorm in 0: .*frozen weights or not"):
        check_model(model, points())


@pytest.mark.parametrize(
    "between", [torch.tanh, nn.Dropout(0.5), nn.LayerNorm(6), nn.GroupNorm(1, 6), F.dropout]
)
def test_models_that_keep_records_apart_pass(between) -> None:
    check_model(Model(between), points())


def test_the_fix_for_batchnorm_learns_where_opacus_fix_is_a_constant() -> None:
    from opacus.validators import ModuleValidator

    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    x = points().train_x
    assert ModuleValidator.fix(model)[0](x).std(0).max() < 1e-3  # what the message warns of
    fixed = without_batchnorm(model)
    assert isinstance(model[0], nn.BatchNorm1d)
    assert fixed[0](x).std(0).min() > 0.1
    assert isinstance(without_batchnorm(nn.BatchNorm2d(3)), nn.GroupNorm)


class Tied(nn.Module):
    """meta-pytorch/opacus #413: one weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Borrowed(Model):
    """A weight that is also used outside of its layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + F.linear(x, self.first.weight)[:, :2]


class Spare(Model):
    """meta-pytorch/opacus #502, #414, #645: a layer that forward() does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(3, 2)


def trap(name: str) -> nn.Module:
    torch.manual_seed(0)
    half_frozen = Model()
    half_frozen.first.weight.requires_grad_(False)
    return {
        "tied": Tied(),
        "borrowed": Borrowed(),
        "spare": Spare(),
        "in place": nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)),
        "half frozen": half_frozen,
        "dropout": nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2)),
        "noise": Model(lambda h: h + torch.randn_like(h)),
    }[name]


@pytest.mark.parametrize("name", ["tied", "borrowed", "spare", "in place", "half frozen", "dropout", "noise"])
@pytest.mark.parametrize("engine", SGD_ENGINES)
def test_engines_are_right_or_refuse(engine: str, name: str) -> None:
    """Whatever passes the check takes the step that autograd takes, one record at a time; the rest is refused."""
    data, model = points(), trap(name)
    refused = {
        "layers": ("tied", "borrowed", "in place", "spare"),
        "opacus": REFUSED_BY_OPACUS,
        "vmap": (),  # torch.func gets all of these right
    }
    if name in refused[engine]:
        with pytest.raises(ValueError, match="engine="):
            check_gradients(engine, model, data.train_x, data.train_y)
        return
    check_gradients(engine, model, data.train_x, data.train_y)
    if name in ("dropout", "noise"):
        return  # the check held them still
    x, y = data.train_x[:7], data.train_y[:7]
    moving = [p for p in model.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in moving]
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        grads = torch.autograd.grad(loss, moving, allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for p, g in zip(moving, grads, strict=True)]
        norm = torch.cat([g.flatten() for g in grads]).norm()
        for t, g in zip(total, grads, strict=True):
            t += g * min(1.0, 0.7 / float(norm))
    optimizer = torch.optim.SGD(moving, lr=1.0)
    mechanism = engines.Mechanism(0.0, 0.7, 1.0, 1.0)
    before = [p.detach().clone() for p in moving]
    made = engines.make_engine(
        engine, model.train(), optimizer, mechanism, torch.Generator(), torch.utils.data.TensorDataset(x, y)
    )
    made.step([(x[:3], y[:3]), (x[3:], y[3:])])
    for b, p, t in zip(before, moving, total, strict=True):
        torch.testing.assert_close(b - p.detach(), t, atol=1e-5, rtol=1e-4)


def test_linear_engine_notices_what_follows_its_layer_in_place() -> None:
    """The activation hands on the very tensor that the layer gave, so identity alone does not tell."""
    data = points()
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match="engine='linear'"):
        check_gradients("linear", model, data.train_x, data.train_y)
    check_gradients("linear", nn.Sequential(nn.Linear(4, 2)), data.train_x, data.train_y)


def test_an_engine_that_goes_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutations of the clipped sum: each one must fail the check that every run makes."""
    data, model, right = points(), Model(), engines.gradients.clipped_sum

    def without_bias(model, x, y, bound):
        sums, loss = right(model, x, y, bound)
        return {k: 0 * v if "bias" in k else v for k, v in sums.items()}, loss

    mutants = [
        without_bias,
        lambda m, x, y, bound: right(m, x, y, 1.1 * bound),
        lambda m, x, y, bound: right(m, x, y, 1e9),
        lambda m, x, y, bound: right(m, x[:-1], y[:-1], bound),
        lambda m, x, y, bound: ({k: v / len(x) for k, v in right(m, x, y, bound)[0].items()}, 0.0),
    ]
    for mutant in mutants:
        monkeypatch.setattr(engines.gradients, "clipped_sum", mutant)
        with pytest.raises(ValueError, match="misses the true gradient"):
            check_gradients("vmap", model, data.train_x, data.train_y)


@pytest.mark.parametrize("engine", SGD_ENGINES)
def test_an_unused_layer_trains_or_is_named(engine: str) -> None:
    settings = {"noise_multiplier": 1.0, "steps": 2, "expected_batch_size": 20, "seed": 0, "delta": 1e-3}
    if engine == "layers":
        with pytest.raises(ValueError, match="exactly once"):
            dp.train_private(Spare(), points(), engine=engine, **settings)
    else:
        assert dp.train_private(Spare(), points(), engine=engine, **settings).privacy.steps == 2


def test_labels_without_a_logit_and_batches_of_one_are_named() -> None:
    data = points()
    data.train_y[5] = 7
    with pytest.raises(ValueError, match="labels run from 0 to 7; expected 0 to 1"):
        check_model(Model(), data)
    with pytest.raises(ValueError, match=r"outputs of shape \(2,\) for 1 records"):
        check_model(Model(before=torch.squeeze), points())


def test_the_check_leaves_model_and_generator_alone() -> None:
    model, state = trap("dropout"), torch.get_rng_state()
    before = [p.clone() for p in model.parameters()]
    check_model(model, points())
    check_gradients("opacus", model, points().train_x, points().train_y)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(hasattr(p, "grad_sample") for p in model.parameters())


def test_engines_agree_on_a_half_frozen_model_and_leave_what_is_frozen() -> None:
    """meta-pytorch/opacus #436, #542: a layer with a frozen weight and a trainable bias."""
    model, found = trap("half frozen"), []
    for engine in SGD_ENGINES:
        result = dp.train_private(
            model,
            points(),
            engine=engine,
            noise_multiplier=1.0,
            steps=4,
            expected_batch_size=20,
            seed=1,
            delta=1e-3,
        )
        assert torch.equal(result.model.first.weight, model.first.weight)
        found.append(torch.cat([p.detach().flatten() for p in result.model.parameters()]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=0)
