"""Differential privacy: mechanisms, exact sampling, accounting, private training, features and tuning.

Names load from their module when first used, so ``import labkit.dp`` pulls in neither torch nor scipy.
"""

import importlib
import pkgutil
from typing import Any

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "Laplace": "mechanisms",
    "Gaussian": "mechanisms",
    "gaussian_delta": "mechanisms",
    "gaussian_sigma": "mechanisms",
    "RandomisedResponse": "categorical",
    "Exponential": "categorical",
    "clip_values": "sensitivity",
    "clip_vectors": "sensitivity",
    "count_sensitivity": "sensitivity",
    "histogram_sensitivity": "sensitivity",
    "mean_sensitivity": "sensitivity",
    "sum_sensitivity": "sensitivity",
    "DiscreteLaplace": "discrete",
    "DiscreteGaussian": "discrete",
    "Grid": "discrete",
    "basic_composition": "composition",
    "advanced_composition": "composition",
    "composed_delta": "composition",
    "optimal_composition": "composition",
    "SampledGaussian": "accounting",
    "PureDP": "accounting",
    "LaplaceEvent": "accounting",
    "PrivacyStatement": "accounting",
    "privacy_statement": "accounting",
    "TuningCost": "accounting",
    "calibrate_noise": "accounting",
    "gdp_epsilon": "accounting",
    "roc_ceiling": "accounting",
    "PrivateResult": "sgd",
    "train_private": "sgd",
    "FeatureStatement": "features",
    "Decision": "tuning",
    "NoDecision": "tuning",
    "Search": "tuning",
    "Tradeoff": "tuning",
    "decide": "tuning",
    "search": "tuning",
    "cnn_ceiling": "recipes",
    "cnn_pipeline": "recipes",
    "recipe": "recipes",
    "linear_ceiling": "pipeline",
    "linear_pipeline": "pipeline",
    "check_loader": "loaders",
    "compare": "curve",
    "tradeoff": "tuning",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"labkit.dp.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.dp.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labkit.dp' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*_HOME, *_MODULES]
