"""Defences against membership inference in one table: what each costs in accuracy and what it leaves to attackers.

Early stopping, weight decay and label smoothing reduce overfitting; masking hides confidences (and fails against attacks
that need none: Choquette-Choo et al., arXiv 2007.14321); distillation trains a student on records that are not
members (Shejwalkar & Houmansadr, arXiv 1906.06589); DP-SGD alone comes with a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache, stats
from labkit.membership.attacks.registry import attack
from labkit.membership.reports import curves, intervals
from labkit.membership.shadows import targets as target_models
from labkit.membership.shadows import training
from labkit.membership.shadows.bank import ShadowBank, Target, accuracy
from labkit.membership.studies import leave_one_out
from labkit.membership.studies.defence_table import RATE, DefenceTable, Row
from labkit.training import many
from labkit.training.recipe import Recipe, State


@dataclass(frozen=True)
class Defence:
    """A name, how to train targets under it, and the shadow models of an attacker who knows it (None: the given bank's)."""

    name: str
    targets: Callable[[ShadowBank, Sequence[int]], list[Target]]
    shadow_recipe: Recipe | None = None


def from_recipe(name: str, recipe: Recipe) -> Defence:
    """Return a defence that is another way to train."""
    return Defence(
        name,
        lambda bank, seeds: target_models.train_targets(bank, seeds=seeds, recipe=recipe, name=name),
        recipe,
    )


def masking(confidence: float = 0.9) -> Defence:
    """Return the defence that answers with the class alone, at one fixed confidence: it trains nothing anew."""

    def targets(bank: ShadowBank, seeds: Sequence[int]) -> list[Target]:
        return [masked(target, confidence) for target in target_models.train_targets(bank, seeds=seeds)]

    return Defence("confidence masking", targets)


def masked(target: Target, confidence: float = 0.9) -> Target:
    """Return the target with every answer replaced by its top class at a fixed confidence."""

    def hide(logits: np.ndarray) -> np.ndarray:
        classes = logits.shape[-1]
        top = np.arange(classes) == logits.argmax(-1)[..., None]
        return np.where(top, np.log(confidence), np.log((1 - confidence) / (classes - 1))).astype("float32")

    return replace(target, logits=hide(target.logits), population_logits=hide(target.population_logits))


def distillation(public_x: Tensor, *, temperature: float = 2.0) -> Defence:
    """Return the defence that releases a student, trained on the teacher's answers for records that are not members.

    Parameters
    ----------
    public_x : Tensor of shape (r, ...)
        Unlabelled records outside pool and population: ``dataset.train_x[reserve_of(dataset, pool, seed)]``.
    temperature : float
        Softens the teacher's answers.
    """

    def targets(bank: ShadowBank, seeds: Sequence[int]) -> list[Target]:
        return [
            _student(bank, teacher, public_x, temperature, seed)
            for teacher, seed in zip(target_models.train_targets(bank, seeds=seeds), seeds, strict=True)
        ]

    return Defence("distillation", targets)


def _student(bank: ShadowBank, teacher: Target, public_x: Tensor, temperature: float, seed: int) -> Target:
    from labkit.training.loops import logits

    answers = logits(teacher.model, public_x)
    everyone = np.ones((1, len(public_x)), dtype=bool)
    settings = {"bank": bank.key, "x": cache.digest(public_x), "temperature": temperature, "seed": seed}

    def train() -> State:
        soft = torch.softmax(answers / temperature, dim=1)
        done = many.train_many(
            bank.make_model, public_x, soft, everyone, bank.recipe, seeds=[9_000_003 + seed]
        )
        return next(iter(done))[1]

    model = bank.make_model()
    model.load_state_dict(cache.cached("students", settings, train, code=list(training.CODE)))
    return _asked(bank, model.eval(), teacher.members, name=f"distilled (seed {seed})")


def _asked(
    bank: ShadowBank, model: nn.Module, members: np.ndarray, *, name: str, privacy: Any = None
) -> Target:
    """Return ``bank.query(...)``, with the answers kept beside other cached work: to ask takes longer than to read."""

    def ask() -> tuple[np.ndarray, np.ndarray]:
        fresh = bank.query(model, members)
        return fresh.logits, fresh.population_logits

    settings = {"bank": bank.key, "queries": list(bank.queries), "weights": dict(model.state_dict())}
    pool, population = cache.cached("answers", settings, ask)
    reached = accuracy(population, bank.population_labels)
    return Target(pool, population, members, name, reached, model, privacy)


def dp_sgd(target_epsilon: float, **options: Any) -> Defence:
    """Return the defence that trains with differential privacy (Abadi et al., arXiv 1607.00133).

    Parameters
    ----------
    target_epsilon : float
    **options
        Of `labkit.dp.train_private`: ``epochs``, ``expected_batch_size``, ``learning_rate``, ``engine`` and so on.
    """

    def targets(bank: ShadowBank, seeds: Sequence[int]) -> list[Target]:
        halves = target_models.fresh_halves(bank, seeds)
        return [
            _private(bank, half, seed, target_epsilon, options)
            for half, seed in zip(halves, seeds, strict=True)
        ]

    return Defence(f"DP-SGD, ε = {target_epsilon:g}", targets)


def _private(
    bank: ShadowBank, members: np.ndarray, seed: int, target_epsilon: float, options: dict[str, Any]
) -> Target:
    from labkit import dp

    def train() -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = bank.make_model()
        data = target_models.members_dataset(bank, members)
        settled = {"target_epsilon": target_epsilon, "seed": seed, "checkpoint": unfinished} | options
        result = dp.train_private(model, data, **settled)
        unfinished.unlink(missing_ok=True)
        return {"state": result.model.state_dict(), "privacy": result.privacy}

    settings = {"bank": bank.key, "seed": seed, "epsilon": target_epsilon, "options": options}
    unfinished = cache.directory() / "private-targets" / f"{cache.digest(settings)[:32]}.unfinished"
    done = cache.cached("private-targets", settings, train, code=[dp.sgd, dp.gradients])
    model = bank.make_model()
    model.load_state_dict(done["state"])
    name = f"DP-SGD ε = {target_epsilon:g} (seed {seed})"
    return _asked(bank, model.eval(), members, name=name, privacy=done["privacy"])


def standard(recipe: Recipe) -> list[Defence]:
    """Return the defences that need no further data: none, early stopping, weight decay, label smoothing, masking."""
    return [
        from_recipe("none", recipe),
        from_recipe("early stopping", replace(recipe, epochs=max(1, recipe.epochs // 3))),
        from_recipe("weight decay", replace(recipe, weight_decay=5e-3)),
        from_recipe("label smoothing", replace(recipe, label_smoothing=0.2)),
        masking(),
    ]


def compare_defences(
    bank: ShadowBank,
    defences: Sequence[Defence] | None = None,
    *,
    attack_name: str = "rmia-offline",
    seeds: Sequence[int] = (1, 2, 3),
    label_only_records: int = 1000,
    know_defence: bool = False,
) -> DefenceTable:
    """Train targets under each defence, attack all in the same way, and put them in one table.

    Parameters
    ----------
    defences : sequence of Defence, optional
        Default: `standard` for the bank's recipe. Add `distillation` and `dp_sgd`.
    seeds : sequence of int
        One target each, at least 2: its members (the same under all defences), weights and order.
    label_only_records : int
        Records of the pool on which the label-only attack is run.
    know_defence : bool
        Train the attacker's shadow models under the same defence, where it is a recipe: the honest test of a defence,
        at the cost of one more bank each. Otherwise the attacker knows the undefended recipe only.

    Raises
    ------
    ValueError
        If there are fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError(f"got {len(seeds)} seed; an interval over models needs at least 2")
    rows = tuple(
        _row(bank, defence, attack_name, seeds, label_only_records, know_defence)
        for defence in (standard(bank.recipe) if defences is None else defences)
    )
    return DefenceTable(rows, attack_name, bank.source, bank.profile, len(seeds))


def _row(
    bank: ShadowBank, defence: Defence, name: str, seeds: Sequence[int], label_only: int, know_defence: bool
) -> Row:
    targets = defence.targets(bank, seeds)
    attacker, whose = bank, "undefended"
    if know_defence and defence.shadow_recipe not in (None, bank.recipe):
        attacker = training.sibling(bank, recipe=defence.shadow_recipe, name=f"{bank.name}, {defence.name}")
        whose = "same defence"
    records = np.sort(np.random.default_rng(0).permutation(len(bank.labels))[:label_only])
    found = leave_one_out.summarise(name, [attack(name, target, attacker) for target in targets])
    labels = [attack("label-noise", target, bank, records=records) for target in targets]
    privacy = targets[0].privacy
    return Row(
        name=defence.name,
        accuracy=stats.mean_interval([target.accuracy.estimate for target in targets]),
        auc=found.auc,
        tpr=found.tpr[RATE],
        label_only=stats.mean_interval([intervals.auc(r.scores, r.members).estimate for r in labels]),
        ceiling=None if privacy is None else curves.ceiling_auc(privacy),
        shadow_models=whose,
    )
