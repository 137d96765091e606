"""The review board: read a project, run every check that fits, decide by a stated rule, and write one signed report.

Names load from their module when first used, so ``import labkit.governance`` pulls in no heavy library.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.governance.answering import as_answering as as_answering
    from labkit.governance.checklist import Item as Item
    from labkit.governance.claims import Claim as Claim
    from labkit.governance.claims import Mark as Mark
    from labkit.governance.claims import Shadows as Shadows
    from labkit.governance.claims import Submitted as Submitted
    from labkit.governance.decision import RULES as RULES
    from labkit.governance.decision import Decision as Decision
    from labkit.governance.decision import decide as decide
    from labkit.governance.finders import patterns as patterns
    from labkit.governance.finders import presidio as presidio
    from labkit.governance.findings import Finding as Finding
    from labkit.governance.findings import Outcome as Outcome
    from labkit.governance.findings import ReviewError as ReviewError
    from labkit.governance.loading import UntrustedError as UntrustedError
    from labkit.governance.loading import read_project as read_project
    from labkit.governance.notes import make_notes as make_notes
    from labkit.governance.project import Project as Project
    from labkit.governance.redaction import RedactionReport as RedactionReport
    from labkit.governance.redaction import redact as redact
    from labkit.governance.regulation import RegulationMap as RegulationMap
    from labkit.governance.regulation import fill as fill
    from labkit.governance.regulation import impact_assessment as impact_assessment
    from labkit.governance.regulation import regulation_map as regulation_map
    from labkit.governance.reviewing import Review as Review
    from labkit.governance.reviewing import review as review
    from labkit.governance.sealing import verify_report as verify_report

__getattr__, __dir__, __all__ = facade.lazy(__name__)
