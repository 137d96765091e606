"""Nothing phones home: the switches of Flower and Ray, set before either is imported."""

from __future__ import annotations

import importlib.util
import os

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class MissingExtraError(ModuleNotFoundError):
    """A package of one of labkit's extras is not installed; the message names the extra."""


def ready(*packages: str) -> None:
    """Set the switches for this process and its children; call before Flower's first import, which reads them once.

    Raises
    ------
    MissingExtraError
        If one of ``packages`` ("flwr", "ray") is not installed.
    """
    os.environ.update(QUIET)
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = {"flwr": "federated", "ray": "simulation"}[package]
            raise MissingExtraError(f"{package} is not installed: pip install 'labkit[{extra}]'")
