"""What an attacker holds: shadow models' outputs on every record of a pool, and one target's outputs on the same."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import profiles, stats
from labkit.adapt import Output, as_module
from labkit.membership.shadows import queries as query
from labkit.membership.shadows import signals
from labkit.training import own
from labkit.training.loops import logits as model_logits
from labkit.training.recipe import Recipe


@dataclass(frozen=True, eq=False, repr=False)
class Target:
    """A model under attack: its outputs on the pool, where we know who is a member, and on outsiders.

    Attributes
    ----------
    logits : float array of shape (n, queries, classes)
        On the pool's records.
    population_logits : float array of shape (m, queries, classes)
        On records that no model has seen, which the attacker may use.
    members : bool array of shape (n,)
        The truth that attacks are scored against.
    name : str
    accuracy : Interval
        On the population, with its Clopper-Pearson interval; NaN where scores are all that is known.
    model : nn.Module or None
        Needed by label-only attacks, which ask it further questions.
    privacy : PrivacyStatement or None
        Draws the ceiling of differential privacy into reports.
    """

    logits: np.ndarray
    population_logits: np.ndarray
    members: np.ndarray
    name: str
    accuracy: stats.Interval
    model: nn.Module | None = None
    privacy: Any = None

    def __post_init__(self) -> None:
        members, n = np.asarray(self.members), len(self.logits)
        if members.dtype != bool or members.shape != (n,):
            raise ValueError(
                f"members is {members.dtype} {members.shape} for {n:,} records; expected a bool for each: a mask of 0 "
                "and 1 would be read as positions 0 and 1"
            )
        for answers in (self.logits, self.population_logits):
            signals.check_logits(answers)

    def __repr__(self) -> str:
        n, asked, _ = self.logits.shape
        return (
            f"Target({self.name}: {int(self.members.sum()):,} members of {n:,} records, {asked} queries, "
            f"accuracy {'unknown' if math.isnan(self.accuracy.estimate) else self.accuracy.percent(1)})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ShadowBank:
    """K models, each trained on half of a pool, and their outputs: made by `shadow_bank`.

    Attributes
    ----------
    x, y : Tensor of shape (n, ...), (n,)
        The pool: every record is in for exactly half of the models.
    positions : int array of shape (n,)
        Where each record of the pool stands among the data set's train records; ascending, so the pool keeps their
        order, and a pool of all of them is the train set as it is.
    train_records : int
        How many train records the data set has.
    population_x, population_y : Tensor
        Records that no model has seen.
    masks : bool array of shape (K, n)
    partners : int array of shape (K,)
        Row of the model trained on the other half of the pool, or -1 once it was taken out.
    queries : tuple of str
        How each record was shown to the models.
    privacy : PrivacyStatement or None
        Of each model, where they were trained with differential privacy.
    recipe, make_model : Recipe, callable
        How each was trained; None where ``train`` did, or where the bank was made of arrays.
    train : callable or None
        The caller's own training function: see `shadow_bank`.
    scores_only : bool
        Whether only a number per record is known, not all logits: see `from_scores`.
    """

    name: str
    source: str
    profile: str
    classes: tuple[str, ...]
    x: Tensor
    y: Tensor
    population_x: Tensor
    population_y: Tensor
    masks: np.ndarray
    partners: np.ndarray
    queries: tuple[str, ...]
    recipe: Recipe | None
    make_model: Callable[[], nn.Module] | None
    folder: Path
    key: str
    rows: np.ndarray
    asked: tuple[int, ...]
    seed: int = 0
    dtype: str = "float32"
    seconds: float = 0.0
    positions: np.ndarray | None = None
    train_records: int = 0
    privacy: Any = None
    train: own.Train | None = None
    scores_only: bool = False
    _signals: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    _unkept: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return (
            f"ShadowBank({self.name}: {len(self)} models on {len(self.y):,} records of {self.source}, "
            f"{len(self.asked)} queries, population {len(self.population_y):,}, profile {self.profile})"
        )

    @property
    def labels(self) -> np.ndarray:
        """Labels of the pool, (n,)."""
        return self.y.numpy()

    @property
    def population_labels(self) -> np.ndarray:
        """Labels of the population, (m,)."""
        return self.population_y.numpy()

    def logits(self, k: int, *, part: str = "pool") -> np.ndarray:
        """Return model ``k``'s memory-mapped logits, (n, queries, classes), on the "pool" or the "population"."""
        file = f"{part}-{self.rows[k]:03d}.npy"
        stored = self._unkept[file] if file in self._unkept else np.load(self.folder / file, mmap_mode="r")
        return stored if self.asked == tuple(range(stored.shape[1])) else stored[:, list(self.asked)]

    def signal(self, name: str, *, part: str = "pool") -> np.ndarray:
        """Return a signal of every shadow model, (K, n, queries), float64; computed once per bank."""
        if (name, part) not in self._signals:
            labels = self.labels if part == "pool" else self.population_labels
            values = [signals.signal(name, self.logits(k, part=part), labels) for k in range(len(self))]
            self._signals[name, part] = np.stack(values)
        return self._signals[name, part]

    def select(self, models: Sequence[int] | None = None, *, queries: int | None = None) -> ShadowBank:
        """Return the bank with some of its models, or the first few of its queries, only.

        Raises
        ------
        ValueError
            If a model or more queries than were asked are wanted.
        """
        kept = np.arange(len(self)) if models is None else np.asarray(models, dtype=int)
        count = len(self.asked) if queries is None else queries
        if len(kept) == 0 or kept.min() < 0 or kept.max() >= len(self) or len(set(kept.tolist())) < len(kept):
            raise ValueError(
                f"models {kept.tolist()} are wanted of a bank of {len(self)}; expected distinct rows"
            )
        if not 1 <= count <= len(self.asked):
            raise ValueError(f"{count} queries are wanted; this bank holds {len(self.asked)}")
        position = {int(old): new for new, old in enumerate(kept)}
        partners = np.array([position.get(int(self.partners[old]), -1) for old in kept])
        sliced = {key: value[kept][..., :count] for key, value in self._signals.items()}
        return replace(
            self,
            masks=self.masks[kept],
            partners=partners,
            queries=self.queries[:count],
            rows=self.rows[kept],
            asked=self.asked[:count],
            _signals=sliced,
        )

    def first(self, count: int) -> ShadowBank:
        """Return the bank with its first ``count`` models; an even count keeps every record in for half of them."""
        return self.select(range(count))

    def without(self, k: int) -> ShadowBank:
        """Return the bank without model ``k`` and its partner, the model trained on the other half.

        With model ``k`` alone left out, a record is in for one model fewer if ``k`` was trained on it: the count alone
        would tell members from non-members. Without both, every record is still in for exactly half.
        """
        return self.select([j for j in range(len(self)) if j not in (k, self.partners[k])])

    def state(self, k: int) -> dict[str, Tensor]:
        """Return the weights of model ``k``."""
        return dict(self.model(k).state_dict()) if self.train is not None else self._stored(k)

    def _stored(self, k: int) -> Any:
        file = f"model-{self.rows[k]:03d}.pt"
        return (
            self._unkept[file] if file in self._unkept else torch.load(self.folder / file, weights_only=True)
        )

    def _has_weights(self, k: int) -> bool:
        file = f"model-{self.rows[k]:03d}.pt"
        return file in self._unkept or (self.folder / file).is_file()

    def model(self, k: int) -> nn.Module:
        """Return model ``k``, ready to be asked.

        Raises
        ------
        ValueError
            If the bank was made of arrays, and has no models.
        """
        if self.train is not None:
            return own.unpacked(self._stored(k))
        if self.make_model is None:
            raise ValueError(f"{self.name} was made of arrays: it holds answers, and no models")
        model = self.make_model()
        model.load_state_dict(self.state(k))
        return model.eval()

    def target(self, k: int) -> Target:
        """Return shadow model ``k`` in the role of the target; attack it with ``bank.without(k)``."""
        return Target(
            logits=self.logits(k),
            population_logits=self.logits(k, part="population"),
            members=self.masks[k],
            name=f"shadow {k}",
            accuracy=self._accuracy(self.logits(k), self.logits(k, part="population"), self.masks[k]),
            model=self.model(k) if self._has_weights(k) else None,
            privacy=self.privacy,
        )

    def _accuracy(self, pool: np.ndarray, population: np.ndarray, members: np.ndarray) -> stats.Interval:
        """Return the accuracy on the population, else on those of the pool that are no members; NaN for scores."""
        if self.scores_only:
            return stats.Interval(math.nan, math.nan, math.nan, method="unknown: scores alone were given")
        if len(self.population_labels):
            return accuracy(population, self.population_labels)
        return accuracy(pool[~members], self.labels[~members])

    @classmethod
    def from_logits(cls, logits: Any, members: Any, y: Any, **settings: Any) -> ShadowBank:
        """Return a bank of your own shadow models' logits: see `labkit.membership.shadows.given.from_logits`."""
        from labkit.membership.shadows import given

        return given.from_logits(logits, members, y, **settings)

    @classmethod
    def from_scores(cls, scores: Any, members: Any, y: Any = None, **settings: Any) -> ShadowBank:
        """Return a bank of one number per model and record: see `labkit.membership.shadows.given.from_scores`."""
        from labkit.membership.shadows import given

        return given.from_scores(scores, members, y, **settings)

    def answered(
        self, answers: Any, members: Any, *, population: Any = None, name: str = "target", privacy: Any = None
    ) -> Target:
        """Return a target of its answers to this bank's questions: see `labkit.membership.shadows.given.answered`."""
        from labkit.membership.shadows import given

        return given.answered(self, answers, members, population=population, name=name, privacy=privacy)

    def query(
        self,
        model: Any,
        members: np.ndarray,
        *,
        name: str = "target",
        privacy: Any = None,
        output: Output | None = None,
    ) -> Target:
        """Ask any model this bank's questions.

        Parameters
        ----------
        model : nn.Module, or an estimator with ``predict_proba``
        members : int array, or bool array of shape (train_records,) or (n,)
            What the model was trained on: positions among the data set's train records, a mask of them, or a mask of
            this bank's pool (``bank.x`` in its order). It must not have seen the population.
        output : int, str or callable, optional
            Where the logits are in what the model returns, if that is a tuple or a dict: see `labkit.adapt.as_module`.

        Raises
        ------
        ValueError
            If ``members`` is none of these, all or none of the pool are members, or the model answers with
            probabilities or numbers that are not finite.
        """
        inside = self.members_of(members)
        model = as_module(model, output=output, classes=len(self.classes))
        pool, population = (ask(model, part, self.queries) for part in (self.x, self.population_x))
        return Target(
            logits=pool,
            population_logits=population,
            members=inside,
            name=name,
            accuracy=self._accuracy(pool, population, inside),
            model=model,
            privacy=privacy,
        )

    def members_of(self, trained_on: np.ndarray) -> np.ndarray:
        """Return which records of the pool are among ``trained_on``, bool (n,): see `query`.

        Raises
        ------
        ValueError
            If ``trained_on`` is neither positions nor a mask, or all or none of the pool are among them.
        """
        given, n, whole = np.asarray(trained_on), len(self.y), max(self.train_records, len(self.y))
        if given.dtype == bool and given.shape == (n,):
            inside = given
        else:
            where = positions(given, whole, "members", of="train records")
            among = np.zeros(whole, dtype=bool)
            among[where] = True
            inside = among[np.arange(n) if self.positions is None else self.positions]
        if inside.all() or not inside.any():
            raise ValueError(
                f"{int(inside.sum()):,} of the pool's {n:,} records are members; expected some of each: an attack is "
                "scored against members and non-members"
            )
        return inside

    def memory(self) -> int:
        """Return the bytes of this bank's logits on disk."""
        per = len(self.queries) * len(self.classes) * self.logits(0).dtype.itemsize
        return len(self) * (len(self.y) + len(self.population_y)) * per


