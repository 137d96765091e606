"""Privacy audits: epsilon from below, by canaries and guesses; conformance, step by step; planted bugs to practise on.

Names load from their module when first used, so ``import labkit.audit`` pulls in neither torch nor scipy.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.audit.audits import audit_many_runs as audit_many_runs
    from labkit.audit.audits import audit_one_run as audit_one_run
    from labkit.audit.bounds import certifiable as certifiable
    from labkit.audit.bounds import guesses_needed as guesses_needed
    from labkit.audit.bounds import many_run_epsilon as many_run_epsilon
    from labkit.audit.bounds import one_run_epsilon as one_run_epsilon
    from labkit.audit.bounds import one_run_p_value as one_run_p_value
    from labkit.audit.conforming.audit import conformance as conformance
    from labkit.audit.conforming.probe import QUIET as QUIET
    from labkit.audit.conforming.probe import probe_task as probe_task
    from labkit.audit.conforming.result import ConformanceResult as ConformanceResult
    from labkit.audit.conforming.watching import UnobservableError as UnobservableError
    from labkit.audit.conforming.watching import watch as watch
    from labkit.audit.guessing import Share as Share
    from labkit.audit.result import AuditResult as AuditResult
    from labkit.audit.result import compare as compare
    from labkit.audit.scores import observe as observe
    from labkit.audit.task import Settings as Settings
    from labkit.audit.task import Task as Task
    from labkit.audit.task import Transcript as Transcript
    from labkit.audit.task import blank_task as blank_task
    from labkit.audit.white_box import audit_gradients as audit_gradients
    from labkit.audit.white_box import claim_of as claim_of
    from labkit.audit.white_box import gradient_runs as gradient_runs

__getattr__, __dir__, __all__ = facade.lazy(__name__)
