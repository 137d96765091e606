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


def ready(*packages: str) -> None:
    """Set the switches for this process and its children; call before Flower's first import, which reads them once.

    Raises
    ------
    ModuleNotFoundError
        If one of ``packages`` ("flwr", "ray") is not installed; the message names the extra that brings it.
    """
    os.environ.update(QUIET)
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = "simulation" if package == "ray" else "federated"
            raise ModuleNotFoundError(
                f"{package} is not installed: pip install 'labkit[{extra}]' (or use backend='memory')"
                if package == "ray"
                else f"{package} is not installed: pip install 'labkit[{extra}]'"
            )
