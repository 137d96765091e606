"""After each test of an explorer: every control that it made says what it is, for those who cannot see where it stands."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def every_control_has_a_description():
    ipywidgets = pytest.importorskip("ipywidgets")
    from ipywidgets.widgets import widget

    before = set(widget._instances)
    yield
    made = [one for key, one in widget._instances.items() if key not in before]
    controls = [one for one in made if isinstance(one, ipywidgets.DOMWidget) and hasattr(one, "disabled")]
    unnamed = [type(one).__name__ for one in controls if not one.description.strip()]
    assert not unnamed, f"controls without a description: {unnamed}"
