"""What an audit says that it would have caught, and what it says when only the curve is refuted."""

from __future__ import annotations

import math

from labkit import audit
from labkit.audit import guessing, planted_bugs
from labkit.audit.planted import sampling
from labkit.audit.result import conclude
from labkit.audit.roc_point import Point
from labkit.dp.accounting.statement import PrivacyStatement


def tallies_of(canaries: int) -> list[guessing.Tally]:
    return [guessing.Tally("all", canaries // 2, canaries, canaries, canaries // 2)]


def test_larger_audits_catch_smaller_leaks() -> None:
    found = [
        conclude(tallies_of(m), claimed=1.0, delta=1e-5, method="m").caught_from.epsilon
        for m in (100, 1000, 5000)
    ]
    assert found[0] > found[1] > found[2] > 1.0
    assert conclude(tallies_of(4), claimed=1.0, delta=1e-5, method="m").caught_from.epsilon == math.inf
    assert "missed every leak" in conclude(tallies_of(4), claimed=1.0, delta=1e-5, method="m").power
    assert "no figure at δ = 0" in conclude(tallies_of(100), claimed=1.0, delta=0.0, method="m").verdict


def test_the_figure_depends_on_sizes_and_not_on_what_was_found() -> None:
    lucky = [guessing.Tally("all", 900, 1000, 1000, 500)]
    unlucky = [guessing.Tally("all", 500, 1000, 1000, 500)]
    a, b = (conclude(rows, claimed=1.0, delta=1e-5, method="m").caught_from for rows in (lucky, unlucky))
    assert a == b


def test_the_default_audit_says_that_seven_tenths_of_the_noise_pass_it(claim: PrivacyStatement) -> None:
    """Measured: noise at 0.7 is refuted in 0 of 15 audits, at 0.5 in 4 of 15, at 0.45 in 16 of 20, at 0.4 in 15 of 15."""
    caught = audit.audit_gradients(planted_bugs.correct, audit.Settings(), claimed=claim, seed=1).caught_from
    assert 0.4 < caught.noise < 0.55
    assert caught.epsilon > audit.claim_of(audit.Settings(noise_multiplier=1.2)).epsilon


def test_the_figure_is_what_randomised_points_do() -> None:
    """Points whose true rates lie on the curve of the leak refute the claim about 4 times in 5 (300 draws)."""
    import numpy as np
    from scipy.stats import norm

    from labkit.audit import fdp

    size = Point("p", 0, 500, 0, 500, 0.02)
    found = conclude([size], claimed=0.5, delta=1e-5, method="m").caught_from.epsilon
    mu = next(m for m in np.arange(0.1, 6, 0.01) if fdp.gaussian_epsilon(m, 1e-5) >= found)
    rng = np.random.default_rng(0)
    hits, alarms = rng.binomial(500, norm.sf(norm.isf(0.02) - mu), 300), rng.binomial(500, 0.02, 300)
    refuted = [
        conclude([Point("p", int(h), 500, int(a), 500)], claimed=0.5, delta=1e-5, method="m").refuted
        for h, a in zip(hits, alarms, strict=True)
    ]
    assert 0.6 < np.mean(refuted) < 0.95


def test_a_curve_refuted_at_small_epsilon_leaves_the_printed_epsilon_alone(tmp_path) -> None:
    """Each record takes part once at σ = 0.25: ε(1e-5) <= 24.4, so the claim of 46.55 is true, and its curve is not."""
    settings = audit.Settings(noise_multiplier=0.25, sample_rate=0.02, steps=50)
    claim = audit.claim_of(settings)
    score = audit.gradient_runs(sampling.shuffled, settings)
    result = audit.audit_many_runs(score, runs=400, calibration=100, claimed=claim)
    assert result.refuted
    assert result.refuted_as_curve
    assert result.epsilon < claim.epsilon
    for text in (str(result), result.save(tmp_path / "a.json").read_text(encoding="utf-8")):
        assert "the claimed curve is refuted at small ε" in text
        assert "cannot be true" not in text
    figure = audit.compare({"shuffled": result})
    assert "the curve refuted at small epsilon" in figure.alt_text
    assert any("small ε" in text.get_text() for text in figure.legends[0].get_texts())


def test_an_epsilon_that_is_passed_is_refuted_itself() -> None:
    result = conclude([guessing.Tally("all", 990, 1000, 1000, 500)], claimed=1.0, delta=1e-5, method="m")
    assert result.refuted
    assert not result.refuted_as_curve
    assert "the claimed ε = 1.00 cannot be true" in result.verdict
