"""What an audit must not do (accuse the innocent) and what it must (catch the guilty), measured on cheap runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit import audit
from labkit.audit import guessing, planted_bugs
from labkit.audit.result import conclude
from labkit.dp.accounting.statement import PrivacyStatement

# Refuted by guesses at the default settings; all others wait for the conformance audit (test_conformance.py).
CAUGHT = (
    "bias_not_in_norm",
    "clip_after_sum",
    "layer_without_noise",
    "no_clipping",
    "noise_over_batch",
    "noise_reused",
    "wrong_sample_rate",
)


def test_null_data_give_at_most_5_percent_false_alarms() -> None:
    """200 audits of scores that know nothing; a claim of ε = 0 must survive.

    At a true rate of exactly 5% more than 10 alarms would come with probability 42%; the seeds are fixed, and 12 tests
    that share the error by Bonferroni make the true rate lower (0.05 is an upper bound).
    """
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        evidence = guessing.tallies({"noise": rng.normal(size=400)}, rng.random(400) < 0.5, seed=seed)
        result = conclude(evidence, claimed=0.0, delta=0.0, method="null", seed=seed)
        assert result.refuted == (result.epsilon > 0)
        alarms += result.refuted
    assert alarms <= 10


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_claim_that_is_exactly_true_is_refuted_in_at_most_5_percent(level: float) -> None:
    """200 audits of randomised response, where the bound is tight and abstaining cannot help.

    P[more than 18 of 200 at a rate of 5%] = 0.5%, and the seeds are fixed.
    """
    refuted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed + 1000)
        coins = rng.random(200) < 0.5
        honest = rng.random(200) < 1 / (1 + np.exp(-level))
        evidence = guessing.tallies(
            {"answer": (coins == honest).astype(float)}, coins, shares=[guessing.Share(0.5, 0.5)], seed=seed
        )
        refuted += conclude(evidence, claimed=level, delta=0.0, method="randomised response").refuted
    assert refuted <= 18


def test_correct_dp_sgd_is_exceeded_in_at_most_5_percent_of_runs(claim: PrivacyStatement) -> None:
    """120 one-run audits of correct training, each with 500 gradient canaries: bound above claim in at most 6.

    At a true rate of exactly 5% more than 6 would come with probability 39%; the seeds are fixed, and the bound lies so
    far below the claim that the true rate is near 0.
    """
    settings, above, largest = audit.Settings(), 0, 0.0
    for seed in range(120):
        result = audit.audit_gradients(planted_bugs.correct, settings, runs=1, claimed=claim, seed=seed)
        above += result.epsilon > claim.epsilon or result.refuted
        largest = max(largest, result.epsilon)
    assert above <= 6
    assert largest > 0.1  # the audit is not asleep: some correct runs certify something


def test_correct_full_batch_training_is_exceeded_in_at_most_5_percent_of_runs() -> None:
    """100 audits where the Gaussian bound is close to the truth: full batch, one step, σ = 1 (μ = 1 exactly).

    P[more than 11 of 100 at a rate of 5%] = 0.4%, and the seeds are fixed.
    """
    settings = audit.Settings(noise_multiplier=1.0, sample_rate=1.0, steps=1)
    claim = audit.claim_of(settings)
    found = [
        audit.audit_gradients(
            planted_bugs.correct, settings, runs=1, claimed=claim, scores=("likelihood ratio",), seed=s
        )
        for s in range(100)
    ]
    assert sum(result.gaussian_epsilon > claim.epsilon or result.refuted for result in found) <= 11
    assert np.mean([result.gaussian_epsilon for result in found]) > 0.4 * claim.epsilon


@pytest.mark.parametrize("name", CAUGHT)
def test_a_planted_bug_is_caught(name: str, claim: PrivacyStatement) -> None:
    result = audit.audit_gradients(planted_bugs.ALL[name].train, audit.Settings(), claimed=claim, seed=1)
    assert result.refuted
    assert result.epsilon > claim.epsilon
    assert "REFUTED" in result.verdict


def test_the_correct_function_is_not_refuted(claim: PrivacyStatement) -> None:
    result = audit.audit_gradients(planted_bugs.correct, audit.Settings(), claimed=claim, seed=1)
    assert not result.refuted
    assert result.epsilon < claim.epsilon
    assert "never prove it" in result.verdict


@pytest.mark.parametrize(
    "name", ["shuffled", "last_step_without_noise", "clamp_each_coordinate", "noise_at_seven_tenths"]
)
def test_real_violations_are_missed_by_guesses(name: str, claim: PrivacyStatement) -> None:
    """Said in lab 06, so it must stay true: what an audit misses is not thereby right."""
    assert not audit.audit_gradients(
        planted_bugs.ALL[name].train, audit.Settings(), claimed=claim, seed=1
    ).refuted


def test_shuffling_is_caught_at_the_size_that_is_named() -> None:
    settings = audit.Settings(noise_multiplier=0.25, sample_rate=0.02, steps=50)
    claim = audit.claim_of(settings)
    for train, guilty in ((planted_bugs.ALL["shuffled"].train, True), (planted_bugs.correct, False)):
        result = audit.audit_many_runs(
            audit.gradient_runs(train, settings), runs=400, calibration=100, claimed=claim
        )
        assert result.refuted == guilty


def test_numbers_hide_names_and_cover_all() -> None:
    assert {planted_bugs.reveal(i).name for i in range(1, len(planted_bugs.ALL) + 1)} == set(planted_bugs.ALL)
    assert planted_bugs.number(3).__name__ == "training_function_3"
    assert sum(planted.is_correct for planted in planted_bugs.ALL.values()) == 1
    with pytest.raises(ValueError, match="no training function 99"):
        planted_bugs.number(99)
    task = audit.Task(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.ones(5, 8), classes=2)
    settings = audit.Settings(steps=3)
    assert torch.equal(
        planted_bugs.number(3)(task, settings, 7).updates,
        planted_bugs.reveal(3).train(task, settings, 7).updates,
    )


def test_the_correct_function_trains_as_the_textbook_does() -> None:
    from labkit.dp.training import textbook

    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 5, generator=generator), torch.randint(3, (300,), generator=generator)
    settings = audit.Settings(noise_multiplier=0.7, sample_rate=0.1, steps=20)
    task = audit.Task(x, y, torch.zeros(0, 18), classes=3)
    ours = planted_bugs.correct(task, settings, 5).weights.view(6, 3)
    padded = torch.nn.functional.pad(x, (0, 1), value=1.0)
    theirs = textbook.dp_sgd(
        padded,
        y,
        sample_rate=0.1,
        steps=20,
        learning_rate=0.5,
        max_grad_norm=1.0,
        noise_multiplier=0.7,
        classes=3,
        seed=5,
    )
    assert torch.allclose(ours, theirs, atol=1e-5)
