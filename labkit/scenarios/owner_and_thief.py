"""The second project's pieces, made once and shared by labs 07 to 09: owner, marked models, thieves, null models.

Everything is trained on demand and kept in the cache, model by model; sizes follow the profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache, data, models, profiles, progress
from labkit.data import Dataset
from labkit.scenarios import one_off
from labkit.training.many import side_by_side
from labkit.training.recipe import Recipe, fresh
from labkit.training.shelf import CODE, model_identity
from labkit.watermark.marks import training as marking
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel
from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    from labkit.membership.shadows.bank import ShadowBank
    from labkit.watermark.attacks.theft import Theft
    from labkit.watermark.marks.marked import TriggerSet
    from labkit.watermark.privacy.leakage import Leakage
    from labkit.watermark.privacy.under_dp import UnderDP
    from labkit.watermark.verification.redrawn_keys import RedrawnKeys

RESISTANT = "class-feature"  # made of what a thief asks about: natural images, lit from beyond nature's range
JUDGE = Key.from_phrase("labkit: the judge of the second project")  # a real judge draws one that nobody knows
ANSWERS = ("probabilities", "labels")  # what an interface shows a thief
KEY = Key.from_phrase("labkit: the second project")  # for the lessons alone: anybody can guess a phrase
THIEF = 50_000  # added to a thief's seed: an equal seed would start it from the victim's own initial weights


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
        One model of each kind per seed: unmarked, marked, stolen.
    pairs : tuple of int
        Seeds of the pairs whose leakage is compared.
    budgets : tuple of int
        Queries after which a thief is measured, smallest first.
    null_count : int
        Null models to train, beside those of the shadow bank.
    minimum : int
        Null models that a verdict insists on: 20, fewer in a rehearsal at profile smoke, which then makes no claim.
    """

    owner: Dataset
    thief_x: Tensor
    thief_y: Tensor
    make_model: Callable[[], nn.Module]
    recipe: Recipe
    seeds: tuple[int, ...]
    pairs: tuple[int, ...]
    budgets: tuple[int, ...]
    null_count: int
    minimum: int
    profile: str

    def __repr__(self) -> str:
        return (
            f"Project({len(self.owner.train_y):,} records of the owner, {len(self.thief_y):,} of the thief, "
            f"{self.owner.source}; {self.recipe.epochs} epochs; profile {self.profile})"
        )

    @property
    def queries(self) -> int:
        """The thief's whole budget."""
        return self.budgets[-1]

    def innocent_data(self, tests: int | None = None) -> Dataset:
        """Return the other records with their true labels: what an independent party trains on.

        Parameters
        ----------
        tests : int, optional
            Keep so many of the test records, the first; default all.
        """
        return replace(
            self.owner,
            name=f"{self.owner.name}, others",
            test_x=self.owner.test_x[:tests],
            test_y=self.owner.test_y[:tests],
            train_x=self.thief_x,
            train_y=self.thief_y,
            digest="",
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
            smoke=partial(models.fast_cnn, 8, norm="batch"),
            laptop=partial(models.fast_cnn, 32, norm="batch"),
            full=partial(models.cifar_cnn, 128, norm="batch"),
        ),
        recipe=profile.pick(
            smoke=Recipe(epochs=6, learning_rate=0.1, batch_size=32),
            # Chosen on 6,000 held-out train records by 14 runs (two more epochs after a look at test accuracy); no label
            # smoothing, which answers would show.
            laptop=Recipe(12, learning_rate=0.2, weight_decay=5e-4, mirror=True, shift=2, precision="auto"),
            full=Recipe(80, learning_rate=0.2, weight_decay=5e-4, mirror=True, shift=4, precision="auto"),
        ),
        seeds=profile.pick(smoke=(1, 2), laptop=(1, 2, 3, 4, 5), full=(1, 2, 3, 4, 5)),
        pairs=profile.pick(smoke=(1, 2), laptop=tuple(range(1, 7)), full=tuple(range(1, 17))),
        budgets=profile.pick(
            smoke=(150, 600), laptop=(2500, 5000, 10_000, 20_000), full=(2500, 5000, 10_000, each)
        ),
        null_count=profile.pick(smoke=4, laptop=NULLS, full=NULLS),
        minimum=profile.pick(smoke=4, laptop=NULLS, full=NULLS),
        profile=profile.name,
    )


def initial(setup: Project, seed: int) -> nn.Module:
    """Return an untrained model whose weights follow from ``seed``."""
    return fresh(setup.make_model, seed)


def restored(make_model: Callable[[], nn.Module], state: dict[str, Tensor]) -> nn.Module:
    """Return a model with these weights, ready to be asked."""
    model = make_model()
    model.load_state_dict(state)
    return model.eval()


def kept(setup: Project, what: str, settings: dict[str, Any], compute: Callable[[], Any], *code: Any) -> Any:
    """Return a cached result of this project: its data, network and recipe belong to the key."""
    everything = settings | {
        "owner": setup.owner.digest,
        "thief": cache.digest(setup.thief_x)[:16],
        "recipe": setup.recipe,
        "model": list(model_identity(setup.make_model)),
    }
    return cache.cached(f"project/{what}", everything, compute, code=[*CODE, *code])


