from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from labkit import cache, membership
from labkit.membership.shadows import completion, queries, training
from labkit.models import perceptron
from labkit.training import many
from labkit.training.recipe import Recipe

RECIPE = Recipe(epochs=60, learning_rate=0.1, batch_size=50)  # as in the fixture `bank`


@pytest.mark.parametrize(("models", "n"), [(2, 2), (4, 10), (16, 1000)])
def test_masks_are_balanced_both_ways(models: int, n: int) -> None:
    masks = membership.balanced_masks(models, n, seed=3)
    assert (masks.sum(0) == models // 2).all()
    assert (masks.sum(1) == n // 2).all()
    assert (masks[0::2] ^ masks[1::2]).all()


def test_masks_of_a_larger_bank_begin_with_those_of_a_smaller() -> None:
    assert (membership.balanced_masks(16, 100)[:4] == membership.balanced_masks(4, 100)).all()
    assert (membership.balanced_masks(4, 100, seed=1) != membership.balanced_masks(4, 100)).any()


@pytest.mark.parametrize(("models", "n"), [(3, 10), (0, 10), (4, 9)])
def test_odd_numbers_are_refused(models: int, n: int) -> None:
    with pytest.raises(ValueError, match="must be even"):
        membership.balanced_masks(models, n)


def build(clouds, **changes):
    settings = {"make_model": partial(perceptron, 8, 64), "recipe": RECIPE, "strategy": "loop"}
    return membership.shadow_bank(clouds, **(settings | {"shadow_models": 4} | changes))


def test_a_bank_resumes_model_by_model_and_grows(clouds, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    trained, real = [], completion._keep  # not the training itself: a change to that makes another bank

    def counting(bank, k, state):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(k)
        real(bank, k, state)

    monkeypatch.setattr(completion, "_keep", counting)
    with pytest.raises(KeyboardInterrupt):
        build(clouds)
    assert len(list(tmp_path.rglob("model-*.pt"))) == 2
    monkeypatch.setattr(completion, "_keep", lambda bank, k, state: trained.append(k) or real(bank, k, state))
    resumed = build(clouds)
    assert trained == [0, 1, 2, 3]  # nothing twice
    assert not list(tmp_path.rglob("*.part"))
    assert build(clouds).seconds == 0 < resumed.seconds
    build(clouds, shadow_models=6)
    assert trained == [0, 1, 2, 3, 4, 5]
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "other"))
    at_once = build(clouds)
    for k in range(4):
        assert (at_once.logits(k) == resumed.logits(k)).all()


def test_a_half_written_model_is_made_again(clouds, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    bank = build(clouds)
    before = np.array(bank.logits(2))
    (bank.folder / "pool-002.npy").write_bytes(b"cut short")
    (
        bank.folder / "model-002.pt"
    ).unlink()  # the file that says "done" is written last, so an interrupt leaves none
    assert (build(clouds).logits(2) == before).all()


def test_what_changes_the_models_changes_the_folder(clouds, bank) -> None:
    def key(**changes):
        settings = {
            "dataset": clouds,
            "make_model": partial(perceptron, 8, 64),
            "recipe": RECIPE,
            "pool": 400,
            "population": 200,
            "asked": ("plain",),
            "seed": 0,
            "dtype": "float32",
        } | changes
        return training._key(**settings)

    assert key() == bank.key
    for change in (
        {"recipe": replace(RECIPE, epochs=61)},
        {"make_model": partial(perceptron, 8, 65)},
        {"dataset": replace(clouds, digest="clouds-2")},
        {"seed": 1},
        {"dtype": "float16"},
    ):
        assert key(**change) != bank.key, change


def test_logits_are_memory_mapped_and_those_of_the_kept_model(bank) -> None:
    assert isinstance(bank.logits(0), np.memmap)
    assert bank.logits(0).shape == (400, 1, 2)
    answers = bank.model(0)(bank.x).detach().numpy()
    np.testing.assert_allclose(bank.logits(0)[:, 0], answers, atol=1e-4)
    assert bank.memory() == 8 * 600 * 2 * 4


def test_models_fit_what_they_were_trained_on(bank) -> None:
    fit = bank.signal("loss")[:, :, 0]
    assert (
        (np.where(bank.masks, fit, np.nan)[~np.isnan(np.where(bank.masks, fit, np.nan))]).mean()
        > fit[~bank.masks].mean() + 0.1
    )


def test_without_takes_the_partner_too_and_stays_balanced(bank) -> None:
    rest = bank.without(3)
    assert rest.rows.tolist() == [0, 1, 4, 5, 6, 7]
    assert (rest.masks.sum(0) == 3).all()
    assert rest.partners.tolist() == [1, 0, 3, 2, 5, 4]
    assert rest.without(0).rows.tolist() == [4, 5, 6, 7]


def test_selected_signals_are_those_of_the_whole(bank) -> None:
    alone = bank.select([2, 5]).signal("hinge")
    whole = bank.signal("hinge")
    assert (alone == whole[[2, 5]]).all()
    assert (bank.select([2, 5]).signal("hinge") == alone).all()


def test_float16_halves_the_bytes(clouds, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    single, half = build(clouds, shadow_models=2), build(clouds, shadow_models=2, dtype="float16")
    assert half.memory() * 2 == single.memory()
    np.testing.assert_allclose(half.logits(1), single.logits(1), rtol=2e-3, atol=1e-2)


def test_targets_train_on_fresh_halves_and_are_cached(bank, monkeypatch) -> None:
    first = membership.train_targets(bank, seeds=[1, 2])
    assert all(t.members.sum() == 200 for t in first)
    assert (first[0].members != first[1].members).any()
    monkeypatch.setattr(many, "train_many", None)  # a second call must not train
    again = membership.train_targets(bank, seeds=[2])
    assert (again[0].logits == first[1].logits).all()


def test_the_pool_keeps_the_data_set_s_order(clouds, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    part, whole = build(clouds, shadow_models=2, pool=100), build(clouds, shadow_models=2)
    assert (np.diff(part.positions) > 0).all()
    assert (part.x == clouds.train_x[part.positions]).all()
    assert (whole.x == clouds.train_x).all()


def test_members_are_told_in_the_caller_s_own_order(clouds, monkeypatch, tmp_path) -> None:
    """A mask in the data set's order was once read in the bank's, and a model that leaks was signed off."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    part = build(clouds, shadow_models=2, pool=100)
    rng = np.random.default_rng(0)
    mine = np.sort(rng.permutation(400)[:200])  # what I trained on, as positions among my records
    mask = np.isin(np.arange(400), mine)
    model = perceptron(8, 64)
    expected = np.isin(part.positions, mine)
    for told in (mine, mask, mask[part.positions], rng.permutation(mine)):
        assert (part.query(model, told).members == expected).all()


@pytest.mark.parametrize(
    "told",
    [
        (np.arange(400) % 2).astype(int),  # a mask of numbers
        np.array([0, 1, 1]),
        np.array([0, 400]),
        np.array([0.5]),
        np.ones(399, dtype=bool),
    ],
)
def test_other_ways_to_tell_members_are_refused(bank, told) -> None:
    with pytest.raises(
        ValueError, match="expected distinct positions among 400 train records, or a bool mask"
    ):
        bank.query(perceptron(8, 64), told)


def test_a_mask_of_numbers_is_no_target_s_truth(bank) -> None:
    target = bank.target(0)
    with pytest.raises(ValueError, match="expected a bool for each"):
        replace(target, members=target.members.astype(int))


def test_probabilities_are_no_logits(bank) -> None:
    target = bank.target(0)
    p = np.exp(target.logits - target.logits.max(-1, keepdims=True))
    with pytest.raises(ValueError, match="these answers are probabilities"):
        replace(target, logits=p / p.sum(-1, keepdims=True))
    model = torch.nn.Sequential(perceptron(8, 64), torch.nn.Softmax(1))
    with pytest.raises(ValueError, match="take the model's softmax off"):
        bank.query(model, bank.masks[0])


def test_a_network_that_ends_in_a_softmax_is_refused_before_training(clouds, monkeypatch) -> None:
    monkeypatch.setattr(many, "train_many", lambda *a, **b: pytest.fail("trained"))
    with pytest.raises(ValueError, match="these answers are probabilities"):
        build(clouds, make_model=lambda: torch.nn.Sequential(perceptron(8), torch.nn.Softmax(1)))


def test_records_are_positions_or_a_mask(bank) -> None:
    target, rest = bank.target(0), bank.without(0)
    mask = np.arange(400) < 300
    by_mask, by_position = (
        membership.attack("loss", target, rest, records=given) for given in (mask, np.arange(300))
    )
    assert (by_mask.scores == by_position.scores).all()
    assert (by_mask.records == np.arange(300)).all()
    with pytest.raises(
        ValueError, match=r"records is int64 .* expected distinct positions among 400 records"
    ):
        membership.attack("loss", target, rest, records=mask.astype(int))


def test_a_changed_forward_is_another_bank(clouds, monkeypatch, tmp_path) -> None:
    """LeakPro pull request 415: outputs of an earlier definition of the model were used again in silence."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))

    def define(activation):
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = torch.nn.Linear(8, 4), torch.nn.Linear(4, 2)

            def forward(self, x):
                return self.b(activation(self.a(x)))

        return Net

    short = replace(RECIPE, epochs=1)
    first, second = (
        build(clouds, make_model=define(f), recipe=short, shadow_models=2) for f in (torch.relu, torch.sin)
    )
    assert first.key != second.key
    answers = second.model(0)(second.x).detach().numpy()
    np.testing.assert_allclose(second.logits(0)[:, 0], answers, atol=1e-4)


def test_where_nothing_can_be_written_the_work_is_kept(clouds, monkeypatch, tmp_path) -> None:
    blocked = tmp_path / "no folder"
    blocked.write_text("a file where the cache should be")
    monkeypatch.setenv("LABKIT_CACHE", str(blocked))
    with pytest.warns(cache.CacheWarning, match="model 3: kept in memory only"):
        bank = build(clouds, recipe=replace(RECIPE, epochs=1))
    assert len(membership.attack("rmia-offline", bank.target(0), bank.without(0)).scores) == 400
    with pytest.warns(cache.CacheWarning):
        (target,) = membership.train_targets(bank, seeds=[3], recipe=replace(RECIPE, epochs=1))
    assert target.model is not None
    assert bank.memory() == 4 * 600 * 2 * 4
    with pytest.warns(cache.CacheWarning):
        sibling = training.sibling(bank, recipe=replace(RECIPE, epochs=2))
    assert (sibling.logits(0) != bank.logits(0)).any()


def test_pool_and_reserve_share_the_records(clouds) -> None:
    pool, reserve = training.pool_of(clouds, 301, 0)[:300], training.reserve_of(clouds, 301, 0)
    assert sorted(torch.cat([pool, reserve]).tolist()) == list(range(400))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": 402}, "a pool of 402 and a population of 200; clouds has 400 train"),
        ({"population": 201}, "population of 201"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"queries": 19}, "queries is 19; expected 1 to 18"),
        ({"shadow_models": 5}, "must be even"),
        ({"queries": 2}, "'mirror' needs images"),
    ],
)
def test_bad_settings_are_named(clouds, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        build(clouds, **change)


def test_queries_mirror_and_shift() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len(queries.QUERIES) == 18
    assert (queries.QUERIES["mirror"](x) == x.flip(-1)).all()
    right = queries.QUERIES["plain shift +1,+0"](x)
    assert right[0, 0].tolist() == [[0, 0, 1], [0, 3, 4], [0, 6, 7]]
    down = queries.QUERIES["plain shift +0,+1"](x)
    assert down[0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="'zoom' is unknown"):
        list(queries.ask(x, ("zoom",)))


def test_a_broken_model_is_named(bank) -> None:
    model = perceptron(8)
    with torch.no_grad():
        model[-1].bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        bank.query(model, bank.masks[0])
    with pytest.raises(ValueError, match="expected some of each"):
        bank.query(perceptron(8), np.ones(400, bool))
