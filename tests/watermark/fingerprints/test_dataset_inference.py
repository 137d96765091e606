"""Dataset inference: calibrated when owned records are nothing special, decisive when the suspect was trained on them."""

import numpy as np
import pytest
import torch
from court_stand_ins import CLASSES, noisy_copy, world
from scipy import stats

from labkit.watermark.attacks import interface
from labkit.watermark.fingerprints import dataset_inference
from labkit.watermark.fingerprints.dataset_inference import Records


def test_margin_is_the_difference_of_logits():
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 1.0]])

    def suspect(x):
        return logits.softmax(1)

    found = dataset_inference.margin(suspect, torch.zeros(2, 1), np.array([0, 2]))
    assert found == pytest.approx([1.5, -2.0], abs=1e-6)


def test_walk_measures_the_distance_to_a_plane():
    """Labels change where the mean crosses 1/2: records further from it walk further, lost ones not at all."""

    def suspect(x):
        return (x.flatten(1).mean(1) > 0.5).long()

    x = torch.stack([torch.full((3, 4, 4), value) for value in (0.4, 0.51, 0.7)])
    near, far = dataset_inference.walk(suspect, x, np.array([0, 1, 1]), walks=6, step=0.05, most=20)[1:]
    assert near < far
    assert dataset_inference.walk(suspect, x, np.array([1, 0, 0])).tolist() == [0, 0, 0]


def test_walk_stops_at_most():
    found = dataset_inference.walk(
        lambda x: torch.zeros(len(x), dtype=torch.int64), torch.zeros(2, 3, 2, 2), np.zeros(2, int), most=4
    )
    assert found == pytest.approx([0.08, 0.08])


def _drawn(rng: np.random.Generator, n: int = 200, k: int = 20) -> tuple[np.ndarray, Records]:
    """Return margins of a suspect and of null models that know nothing of who owns which record."""
    hardness = rng.normal(0, 2, n)
    margins = hardness * rng.normal(1, 0.1, (k + 1, 1)) + rng.normal(size=(k + 1, n))
    owned = rng.permutation(n) < n // 2
    x, y = torch.arange(n, dtype=torch.float32)[:, None], np.zeros(n, dtype=int)
    return margins[0], Records(x, y, owned, margins[1:], "margin", "drawn", 0, np.zeros((k, n, 2)))


def _show(margins: np.ndarray):
    """Return a suspect whose log-odds of class 0 are these margins."""
    return lambda x: torch.from_numpy(np.stack([margins, 0 * margins], 1)).softmax(1)[x[:, 0].long()]


def test_independent_models_get_p_values_that_are_never_too_small():
    """300 worlds; the exact p-value permutes records, the model-based one looks at null models."""
    rng, p, model = np.random.default_rng(0), [], []
    for _ in range(300):
        margins, records = _drawn(rng)
        line = records.ask(_show(margins))
        p.append(line.p_value)
        model.append(line.model_p)
    assert stats.kstest(model, "uniform").pvalue > 1e-3  # fixed seed; on a new one it fails once in 1,000
    # On a new seed a binomial count passes its bound less than once in 10,000 runs each.
    for level, most in ((0.5, 183), (0.1, 51), (0.01, 11)):
        assert (np.array(p) < level).sum() <= most


def test_owned_records_that_are_easier_for_everybody_accuse_nobody():
    rng = np.random.default_rng(1)
    margins, records = _drawn(rng)
    easier = 3.0 * records.owned
    shifted = Records(
        records.x,
        records.y,
        records.owned,
        records.null_features + easier,
        "margin",
        "drawn",
        0,
        records.null_shown,
    )
    assert not shifted.ask(_show(margins + easier)).decided


def test_effect_is_found_and_its_interval_covers_it():
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        owned = np.arange(120) < 60
        interval = dataset_inference.effect_interval(rng.normal(0.8 * owned, 1), owned)
        covered += interval.low <= 0.8 <= interval.high
    assert covered >= 178  # binomial(200, 0.95) falls below 178 less than once in 1,000 runs


@pytest.mark.parametrize(("feature", "queries"), [("margin", 1200), ("walk", 300), ("label", 1200)])
def test_copies_are_told_from_innocents(feature, queries):
    everybody = world()
    asked = dataset_inference.records(everybody.owner, everybody.nulls, feature=feature, queries=queries)
    copy = asked.ask(noisy_copy(everybody.marked.model, 0.1), alpha=1e-2)
    assert copy.decided
    assert copy.by == "permuted records"
    assert not asked.ask(everybody.innocents[0], alpha=1e-2).decided
    assert "owner's training record" in copy.measures


def test_walks_need_labels_only_and_margins_need_probabilities():
    everybody = world()
    api = interface.Api(noisy_copy(everybody.marked.model, 0.1), answers="labels")
    walked = dataset_inference.records(everybody.owner, everybody.nulls, feature="walk", queries=40)
    line = walked.ask(api)
    assert np.isfinite(line.p_value)
    assert api.queries <= line.queries
    margins = dataset_inference.records(everybody.owner, everybody.nulls, queries=40)
    with pytest.raises(ValueError, match="labels only"):
        margins.ask(api)
    with pytest.raises(ValueError, match="not a share of records"):
        line.after(10)


def test_permuted_p_counts_the_ways_to_draw_the_owned_records():
    """Of the 20 ways to draw three of six records, one has the largest sum: draws until ten such take 200 on average."""
    values = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    best = np.array([True, True, True, False, False, False])
    found = [dataset_inference.permuted_p(values, best, seed=seed, most=4000) for seed in range(60)]
    assert 17 < np.mean(1 / np.array(found)) < 23  # 3.6 standard errors to each side
    assert dataset_inference.permuted_p(values, ~best, most=4000) == 1
    assert dataset_inference.permuted_p(100 * np.arange(60.0), np.arange(60) >= 30, most=99) == 1 / 100


def test_rounded_probabilities_are_read_as_the_interface_shows_them():
    shown = np.array([[0.996, 0.004], [0.7, 0.3]])
    found = dataset_inference.margin_of(shown, np.array([0, 1]), digits=2)
    assert found == pytest.approx([np.log(1.0 / 0.005), np.log(0.3 / 0.7)])


def test_unanswered_records_are_left_out():
    margins, records = _drawn(np.random.default_rng(3))
    few = np.where(np.arange(200) % 3 == 0, np.nan, margins)
    assert np.isfinite(records.weigh(few).p_value)
    with pytest.raises(ValueError, match="0 of 200 records answered"):
        records.weigh(np.full(200, np.nan))


def test_published_records_are_not_asked_about():
    everybody = world()
    owner = everybody.owner
    asked = dataset_inference.records(owner, everybody.nulls, queries=100, published=[owner.train_x[:600]])
    private = {row.numpy().tobytes() for row in owner.train_x[600:]}
    assert {row.numpy().tobytes() for row in asked.x[torch.from_numpy(asked.owned)]} <= private


def test_refusals():
    everybody = world()
    assert len(everybody.owner.classes) == CLASSES
    with pytest.raises(ValueError, match="feature is 'loss'"):
        dataset_inference.records(everybody.owner, everybody.nulls, feature="loss")
    with pytest.raises(ValueError, match="9 private records on each side"):
        dataset_inference.records(everybody.owner, everybody.nulls, queries=18)
    with pytest.raises(ValueError, match="got 3 null models"):
        dataset_inference.infer(everybody.nulls[0], everybody.owner, everybody.nulls[:3])