def plain(setup: Project, seed: int) -> nn.Module:
    """Return the owner's model without a mark."""

    def train() -> dict[str, Tensor]:
        with progress.bar(1, f"the owner's unmarked model, {setup.owner.source}") as shown:
            x, y = setup.owner.train_x, setup.owner.train_y
            # Kept by content, too: a scheme that begins with the task alone finds its first stage done.
            model, _ = marking.train(initial(setup, seed), x, y, setup.recipe, seed=seed)
            shown.update()
        return {name: value.cpu() for name, value in model.state_dict().items()}

    return restored(setup.make_model, kept(setup, "plain", {"seed": seed}, train, marking.train))


def marked(setup: Project, scheme: str, seed: int, *, key: Key = KEY, **options: Any) -> MarkedModel:
    """Return the owner's model marked from scratch: same records, recipe and initial weights as `plain`.

    Parameters
    ----------
    **options
        Of the scheme, see `labkit.watermark.marks.embed`.
    """
    from labkit.watermark.marks import embed

    def train() -> MarkedModel:
        model = initial(setup, seed)
        return embed.embed(scheme, model, setup.owner, key, recipe=setup.recipe, seed=seed, **options)

    settings = {"scheme": scheme, "key": key.fingerprint, "seed": seed, "options": options}
    return kept(setup, "marked", settings, train, embed.embed, *embed.SCHEMES.values())


def stolen(
    setup: Project,
    victim: nn.Module,
    seed: int,
    *,
    answers: str = "probabilities",
    budgets: Sequence[int] | None = None,
    **options: Any,
) -> Theft:
    """Return a thief's copy, made from the victim's answers alone.

    Parameters
    ----------
    answers : {"probabilities", "labels"}
        What the interface shows.
    budgets : sequence of int, optional
        A thief is trained for each; the project's whole budget alone by default.
    **options
        Of `labkit.watermark.attacks.theft.steal`.
    """
    from labkit.watermark.attacks import interface, theft

    sizes = tuple(budgets or (setup.queries,))

    def steal() -> Theft:
        api = interface.Api(victim, answers=answers, budget=sizes[-1])
        return theft.steal(
            api,
            setup.thief_x,
            setup.make_model,
            setup.recipe,
            test=setup.owner,
            budgets=sizes,
            seed=THIEF + seed,
            **options,
        )

    settings = {
        "victim": cache.digest(dict(victim.state_dict())),
        "seed": seed,
        "answers": answers,
        "budgets": sizes,
        "options": options,
    }
    return kept(setup, "stolen", settings, steal, theft.steal)


def bank_of(setup: Project) -> ShadowBank:
    """Return lab 05's shadow bank: the same data, with its canaries among the records."""
    from labkit.scenarios import red_team

    return red_team.scene(data.load("cifar10", source=None if setup.owner.real else "stand-in")).bank


def nulls(setup: Project) -> list[nn.Module]:
    """Return models that never met a mark or an answer of the owner's: the judge's own, and lab 05's shadow models.

    The judge's are of the owner's kind, each trained on its own draw of half of the other records; the shadow
    models are smaller and see fewer records, some of them the owner's. A mark has to stand out from both kinds.
    """
    from labkit.watermark.verification.null_models import null_models

    innocent = setup.innocent_data()
    strong = null_models(
        innocent,
        setup.make_model,
        setup.recipe,
        count=setup.null_count,
        seed=100,
        records=len(innocent.train_y) // 2,
    )
    bank = bank_of(setup)
    return strong + [bank.model(k) for k in range(len(bank))]


def redrawn(setup: Project, suspect: nn.Module, owned: TriggerSet, **options: Any) -> RedrawnKeys:
    """Return how a suspect answers the owner's first triggers, and as many of up to 999 keys that the judge draws.

    A suspect that knows the key is asked about all keys: half of the triggers spare it half of the questions, and what
    tells the owner's key from a stranger's is the number of keys.
    """
    from labkit.watermark.verification import redrawn_keys

    most, asked = profiles.current().pick(smoke=(49, 200), laptop=(999, 100), full=(999, 200))
    owned = owned.take(asked)
    settings = {
        "suspect": cache.digest(dict(suspect.state_dict())),
        "network": repr(suspect),
        "owned": [owned.x, owned.y, owned.kind],
        "most": most,
        "options": options,
    }
    ask = partial(
        redrawn_keys.redrawn_keys, suspect, owned, judge=JUDGE, dataset=setup.owner, most=most, **options
    )
    return kept(setup, "redrawn", settings, ask, redrawn_keys.redrawn_keys)


