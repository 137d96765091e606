"""Marks: one per hospital in the global model, one per copy of it, and what they do and do not prove.

Names load from their module when first used.
"""

from typing import TYPE_CHECKING

from labkit import facade

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
    from labkit.federated.marks.promises import digest_of as digest_of
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

__getattr__, __dir__, __all__ = facade.lazy(__name__)
