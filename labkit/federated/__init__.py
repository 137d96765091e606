"""Hospitals that train a model together: secure aggregation, privacy at each, a mark per hospital, threats to all of it.

Names load from their module when first used, so ``import labkit.federated`` pulls in neither torch nor Flower.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

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
    from labkit.federated.loop import federate as federate
    from labkit.federated.noise import Noise as Noise
    from labkit.federated.noise import calibrate as calibrate
    from labkit.federated.noise import promises as promises
    from labkit.federated.personal import Personal as Personal
    from labkit.federated.personal import personalise as personalise
    from labkit.federated.preprocessing import private_statistics as private_statistics
    from labkit.federated.result import FederatedResult as FederatedResult
    from labkit.federated.rounds import Federation as Federation
    from labkit.federated.rounds import FederationError as FederationError
    from labkit.federated.rounds import Training as Training
    from labkit.federated.study import PlacementCurve as PlacementCurve
    from labkit.federated.study import placement_curve as placement_curve

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "FeatureMap": "feature_map",
    "FederatedResult": "result",
    "Federation": "rounds",
    "FederationError": "rounds",
    "HeartStudy": "four_hospitals",
    "Hospital": "hospitals",
    "Hospitals": "hospitals",
    "Noise": "noise",
    "Personal": "personal",
    "PlacementCurve": "study",
    "Training": "rounds",
    "calibrate": "noise",
    "federate": "loop",
    "fixed": "feature_map",
    "heart_study": "four_hospitals",
    "load_hospitals": "hospitals",
    "personalise": "personal",
    "placement_curve": "study",
    "private_statistics": "preprocessing",
    "promises": "noise",
    "simulate": "app",
    "split": "hospitals",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labkit.federated.{name}")
    raise AttributeError(f"module 'labkit.federated' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*_HOME, *_MODULES]
