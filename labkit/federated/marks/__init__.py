"""Marks: one per hospital in the global model, one per copy of it, and what they do and do not prove.

Names load from their module when first used.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.federated.marks.answer_mark import AnswerMark as AnswerMark
    from labkit.federated.marks.bits import BitMark as BitMark
    from labkit.federated.marks.enrolment import Enrolment as Enrolment
    from labkit.federated.marks.enrolment import MarkError as MarkError
    from labkit.federated.marks.enrolment import Terms as Terms
    from labkit.federated.marks.enrolment import enrol as enrol
    from labkit.federated.marks.hearing import Claim as Claim
    from labkit.federated.marks.hearing import Dispute as Dispute
    from labkit.federated.marks.hearing import dispute as dispute
    from labkit.federated.marks.leak_report import LeakReport as LeakReport
    from labkit.federated.marks.leak_study import study_leaks as study_leaks
    from labkit.federated.marks.mark_report import MarkReport as MarkReport
    from labkit.federated.marks.noise_curve import PrivacyCurve as PrivacyCurve
    from labkit.federated.marks.nulls import null_federations as null_federations
    from labkit.federated.marks.promises import promise as promise
    from labkit.federated.marks.register import Register as Register
    from labkit.federated.marks.register import RegisterError as RegisterError
    from labkit.federated.marks.tracing import TraceReport as TraceReport
    from labkit.federated.marks.tracing import fingerprint as fingerprint
    from labkit.federated.marks.tracing import trace as trace
    from labkit.federated.marks.tracking import ContributionReport as ContributionReport
    from labkit.federated.marks.tracking import contributions as contributions
    from labkit.federated.marks.under_noise import privacy_curve as privacy_curve
    from labkit.federated.marks.verification import verify as verify

_MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
_HOME = {
    "AnswerMark": "answer_mark",
    "BitMark": "bits",
    "Claim": "hearing",
    "ContributionReport": "tracking",
    "Dispute": "hearing",
    "Enrolment": "enrolment",
    "LeakReport": "leak_report",
    "MarkError": "enrolment",
    "MarkReport": "mark_report",
    "PrivacyCurve": "noise_curve",
    "Register": "register",
    "RegisterError": "register",
    "Terms": "enrolment",
    "TraceReport": "tracing",
    "contributions": "tracking",
    "dispute": "hearing",
    "enrol": "enrolment",
    "fingerprint": "tracing",
    "null_federations": "nulls",
    "privacy_curve": "under_noise",
    "promise": "promises",
    "study_leaks": "leak_study",
    "trace": "tracing",
    "verify": "verification",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"labkit.federated.marks.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labkit.federated.marks.{name}")
    raise AttributeError(
        f"module 'labkit.federated.marks' has no attribute {name!r}; it has {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return [*_HOME, *_MODULES]
