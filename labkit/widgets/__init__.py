"""Sliders around plot functions. The plot functions are pure and serve without a notebook, too.

Each explorer loads from its module when first used: ``labkit.widgets.epsilon_explorer()``. Modules are named after
their subject, not after their explorer, so that importing one never hides the other.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.widgets.audit import audit_explorer as audit_explorer
    from labkit.widgets.ceilings import ceiling_explorer as ceiling_explorer
    from labkit.widgets.cells import cell_explorer as cell_explorer
    from labkit.widgets.clipping import clipping_explorer as clipping_explorer
    from labkit.widgets.dropouts import dropout_explorer as dropout_explorer
    from labkit.widgets.dropouts import message_flow as message_flow
    from labkit.widgets.epsilon import epsilon_explorer as epsilon_explorer
    from labkit.widgets.placements import placement_explorer as placement_explorer
    from labkit.widgets.suspects import suspects_explorer as suspects_explorer
    from labkit.widgets.theft import theft_explorer as theft_explorer
    from labkit.widgets.threshold import threshold_explorer as threshold_explorer
    from labkit.widgets.training import training_explorer as training_explorer
    from labkit.widgets.triggers import trigger_designer as trigger_designer

__getattr__, __dir__, __all__ = facade.lazy(__name__)
