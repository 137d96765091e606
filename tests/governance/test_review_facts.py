"""What a submission states and brings: claims that say what their statement says, marks and trainers that are its own."""

from types import SimpleNamespace

import numpy as np
import projects
import pytest
import torch

from labkit import cache
from labkit.audit import planted_bugs
from labkit.dp.accounting.statement import LaplaceEvent, SampledGaussian, TuningCost, privacy_statement
from labkit.governance import Claim, Mark, ReviewError, review
from labkit.governance.checks import leakage
from labkit.governance.loading import _claim
from labkit.governance.project import model_digest
from labkit.stats import Interval
from labkit.watermark.verification.redrawn_keys import RedrawnKeys

GAUSSIAN = SampledGaussian(1.3, steps=1000, sample_rate=0.01)


def statement(*events, **settings):
    return privacy_statement(list(events), delta=1e-5, **settings)


class Step:
    """Training whose planted bug stands in its settings, not in its code."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    def __call__(self, task, settings, seed):
        train = planted_bugs.ALL[self.name].train if self.name else planted_bugs.correct
        return train(task, settings, seed)


def test_a_trainer_that_deviates_is_not_approved_on_what_another_left():
    good, bad = (
        review(projects.sound(train_step=Step(name), checks=["conformance"]))["conformance"]
        for name in (None, "layer_without_noise")
    )
    assert (good.status, bad.findings[0].severity) == ("passed", "critical")


@pytest.mark.parametrize(
    "changed", [{"delta": 1e-9}, {"neighbouring": "replace-one"}, {"steps": 1}, {"noise_multiplier": 9.0}]
)
def test_a_claim_says_what_its_statement_says(changed):
    made = statement(GAUSSIAN)
    with pytest.raises(ReviewError, match=next(iter(changed))):
        Claim(epsilon=made.epsilon, statement=made, **changed)


def test_what_a_file_of_facts_cannot_say_is_not_written(tmp_path):
    for made in (statement(LaplaceEvent(1.0)), statement(GAUSSIAN, tuning=TuningCost(20, "geometric"))):
        with pytest.raises(ReviewError, match=r"Claim\.of"):
            Claim.of(made).save(tmp_path / "p.json")
    Claim(epsilon=np.float32(1), steps=np.int64(3)).save(tmp_path / "p.json")
    assert _claim({"statement": "p.json"}, tmp_path).steps == 3
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(ReviewError, match="epsilon is missing"):
        _claim({"statement": "p.json"}, tmp_path)
    with pytest.raises(ReviewError, match="tuning_runs"):
        Claim(epsilon=1.0, tuning_runs=0)


def test_every_attack_keeps_the_promised_limit_whole():
    found = {
        "loss": SimpleNamespace(auc=Interval(0.52, 0.51, 0.53), points={}),
        "attack-p": SimpleNamespace(auc=Interval(0.55, 0.505, 0.60), points={}),
    }
    (one,) = leakage._limits(SimpleNamespace(promises={"auc": 0.56}), "auc", found, "f")
    assert one.title.startswith("Not shown to keep")


def test_keys_drawn_anew_are_of_the_model_that_is_reviewed():
    base = projects.sound()
    x = base.dataset.test_x[:40]
    y = base.model(x).argmax(1)
    nulls = [projects.train_private(base.dataset, noise=projects.NOISE, seed=k) for k in range(20)]
    foreign = RedrawnKeys(np.full(40, 9.0), np.full((999, 40), 0.1), "margin", 999)
    with cache.disabled():
        found = review(projects.sound(mark=Mark(x=x, y=y, nulls=nulls, redrawn=foreign), checks=["mark"]))[
            "mark"
        ]
    assert (found.status, "of another model" in found.why) == ("not run", True)


def test_forests_are_null_models_in_a_review():
    from sklearn.ensemble import RandomForestClassifier

    base = projects.sound()
    given = base.dataset.train_x.numpy(), base.dataset.train_y.numpy()
    nulls = [RandomForestClassifier(3, random_state=k).fit(*given) for k in range(20)]
    asked = Mark(x=base.dataset.test_x[:40], y=1 - base.dataset.test_y[:40], nulls=nulls)
    with cache.disabled():
        assert review(projects.sound(mark=asked, checks=["mark"]))["mark"].status == "findings"


def test_a_buffer_that_is_not_saved_is_part_of_the_model():
    def scaled(by: float) -> torch.nn.Module:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 2)
        model.register_buffer("by", torch.tensor(by), persistent=False)
        return model

    assert model_digest(scaled(1.0)) == model_digest(scaled(1.0)) != model_digest(scaled(9.0))
