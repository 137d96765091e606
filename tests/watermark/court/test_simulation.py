"""The whole court, tried on innocents: it convicts at most its alpha of the trials, whoever the claimant is."""

import pytest
from scipy import stats

from labkit.watermark.court.simulation import CLAIMANTS, SimulatedTrials, simulate_trials

FOUND: dict[str, SimulatedTrials] = {}


@pytest.mark.parametrize("claimant", CLAIMANTS)
def test_trials_of_innocents_convict_at_most_alpha(claimant):
    """12 trials at alpha 5%: a court that convicts exactly so often fails here with probability below 1e-3.

    The thousand are `simulate_trials()`.
    """
    found = FOUND[claimant] = simulate_trials(12, claimant=claimant)
    assert stats.binom.sf(found.convicting - 1, found.trials, found.alpha) > 1e-3
    assert sum(found.outcomes.values()) == 12 * 2
    assert "dismissed" not in found.outcomes  # or nothing was tried
    assert found.small["mark", 0.05].estimate < 1
    assert f"{found.convicting} of 12 trials" in str(found)
    assert list(found.table().index) == ["mark", "mistakes", "agreement", "inference"]


def test_exact_p_values_of_innocents_are_not_too_small():
    """24 innocents: each count above its bound has probability below 1e-3."""
    found = FOUND.get("an honest owner") or simulate_trials(12)
    for line in ("mark", "inference"):
        share = found.small[line, 0.05]
        count, of = round(share.estimate * 24), 24
        assert stats.binom.sf(count - 1, of, 0.05) > 1e-3


def test_refusals():
    for wrong in ({"trials": 0}, {"suspects": 0}, {"claimant": "nobody"}):
        with pytest.raises(ValueError, match="expected at least 1 of each"):
            simulate_trials(**({"trials": 1} | wrong))
