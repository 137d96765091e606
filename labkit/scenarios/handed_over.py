"""The model that lab 04 hands over: trained on half of a pool of digits with a few wrong labels; which half, it keeps.

A checkpoint ships for real MNIST at the laptop profile. For any other data source or profile the model is trained on
first use, which says so, and kept. ``python -m labkit.scenarios.handed_over`` makes the checkpoint again.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache, data, profiles, stats, training
from labkit.membership.shadows.bank import ShadowBank
from labkit.membership.shadows.presets import Preset, preset
from labkit.membership.shadows.training import pool_of, shadow_bank
from labkit.scenarios import one_off
from labkit.training import recipe
from labkit.training.recipe import State
from labkit.training.shelf import CODE, model_identity

WRONG_LABELS = (
    0.05  # of the train labels; ten public test sets have 0.15% to 10% (Northcutt et al., arXiv 2103.14749)
)
SEED = 4
NAME = "lab04_mnist"
COMMAND = "python -m labkit.scenarios.handed_over"


@dataclass(frozen=True, eq=False, repr=False)
class HandedOver:
    """A trained model whose training records are not told: see `Case.handed_over`.

    Attributes
    ----------
    model : nn.Module
    accuracy : Interval
        On the test records, whose labels are right, with its Clopper-Pearson interval.
    origin : str
        Whether it came from the checkpoint or was trained here.
    source : str
        Where the records came from.
    """

    model: nn.Module
    accuracy: stats.Interval
    origin: str
    source: str
    profile: str
    _members: np.ndarray

    def reveal(self) -> np.ndarray:
        """Return which records of the pool it was trained on, bool (n,). Guess first."""
        return self._members.copy()

    def __repr__(self) -> str:
        return (
            f"HandedOver({self.origin}; test accuracy {self.accuracy.percent(1)}; {self.source}; "
            f"profile {self.profile}; seed {SEED})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """The records and settings that the handed-over model and its shadow models share: see `case`.

    Attributes
    ----------
    dataset : Dataset
        With wrong labels among the train records; the test labels are untouched.
    settings : Preset
        Model, recipe and sizes of the shadow bank.
    x, y : Tensor of shape (n, ...), (n,)
        The pool, in the order of the bank's masks.
    wrong : bool array of shape (n,)
        Which labels of the pool are wrong.
    positions : int array of shape (n,)
        Where the pool's records stand among the data set's train records, ascending.
    """

    dataset: data.Dataset
    settings: Preset
    profile: profiles.Profile
    x: Tensor
    y: Tensor
    wrong: np.ndarray
    positions: np.ndarray

    def __repr__(self) -> str:
        return f"Case({len(self.y):,} records, {int(self.wrong.sum())} of them with a wrong label; {self.dataset.source})"

    def train_on(self, members: np.ndarray, *, seed: int) -> training.FitResult:
        """Train a model of your own, with the same architecture and recipe, on the records marked in ``members`` (n,)."""
        chosen, wanted = torch.from_numpy(members), self.settings.recipe
        half = replace(self.dataset, train_x=self.x[chosen], train_y=self.y[chosen])
        return training.fit(
            recipe.fresh(self.settings.make_model, seed),
            half,
            epochs=wanted.epochs,
            learning_rate=wanted.learning_rate,
            batch_size=wanted.batch_size,
            seed=seed,
        )

    def bank(self) -> ShadowBank:
        """Return shadow models of the same architecture and recipe, training those that are missing."""
        wanted = self.settings
        return shadow_bank(
            self.dataset,
            make_model=wanted.make_model,
            recipe=wanted.recipe,
            shadow_models=wanted.shadow_models,
            pool=wanted.pool,
            population=wanted.population,
            # Worker processes take longer to start than the smoke profile takes to train.
            strategy=self.profile.pick(smoke="loop", laptop="auto", full="auto"),
            name="lab 04 shadows",
        )

    def handed_over(self) -> HandedOver:
        """Return the model to attack: from the shipped checkpoint where it fits, else trained here and kept.

        Raises
        ------
        ValueError
            If the checkpoint's bytes are not those that its provenance names.
        """
        state, origin = shipped(self.identity), f"checkpoint {NAME}.pt"
        if state is None:
            state, origin = self.train(), "trained here, as no checkpoint fits"
        return self.with_weights(state, origin)

    def with_weights(self, state: State, origin: str) -> HandedOver:
        """Return the model of these weights, measured on the test records."""
        model = self.settings.make_model()
        model.load_state_dict(state)
        accuracy = training.evaluate(model, self.dataset.test_x, self.dataset.test_y).accuracy
        members = _half(len(self.y))
        return HandedOver(model.eval(), accuracy, origin, self.dataset.source, self.profile.name, members)

    @property
    def identity(self) -> str:
        """Hash of the data, the recipe and the architecture: a checkpoint fits where this agrees.

        The architecture counts by its layers' names and kinds and its weights' shapes: what ``repr`` prints of a layer
        differs between versions of torch.
        """
        model = self.settings.make_model()
        layers = [(name, type(layer).__name__) for name, layer in model.named_modules()]
        shapes = [(name, list(weights.shape)) for name, weights in model.state_dict().items()]
        return cache.digest(
            self.dataset.digest, self.settings.recipe, layers, shapes, self.positions, _half(len(self.y))
        )

    def train(self) -> State:
        """Return the weights, from the cache or after training; the latter is announced."""

        def compute() -> State:
            chosen, wanted = torch.from_numpy(_half(len(self.y))), self.settings.recipe
            print(
                f"training the model to attack: {int(chosen.sum()):,} records, {wanted.epochs} epochs",
                file=sys.stderr,
            )
            records = self.x[chosen], self.y[chosen]
            return recipe.train_one(self.settings.make_model, *records, wanted, SEED, profiles.device())

        key = {"identity": self.identity, "model": model_identity(self.settings.make_model)}
        return cache.cached("handed-over", key, compute, code=CODE)


def _half(n: int) -> np.ndarray:
    """Return a random half of the pool that no shadow model was trained on, bool (n,)."""
    members = np.zeros(n, dtype=bool)
    members[np.random.default_rng([SEED, 2**31 + 2]).permutation(n)[: n // 2]] = True
    return members


def mislabel(dataset: data.Dataset, share: float = WRONG_LABELS, *, seed: int = SEED) -> tuple:
    """Return the data set with a random share of its train labels made wrong, and which ones, bool (n,).

    A wrong label is any other class, each as likely. The test labels stay as they are.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}; expected a number from 0 to below 1, such as 0.05")
    rng, classes = np.random.default_rng([seed, 2**31 + 3]), len(dataset.classes)
    wrong = rng.random(len(dataset.train_y)) < share
    moved = torch.from_numpy(np.where(wrong, rng.integers(1, classes, len(wrong)), 0))
    changed = replace(
        dataset,
        train_y=(dataset.train_y + moved) % classes,
        source=f"{dataset.source}, {100 * share:g}% of labels wrong",
        digest=cache.digest(dataset.digest, "mislabel", share, seed),
    )
    return changed, wrong


