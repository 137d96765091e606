"""Plain training: one model, many at once, and the shelf on which trained ones are kept.

Names load from their module when first used, so ``import labkit.training`` does not pull in torch.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.training.loops import Evaluation as Evaluation
    from labkit.training.loops import FitResult as FitResult
    from labkit.training.loops import check_records as check_records
    from labkit.training.loops import evaluate as evaluate
    from labkit.training.loops import fit as fit
    from labkit.training.loops import logits as logits
    from labkit.training.many import side_by_side as side_by_side
    from labkit.training.many import train_many as train_many
    from labkit.training.own import on_dataset as on_dataset
    from labkit.training.recipe import Recipe as Recipe
    from labkit.training.recipe import descend as descend
    from labkit.training.recipe import fresh as fresh
    from labkit.training.recipe import one_cycle as one_cycle
    from labkit.training.recipe import train_one as train_one

__getattr__, __dir__, __all__ = facade.lazy(__name__)
