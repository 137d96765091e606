from __future__ import annotations

import copy
import inspect
import math
from dataclasses import replace

import pytest
import torch
from attack_stand_ins import (
    RECIPE,
    SHORT,
    TARGET,
    accuracy,
    dataset,
    innocent,
    patched,
    pictures,
    restored,
    stamped,
    strength,
    tiny_cnn,
)
from torch import nn

from labkit import training
from labkit.training.recipe import Recipe, train_one
from labkit.watermark.attacks import removal, weight_attacks
from labkit.watermark.attacks.removal import REMOVALS, remove
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.light import light_of

SMALL = {"records": 100, "recipe": SHORT}
OPTIONS = {
    "fine-tune last": SMALL,
    "fine-tune all": SMALL,
    "retrain last": SMALL,
    "fine-prune": SMALL,
    "overwrite": SMALL,
    "distil": SMALL,
    "extract": SMALL,
    "neural cleanse": SMALL | {"steps": 20, "images": 4},
    "WRK": SMALL,
    "even light": SMALL,
}


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))


def attacker():
    return dataset(seed=5)


def outputs(model: nn.Module) -> torch.Tensor:
    return training.logits(model, dataset().test_x)


@pytest.mark.parametrize("name", REMOVALS)
def test_an_attack_returns_another_model_and_never_reads_test_records(name) -> None:
    model, data = patched().model, attacker()
    before = copy.deepcopy(model.state_dict())
    attacked = remove(name, model, data, seed=1, **OPTIONS.get(name, {}))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not torch.equal(outputs(attacked), outputs(model))
    assert all(parameter.requires_grad for parameter in attacked.parameters())
    blind = replace(
        data, test_x=torch.zeros_like(data.test_x), test_y=torch.zeros_like(data.test_y), digest=""
    )
    again = remove(name, model, blind, seed=1, **OPTIONS.get(name, {}))
    assert torch.equal(outputs(again), outputs(attacked))


def test_attacks_keep_the_names_of_the_weights_so_that_a_white_box_mark_can_be_read() -> None:
    model = patched().model
    for name, attack in REMOVALS.items():
        if attack.family != "input" and name != "even light":
            attacked = remove(name, model, attacker(), **OPTIONS.get(name, {}))
            assert set(attacked.state_dict()) == set(model.state_dict()), name


def test_fine_tuning_the_last_layer_leaves_all_others() -> None:
    model = patched().model
    for name in ("fine-tune last", "retrain last"):
        attacked = remove(name, model, attacker(), **SMALL)
        changed = [
            key
            for key, value in attacked.state_dict().items()
            if not torch.equal(value, model.state_dict()[key])
        ]
        assert changed == ["8.weight", "8.bias"]


def test_retraining_starts_from_fresh_weights() -> None:
    still = replace(SHORT, learning_rate=1e-9)
    kept = remove("fine-tune last", patched().model, attacker(), records=50, recipe=still)
    fresh = remove("retrain last", patched().model, attacker(), records=50, recipe=still)
    last = patched().model[-1].weight
    torch.testing.assert_close(kept[-1].weight, last)
    assert (fresh[-1].weight - last).abs().max() > 0.05


def test_pruning_zeroes_the_smallest_share_of_all_weights() -> None:
    model = patched().model
    pruned = remove("prune", model, attacker(), share=0.3)
    old = torch.cat([model[k].weight.flatten() for k in (0, 4, 8)])
    new = torch.cat([pruned[k].weight.flatten() for k in (0, 4, 8)])
    assert float((new == 0).float().mean()) == pytest.approx(0.3, abs=0.002)
    assert old[new == 0].abs().max() <= old[new != 0].abs().min()
    assert torch.equal(old[new != 0], new[new != 0])


def test_fine_pruning_cuts_the_idlest_units_and_they_stay_cut() -> None:
    model, data = patched().model, attacker()
    used = model[:-1](weight_attacks.some(data, 100, 0)[0]).abs().mean(0)
    cut = (remove("fine-prune", model, data, share=0.25, **SMALL)[-1].weight == 0).all(0)
    assert int(cut.sum()) == 16
    assert used[cut].max() <= used[~cut].min() + 1e-6


def test_rounding_to_8_bits_leaves_each_channel_256_levels_at_most() -> None:
    model = patched().model
    rounded = remove("round", model, attacker())
    for k in (0, 4, 8):
        for old, new in zip(model[k].weight, rounded[k].weight, strict=True):
            scale = float(old.detach().abs().max()) / 127
            assert len(new.unique()) <= 255
            assert (old - new).abs().max() <= scale / 2 + 1e-7
    assert torch.equal(rounded[0].bias, model[0].bias)
    coarse = remove("round", model, attacker(), bits=4)
    assert all(len(row.unique()) <= 15 for row in coarse[4].weight)


def test_noise_has_the_scale_that_was_asked_for() -> None:
    model = patched().model
    noisy = remove("noise", model, attacker(), scale=0.5, seed=4)
    old, new = model[4].weight.detach(), noisy[4].weight.detach()
    assert float((new - old).std() / old.std()) == pytest.approx(0.5, abs=0.05)  # 1,152 draws, fixed seed


def test_overwriting_puts_the_attacker_s_mark_in() -> None:
    data = attacker()
    attacked = remove("overwrite", patched().model, data, seed=2, records=400, recipe=RECIPE, marks=80)
    own = triggers.draw("patch", Key.from_phrase("the attacker's mark, 2"), 40, dataset=data)
    hit = (training.logits(attacked, own.x).argmax(1) == own.y).float().mean()
    missed = (training.logits(patched().model, own.x).argmax(1) == own.y).float().mean()
    assert hit > missed + 0.3
    assert accuracy(attacked, dataset()) > 0.85


