"""The whole analysis: nothing falls out of the report, and colluders see what the accounting says they see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threat_scenes import small, system

from labkit.federated.inversion import Leakage, Study
from labkit.federated.threats import colluding, reconstruction, run, scoring, shadows, study_collusion, watch
from labkit.federated.threats.analysis import PARTS, ThreatWarning
from labkit.stats import clopper_pearson


def test_a_part_left_out_is_a_finding_that_was_not_shown() -> None:
    found = run(system(), seeds=[0], skip=PARTS)
    assert len(found) == len(PARTS)
    assert found.count("not shown") == len(PARTS)
    assert all("left out" in one.evidence for one in found.findings)


def test_a_part_that_stops_is_said_and_loses_no_other(monkeypatch) -> None:
    def stops(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setitem(PARTS, "drift", replace(PARTS["drift"], findings=stops))
    rest = [name for name in PARTS if name not in ("drift", "server")]
    with pytest.warns(ThreatWarning, match="out of memory"):
        found = run(system(), seeds=[0], skip=rest)
    assert "RuntimeError: out of memory" in found[PARTS["drift"].title].evidence
    assert found["A server that breaks the rules of secure aggregation"].status == "answered"


def test_what_was_done_before_is_taken_over(monkeypatch) -> None:
    monkeypatch.setitem(
        PARTS, "server", replace(PARTS["server"], findings=lambda *_: pytest.fail("run again"))
    )
    own = study_collusion(system("none"), count=8).findings()
    found = run(system(), seeds=[0], skip=set(PARTS) - {"server"}, done={"server": own})
    assert {one.title for one in own} <= {one.title for one in found.findings}
    with pytest.raises(ValueError, match="both skipped and done"):
        run(system(), skip=["server"], done={"server": own})


def test_wrong_requests_are_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="expected some of"):
        run(system(), skip=["weather"])
    with pytest.raises(ValueError, match="each once"):
        run(system(), seeds=[1, 1])


@pytest.mark.parametrize("placement", ["distributed", "local"])
def test_the_noise_that_colluders_leave_is_what_is_promised(placement: str) -> None:
    federation = small(placement, rounds=20, noise_multiplier=2.0)
    for colluders, left in enumerate(colluding.noise_left(federation, seed=0)):
        observer = "another hospital" if colluders else "everyone who gets the model"
        promised = federation.noise.against(observer, colluders=colluders, survivors=4)
        # 1,240 values: known to 2%; 8% is four standard deviations, and the grid adds 0.01% of rounding.
        assert left.estimate == pytest.approx(promised, rel=0.08)


def test_a_mark_is_no_noise() -> None:
    class Loud:
        def pull(self, weights: np.ndarray, round: int) -> np.ndarray:
            return 5.0 * np.ones_like(weights)

    federation = small(rounds=5)
    loud = replace(federation, marks={name: Loud() for name in federation.hospitals.names})
    expected = colluding.noise_left(federation, seed=0)[0].estimate
    assert colluding.noise_left(loud, seed=0)[0].estimate == pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def collusion(tmp_path_factory) -> colluding.Collusion:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(scoring, "RESAMPLES", 20)
        patch.setattr(scoring, "NEEDED", 0.5)
        return study_collusion(system(rounds=3, noise_multiplier=1.0), count=8)


def test_each_colluder_takes_noise_away(collusion: colluding.Collusion) -> None:
    promised = [one.promised for one in collusion.steps]
    assert len(promised) == 4
    assert promised == sorted(promised, reverse=True)
    ceilings = [one.ceiling for one in collusion.steps]
    assert ceilings == sorted(ceilings)
    assert "promised" in collusion.findings()[0].evidence
    assert len(collusion.table()) == 4
    assert collusion.plot().alt_text


def test_the_same_victim_is_scored_for_every_number_of_colluders() -> None:
    federation = small()
    victim = shadows.largest(federation)
    for count in range(4):
        assert victim not in shadows.gang(federation, count)
        assert set(shadows.gang(federation, count)) >= set(shadows.gang(federation, max(0, count - 1)))


def test_nothing_to_subtract_is_no_pass() -> None:
    found = study_collusion(system("none"), count=8).findings()
    assert [one.status for one in found] == ["not shown"] * 3
    few = study_collusion(system(), count=8)
    assert "are needed" in few.findings()[0].evidence


def test_watching_gives_equations_that_the_members_solve() -> None:
    federation = small("none", rounds=12)
    seen = watch(federation, 12, seed=3)
    for rows, total in zip(seen.gradients, seen.sums, strict=True):
        assert np.allclose(rows.T @ seen.members, total, atol=1e-3)  # gradients are float32, sums on a grid
    with pytest.raises(ValueError, match="1 to 12 rounds"):
        watch(federation, 13)


def leakage(
    observed: str, hits: int, *, bound: float | None = None, measure: str = "batches returned whole"
) -> Leakage:
    return Leakage(
        attack="peeling",
        adversary="the server",
        knowledge="the model",
        observed=observed,
        label=observed,
        unit="share",
        measure=measure,
        value=clopper_pearson(hits, 1000),
        interval_of="batches",
        control=0.0,
        control_is="nothing",
        privacy="in clear" if bound is None else "unit patient: stated",
        bound=bound,
        source="Wisconsin",
        profile="smoke",
        seeds=(0,),
    )


def test_reconstruction_is_answered_only_by_what_was_measured_under_noise() -> None:
    one, total = (
        leakage("update of one hospital (1 record)", 990),
        leakage("sum of 5 hospitals (40 records)", 400),
    )
    noisy = leakage("sum of 5 hospitals (40 records), noise", 0, bound=0.1)
    update, summed, named = reconstruction.findings(Study((one, total, noisy)))
    assert (update.severity, update.status) == ("critical", "answered")
    assert (summed.severity, summed.status) == ("high", "answered")
    assert "not this system's" in summed.differs
    assert named.status == "not shown"
    update, summed, _ = reconstruction.findings(Study((one, total)))
    assert (update.status, summed.status) == ("open", "open")
