"""One concept drawing a lab: the idea before the result, drawn by code, its numbers computed and never typed in."""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.course.drawings.foundations import clip_and_noise as clip_and_noise
    from labkit.course.drawings.foundations import exercise_loop as exercise_loop
    from labkit.course.drawings.foundations import public_and_private as public_and_private
    from labkit.course.drawings.foundations import two_worlds as two_worlds
    from labkit.course.drawings.inference import coins_and_guesses as coins_and_guesses
    from labkit.course.drawings.inference import in_and_out as in_and_out
    from labkit.course.drawings.inference import loss_gap as loss_gap
    from labkit.course.drawings.owners import redrawn_keys as redrawn_keys
    from labkit.course.drawings.owners import trigger_trial as trigger_trial
    from labkit.course.drawings.owners import where_attacks_touch as where_attacks_touch
    from labkit.course.drawings.systems import claim_to_decision as claim_to_decision
    from labkit.course.drawings.systems import odds_of_a_belief as odds_of_a_belief
    from labkit.course.drawings.systems import pairwise_masks as pairwise_masks
    from labkit.course.drawings.systems import where_noise_goes as where_noise_goes
    from labkit.course.drawings.systems import who_sees_what as who_sees_what

__getattr__, __dir__, __all__ = facade.lazy(__name__)
