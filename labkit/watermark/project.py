"""The second project's pieces, made once and shared by labs 07 to 09: owner, marked models, thieves, null models.

Everything is trained on demand and kept in the cache, model by model; sizes follow the profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache, data, models, profiles
from labkit.data import Dataset
from labkit.membership.presets import preset
from labkit.membership.shadows import CODE, model_identity
from labkit.recipe import Recipe, train_one
from labkit.watermark.keys import Key
from labkit.watermark.marked import MarkedModel


@dataclass(frozen=True, eq=False, repr=False)
class Project:
    """Who has which records, and how models are trained: see `project`.

    Attributes
    ----------
    owner : Dataset
        The owner's train records, and the test records that all accuracies are measured on.
    thief_x : Tensor of shape (m, 3, 32, 32)
        Records of the thief's own, without labels: what the owner's model is asked about.
    thief_y : Tensor of shape (m,)
        Their true labels, which a judge uses to train innocent models; no thief sees them.
    seeds : tuple of int
        One model of each kind per seed.
    queries : int
        The thief's budget.
    """

    owner: Dataset
    thief_x: Tensor
    thief_y: Tensor
    make_model: Callable[[], nn.Module]
    recipe: Recipe
    seeds: tuple[int, ...]
    queries: int
    null_count: int
    profile: str

    def __repr__(self) -> str:
        return (
            f"Project({len(self.owner.train_y):,} records of the owner, {len(self.thief_y):,} of the thief, "
            f"{self.owner.source}; {self.recipe.epochs} epochs; profile {self.profile})"
        )

    def innocent_data(self) -> Dataset:
        """Return the other records with their true labels: what an independent party trains on."""
        from dataclasses import replace

        return replace(
            self.owner, name=f"{self.owner.name}, others", train_x=self.thief_x, train_y=self.thief_y, digest=""
        )


def project(source: str | None = None) -> Project:
    """Split CIFAR-10's train records between an owner and a thief, at the profile's size.

    Parameters
    ----------
    source : {None, "real", "stand-in"}
        See `labkit.data.load`.
    """
    profile = profiles.current()
    everything = data.load("cifar10", source=source)
    each = profile.pick(smoke=600, laptop=20_000, full=len(everything.train_y) // 2)
    order = torch.from_numpy(np.random.default_rng(7).permutation(len(everything.train_y)))
    mine, theirs = order[:each], order[each : 2 * each]
    tests = profile.pick(smoke=500, laptop=10_000, full=10_000)
    owner = Dataset(
        name="cifar10, owner",
        source=everything.source,
        real=everything.real,
        train_x=everything.train_x[mine],
        train_y=everything.train_y[mine],
        test_x=everything.test_x[:tests],
        test_y=everything.test_y[:tests],
        classes=everything.classes,
    )
    return Project(
        owner=owner,
        thief_x=everything.train_x[theirs],
        thief_y=everything.train_y[theirs],
        make_model=profile.pick(
            smoke=partial(models.fast_cnn, 8),
            laptop=partial(models.fast_cnn, 32),
            full=partial(models.cifar_cnn, 128),
        ),
        recipe=profile.pick(
            smoke=Recipe(epochs=6, learning_rate=0.1, batch_size=32),
            laptop=Recipe(epochs=12, learning_rate=0.15, weight_decay=5e-4, mirror=True, shift=2),
            full=Recipe(epochs=80, learning_rate=0.2, weight_decay=5e-4, mirror=True, shift=4),
        ),
        seeds=profile.pick(smoke=(1, 2), laptop=(1, 2, 3, 4, 5), full=(1, 2, 3, 4, 5)),
        queries=profile.pick(smoke=600, laptop=20_000, full=each),
        null_count=profile.pick(smoke=4, laptop=6, full=20),
        profile=profile.name,
    )


def initial(setup: Project, seed: int) -> nn.Module:
    """Return an untrained model whose weights follow from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return setup.make_model()


def restored(make_model: Callable[[], nn.Module], state: dict[str, Tensor]) -> nn.Module:
    """Return a model with these weights, ready to be asked."""
    model = make_model()
    model.load_state_dict(state)
    return model.eval()


def kept(setup: Project, what: str, settings: dict[str, Any], compute: Callable[[], Any], *code: Any) -> Any:
    """Return a cached result of this project: its data, network and recipe belong to the key."""
    identity = model_identity(setup.make_model)
    everything = settings | {
        "owner": setup.owner.digest,
        "thief": cache.digest(setup.thief_x)[:16],
        "recipe": setup.recipe,
        "model": list(identity),
    }
    return cache.cached(f"project/{what}", everything, compute, code=[*CODE, *code])


def plain(setup: Project, seed: int) -> nn.Module:
    """Return the owner's model without a mark."""
    from labkit import progress

    def train() -> dict[str, Tensor]:
        with progress.bar(1, f"the owner's unmarked model, {setup.owner.source}") as shown:
            state = train_one(
                setup.make_model,
                setup.owner.train_x,
                setup.owner.train_y,
                setup.recipe,
                seed,
                profiles.device(),
            )
            shown.update()
        return state

    return restored(setup.make_model, kept(setup, "plain", {"seed": seed}, train))


def marked(setup: Project, scheme: str, key: Key, seed: int, **options: Any) -> MarkedModel:
    """Return the owner's model marked from scratch: same records, recipe and initial weights as `plain`."""
    from labkit.watermark import embed

    def train() -> MarkedModel:
        return embed.embed(
            scheme,
            initial(setup, seed),
            setup.owner,
            key,
            recipe=setup.recipe,
            seed=seed,
            **options,
        )

    settings = {"scheme": scheme, "key": key.fingerprint, "seed": seed, "options": options}
    return kept(setup, "marked", settings, train, embed.embed)


def stolen(setup: Project, victim: nn.Module, seed: int, **options: Any) -> Any:
    """Return a thief's copy (a `labkit.watermark.thieves.Theft`), made from the victim's answers alone.

    Parameters
    ----------
    **options
        ``answers`` ("probabilities", "labels", "top-k") and ``queries``; the rest goes to `thieves.steal`.
    """
    from labkit.watermark import extraction, thieves

    asked = {"answers": options.pop("answers", "probabilities")}
    queries = options.pop("queries", setup.queries)

    def steal() -> Any:
        api = extraction.Api(victim, budget=queries, **asked)
        return thieves.steal(
            api, setup.thief_x[:queries], setup.make_model, setup.recipe, seed=seed, test=setup.owner, **options
        )

    settings = {
        "victim": cache.digest(dict(victim.state_dict())),
        "seed": seed,
        "queries": queries,
        "options": asked | {name: repr(value) for name, value in options.items()},
    }
    return kept(setup, "stolen", settings, steal, thieves.steal)


def nulls(setup: Project) -> list[nn.Module]:
    """Return models that never met the owner: trained on the other records, and the shadow models of lab 05.

    The first kind is as good as the owner's model, the second is smaller and trained on fewer records; a mark has to
    stand out from both.
    """
    from labkit.watermark.nulls import null_models

    strong = null_models(
        setup.innocent_data(), setup.make_model, setup.recipe, count=setup.null_count, seed=100
    )
    bank = preset("cifar10").bank(source=None if setup.owner.real else "stand-in")
    return strong + [bank.model(k) for k in range(len(bank))]


def prepare() -> None:
    """Do the one-off work of lab 07."""
    setup = project()
    nulls(setup)
    for seed in setup.seeds:
        plain(setup, seed)