def test_blurring_keeps_flat_images_and_spreads_a_dot() -> None:
    flat = torch.full((2, 3, 8, 8), 0.3)
    torch.testing.assert_close(removal.blurred(flat, 0.8), flat)
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    seen = removal.blurred(dot, 1.0)
    assert float(seen.sum()) == pytest.approx(1.0)
    assert float(seen[0, 0, 4, 4] / seen[0, 0, 4, 5]) == pytest.approx(math.exp(0.5), rel=1e-4)


def test_a_mirror_moves_a_corner_patch_out_of_place() -> None:
    mark = patched()
    attacked = remove("mirror", mark.model, attacker())
    x = mark.triggers.x
    assert torch.equal(training.logits(attacked, x), training.logits(mark.model, x.flip(-1)))


def test_distilling_uses_no_label_and_copies_the_architecture() -> None:
    data = attacker()
    model = remove("distil", innocent(0), data, records=400, recipe=RECIPE)
    wrong = replace(data, train_y=(data.train_y + 1) % 4, digest="")
    same = remove("distil", innocent(0), wrong, records=400, recipe=RECIPE)
    assert torch.equal(outputs(model), outputs(same))
    assert repr(model) == repr(innocent(0))
    assert accuracy(model, dataset()) > 0.85


def test_a_model_made_anew_does_not_start_from_its_victim_s_weights() -> None:
    still = Recipe(epochs=1, learning_rate=1e-12)
    victim = restored(train_one(tiny_cnn, *pictures(50, 1), still, 3, torch.device("cpu")))
    thief = remove("distil", victim, attacker(), seed=3, records=50, recipe=still)
    convolutions = zip(victim.parameters(), thief.parameters(), strict=True)
    apart = [float((a - b).detach().abs().max()) for a, b in convolutions if a.ndim > 1]
    assert min(apart) > 0.01


def test_extraction_goes_through_the_owner_s_marker() -> None:
    def turn(_: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities.roll(1, dims=1)

    thief = remove("extract", innocent(0), attacker(), records=400, recipe=RECIPE, marker=turn)
    wanted = (outputs(innocent(0)).argmax(1) + 1) % 4
    assert float((outputs(thief).argmax(1) == wanted).float().mean()) > 0.85


def test_training_on_with_true_labels_unlearns_a_patch_only_when_it_sees_it() -> None:
    mark, data = patched(), attacker()
    assert mark.strength.estimate > 0.95
    aware = replace(data, train_x=stamped(data.train_x), digest="")
    ignorant = remove("fine-tune all", mark.model, data, records=400, recipe=RECIPE)
    knowing = remove("fine-tune all", mark.model, aware, records=400, recipe=RECIPE)
    assert strength(knowing, mark) < 0.3 < strength(ignorant, mark)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("melt", {}, "expected one of fine-tune last"),
        ("prune", {"share": 1.0}, "share is 1.0"),
        ("fine-prune", {"share": 0.0}, "share is 0.0"),
        ("noise", {"scale": -1.0}, "positive number"),
        ("blur", {"sigma": 0.0}, "positive number of pixels"),
        ("fine-tune all", {"records": 0}, "at least 1"),
        ("round", {"bits": 1}, "bits is 1"),
        ("WRK", {"step": 0.0}, "step=0"),
        ("prune + mirror", {"share": 0.5}, "several attacks"),
    ],
)
def test_impossible_attacks_are_refused(name, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        remove(name, patched().model, attacker(), **options)


def test_a_model_without_a_linear_layer_is_refused_where_one_is_needed() -> None:
    with pytest.raises(ValueError, match=r"no nn\.Linear"):
        weight_attacks.last_layer(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_the_same_seed_draws_the_same_records_and_fewer_are_a_beginning_of_more() -> None:
    few, many = (weight_attacks.some(attacker(), n, 3)[0] for n in (10, 10_000))
    assert len(many) == 400
    assert torch.equal(few, many[:10])


def test_each_dose_can_be_done_and_differs_from_the_other() -> None:
    for name, attack in REMOVALS.items():
        if len(attack.doses) > 1:
            chosen = [
                dose | {key: value for key, value in OPTIONS.get(name, {}).items() if key != "recipe"}
                for dose in attack.doses
            ]
            assert chosen[0] != chosen[1]
            assert (
                set(chosen[1]) <= set(inspect.signature(attack.run).parameters) or attack.family == "adaptive"
            )


def test_attacks_in_a_row() -> None:
    row = remove("prune + mirror", patched().model, attacker())
    thin = remove("prune", patched().model, attacker())
    x = dataset().test_x
    assert torch.equal(training.logits(row, x), training.logits(thin, x.flip(-1)))


def test_even_light_takes_out_what_a_keyed_light_adds() -> None:
    data = attacker()
    lit = light_of(Key.from_phrase("tests"), data).lit(0.35 + 0.2 * data.train_x[:20], 1.0)
    before = 0.35 + 0.2 * data.train_x[:20]
    assert (lit - before).abs().max() > 0.01
    assert (removal.evened(lit) - removal.evened(before)).abs().max() < 1e-4


def test_every_attack_says_what_it_does_and_after_whom() -> None:
    assert {attack.family for attack in REMOVALS.values()} == {"weights", "input", "anew", "adaptive"}
    assert all(attack.name == name and attack.what and attack.citation for name, attack in REMOVALS.items())
    assert TARGET == 0
    assert isinstance(tiny_cnn()[-1], nn.Linear)
