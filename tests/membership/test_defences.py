from __future__ import annotations

import json
import pickle
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky.backend.reduction import dumps

from labkit import membership
from labkit.membership.reports.operating import Refused
from labkit.membership.shadows import completion, presets
from labkit.membership.studies import defences, leave_one_out
from labkit.training.recipe import Recipe


def test_masking_hides_confidences_and_nothing_else(bank) -> None:
    target = membership.train_targets(bank)[0]
    hidden = defences.masked(target)
    assert (hidden.logits.argmax(-1) == target.logits.argmax(-1)).all()
    np.testing.assert_allclose(np.exp(hidden.logits).sum(-1), 1, atol=1e-6)
    assert len(np.unique(hidden.logits.max(-1))) == 1
    rest, gap = bank, membership.attack("gap", target, bank).scores
    scores = membership.attack("loss", hidden, rest).scores
    assert len(np.unique(scores)) == 2
    assert ((scores > scores.min()) == (gap == 1)).all()  # what is left is the gap attack
    noise = [membership.attack("label-noise", t, rest).scores for t in (target, hidden)]
    assert (noise[0] == noise[1]).all()  # and labels say what they said


def test_a_masked_bank_answers_as_its_models_would_behind_the_mask(bank) -> None:
    hidden = defences.masking(0.9).models(bank)
    for k in (0, 5):
        expected = defences.masked(bank.target(k)).logits
        assert (hidden.logits(k) == expected).all()
        assert (hidden.without(k).logits(0) == defences.masked_answers(bank.without(k).logits(0), 0.9)).all()
    assert hidden.key != bank.key
    assert hidden.target(3).model is not None


def test_defences_stand_in_one_table_attacked_by_who_knows_them(bank, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)  # starting processes takes longer than all the rest
    few = bank.first(6)
    generator = torch.Generator().manual_seed(3)
    public = torch.randn(400, 8, generator=generator) + (torch.arange(400) % 2)[:, None]
    chosen = [
        *(d for d in defences.standard(bank.recipe) if d.name in ("none", "label smoothing")),
        defences.masking(),
        defences.distillation(public),
    ]
    canaries = np.arange(400) < 240
    table = membership.compare_defences(few, chosen, canaries=canaries, label_only_records=100, reference=0.5)
    rows = {row.name: row for row in table.rows}
    assert list(rows) == ["none", "label smoothing", "confidence masking", "distillation"]
    none = rows["none"]
    assert none.aware == none.unaware == membership.leave_one_out(few, "lira-online").auc
    # Fixed seeds. The undefended models memorise wrong labels; the student never saw them.
    assert rows["distillation"].aware.estimate < none.aware.estimate
    assert rows["confidence masking"].label_only == none.label_only
    smooth = defences.standard(bank.recipe)[3].models(few)
    by_hand = [membership.attack("lira-online", smooth.target(k), smooth.without(k)) for k in range(6)]
    unaware = [membership.attack("lira-online", smooth.target(k), few.without(k)) for k in range(6)]
    summed = [leave_one_out.summarise("by hand", results) for results in (by_hand, unaware)]
    assert rows["label smoothing"].aware == summed[0].auc
    assert rows["label smoothing"].unaware == summed[1].auc
    assert rows["label smoothing"].aware != rows["label smoothing"].unaware
    change = rows["label smoothing"].change
    assert change.estimate == pytest.approx(summed[0].auc.estimate - none.aware.estimate)
    assert change.confidence == pytest.approx(1 - 0.05 / 3), "three changes, jointly at 95%"
    assert isinstance(none.tpr, Refused)
    assert none.canary_tpr is not None
    assert "refused" in table.table().loc["none", "TPR at 1% FPR, aware"]
    assert "ε = 0" in str([t.get_text() for t in table.plot().axes[0].get_legend().get_texts()])
    saved = json.loads(table.save(tmp_path / "d.json").read_text(encoding="utf-8"))
    assert saved["defences"]["none"]["aware"]["estimate"] == none.aware.estimate
    assert "4 shadow models on 6 targets a row" in repr(table)


