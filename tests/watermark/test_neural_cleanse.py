from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from attack_stand_ins import SHORT, TARGET, accuracy, dataset, innocent, patched, strength
from torch import Tensor, nn

from labkit.watermark.attacks import neural_cleanse
from labkit.watermark.attacks.neural_cleanse import anomaly_index, cleanse, reverse_engineer


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")


class Planted(nn.Module):
    """An innocent model with a backdoor that one pixel opens: red without green in the last corner is class 2."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gain = copy.deepcopy(innocent(0)), nn.Parameter(torch.tensor(40.0))

    def forward(self, x: Tensor) -> Tensor:
        seen = (15 * (x[:, 0, -1, -1] - x[:, 1, -1, -1] - 0.6)).sigmoid()
        return self.inner(x) + self.gain * seen[:, None] * torch.eye(4)[2]


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_PROGRESS", "0")
        return cleanse(Planted(), dataset(seed=5), records=300, recipe=SHORT, steps=150, images=12)


def test_the_backdoored_class_has_the_smallest_trigger(result) -> None:
    assert result.unlearned == 2
    assert result.flagged == (2,)
    assert (result.found.success > 0.9).all()
    assert result.found.norms[2] < 0.5 * np.delete(result.found.norms, 2).min()


def test_the_found_mask_lies_on_the_pixel_that_opens_it(result) -> None:
    mask = result.found.masks[2, 0]
    assert int(mask.argmax()) == 63
    assert float(mask[-1, -1]) > 0.3 * float(mask.sum())


def test_unlearning_weakens_a_trained_mark_and_keeps_accuracy() -> None:
    mark = patched()
    after = cleanse(mark.model, dataset(seed=5), records=300, recipe=SHORT, steps=150, images=12)
    assert after.unlearned == TARGET
    assert strength(after.model, mark) < 0.5 * strength(mark.model, mark)
    assert accuracy(after.model, dataset()) > accuracy(mark.model, dataset()) - 0.05


def test_nobody_is_flagged_where_nothing_was_planted() -> None:
    found = reverse_engineer(innocent(0), dataset(seed=5).train_x, 4, steps=150, images=12)
    assert anomaly_index(found.norms).max() < neural_cleanse.THRESHOLD


def test_the_anomaly_index_is_the_paper_s_formula() -> None:
    norms = np.array([10.0, 11.0, 12.0, 13.0, 2.0])
    # Median 11, deviations 1, 0, 1, 2, 9 with median 1.
    np.testing.assert_allclose(anomaly_index(norms), np.array([1, 0, -1, -2, 9]) / 1.4826)
    assert (anomaly_index(np.full(5, 3.0)) == 0).all()
    # Normal values: the scale is their standard deviation (20,000 draws, fixed seed).
    drawn = np.random.default_rng(0).normal(50, 4, 20_000)
    assert anomaly_index(drawn).std() == pytest.approx(1, abs=0.03)


def test_stamping_follows_the_mask() -> None:
    masks, patterns = torch.zeros(2, 1, 4, 4), torch.ones(2, 3, 4, 4)
    masks[1, 0, 0, 0] = 0.25
    found = neural_cleanse.Found(masks, patterns, np.zeros(2))
    x = torch.zeros(1, 3, 4, 4)
    assert torch.equal(found.stamp(x, 0), x)
    assert float(found.stamp(x, 1).sum()) == pytest.approx(3 * 0.25)
    np.testing.assert_allclose(found.norms, [0, 0.25])


def test_it_shows_and_saves_itself(result, tmp_path) -> None:
    assert list(result.table().index) == ["a", "b", "c", "d"]
    assert "Flagged" in result.plot().alt_text
    saved = json.loads(result.save(tmp_path / "cleanse.json").read_text(encoding="utf-8"))
    assert saved["unlearned"] == 2
    assert saved["source"] == dataset().source
    assert "<table" in result._repr_html_()


def test_only_a_flagged_class_is_found(result) -> None:
    assert result.finding(2).startswith("found: c is flagged")
    assert result.finding(0).startswith("not found: a is not flagged")
    unsure = replace(result, anomaly=np.array([0.0, 0.5, 1.7, -1.0]), flagged=())
    said = unsure.finding(2)  # the smallest trigger, and yet below the threshold
    assert said.startswith("not found")
    assert "flagged: no class" in said


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 steps"):
        reverse_engineer(innocent(0), dataset().train_x, 4, steps=5)
    with pytest.raises(ValueError, match="stamped is 0"):
        cleanse(innocent(0), dataset(), stamped=0)
