from __future__ import annotations

import json

import pytest
import torch
from attack_stand_ins import CLASSES, RECIPE, dataset, innocent, pictures, tiny_cnn, wide_cnn

from labkit import data as datasets
from labkit import training
from labkit.training import many
from labkit.watermark.attacks import selection
from labkit.watermark.attacks import theft as thieves
from labkit.watermark.attacks.interface import Api, BudgetSpent


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))
    monkeypatch.setattr(many, "_cores", lambda: 1)  # no worker processes for models of a second


def queries(n: int = 240) -> torch.Tensor:
    return pictures(n, 77)[0]


def steal(api: Api, **settings):
    return thieves.steal(api, queries(), tiny_cnn, RECIPE, test=dataset(), **settings)


def test_a_thief_without_a_label_comes_near_the_victim() -> None:
    api = Api(innocent(0))
    theft = steal(api)
    assert api.queries == theft.queries == 240
    data = dataset()
    own, stolen = (training.logits(model, data.test_x).argmax(1) for model in (api.model, theft.model))
    assert theft.agreement.estimate == pytest.approx(float((own == stolen).float().mean()))
    assert theft.accuracy.estimate == pytest.approx(float((stolen == data.test_y).float().mean()))
    assert theft.victim.estimate == pytest.approx(float((own == data.test_y).float().mean()))
    assert theft.agreement.estimate > 0.8  # fixed seeds; a model of no skill agrees on a quarter
    assert theft.agreement.low < theft.agreement.estimate < theft.agreement.high


def test_the_thief_learns_the_victim_and_not_the_truth() -> None:
    """A victim that answers everything wrongly is stolen with its mistakes."""
    api = Api(innocent(0), answers="labels", marker=lambda _, p: p.roll(1, dims=1))
    stolen = steal(api)
    plain = training.logits(innocent(0), dataset().test_x).argmax(1)
    given = training.logits(stolen.model, dataset().test_x).argmax(1)
    assert float((given == (plain + 1) % CLASSES).float().mean()) > 0.7


@pytest.mark.parametrize("strategy", thieves.STRATEGIES)
def test_budgets_give_a_curve_and_count_once(strategy) -> None:
    api = Api(innocent(0), budget=120)
    theft = steal(api, strategy=strategy, budgets=(120, 40))
    assert [point.queries for point in theft.curve] == [40, 120]
    assert api.queries == 120
    assert theft.curve[1].agreement.estimate > theft.curve[0].agreement.estimate - 0.1


def test_a_larger_budget_than_the_interface_allows_fails_before_training() -> None:
    with pytest.raises(BudgetSpent):
        steal(Api(innocent(0), budget=100))


def test_thieves_come_from_the_cache_and_queries_still_count(monkeypatch) -> None:
    first = steal(Api(innocent(0)), seed=3, budgets=(50, 100))
    monkeypatch.setattr(thieves.shelf.progress, "track", lambda *_, **__: pytest.fail("trained again"))
    api = Api(innocent(0))
    again = steal(api, seed=3, budgets=(50, 100))
    assert api.queries == 100
    assert again.numbers() == first.numbers()


def test_another_victim_makes_another_thief() -> None:
    one, two = steal(Api(innocent(0))), steal(Api(innocent(1)))
    assert not torch.equal(one.model[0].weight, two.model[0].weight)


def test_the_thief_s_architecture_is_its_own_choice() -> None:
    theft = thieves.steal(Api(innocent(0)), queries(), wide_cnn, RECIPE, test=dataset())
    assert theft.model[0].out_channels == 12
    assert theft.agreement.estimate > 0.7


def test_the_margin_strategy_asks_where_two_classes_are_close() -> None:
    beliefs = torch.tensor([[0.9, 0.1], [0.52, 0.48], [0.6, 0.4], [0.5, 0.5]])
    assert selection.by_margin(beliefs, torch.tensor([3]), 2).tolist() == [1, 2]


def test_k_centre_asks_far_from_what_was_asked_and_never_twice() -> None:
    line = torch.tensor([[0.0], [0.1], [0.5], [1.0], [0.95]])
    assert selection.by_k_centre(line, torch.tensor([0]), 3).tolist() == [3, 2, 1]
    same = torch.zeros(5, 2)
    assert sorted(selection.by_k_centre(same, torch.tensor([1]), 4).tolist()) == [0, 2, 3, 4]


def test_foreign_queries_are_no_pictures_of_the_task() -> None:
    x, y = datasets.objects(20)
    facts = {"train_x": x, "train_y": y, "test_x": x, "test_y": y, "classes": tuple("0123456789")}
    real = datasets.Dataset(name="photographs", source="photographs", real=True, **facts)
    drawn = datasets.Dataset(name="drawn", source="drawn", real=False, **facts)
    for known in (real, drawn):
        asked = selection.foreign_queries(known, 12, seed=1)
        assert asked.shape == (12, 3, 32, 32)
        assert 0 <= float(asked.min()) < float(asked.max()) <= 1
        assert torch.equal(asked, selection.foreign_queries(known, 12, seed=1))
    digits, objects = (selection.foreign_queries(known, 12) for known in (drawn, real))
    assert not torch.equal(digits, objects)
    with pytest.raises(ValueError, match="expected \\(3, 32, 32\\)"):
        selection.foreign_queries(dataset(), 5)


@pytest.mark.parametrize("settings", [{"strategy": "oracle"}, {"budgets": (0, 10)}, {"budgets": (241,)}])
def test_impossible_thefts_are_refused_before_a_query(settings) -> None:
    api = Api(innocent(0))
    with pytest.raises(ValueError, match="budgets between 1"):
        steal(api, **settings)
    assert api.queries == 0


def test_a_theft_shows_and_saves_itself(tmp_path) -> None:
    theft = steal(Api(innocent(0), answers="labels"), budgets=(60, 240))
    assert list(theft.table().index) == [60, 240]
    assert "labels" in theft._repr_html_()
    assert "240 queries" in theft.plot().alt_text
    assert "60 queries" not in theft.plot().alt_text  # the last point, not the first, is what was stolen
    saved = json.loads(theft.save(tmp_path / "theft.json").read_text(encoding="utf-8"))
    assert saved["curve"][1]["queries"] == 240
    assert saved["source"] == dataset().source
    assert "accuracy" in str(theft)
