"""What a server reads out of updates: records from dense layers, pictures by optimisation, hospitals out of a sum.

Names load from their module when first used.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.federated.inversion.aggregate import regroup as regroup
    from labkit.federated.inversion.bound import reconstruction_bound as reconstruction_bound
    from labkit.federated.inversion.dense import Candidates as Candidates
    from labkit.federated.inversion.dense import exact_rate as exact_rate
    from labkit.federated.inversion.dense import recover as recover
    from labkit.federated.inversion.observation import Observation as Observation
    from labkit.federated.inversion.observation import observe as observe
    from labkit.federated.inversion.optimise import dlg as dlg
    from labkit.federated.inversion.optimise import infer_labels as infer_labels
    from labkit.federated.inversion.optimise import invert as invert
    from labkit.federated.inversion.peeling import peel as peel
    from labkit.federated.inversion.result import Leakage as Leakage
    from labkit.federated.inversion.result import Study as Study
    from labkit.federated.inversion.studies import study as study

__getattr__, __dir__, __all__ = facade.lazy(__name__)
