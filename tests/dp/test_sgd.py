"""What private training promises: noise, clipping, sampling and the statement, and the mistakes it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from labkit import adapt, dp, models, plots
from labkit.data import Dataset
from labkit.dp.accounting.statement import LaplaceEvent, PureDP
from labkit.dp.training import engines, train_private
from labkit.dp.training import run as loop
from labkit.dp.training.engines import Mechanism, make_engine
from labkit.dp.training.result import PrivateResult
from labkit.results import ResultError

ENGINES = ("opacus", "vmap", "layers", "linear")


def clouds(n: int = 300) -> Dataset:
    """Two clouds of points, 3 standard deviations apart in each of 5 coordinates."""
    y = torch.arange(n + 100) % 2
    x = torch.randn(n + 100, 5, generator=torch.Generator().manual_seed(0)) + 3.0 * y[:, None] - 1.5
    return Dataset("clouds", "two clouds", False, x[:n], y[:n], x[n:], y[n:], ("left", "right"))


def train(engine: str = "linear", model: nn.Module | None = None, dataset: Dataset | None = None, **settings):
    """A private run of a second or less."""
    settings = {
        "noise_multiplier": 1.0,
        "expected_batch_size": 30,
        "steps": 40,
        "learning_rate": 0.5,
        "physical_batch_size": 16,
        "device": "cpu",
        "seed": 0,
    } | settings
    settings = {key: value for key, value in settings.items() if value is not None or key == "seed"}
    return train_private.train_private(
        model or models.logistic_regression(5, 2), dataset or clouds(), engine=engine, **settings
    )


def run_of(**changes) -> loop.Run:
    settings = {
        "engine": "linear",
        "noise_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "expected_batch_size": 30.0,
        "sample_rate": 0.1,
        "steps": 10,
        "learning_rate": 0.5,
        "momentum": 0.0,
        "schedule": "constant",
        "physical_batch_size": 16,
        "delta": 1e-5,
    } | changes
    model = models.logistic_regression(5, 2)
    return loop.Run(model, clouds(), loop.Settings(**settings), 0, torch.device("cpu"))


class Named(nn.Module):
    """Returns a dict, as many libraries' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.linear(x)}


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_private_run_learns_and_says_what_it_cost(engine: str) -> None:
    model = models.logistic_regression(5, 2)
    result = train(engine, model, seed=3)
    assert result.accuracy.estimate > 0.95
    assert not weights(model).any()  # the caller's model is left alone
    assert result.privacy.sample_rate == 30 / 300
    assert result.privacy.steps == 40
    assert result.privacy.noise_multiplier == 1.0
    assert result.privacy.sampler == "poisson"
    assert "two clouds" in str(result)
    assert result.seed == 3
    assert type(result.model) is models.LogisticRegression
    assert not any(hasattr(p, "grad_sample") for p in result.model.parameters())


def test_engines_walk_the_same_path() -> None:
    """Same seed, same batches, same noise: whole noisy runs agree, whichever engine clips."""
    paths = [weights(train(engine, momentum=0.9, schedule="linear").model) for engine in ENGINES]
    for other in paths[1:]:
        torch.testing.assert_close(other, paths[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_physical_batch_size_changes_memory_not_the_result(engine: str) -> None:
    whole, pieces = (weights(train(engine, physical_batch_size=size).model) for size in (1000, 7))
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-5)


def test_no_part_of_a_batch_is_larger_than_asked() -> None:
    run, seen = run_of(physical_batch_size=7), []
    take = run.engine.step
    run.engine.step = lambda parts: seen.append([len(x) for x, _ in parts]) or take(parts)
    for _ in range(5):
        run.step()
    assert max(max(sizes) for sizes in seen) == 7
    assert max(len(sizes) for sizes in seen) > 1


@pytest.mark.parametrize("engine", engines.CPU_CHUNK)
def test_chunks_for_the_cache_change_nothing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"engine": engine, "expected_batch_size": 60, "physical_batch_size": 512, "steps": 5}
    whole = weights(train(**settings).model)
    monkeypatch.setitem(engines.CPU_CHUNK, engine, 7)
    torch.testing.assert_close(weights(train(**settings).model), whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [0, 8])