def leaked(setup: Project, scheme: str = "patch", *, key: Key = KEY) -> Leakage:
    """Return whether marking raises what membership inference finds, over pairs of models on lab 05's bank."""
    from labkit.membership.shadows.training import reserve_of
    from labkit.watermark.privacy import leakage

    bank, everything = bank_of(setup), data.load("cifar10", source=None if setup.owner.real else "stand-in")
    left = reserve_of(everything, len(bank.y), bank.seed)
    others = replace(
        everything, train_x=everything.train_x[left], train_y=everything.train_y[left], digest=""
    )
    settings = {"bank": bank.key, "scheme": scheme, "key": key.fingerprint, "seeds": setup.pairs}
    study = partial(leakage.leakage, bank, others, key, scheme=scheme, seeds=setup.pairs)
    return kept(setup, "leakage", settings, study, leakage.leakage)


def private(
    setup: Project, *, key: Key = KEY, marks: Sequence[int] = (), seeds: Sequence[int] = ()
) -> UnderDP:
    """Return the mark's strength under DP-SGD, on a small network and a part of the owner's records.

    Parameters
    ----------
    marks, seeds : sequence of int, optional
        Default: those of the profile, see `_private_sizes`.
    """
    from labkit.models import strided_cnn
    from labkit.watermark.privacy import under_dp

    profile = profiles.current()
    records = profile.pick(smoke=400, laptop=5000, full=20_000)
    all_marks, all_seeds = _private_sizes()
    return under_dp.strengths(
        setup.owner.take(min(records, len(setup.owner.train_y)), len(setup.owner.test_y)),
        profile.pick(
            smoke=partial(strided_cnn, 8), laptop=partial(strided_cnn, 16), full=partial(strided_cnn, 32)
        ),
        key,
        epsilons=profile.pick(smoke=(8.0,), laptop=(2.0, 8.0), full=(1.0, 2.0, 4.0, 8.0)),
        marks=marks or all_marks,
        epochs=profile.pick(smoke=2, laptop=8, full=40),
        seeds=seeds or all_seeds,
    )


def _private_sizes() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how many marks are learnt under DP-SGD, and with which seeds."""
    return profiles.current().pick(
        smoke=((0, 40), (1, 2)),
        laptop=((0, 10, 100), (1, 2, 3)),
        full=((0, 20, 200, 1000), (1, 2, 3, 4, 5)),
    )


def prepare() -> None:
    """Do the one-off work of lab 07, most needed first; model by model: an interrupt loses one model at most."""
    setup = project()
    with one_off.part("null models"):
        nulls(setup)
    with one_off.part("unmarked and marked models"):
        schemes = (None, "patch", RESISTANT)
        in_workers(partial(_owners, scheme, seed) for scheme in schemes for seed in setup.seeds)
    with one_off.part("thieves"):
        first = setup.seeds[0]
        whole = [partial(_stolen, "patch", first, answers, setup.budgets) for answers in ANSWERS]
        rest = [
            partial(_stolen, RESISTANT, seed, answers, None) for seed in setup.seeds for answers in ANSWERS
        ]
        in_workers([*whole, *rest])
    with one_off.part("keys drawn anew"):
        asked = [("patch", first, answers) for answers in (None, *ANSWERS)]
        asked += [(RESISTANT, seed, answers) for seed in setup.seeds for answers in ANSWERS]
        in_workers(partial(_redrawn, *suspect) for suspect in asked)
    with one_off.part("leakage, three arms"):
        some = np.array_split(setup.pairs, max(1, len(setup.pairs) // 3))  # a study needs at least two
        in_workers(partial(_leaked, tuple(part.tolist())) for part in some)
        leaked(setup)
    with one_off.part("marks under DP-SGD"):
        counts, seeds = _private_sizes()
        in_workers(partial(_private, count, seed) for count in counts for seed in seeds)
        private(setup)


def in_workers(jobs: Iterable[Callable[[], None]]) -> None:
    """Do jobs in workers, where that pays; what they make is read from the cache."""
    jobs, workers = list(jobs), profiles.current().pick(smoke=1, laptop=None, full=None)
    for _ in progress.track(side_by_side(jobs, workers=workers), "models", total=len(jobs)):
        pass


def _owners(scheme: str | None, seed: int) -> None:
    if scheme is None:
        plain(project(), seed)
    else:
        marked(project(), scheme, seed)


def _stolen(scheme: str, seed: int, answers: str, budgets: Sequence[int] | None) -> None:
    setup = project()
    stolen(setup, marked(setup, scheme, seed).model, seed, answers=answers, budgets=budgets)


def _redrawn(scheme: str, seed: int, answers: str | None) -> None:
    """Ask the marked model itself, or the thief who saw such answers."""
    setup = project()
    mark = marked(setup, scheme, seed)
    budgets = setup.budgets if scheme == "patch" else None
    thief = answers and stolen(setup, mark.model, seed, answers=answers, budgets=budgets)
    redrawn(setup, thief.model if thief else mark.model, mark.triggers)


def _leaked(pairs: tuple[int, ...]) -> None:
    leaked(replace(project(), pairs=pairs))


def _private(marks: int, seed: int) -> None:
    private(project(), marks=(marks,), seeds=(seed,))
