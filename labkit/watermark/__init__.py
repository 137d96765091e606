"""Watermarks and ownership: keyed triggers, embedding, verification, extraction, removal and claims.

Names load from their module when first used, so ``import labkit.watermark`` pulls in no heavy library.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.evidence import Evidence as Evidence
    from labkit.evidence import Signer as Signer
    from labkit.evidence import TamperError as TamperError
    from labkit.watermark.attacks.interface import Api as Api
    from labkit.watermark.attacks.neural_cleanse import cleanse as cleanse
    from labkit.watermark.attacks.removal import REMOVALS as REMOVALS
    from labkit.watermark.attacks.removal import remove as remove
    from labkit.watermark.attacks.theft import Theft as Theft
    from labkit.watermark.attacks.theft import steal as steal
    from labkit.watermark.court.affidavit import affidavit as affidavit
    from labkit.watermark.court.claims import Claim as Claim
    from labkit.watermark.court.commitments import Commitment as Commitment
    from labkit.watermark.court.commitments import commit as commit
    from labkit.watermark.court.deposits import Notary as Notary
    from labkit.watermark.court.docket import Docket as Docket
    from labkit.watermark.court.examination import Examination as Examination
    from labkit.watermark.court.hearing import hear as hear
    from labkit.watermark.court.line_up import line_up as line_up
    from labkit.watermark.court.plan import Plan as Plan
    from labkit.watermark.court.simulation import simulate_trials as simulate_trials
    from labkit.watermark.court.trial import open_trial as open_trial
    from labkit.watermark.court.trial import try_suspects as try_suspects
    from labkit.watermark.court.two_owners import lucky_key as lucky_key
    from labkit.watermark.court.two_owners import resolve as resolve
    from labkit.watermark.fingerprints.questions import ask_all as ask_all
    from labkit.watermark.marks.answers import AnswerMarker as AnswerMarker
    from labkit.watermark.marks.embed import SCHEMES as SCHEMES
    from labkit.watermark.marks.embed import embed as embed
    from labkit.watermark.marks.keys import Key as Key
    from labkit.watermark.marks.marked import MarkedModel as MarkedModel
    from labkit.watermark.marks.marked import TriggerSet as TriggerSet
    from labkit.watermark.marks.patterns import Patch as Patch
    from labkit.watermark.robustness.cells import ALLOWED as ALLOWED
    from labkit.watermark.robustness.cells import NONE as NONE
    from labkit.watermark.robustness.explanations import weigh as weigh
    from labkit.watermark.robustness.matrix import Matrix as Matrix
    from labkit.watermark.robustness.measure import hits as hits
    from labkit.watermark.robustness.measure import robustness_matrix as robustness_matrix
    from labkit.watermark.verification.asking import answers as answers
    from labkit.watermark.verification.binomial import hits_needed as hits_needed
    from labkit.watermark.verification.null_models import null_models as null_models
    from labkit.watermark.verification.redrawn_keys import redrawn_keys as redrawn_keys
    from labkit.watermark.verification.verdict import Verdict as Verdict
    from labkit.watermark.verification.verify import verify as verify

__getattr__, __dir__, __all__ = facade.lazy(__name__)
