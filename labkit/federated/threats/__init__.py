"""Threats to a federation, each tried: `run` attacks a `System` and returns the `Findings`.

Names load from their module when first used.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.federated.threats.analysis import run as run
    from labkit.federated.threats.colluding import study_collusion as study_collusion
    from labkit.federated.threats.colluding_result import Collusion as Collusion
    from labkit.federated.threats.drift import study_drift as study_drift
    from labkit.federated.threats.drift_result import DriftStudy as DriftStudy
    from labkit.federated.threats.findings import Finding as Finding
    from labkit.federated.threats.findings import FindingError as FindingError
    from labkit.federated.threats.findings import Findings as Findings
    from labkit.federated.threats.findings import Scale as Scale
    from labkit.federated.threats.findings import judge as judge
    from labkit.federated.threats.findings import not_shown as not_shown
    from labkit.federated.threats.malicious import study_malicious as study_malicious
    from labkit.federated.threats.malicious_result import MaliciousStudy as MaliciousStudy
    from labkit.federated.threats.membership import study_membership as study_membership
    from labkit.federated.threats.membership_result import MembershipStudy as MembershipStudy
    from labkit.federated.threats.report import RULES as RULES
    from labkit.federated.threats.report import verdict as verdict
    from labkit.federated.threats.robust import study_robust as study_robust
    from labkit.federated.threats.robust_result import RobustStudy as RobustStudy
    from labkit.federated.threats.running import attacked as attacked
    from labkit.federated.threats.server import ServerStudy as ServerStudy
    from labkit.federated.threats.server import study_server as study_server
    from labkit.federated.threats.system import System as System
    from labkit.federated.threats.watching import Watched as Watched
    from labkit.federated.threats.watching import watch as watch

__getattr__, __dir__, __all__ = facade.lazy(__name__)
