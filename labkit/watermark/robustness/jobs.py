"""What a robustness matrix does to one model: doses of attacks, the caller's own among them, alone or in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from labkit import cache, profiles
from labkit.training.recipe import Recipe
from labkit.training.shelf import model_identity
from labkit.watermark.attacks import removal
from labkit.watermark.marks.marked import MarkedModel
from labkit.watermark.marks.training import identity
from labkit.watermark.robustness.cells import NONE

if TYPE_CHECKING:
    from labkit.data import Dataset

OwnAttack = Callable[[MarkedModel], nn.Module]


@dataclass(frozen=True)
class Job:
    """One dose of one attack on one marked model."""

    mark: MarkedModel
    attack: str
    dose: int


@dataclass(frozen=True)
class Plan:
    """How attacks are carried out: the caller's options, the caller's own attacks, and the arithmetic."""

    options: dict[str, dict[str, Any]]
    own: dict[str, Sequence[OwnAttack]]
    precision: str

    def doses(self, attack: str) -> int:
        """Return how many doses an attack has: as many as the part with most."""
        if attack == NONE:
            return 1
        counts = [
            len(self.own[part]) if part in self.own else len(removal.REMOVALS[part].doses)
            for part in attack.split(" + ")
        ]
        return max(counts)

    def settings(self, attack: str, dose: int) -> dict[str, Any]:
        """Return the options of one part at a dose, its recipe in the plan's precision."""
        doses = removal.REMOVALS[attack].doses
        chosen = doses[min(dose, len(doses) - 1)] | self.options.get(attack, {})
        if isinstance(chosen.get("recipe"), Recipe):
            chosen = chosen | {"recipe": replace(chosen["recipe"], precision=self.precision)}
        return chosen


@dataclass(frozen=True)
class Started(Job):
    """A job whose first part is done: ``start`` is what it made, ``attack`` what is left to do."""

    start: nn.Module


def started(job: Job, plan: Plan) -> Job:
    """Return the job with its first part done, if that is the caller's own; nothing may be left to do then."""
    first, *others = job.attack.split(" + ")
    if first not in plan.own:
        return job
    return Started(job.mark, " + ".join(others), job.dose, own_model(job, first, plan))


def attack_key(job: Job, plan: Plan, data: Dataset) -> str:
    """Return a content hash of an attacked model: the model, the records, and each part's settings and code."""
    model = identity(job.mark.model)
    if job.attack == NONE:
        return cache.digest(model, data.digest)[:32]
    parts = []
    for part in job.attack.split(" + "):
        if part in plan.own:  # what it makes is known by its content
            parts.append(identity(own_model(job, part, plan)))
            continue
        run, settings = removal.REMOVALS[part].run, plan.settings(part, job.dose)
        shown = {
            name: list(model_identity(value)) if name == "make_model" else value
            for name, value in settings.items()
        }
        parts.append([part, shown, getattr(run, "keywords", {}), [getattr(run, "func", run)]])
    return cache.digest(model, data.digest, job.mark.seed, parts)[:32]


def own_model(job: Job, part: str, plan: Plan) -> nn.Module:
    """Return what the caller's own attack makes; within a combination, at its first dose."""
    doses = plan.own[part]
    return doses[min(job.dose, len(doses) - 1) if job.attack == part else 0](job.mark)


def attacked(job: Job, plan: Plan, data: Dataset) -> nn.Module:
    """Return a marked model after one dose of one attack, or of several in a row."""
    model = job.start if isinstance(job, Started) else job.mark.model
    if job.attack == NONE:
        return model
    for part in filter(None, job.attack.split(" + ")):
        if part in plan.own:
            model = own_model(job, part, plan)
        else:
            model = removal.remove(part, model, data, seed=job.mark.seed, **plan.settings(part, job.dose))
    return model.to(profiles.device()).eval()