def ask(model: nn.Module, x: Tensor, queries: tuple[str, ...], dtype: str = "float32") -> np.ndarray:
    """Return a model's logits for ``x`` (n, ...) under each query, (n, queries, classes).

    Raises
    ------
    FloatingPointError
        If the model answers NaN or infinity.
    ValueError
        If it answers with probabilities: see `signals.check_logits`.
    """
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    model = copy.deepcopy(model).to(profiles.device())
    answers = [
        model_logits(model, shown.contiguous(memory_format=layout)).float() for shown in query.ask(x, queries)
    ]
    array = torch.stack(answers, dim=1).numpy().astype(dtype)
    if not np.isfinite(array).all():
        raise FloatingPointError(
            f"the model answers NaN or infinity (as {dtype}): it diverged in training, or needs a wider dtype"
        )
    signals.check_logits(array)
    return array


def positions(given: Any, n: int, what: str, *, of: str = "records") -> np.ndarray:
    """Return distinct positions below ``n`` from positions or a bool mask of length ``n``, int array.

    Raises
    ------
    ValueError
        If ``given`` is neither: a mask written as 0 and 1 would be read as positions 0 and 1, over and over.
    """
    found = np.asarray(given)
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    whole = np.issubdtype(found.dtype, np.integer) and found.ndim == 1 and len(found) > 0
    if whole and found.min() >= 0 and found.max() < n and len(np.unique(found)) == len(found):
        return found
    raise ValueError(
        f"{what} is {found.dtype} {found.shape}; expected distinct positions among {n:,} {of}, or a bool mask of "
        "them: turn 0 and 1 into bool with .astype(bool)"
    )


def accuracy(logits: np.ndarray, labels: np.ndarray) -> stats.Interval:
    """Return the share of right answers to the plain query, with its Clopper-Pearson interval."""
    hits = int((np.asarray(logits)[:, 0].argmax(-1) == labels).sum())
    return stats.clopper_pearson(hits, len(labels))
