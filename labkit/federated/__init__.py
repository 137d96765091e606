"""Hospitals that train a model together: secure aggregation, privacy at each, a mark per hospital, threats to all of it.

Names load from their module when first used, so ``import labkit.federated`` pulls in neither torch nor Flower.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.federated.app import simulate as simulate
    from labkit.federated.feature_map import FeatureMap as FeatureMap
    from labkit.federated.feature_map import fixed as fixed
    from labkit.federated.four_hospitals import HeartStudy as HeartStudy
    from labkit.federated.four_hospitals import heart_study as heart_study
    from labkit.federated.hospitals import Hospital as Hospital
    from labkit.federated.hospitals import Hospitals as Hospitals
    from labkit.federated.hospitals import load_hospitals as load_hospitals
    from labkit.federated.hospitals import split as split
    from labkit.federated.learning import FederationError as FederationError
    from labkit.federated.loop import federate as federate
    from labkit.federated.noise import Noise as Noise
    from labkit.federated.noise import calibrate as calibrate
    from labkit.federated.noise import promises as promises
    from labkit.federated.personal import Personal as Personal
    from labkit.federated.personal import personalise as personalise
    from labkit.federated.preprocessing import private_statistics as private_statistics
    from labkit.federated.result import FederatedResult as FederatedResult
    from labkit.federated.result import measure as measure
    from labkit.federated.rounds import Federation as Federation
    from labkit.federated.rounds import Training as Training
    from labkit.federated.rounds import begin as begin
    from labkit.federated.rounds import contribute as contribute
    from labkit.federated.rounds import flatten as flatten
    from labkit.federated.rounds import gradient_sum as gradient_sum
    from labkit.federated.rounds import grid_of as grid_of
    from labkit.federated.rounds import unflatten as unflatten
    from labkit.federated.study import PlacementCurve as PlacementCurve
    from labkit.federated.study import placement_curve as placement_curve

__getattr__, __dir__, __all__ = facade.lazy(__name__)
