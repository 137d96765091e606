from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit import membership
from labkit.membership.shadows import presets
from labkit.membership.studies import defences


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


def test_defences_stand_in_one_table_with_intervals(bank, clouds, tmp_path) -> None:
    generator = torch.Generator().manual_seed(3)
    public = torch.randn(400, 8, generator=generator) + (torch.arange(400) % 2)[:, None]
    chosen = [
        *(
            d
            for d in defences.standard(bank.recipe)
            if d.name in ("none", "early stopping", "confidence masking")
        ),
        defences.distillation(public),
    ]
    table = defences.compare_defences(bank, chosen, seeds=(1, 2, 3, 4), label_only_records=200)
    rows = {row.name: row for row in table.rows}
    assert list(rows) == ["none", "early stopping", "confidence masking", "distillation"]
    # Fixed seeds. The undefended models memorise wrong labels; the student never saw them.
    assert rows["distillation"].auc.estimate < rows["none"].auc.estimate
    assert rows["confidence masking"].label_only == rows["none"].label_only
    direct = [
        membership.attack("rmia-offline", target, bank)
        for target in membership.train_targets(bank, seeds=(1, 2, 3, 4))
    ]
    assert rows["none"].auc == membership.studies.leave_one_out.summarise("direct", direct).auc
    assert rows["none"].ceiling is None
    assert table.plot().alt_text
    assert "refused" in table.table().loc["none", "TPR at 1% FPR"]
    saved = json.loads(table.save(tmp_path / "d.json").read_text(encoding="utf-8"))
    assert saved["defences"]["none"]["auc"]["estimate"] == rows["none"].auc.estimate
    assert "4 targets a row" in repr(table)


def test_an_attacker_who_knows_the_defence_trains_shadows_under_it(bank) -> None:
    smooth = defences.from_recipe("label smoothing", replace(bank.recipe, label_smoothing=0.3, epochs=5))
    found = defences.compare_defences(
        bank.first(4), [smooth], seeds=(1, 2), know_defence=True, label_only_records=50
    )
    assert found.rows[0].shadow_models == "same defence"


def test_private_targets_carry_their_statement(bank) -> None:
    pytest.importorskip("labkit.dp.accounting.statement")
    defence = defences.dp_sgd(2.0, epochs=2, expected_batch_size=50, delta=1e-3)
    table = defences.compare_defences(bank, [defence], seeds=(1, 2), label_only_records=50)
    row = table.rows[0]
    assert 0.5 < row.ceiling < 1
    assert row.auc.estimate < row.ceiling
    again = defence.targets(bank, (1,))[0]
    assert again.privacy.epsilon == pytest.approx(2.0, abs=0.01)


def test_one_seed_is_refused(bank) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        defences.compare_defences(bank, seeds=(1,))


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


@pytest.mark.parametrize(("width", "size"), [(12, 32), (0, 32), (8, 30)])
def test_bad_networks_are_refused(width: int, size: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8 and 4"):
        presets.strided_cnn(width, size=size)