def test_noise_is_sigma_times_clip_over_the_expected_batch(engine: str, batch: int) -> None:
    """An empty batch is a step too, and the size that happened does not touch the noise."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4000, 10))
    x, y = torch.zeros(batch, 4000), torch.zeros(batch, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    # 2.5 records are expected in a batch: no engine may round that.
    mechanism = Mechanism(noise_multiplier=3.0, max_grad_norm=2.0, sample_rate=0.025, expected_batch_size=2.5)
    records = torch.utils.data.TensorDataset(torch.zeros(100, 4000), torch.zeros(100, dtype=torch.int64))
    made = make_engine(engine, model, optimizer, mechanism, torch.Generator().manual_seed(1), records)
    before = model[1].weight.detach().clone()  # zero inputs: the weights' own gradient is zero
    made.step([(x, y)])
    moved = (model[1].weight.detach() - before).double()
    # 40,000 draws: the standard deviation's standard error is 0.35%, the mean's 0.5%; the bounds are more than 5 of
    # them, so chance fails one of these with p < 1e-6 (and the seed is fixed).
    assert moved.std() == pytest.approx(3.0 * 2.0 / 2.5, rel=0.02)
    assert abs(moved.mean()) < 0.03 * 3.0 * 2.0 / 2.5


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_batches_are_stepped_and_accounted(engine: str) -> None:
    """At an expected size of 0.3, three batches in four are empty; all 20 steps happen, with noise, and are counted."""
    model = models.logistic_regression(5, 2)
    result = train(engine, model, expected_batch_size=0.3, steps=20, learning_rate=1e-3)
    assert result.history[-1]["step"] == 20
    assert result.privacy.sample_rate == pytest.approx(0.001)
    assert weights(result.model).all()


def test_batches_are_poisson() -> None:
    run, sizes = run_of(steps=600), []
    run.engine.step = lambda parts: sizes.append(sum(len(x) for x, _ in parts)) or torch.zeros(())
    for p in run.model.parameters():
        p.grad = torch.zeros_like(p)
    for _ in range(600):
        run.step()
    sizes = torch.tensor(sizes).double()
    # Binomial(300, .1), 600 times: mean 30, variance 27. Bounds of 5 standard errors: chance failure p < 2e-6.
    assert abs(sizes.mean() - 30) < 5 * (27 / 600) ** 0.5
    assert abs(sizes.var() - 27) < 5 * 27 * (2 / 600) ** 0.5


def test_opacus_keeps_the_same_account_as_the_statement() -> None:
    """256 expected of 300 records: make_private alone would book q = 1/2 and divide by 150."""
    run = run_of(engine="opacus", expected_batch_size=256.0, sample_rate=256 / 300)
    for _ in range(3):
        run.step()
    assert run.engine.history == [(1.0, 256 / 300, 3)]
    assert run.engine.optimizer.expected_batch_size == 256.0


def test_noise_reaches_the_target_and_pays_for_other_events() -> None:
    plain = train(noise_multiplier=None, target_epsilon=2.0)
    assert 1.99 < plain.privacy.epsilon <= 2.0
    shared = train(noise_multiplier=None, target_epsilon=2.0, other_events=[PureDP(0.5)])
    assert 1.98 < shared.privacy.epsilon <= 2.0
    assert shared.privacy.noise_multiplier > plain.privacy.noise_multiplier
    assert len(shared.privacy.events) == 2


def test_running_epsilon_ends_above_the_statement() -> None:
    result = train()
    spent = [row["epsilon_rdp"] for row in result.history]
    assert spent == sorted(spent)
    assert result.privacy.epsilon < spent[-1]
    assert spent[-1] == pytest.approx(result.privacy.epsilons["RDP"], rel=0.05)


def test_the_bar_shows_the_running_epsilon(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "1")
    spent = train().history[-1]["epsilon_rdp"]
    assert f"ε ≤ {spent:.2f} (RDP)" in capsys.readouterr().err


def test_the_linear_schedule_falls_to_zero() -> None:
    settings = run_of(schedule="linear", steps=4).settings
    assert [settings.rate_at(step) for step in range(4)] == [0.5, 0.375, 0.25, 0.125]
    assert run_of(steps=4).settings.rate_at(3) == 0.5


def test_seeds_repeat_and_leave_the_global_generator_alone() -> None:
    model = models.logistic_regression(5, 2)
    before = torch.get_rng_state()
    first = train("vmap", model, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights(first.model), weights(train("vmap", seed=1).model))
    assert not torch.equal(weights(first.model), weights(train("vmap", seed=2).model))


def test_without_a_seed_nobody_can_draw_the_noise_again() -> None:
    first, second = (train(seed=None, steps=3) for _ in range(2))
    assert not torch.equal(weights(first.model), weights(second.model))
    assert first.seed is None
    assert "seed drawn and not kept" in str(first)


def test_models_that_do_not_fit_the_records_are_named() -> None:
    with pytest.raises(ValueError, match=r"cannot take records of shape \(5,\)"):
        train(model=models.logistic_regression(6, 2))
    with pytest.raises(ValueError, match=r"expected \(2, 3\): one logit for each class"):
        train(dataset=replace(clouds(), classes=("left", "right", "middle")))


def test_a_result_shows_draws_and_saves_itself(tmp_path) -> None:
    result = train()
    assert result.table().loc["noise multiplier", "value"] == 1.0
    assert "noise multiplier" in result._repr_html_()
    assert "two clouds" in result.plot().alt_text
    saved = torch.load(result.save(tmp_path / "model.pt"), weights_only=True)
    assert "ε" in saved["privacy"]
    assert "seed" not in saved
    model = models.logistic_regression(5, 2)
    model.load_state_dict(saved["weights"])
    assert torch.equal(weights(model), weights(result.model))


def test_a_saved_result_comes_back_around_the_network_that_it_is_given(tmp_path) -> None:
    result = train(other_events=[LaplaceEvent(5.0)])
    path, model = result.save(tmp_path / "model.pt"), models.logistic_regression(5, 2)
    back = PrivateResult.load(path, model)
    assert torch.equal(weights(back.model), weights(result.model))
    assert not weights(model).any()  # a copy took the weights
    assert (back.privacy, back.accuracy, back.settings) == (result.privacy, result.accuracy, result.settings)
    assert str(back.privacy) == str(result.privacy)
    assert back.numbers() == result.numbers()
    with pytest.raises(NotImplementedError, match="no history"):
        back.plot()
    with pytest.raises(ResultError, match="pass model="):
        PrivateResult.load(path)
    with pytest.raises(ResultError, match="weights of another network"):
        PrivateResult.load(path, models.logistic_regression(6, 2))


def test_weights_of_a_model_with_a_chosen_output_say_how_they_load(tmp_path):
    result = train("opacus", Named(), output="logits")
    path = result.save(tmp_path / "model.pt")
    with pytest.raises(ResultError, match=r"as_module\(network, output=\.\.\.\)"):
        PrivateResult.load(path, Named())
    back = PrivateResult.load(path, adapt.as_module(Named(), output="logits"))
    assert torch.equal(weights(back.model), weights(result.model))


def test_what_may_be_published_holds_neither_seed_nor_losses(tmp_path) -> None:
    text = train().save(tmp_path / "figures.json").read_text(encoding="utf-8")
    assert '"epsilon"' in text
    assert "seed" not in text
    assert "loss" not in text
    with pytest.raises(ResultError, match="figures only"):
        PrivateResult.load(tmp_path / "figures.json")


def test_on_given_axes_a_result_draws_what_may_be_released() -> None:
    fig, ax = plots.figure()
    assert train().plot(ax) is fig
    assert "ε spent" in ax.get_ylabel()
    assert "loss" not in fig.alt_text


def batchnorm() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 2)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_batchnorm_is_refused_with_the_fix(engine: str) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm in 2: .*GroupNorm"):
        train(engine, batchnorm())


@pytest.mark.parametrize("engine", ["opacus", "vmap"])
def test_the_fix_it_names_works(engine: str) -> None:
    for model in (batchnorm(), nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))):
        assert train(engine, dp.without_batchnorm(model)).accuracy.estimate > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_epsilon": 1.0}, "exactly one"),
        ({"noise_multiplier": None}, "exactly one"),
        ({"noise_multiplier": 0.0}, "Without noise nothing is private"),
        ({"expected_batch_size": 301}, "sample rate of 1.003"),
        ({"expected_batch_size": 0}, "sample rate of 0"),
        ({"delta": 1 / 300}, "not below 1/n"),
        ({"epochs": 1}, "at most one"),
        ({"steps": 0}, "steps=0"),
        ({"steps": None, "epochs": 0.001}, "is not one step"),
        ({"steps": None, "epochs": float("nan")}, "epochs=nan"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm is inf"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"schedule": "cosine"}, "'cosine' is unknown"),
        ({"physical_batch_size": 0}, "physical_batch_size=0"),
    ],
)
def test_wrong_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(**change)


def test_unknown_engine_frozen_model_and_bad_records_are_named() -> None:
    with pytest.raises(ValueError, match="engine 'jax' is unknown"):
        train("jax")
    frozen = models.logistic_regression(5, 2).requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        train("vmap", frozen)
    bad = copy.copy(clouds())
    object.__setattr__(bad, "train_y", bad.train_y[:-1])
    with pytest.raises(ValueError, match="300 inputs and 299 labels"):
        train(dataset=bad)


@pytest.mark.parametrize("engine", ENGINES)
def test_nan_stops_the_run(engine: str) -> None:
    """A NaN cannot be clipped, so the step would have no privacy: better no model than that one."""
    model = models.logistic_regression(5, 2)
    loud = replace(clouds(), train_x=clouds().train_x * 1e30, digest="")
    model.linear.weight.data.fill_(1e15)
    with pytest.raises(FloatingPointError, match=r"step 1: lower learning_rate=0\.5"):
        train(engine, model, loud)


def test_dropout_draws_its_own_noise_per_record() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))
    first, second = (weights(train("vmap", model, steps=5).model) for _ in range(2))
    assert torch.equal(first, second)


def test_full_batches_are_accounted_as_such() -> None:
    result = train(expected_batch_size=300, steps=3, noise_multiplier=5.0)
    assert result.privacy.sampler == "full"