def case(dataset: data.Dataset | None = None, *, profile: profiles.Profile | None = None) -> Case:
    """Return lab 04's records and settings in the current profile.

    Parameters
    ----------
    dataset : Dataset, optional
        Images of 28x28 (default: MNIST, or its stand-in, see `labkit.data.load`).
    profile : Profile, optional
        Default: the current one.
    """
    dataset, profile = dataset or data.load("mnist"), profile or profiles.current()
    settings = preset("mnist", profile)
    if profile.name == "smoke":  # the preset's four epochs teach digits, but memorise none
        settings = replace(settings, recipe=replace(settings.recipe, epochs=20))
    changed, wrong = mislabel(dataset)
    settings = replace(settings, pool=(settings.pool or len(wrong)) // 2 * 2)
    chosen = pool_of(changed, settings.pool, 0)
    return Case(
        changed,
        settings,
        profile,
        changed.train_x[chosen],
        changed.train_y[chosen],
        wrong[chosen.numpy()],
        chosen.numpy(),
    )


def folder() -> Path | None:
    """Return where checkpoints ship: ``data/checkpoints`` of a clone; a wheel has none and trains instead."""
    root = cache.checkout()
    return root / "data" / "checkpoints" if root else None


def shipped(identity: str, where: Path | None = None) -> State | None:
    """Return the shipped weights, or None if there are none for this identity.

    Raises
    ------
    ValueError
        If the file's SHA-256 is not the one in its provenance.
    """
    where = where or folder()
    if where is None or not (where / f"{NAME}.json").is_file():
        return None
    facts = json.loads((where / f"{NAME}.json").read_text(encoding="utf-8"))
    path = where / f"{NAME}.pt"
    if facts["identity"] != identity or not path.is_file():
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != facts["sha256"]:
        raise ValueError(
            f"{path.name} is damaged: SHA-256 is {found[:16]}..., expected {facts['sha256'][:16]}...; "
            f"restore it with git checkout, or make it again: {COMMAND}"
        )
    return torch.load(path, weights_only=True)


def make_checkpoint(what: Case, where: Path) -> Path:
    """Train the model, write it with its provenance (JSON) and return the path of the weights."""
    state = what.train()
    path, weights, made = where / f"{NAME}.pt", io.BytesIO(), what.with_weights(state, "made again")
    torch.save(state, weights)  # through memory: the bytes then depend on no file name
    with cache.atomic_path(path) as part:
        part.write_bytes(weights.getvalue())
        part.chmod(0o644)
    facts = {
        "what": "the model that lab 04 hands over; its training records are half of a pool, drawn by the seed",
        "command": COMMAND,
        "sha256": hashlib.sha256(weights.getvalue()).hexdigest(),
        "identity": what.identity,
        "source": what.dataset.source,
        "profile": what.profile.name,
        "recipe": asdict(what.settings.recipe),
        "model": repr(made.model),
        "pool": len(what.y),
        "trained on": int(made.reveal().sum()),
        "seed": SEED,
        "test accuracy": made.accuracy.percent(),
        "torch": torch.__version__,
    }
    with cache.atomic_path(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.chmod(0o644)
    return path


def prepare() -> None:
    """Do lab 04's one-off work: the shadow models on digits and on breast cancer, and the model to attack."""
    what = case()
    with one_off.part("model to attack"):
        what.handed_over()
    with one_off.part("shadow models on digits"):
        what.bank()
    with one_off.part("shadow models on breast cancer"):
        preset("breast_cancer").bank()


def main() -> None:
    """Make the checkpoint of real MNIST at the laptop profile again."""
    if (where := folder()) is None:
        raise SystemExit("the checkpoint belongs to a clone of the repository: run this inside one")
    real = data.load("mnist", source="real")
    print(make_checkpoint(case(real, profile=profiles.Profile("laptop")), where))


if __name__ == "__main__":
    main()
