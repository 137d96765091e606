"""Defences against membership inference: each is a bank of models, trained in its way on the halves of an undefended bank.

Early stopping, weight decay and label smoothing reduce overfitting; masking hides confidences (and fails against attacks
that need none: Choquette-Choo et al., arXiv 2007.14321); distillation trains a student on records that are not
members (Shejwalkar & Houmansadr, arXiv 1906.06589); DP-SGD alone comes with a bound.

As a defence's models take the same halves of the same pool as the undefended ones, each can play the target for an
attacker who does not know the defence (undefended shadow models) and for one who does (the defence's other models), and
all comparisons are paired, half by half.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit import cache, profiles
from labkit.membership.shadows import training as shadows
from labkit.membership.shadows.bank import ShadowBank, Target, ask
from labkit.membership.shadows.completion import complete
from labkit.membership.shadows.targets import members_dataset
from labkit.training import recipe as recipes
from labkit.training import spreading
from labkit.training.recipe import Recipe, State
from labkit.training.shelf import keep, model_identity

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True)
class Defence:
    """A name, and what turns a bank of undefended models into one of defended models on the same halves."""

    name: str
    models: Callable[[ShadowBank], ShadowBank]


def from_recipe(name: str, recipe: Recipe) -> Defence:
    """Return a defence that is another way to train; of the bank's own recipe it is no defence at all."""

    def models(bank: ShadowBank) -> ShadowBank:
        return bank if recipe == bank.recipe else shadows.sibling(bank, recipe=recipe, name=name)

    return Defence(name, models)


