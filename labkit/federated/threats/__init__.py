"""Threats to a federation, each tried: `run` attacks a `System` and returns the `Findings`.

Names load from their module when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.federated.threats.analysis import run as run
    from labkit.federated.threats.colluding import study_collusion as study_collusion
    from labkit.federated.threats.colluding_result import Collusion as Collusion
    from labkit.federated.threats.findings import Finding as Finding
    from labkit.federated.threats.findings import FindingError as FindingError
    from labkit.federated.threats.findings import Findings as Findings
    from labkit.federated.threats.findings import Scale as Scale
    from labkit.federated.threats.findings import judge as judge
    from labkit.federated.threats.findings import not_shown as not_shown
    from labkit.federated.threats.membership import study_membership as study_membership
    from labkit.federated.threats.membership_result import MembershipStudy as MembershipStudy
    from labkit.federated.threats.report import RULES as RULES
    from labkit.federated.threats.report import verdict as verdict
    from labkit.federated.threats.server import ServerStudy as ServerStudy
    from labkit.federated.threats.server import study_server as study_server
    from labkit.federated.threats.system import System as System
    from labkit.federated.threats.watching import Watched as Watched
    from labkit.federated.threats.watching import watch as watch

_HOME = {
    "Collusion": "colluding_result",
    "DriftStudy": "drift_result",
    "Finding": "findings",
    "FindingError": "findings",
    "Findings": "findings",
    "MaliciousStudy": "malicious_result",
    "MembershipStudy": "membership_result",
    "RobustStudy": "robust_result",
    "RULES": "report",
    "Scale": "findings",
    "ServerStudy": "server",
    "System": "system",
    "Watched": "watching",
    "attacked": "running",
    "judge": "findings",
    "not_shown": "findings",
    "run": "analysis",
    "study_collusion": "colluding",
    "study_drift": "drift",
    "study_malicious": "malicious",
    "study_membership": "membership",
    "study_robust": "robust",
    "study_server": "server",
    "verdict": "report",
    "watch": "watching",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.threats.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
