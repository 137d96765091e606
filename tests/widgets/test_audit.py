from __future__ import annotations

import pytest

from labkit.audit import bounds
from labkit.widgets import audit


def test_curves_rise_with_canaries_and_meet_the_bound() -> None:
    fig = audit.certifiable_curves(0.9, 0.2, 1000)
    plain, gaussian = (line.get_ydata() for line in fig.axes[0].lines[:2])
    assert plain[-1] > plain[3] > 0
    assert (gaussian >= plain - 1e-3).all()
    certified = bounds.one_run_epsilon(180, 200, delta=1e-5, canaries=1000)
    assert f"{certified:.2f} for any mechanism" in fig.alt_text
    assert audit.certifiable_curves(0.5, 1.0, 100).axes[0].lines[0].get_ydata().max() == 0
    with pytest.raises(ValueError, match="at least one guess"):
        audit.certifiable_curves(0.9, 0.05, 5)


def test_the_sliders_wait_until_they_are_let_go() -> None:
    box = audit.audit_explorer()
    assert all(not slider.continuous_update for slider in box.children[:3])