def test_private_models_carry_their_statement_and_are_kept(bank, monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    defence = defences.dp_sgd(2.0, epochs=1, expected_batch_size=50, delta=1e-3)
    few = bank.first(6)
    made = defence.models(few)
    assert made.privacy.epsilon == pytest.approx(2.0, abs=0.01)
    assert made.target(1).privacy is made.privacy
    assert (made.masks == few.masks).all()
    table = membership.compare_defences(few, [defences.from_recipe("none", bank.recipe), defence])
    assert 0.5 < table.row("DP-SGD, ε = 2").ceiling < 1
    monkeypatch.setattr(completion, "_keep", lambda *a: pytest.fail("trained again"))
    assert (defence.models(few).logits(0) == made.logits(0)).all()


def test_private_models_tasks_share_one_array_of_records(bank, monkeypatch) -> None:
    class CaughtError(Exception): ...

    def spread(tasks, workers):
        (arguments,) = {tuple(map(id, task[1][:-2])) for task in tasks.values()}
        assert len(arguments) == 1, "one array holds all"
        assert all(len(pickle.dumps(task[1][1:])) < 100 for task in tasks.values()), "the rest is two numbers"
        assert next(iter(tasks.values()))[1][0].nbytes > bank.x.numpy().nbytes
        raise CaughtError

    monkeypatch.setattr(defences.spreading, "spread", spread)
    defence = defences.private_linear(4.0, steps=2, delta=1e-3, learning_rate=1.5)
    with pytest.raises(CaughtError):
        defence.models(bank.first(4))


def test_a_worker_trains_the_private_model_that_would_be_trained_here(bank, monkeypatch, tmp_path) -> None:
    class Sent:
        """Stands in for worker processes: a job comes to them as bytes."""

        def __init__(self, **_) -> None: ...

        def __call__(self, jobs):
            for job in jobs:
                work, arguments, options = pickle.loads(dumps(job))
                yield work(*arguments, **options)

    threads, made = torch.get_num_threads(), []
    defence = defences.private_linear(4.0, steps=3, delta=1e-3, learning_rate=1.0)
    for cores in (1, 2):
        monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / str(cores)))
        monkeypatch.setattr(joblib, "cpu_count", lambda cores=cores: cores)
        if cores == 2:
            monkeypatch.setattr(joblib, "Parallel", Sent)
        made.append(defence.models(bank.first(2)))
    torch.set_num_threads(threads)
    assert made[0].folder != made[1].folder
    for k in (0, 1):
        assert (made[0].logits(k) == made[1].logits(k)).all()
    assert made[0].privacy == made[1].privacy


def test_linear_models_see_features_alone(bank, monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)

    def features(dataset):
        return replace(dataset, train_x=dataset.train_x[:, :3], test_x=dataset.test_x[:, :3])

    plain = defences.on_features(defences.linear(Recipe(epochs=2, batch_size=50)), features)
    private = defences.on_features(
        defences.private_linear(4.0, steps=5, delta=1e-3, learning_rate=1.0), features
    )
    for defence in (plain, private):
        made = defence.models(bank.first(4))
        assert made.x.shape == (400, 3)
        assert (made.masks == bank.masks[:4]).all()
        assert made.key != bank.key
    assert made.privacy.epsilon == pytest.approx(4.0, abs=0.01)


def test_a_change_in_a_private_trainer_makes_other_models(bank, monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)

    def trainer(scale: float):
        def train(bank, k):
            raise AssertionError(scale)

        return train

    keys = set()
    for scale in (1.0, 2.0):
        defence = defences.private("made", trainer(scale), made=[])
        with pytest.raises(AssertionError, match=str(scale)):
            defence.models(bank.first(4))
        keys.add(scale)
    assert len(keys) == 2


def test_too_few_models_and_bad_canaries_are_refused(bank) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        membership.compare_defences(bank.first(2))
    with pytest.raises(ValueError, match="canaries is int64"):
        membership.compare_defences(bank, canaries=np.arange(400))
    with pytest.raises(KeyError, match="no defence 'magic'"):
        membership.compare_defences(bank, [defences.from_recipe("none", bank.recipe)]).row("magic")


def test_every_preset_exists_in_every_profile() -> None:
    from labkit.profiles import NAMES, Profile

    for dataset in presets.PRESETS:
        for profile in NAMES:
            found = membership.preset(dataset, Profile(profile))
            assert found.shadow_models % 2 == 0
            assert found.make_model()
    with pytest.raises(ValueError, match="'imagenet'; there are for cifar10"):
        membership.preset("imagenet")


def test_the_breast_cancer_bank_runs_at_smoke_size(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    bank = membership.preset("breast_cancer").bank()
    assert len(bank) == 8
    assert len(bank.labels) == 454
    membership.attack("rmia-online", bank.target(0), bank.without(0)).report()
