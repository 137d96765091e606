"""Membership inference: shadow models, signals, attacks over one score array, reports and defences.

Names load from their module when first used, so ``import labkit.membership`` pulls in neither torch nor scikit-learn.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.membership.attacks.registry import ATTACKS as ATTACKS
    from labkit.membership.attacks.registry import AttackResult as AttackResult
    from labkit.membership.attacks.registry import attack as attack
    from labkit.membership.reports.intervals import Refused as Refused
    from labkit.membership.reports.result import Report as Report
    from labkit.membership.reports.result import report as report
    from labkit.membership.shadows.bank import ShadowBank as ShadowBank
    from labkit.membership.shadows.bank import Target as Target
    from labkit.membership.shadows.presets import preset as preset
    from labkit.membership.shadows.signals import signal as signal
    from labkit.membership.shadows.targets import train_targets as train_targets
    from labkit.membership.shadows.training import balanced_masks as balanced_masks
    from labkit.membership.shadows.training import shadow_bank as shadow_bank
    from labkit.membership.shadows.transfer import transfer_bank as transfer_bank
    from labkit.membership.studies.comparison import Comparison as Comparison
    from labkit.membership.studies.comparison import compare as compare
    from labkit.membership.studies.defence_comparison import compare_defences as compare_defences
    from labkit.membership.studies.defence_table import DefenceTable as DefenceTable
    from labkit.membership.studies.leave_one_out import LeaveOneOut as LeaveOneOut
    from labkit.membership.studies.leave_one_out import leave_one_out as leave_one_out

__getattr__, __dir__, __all__ = facade.lazy(__name__)
