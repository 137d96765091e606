"""Five suspects for the ownership court: three that were stolen, one independent, one accused by a forger.

`line_up` makes them, `LineUp.accused` hands them out under numbers alone, in an order that the seed decides;
`LineUp.reveal` tells the truth, `LineUp.score` compares verdicts with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import cache, profiles
from labkit.training.recipe import Recipe, State, train_one
from labkit.training.shelf import CODE, model_identity
from labkit.watermark.attacks import interface, removal
from labkit.watermark.attacks import theft as thieves
from labkit.watermark.court.answer_key import Score, Story
from labkit.watermark.court.claims import Claim
from labkit.watermark.court.trial import Accused
from labkit.watermark.court.verdicts import Verdicts

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Maker:
    """Who makes a suspect, and from what: the owner's model, the competitor's records, a network and a recipe."""

    victim: nn.Module
    others: Dataset
    make_model: Callable[[], nn.Module]
    recipe: Recipe
    seed: int


def extracted(maker: Maker) -> nn.Module:
    """Train a model on the answers of the owner's, asked about the competitor's records."""
    x = maker.others.train_x
    theft = thieves.steal(
        interface.Api(maker.victim),
        x,
        maker.make_model,
        maker.recipe,
        test=maker.others,
        seed=maker.seed,
    )
    return theft.model


def fine_tuned(maker: Maker) -> nn.Module:
    """Copy the owner's weights and train all layers on with the competitor's records, a sixth as long and gently."""
    full = maker.recipe
    gentle = replace(full, epochs=max(1, full.epochs // 6), learning_rate=full.learning_rate / 3)
    return removal.remove(
        "fine-tune all",
        maker.victim,
        maker.others,
        seed=maker.seed,
        recipe=gentle,
        records=len(maker.others.train_y),
    )


def pruned(maker: Maker) -> nn.Module:
    """Copy the owner's weights and set half of them to zero."""
    return removal.remove("prune", maker.victim, maker.others, seed=maker.seed)


def independent(maker: Maker) -> nn.Module:
    """Train a model on the competitor's records with their true labels."""
    model, others = maker.make_model(), maker.others
    seed = int(np.random.default_rng([maker.seed, 11]).integers(2**62))
    state = train_one(maker.make_model, others.train_x, others.train_y, maker.recipe, seed, profiles.device())
    model.load_state_dict(state)
    return model.eval()


def accused_by_forger(maker: Maker) -> nn.Module:
    """Train one more independent model."""
    other = Maker(maker.victim, maker.others, maker.make_model, maker.recipe, maker.seed + 1)
    return independent(other)


ALL: dict[str, tuple[Callable[[Maker], nn.Module], Story]] = {
    make.__name__: (make, Story(make.__name__, derived, truth, lesson))
    for make, derived, truth, lesson in (
        (
            extracted,
            True,
            "stolen by extraction: trained on the owner's answers alone",
            "a mark that the thief never meets can die; the owner's mistakes were part of what it was taught",
        ),
        (
            fine_tuned,
            True,
            "stolen and fine-tuned: the owner's weights, trained on",
            "how much of mark and mistakes is left depends on how long and how hard it was trained on",
        ),
        (
            pruned,
            True,
            "stolen and pruned: the owner's weights, half of them zero",
            "pruning adds nothing of its own: what it breaks, it breaks for accuracy too",
        ),
        (
            independent,
            False,
            "independent: trained on other records with true labels",
            "good models share many answers: only null models say how many",
        ),
        (
            accused_by_forger,
            False,
            "innocent, accused by a forger with optimised triggers",
            "triggers that cannot be drawn from the key prove nothing, however often they are hit",
        ),
    )
}


@dataclass(frozen=True, eq=False, repr=False)
class LineUp:
    """Five suspects under numbers: see `line_up`.

    Attributes
    ----------
    accused : tuple of Accused
        Named "suspect 1" to "suspect 5".
    """

    accused: tuple[Accused, ...]
    _truth: tuple[str, ...]

    def __repr__(self) -> str:
        return f"LineUp({', '.join(f'{one.name} ({one.claim.claimant})' for one in self.accused)})"

    def number(self, index: int) -> Accused:
        """Return suspect ``index`` (1 to 5); `reveal` tells what it is.

        Raises
        ------
        ValueError
            If there is no such number.
        """
        self.reveal(index)
        return self.accused[index - 1]

    def reveal(self, index: int) -> Story:
        """Return the truth about suspect ``index``."""
        if not 1 <= index <= len(self.accused):
            raise ValueError(f"there is no suspect {index}; expected 1 to {len(self.accused)}")
        return ALL[self._truth[index - 1]][1]

    def score(self, verdicts: Verdicts | dict[str, bool]) -> Score:
        """Compare verdicts (suspect's name to "is derived") with the truth.

        Raises
        ------
        ValueError
            If a suspect has no verdict, or one is there that is no suspect.
        """
        given = verdicts.answers() if isinstance(verdicts, Verdicts) else dict(verdicts)
        names = [one.name for one in self.accused]
        if set(given) != set(names):
            raise ValueError(f"got verdicts on {sorted(given)}; expected one on each of {', '.join(names)}")
        return Score(given, {name: self.reveal(index) for index, name in enumerate(names, 1)})


def line_up(
    claim: Claim,
    forged: Claim,
    others: Dataset,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    *,
    seed: int = 0,
    released: datetime | None = None,
) -> LineUp:
    """Make the five suspects, or load those that an earlier call saved.

    Parameters
    ----------
    claim : Claim
        The owner's, against four of them.
    forged : Claim
        The forger's, against the fifth: see `labkit.watermark.court.forgery.false_claim`.
    others : Dataset
        The competitor's train records, none of them the owner's.
    make_model, recipe
        The competitor's.
    seed : int
        Of all training, and of the order.
    released : datetime with a time zone, optional
        When the suspects appeared.
    """
    maker = Maker(claim.model, others, make_model, recipe, seed)
    order = [list(ALL)[k] for k in np.random.default_rng([seed, 5]).permutation(len(ALL))]
    accused = tuple(
        Accused(
            f"suspect {index}",
            suspect(maker, name),
            forged if name == "accused_by_forger" else claim,
            released,
        )
        for index, name in enumerate(order, 1)
    )
    return LineUp(accused, tuple(order))


def suspect(maker: Maker, name: str) -> nn.Module:
    """Return the suspect of this name in `ALL`, from the cache if it was made before."""
    make = ALL[name][0]
    settings: dict[str, Any] = {
        "owner": dict(maker.victim.state_dict()),
        "others": maker.others.digest,
        "model": list(model_identity(maker.make_model)),
        "recipe": maker.recipe,
        "seed": maker.seed,
    }

    state = cache.cached("suspects", settings, partial(_weights, make, maker), code=[*CODE, _weights, make])
    copied = name in ("fine_tuned", "pruned")
    model = copy.deepcopy(maker.victim) if copied else maker.make_model()
    model.load_state_dict(state)
    return model.cpu().eval()


def _weights(make: Callable[[Maker], nn.Module], maker: Maker) -> State:
    """Make a suspect, and return its weights."""
    return {key: value.detach().cpu() for key, value in make(maker).state_dict().items()}