def standard(recipe: Recipe) -> list[Defence]:
    """Return the defences that need no further data: none, early stopping, weight decay, label smoothing, masking."""
    return [
        from_recipe("none", recipe),
        from_recipe("early stopping", replace(recipe, epochs=max(1, recipe.epochs // 3))),
        from_recipe("weight decay", replace(recipe, weight_decay=5e-3)),
        from_recipe("label smoothing", replace(recipe, label_smoothing=0.2)),
        masking(),
    ]


def masking(confidence: float = 0.9) -> Defence:
    """Return the defence that answers with the class alone, at one fixed confidence: it trains nothing anew."""

    def models(bank: ShadowBank) -> ShadowBank:
        answers = {
            f"{part}-{bank.rows[k]:03d}.npy": masked_answers(bank.logits(k, part=part), confidence)
            for k in range(len(bank))
            for part in ("pool", "population")
        }
        asked = tuple(range(len(bank.asked)))
        key = cache.digest(bank.key, "masked", confidence)[:32]
        return replace(
            bank, name="confidence masking", key=key, asked=asked, _signals={}, _unkept=bank._unkept | answers
        )

    return Defence("confidence masking", models)


def masked(target: Target, confidence: float = 0.9) -> Target:
    """Return the target with every answer replaced by its top class at a fixed confidence."""
    pool, population = (
        masked_answers(part, confidence) for part in (target.logits, target.population_logits)
    )
    return replace(target, logits=pool, population_logits=population)


def masked_answers(logits: np.ndarray, confidence: float) -> np.ndarray:
    """Return log probabilities (n, queries, classes) that give away the top class alone."""
    classes = logits.shape[-1]
    top = np.arange(classes) == logits.argmax(-1)[..., None]
    return np.where(top, np.log(confidence), np.log((1 - confidence) / (classes - 1))).astype("float32")


def distillation(public_x: Tensor, *, temperature: float = 2.0) -> Defence:
    """Return the defence that releases a student, trained on the teacher's answers for records that are not members.

    Parameters
    ----------
    public_x : Tensor of shape (r, ...)
        Unlabelled records outside pool and population: ``dataset.train_x[reserve_of(dataset, pool, seed)]``.
    temperature : float
        Softens the teacher's answers.
    """

    def models(bank: ShadowBank) -> ShadowBank:
        made = [cache.digest(public_x), temperature, bank.recipe, *model_identity(bank.make_model)]
        changed = shadows.variant(bank, name="distillation", made=made, code=[*shadows.CODE, _students])
        complete(changed, lambda missing: _students(bank, missing, public_x, temperature))
        return changed

    return Defence("distillation", models)


def _students(
    bank: ShadowBank, missing: list[int], public_x: Tensor, temperature: float
) -> Iterator[tuple[int, State]]:
    """Train one student for each teacher, one worker a core; where one core is all there is, one after another."""
    import joblib

    from labkit.training.loops import logits

    parallel = joblib.Parallel(n_jobs=min(spreading.cores(), len(missing)), return_as="generator_unordered")
    soft = (torch.softmax(logits(bank.model(k), public_x) / temperature, dim=1) for k in missing)
    yield from parallel(
        joblib.delayed(_student)(bank.make_model, public_x, answers, bank.recipe, 9_000_003 + k, k)
        for k, answers in zip(missing, soft, strict=True)
    )


def _student(
    make_model: Callable[[], Any], x: Tensor, soft: Tensor, recipe: Recipe, seed: int, k: int
) -> tuple[int, State]:
    torch.set_num_threads(1)
    return k, recipes.train_one(make_model, x, soft, recipe, seed, torch.device("cpu"))


def dp_sgd(target_epsilon: float, **options: Any) -> Defence:
    """Return the defence that trains the bank's own network with differential privacy (Abadi et al., arXiv 1607.00133).

    Parameters
    ----------
    target_epsilon : float
    **options
        Of `labkit.dp.training.train_private.train_private`: ``epochs``, ``expected_batch_size`` and so on.
    """

    def train(bank: ShadowBank, k: int) -> Any:
        from labkit import dp

        model = recipes.fresh(bank.make_model, k)
        settled = {"target_epsilon": target_epsilon, "seed": k} | options
        return dp.train_private(model, members_dataset(bank, bank.masks[k]), **settled)

    return private(f"DP-SGD, ε = {target_epsilon:g}", train, made=[target_epsilon, options])


def on_features(defence: Defence, features: Callable[[Dataset], Dataset]) -> Defence:
    """Return a defence whose models see features of the records in place of the records.

    Parameters
    ----------
    features : callable
        Turns a data set of images into one of vectors, record by record, without learning from them:
        `labkit.dp.utility.features.features` for example.
    """

    def models(bank: ShadowBank) -> ShadowBank:
        everyone = np.ones(len(bank.y), dtype=bool)
        vectors = features(members_dataset(bank, everyone))
        seen = shadows.variant(
            bank.select(queries=1),
            name=defence.name,
            made=[vectors.digest],
            x=vectors.train_x,
            population_x=vectors.test_x,
        )
        return defence.models(seen)

    return Defence(defence.name, models)


def linear(recipe: Recipe, *, name: str = "linear, no noise", strategy: str = "auto") -> Defence:
    """Return softmax regression without noise: what a linear private model is to be compared with.

    Parameters
    ----------
    strategy : str
        Of `labkit.training.many.train_many`.
    """
    from labkit import models as networks

    def models(bank: ShadowBank) -> ShadowBank:
        width, classes = bank.x[0].numel(), len(bank.classes)
        return shadows.sibling(
            bank,
            recipe=recipe,
            make_model=lambda: networks.logistic_regression(width, classes),
            name=name,
            strategy=strategy,
        )

    return Defence(name, models)


def private_linear(target_epsilon: float, **options: Any) -> Defence:
    """Return softmax regression trained with differential privacy.

    Parameters
    ----------
    **options
        Of `labkit.dp.linear_pipeline`.
    """

    def train(bank: ShadowBank, k: int) -> Any:
        from labkit import dp

        half = members_dataset(bank, bank.masks[k])
        return dp.linear_pipeline(half, target_epsilon=target_epsilon, seed=k, **options)

    def make_model(bank: ShadowBank) -> Callable[[], Any]:
        from labkit import models as networks

        return lambda: networks.logistic_regression(bank.x.shape[1], len(bank.classes))

    name = f"linear, ε = {target_epsilon:g}"
    return private(name, train, made=[target_epsilon, options], make_model=make_model)


def private(
    name: str,
    train: Callable[[ShadowBank, int], Any],
    *,
    made: list[Any],
    make_model: Callable[[ShadowBank], Callable[[], Any]] = lambda bank: bank.make_model,
) -> Defence:
    """Return a defence whose models come from a private trainer, with the privacy statement that each carries.

    Parameters
    ----------
    train : callable
        Takes a bank and the number k of a model, trains on ``bank.masks[k]``, and returns an object with ``model`` and
        ``privacy`` (see `labkit.dp.training.result.PrivateResult`).
    made : list
        All that the models depend on besides the bank.
    make_model : callable
        Takes the bank and returns what makes the network whose weights come back.
    """

    def models(bank: ShadowBank) -> ShadowBank:
        make = make_model(bank)
        changed = shadows.variant(
            bank,
            name=name,
            make_model=make,
            made=[name, made, *model_identity(make)],
            code=[train, ask],
        )

        def trained(missing: list[int]) -> Iterator[tuple[int, State]]:
            for k, privacy, state in _privately(train, changed, missing):
                # One statement serves all: they have as many records and steps, and the same noise.
                if not keep({"privacy.pt": privacy}, changed.folder, name):
                    changed._unkept["privacy.pt"] = privacy
                yield k, state

        complete(changed, trained)
        kept = changed._unkept.get("privacy.pt")
        statement = kept or torch.load(changed.folder / "privacy.pt", weights_only=False)
        return replace(changed, privacy=statement)

    return Defence(name, models)


def _privately(
    train: Callable[[ShadowBank, int], Any], bank: ShadowBank, missing: list[int]
) -> Iterator[tuple[int, Any, State]]:
    """Train each missing model, one worker a core, and yield its number, statement and weights."""
    import joblib
    from joblib.externals.loky.backend.reduction import dumps  # cloudpickle's, as joblib's workers use it

    workers = min(spreading.cores(), len(missing)) if profiles.device().type == "cpu" else 1
    # As one array: the bank holds all records, and arrays travel once.
    given = spreading.sent(np.frombuffer(bytes(dumps((train, bank))), dtype=np.uint8))
    tasks = {k: joblib.delayed(_private_one)(*given, k, workers > 1) for k in missing}
    yield from spreading.spread(tasks, workers)


def _private_one(given: Any, k: int, in_worker: bool) -> tuple[int, Any, State]:
    if in_worker:
        torch.set_num_threads(1)
        os.environ["LABKIT_PROGRESS"] = "0"  # of the worker: the bank has a bar of its own
    train, bank = pickle.loads(spreading.received(given).tobytes())
    result = train(bank, k)
    state = {key: value.detach().cpu() for key, value in result.model.state_dict().items()}
    return k, result.privacy, state
