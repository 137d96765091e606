"""A model of its own for each hospital: how much of the federation's model to take is for its own records to say.

Each hospital minimises its mean loss plus ``pull * ||w - centre||^2``. Centred on the federation's weights, this is the
pull of mean-regularised multi-task learning, MR-MTL (Liu, Hu, Wu & Smith 2022, arXiv 2206.07902, section 4). There the
mean moves along with the personal models; here the federation is finished first and then held, as in Ditto (Li et al.
2021, arXiv 2012.04221): a personal model then needs nothing from others but a model that was released anyway.
Centred on the initial weights, the same pull is the plain regularisation of a hospital that trains alone, which is
given the same grid and the same choice, so that the two are compared like with like.

Personal models, the pulls chosen and their losses stay in the hospital that owns the records. They carry no promise of
privacy, and need none as long as nobody else sees them or their answers; the promise covers the federation's model.
(Studies here print pulls and losses: of these patients, who are public. From a hospital, that would be a release.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.feature_map import check_positive, refuse_pooled
from labkit.federated.hospitals import Hospital, Hospitals
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor, nn

GRID = (0.03, 0.1, 0.3, 1.0, 3.0)  # pulls, each about three times the one before
FOLDS, REPEATS = 5, 3  # of the cross-validation inside a hospital
STEPS, RATE = 60, 0.3  # of the accelerated gradient descent that fits one model
ALONE, PULLED, GLOBAL = "alone", "pulled to the federation's", "the federation's as it is"
STAYS = "personal models, pulls and losses stay in their hospital: not released, so without a promise of their own"


@dataclass(frozen=True)
class Candidate:
    """One way to a model, with what it lost in the hospital's own cross-validation.

    Attributes
    ----------
    kind : str
        Alone, pulled to the federation's weights, or those as they are.
    pull : float
        Infinite for the federation's model as it is.
    loss : float
        Mean cross-entropy over the hospital's train records, each while it was held out, in nats.
    """

    kind: str
    pull: float
    loss: float

    def __str__(self) -> str:
        return self.kind if math.isinf(self.pull) else f"{self.kind}, pull {self.pull:g}"


@dataclass(frozen=True, eq=False)
class Choice:
    """What one hospital found with its own train records, and how its models rank its test patients.

    Attributes
    ----------
    hospital : str
    candidates : tuple of Candidate
    chosen, alone : Candidate
        The least loss of all, and of those that use own records alone.
    weights, alone_weights : ndarray of shape [d], float64
        Their models, fitted on all own train records. Private to the hospital.
    labels : ndarray of shape [n], int
        Of the test records.
    scores : dict of str to ndarray of shape [n]
        Logit of class 1 minus that of class 0 for each test record, by "alone", "federated" and "personalised".
    """

    hospital: str
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    alone: Candidate
    weights: np.ndarray = field(repr=False)
    alone_weights: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    scores: dict[str, np.ndarray] = field(repr=False)

    def auc(self, model: str) -> float:
        """Return the area under the ROC curve on the test records, of one of the three models."""
        return _auc(self.labels, self.scores[model])

    @cached_property
    def gain(self) -> stats.Interval:
        """AUC of the personalised model minus that of the hospital alone, with its paired interval over patients."""
        return paired_auc(self.labels, self.scores["personalised"], self.scores["alone"])

    @property
    def said(self) -> str:
        """The gain as people read it."""
        return "0 (the same model)" if self.chosen == self.alone else signed(self.gain)


@dataclass(frozen=True, eq=False)
class Personal(Result):
    """Personal models of all hospitals after one federation: see `personalise`."""

    choices: tuple[Choice, ...]
    source: str
    seed: int

    def __getitem__(self, hospital: str) -> Choice:
        for choice in self.choices:
            if choice.hospital == hospital:
                return choice
        raise KeyError(f"no hospital {hospital!r}; there are {', '.join(c.hospital for c in self.choices)}")

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "seed of the folds": self.seed,
            "privacy of personal models": STAYS,
            "interval of": "the AUC difference over new patients of this hospital, for these models as trained",
            "hospitals": {
                c.hospital: {
                    "chosen": str(c.chosen),
                    "cross-validated loss": c.chosen.loss,
                    "alone": str(c.alone),
                    "cross-validated loss alone": c.alone.loss,
                    **{f"AUC {model}": c.auc(model) for model in c.scores},
                    "AUC personalised - alone": c.gain,
                }
                for c in self.choices
            },
        }

    def summary(self) -> str:
        kinds = ", ".join(f"{c.hospital}: {c.chosen}" for c in self.choices)
        return f"{kinds}; {self.source}, seed {self.seed}; {STAYS}"

    def table(self) -> pd.DataFrame:
        """One row per hospital: what it chose, test AUC of three models, and the paired gain over patients."""
        import pandas as pd

        rows = [
            {
                "hospital": c.hospital,
                "test patients (class 1)": f"{len(c.labels)} ({int(c.labels.sum())})",
                "chosen by own records": str(c.chosen),
                "AUC alone": round(c.auc("alone"), 3),
                "federated": round(c.auc("federated"), 3),
                "personalised": round(c.auc("personalised"), 3),
                "personalised - alone [95% over patients]": c.said,
            }
            for c in self.choices
        ]
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each hospital's cross-validated loss against the pull, alone and towards the federation's model."""
        alone = ax is None
        fig, ax = plots.figure(7.0, 4.2) if alone else (ax.figure, ax)
        grid = [c.pull for c in self.choices[0].candidates if c.kind == ALONE]
        end = 3 * max(grid)  # where the federation's model as it is stands
        for index, c in enumerate(self.choices):
            colour = plots.COLOURS[index % len(plots.COLOURS)]
            for kinds, line in (((PULLED, GLOBAL), "-"), ((ALONE,), ":")):
                found = [one for one in c.candidates if one.kind in kinds]
                label = c.hospital if line == "-" else None
                at = [min(one.pull, end) for one in found]
                ax.plot(at, [one.loss for one in found], color=colour, linestyle=line, label=label)
            ax.plot([min(c.chosen.pull, end)], [c.chosen.loss], "o", color=colour)
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_xticks([*grid, end], [*(f"{pull:g}" for pull in grid), "as it is"])
        ax.set_xlabel("pull (solid: to the federation's model; dotted: own records alone; dot: chosen)")
        ax.set_ylabel("cross-validated loss, nats")
        ax.set_title(f"{self.source}; seed {self.seed}", fontsize=9)
        ax.legend(fontsize=8)
        said = "; ".join(f"{c.hospital} chose {c.chosen}, loss {c.chosen.loss:.3f}" for c in self.choices)
        return plots.describe(fig, f"Cross-validated loss against the pull, by hospital. {said}.")


def personalise(
    hospitals: Hospitals,
    weights: np.ndarray,
    make_model: Callable[[], nn.Module],
    *,
    grid: Sequence[float] = GRID,
    seed: int = 0,
) -> Personal:
    """Let each hospital choose, by cross-validation on its own train records, between its own ways and the federation's.

    Candidates are: own records alone, with each pull of `grid` towards the initial weights; each pull towards the
    federation's `weights`; and those as they are. The least mean loss over 3 times 5 folds wins; the test records are
    scored once, by the winner, fitted on all train records.

    The federation's weights have seen a hospital's own held-out folds, as one part of all hospitals' records. This
    favours the federation's model a little in the choice, never in the comparison on test records.

    Parameters
    ----------
    hospitals : Hospitals
        Preprocessed records of two classes.
    weights : ndarray of shape [d]
        Of the federation's model.
    make_model : callable
        Returns the model with its initial weights, as in `labkit.federated.Federation`. Fits are by 60 steps of
        accelerated proximal gradient descent (Beck & Teboulle 2009) with rate 0.3, many models at once: meant for
        small models on features of about unit size.
    grid : sequence of float
        Pulls, in nats per squared unit of weight; positive.
    seed : int
        Of the folds.

    Raises
    ------
    TypeError
        For a pooled `Dataset`.
    ValueError
        Before any fit, for other than two classes, a test set of a single class, or pulls or weights out of range.

    Examples
    --------
    >>> from functools import partial
    >>> from labkit import federated, models
    >>> from labkit.federated.preprocessing import fixed
    >>> clinics = fixed("heart", norm=3.0).apply(federated.load_hospitals("heart", seed=0))
    >>> make = partial(models.logistic_regression, 15, 2)
    >>> terms = federated.Training(rounds=60, learning_rate=0.3, momentum=0.9, schedule="linear")
    >>> noise = federated.Noise(hospitals=4, threshold=3)
    >>> found = federated.federate(federated.Federation(clinics, make, terms, noise), secure=False, quiet=True)
    >>> own = personalise(clinics, found.weights, make)
    >>> own["Long Beach"].auc("personalised") > own["Long Beach"].auc("alone")
    True
    """
    refuse_pooled(hospitals)
    weights = _checked(hospitals, weights, make_model, grid)
    choices = [
        _choose(hospital, weights, make_model, tuple(grid), [seed, index])
        for index, hospital in enumerate(hospitals)
    ]
    return Personal(tuple(choices), hospitals.source, seed)


def fit_regularised(
    make_model: Callable[[], nn.Module], x: Tensor, y: Tensor, *, grid: Sequence[float] = GRID, seed: int = 0
) -> np.ndarray:
    """Return weights [d] fitted to records, with the pull to the initial weights chosen by cross-validation on them.

    What a hospital does alone; on pooled records, which nobody has, a yardstick.

    Parameters
    ----------
    x : Tensor of shape (n, ...)
    y : Tensor of shape (n,), int64
    """
    from labkit.federated.rounds import flatten

    centres = np.tile(flatten(make_model()), (len(grid), 1))
    losses, fitted = _validated(make_model, x, y, centres, np.asarray(grid, dtype=float), [seed])
    return fitted[int(losses.argmin())]


def paired_auc(
    labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> stats.Interval:
    """Return AUC of one set of scores minus that of another on the same patients, with its bootstrap interval.

    Patients with and without the disease are drawn anew, each class apart: no draw then lacks one. With a handful in a
    class, the interval is too short.

    Parameters
    ----------
    labels : ndarray of shape [n], 0 or 1
    ours, theirs : ndarray of shape [n]
    """
    wins = _wins(labels, ours) - _wins(labels, theirs)
    random = np.random.default_rng(seed)
    drawn = [random.multinomial(k, np.full(k, 1 / k), size=resamples) / k for k in wins.shape]
    draws = ((drawn[0] @ wins) * drawn[1]).sum(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    positive, negative = wins.shape
    method = f"paired bootstrap, {resamples} resamples of {positive} + {negative} patients, each class apart"
    return stats.Interval(float(wins.mean()), float(low), float(high), 0.95, method)


def signed(found: stats.Interval) -> str:
    """Return a difference with signs, for example ``+0.031 [-0.002, +0.064]``."""
    return f"{found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _checked(
    hospitals: Hospitals, weights: np.ndarray, make_model: Callable[[], nn.Module], grid: Sequence[float]
) -> np.ndarray:
    from labkit.federated.rounds import flatten

    if not grid:
        raise ValueError("grid is empty; expected at least one pull, such as 0.1")
    for pull in grid:
        check_positive("a pull of the grid", pull)
    expected = flatten(make_model()).shape
    weights = np.asarray(weights, dtype=float)
    if weights.shape != expected or not np.isfinite(weights).all():
        raise ValueError(f"weights have shape {weights.shape}; expected {expected}, all finite")
    if len(hospitals.classes) != 2:
        raise ValueError(f"{len(hospitals.classes)} classes; expected 2: patients are ranked by one score")
    for hospital in hospitals:
        if len(hospital.dataset.test_y.unique()) < 2:
            raise ValueError(
                f"all test records of {hospital.name} are of one class: AUC is not defined there. Split otherwise"
            )
    return weights


def _choose(
    hospital: Hospital,
    weights: np.ndarray,
    make_model: Callable[[], nn.Module],
    grid: tuple[float, ...],
    seed: list[int],
) -> Choice:
    """Return one hospital's choice; nothing but the federation's weights comes from outside."""
    from labkit.federated.rounds import flatten

    held, initial = hospital.dataset, flatten(make_model())
    ways = [(ALONE, pull, initial) for pull in grid] + [(PULLED, pull, weights) for pull in (*grid, math.inf)]
    centres, pulls = np.array([way[2] for way in ways]), np.array([way[1] for way in ways])
    losses, fitted = _validated(make_model, held.train_x, held.train_y, centres, pulls, seed)
    candidates = tuple(
        Candidate(GLOBAL if math.isinf(pull) else kind, pull, float(loss))
        for (kind, pull, _), loss in zip(ways, losses, strict=True)
    )
    best, own = int(losses.argmin()), int(losses[: len(grid)].argmin())
    used = {"alone": fitted[own], "federated": weights, "personalised": fitted[best]}
    return Choice(
        hospital.name,
        candidates,
        candidates[best],
        candidates[own],
        fitted[best],
        fitted[own],
        held.test_y.numpy(),
        {name: scores(make_model, vector, held.test_x) for name, vector in used.items()},
    )


def scores(make_model: Callable[[], nn.Module], weights: np.ndarray, x: Tensor) -> np.ndarray:
    """Return the logit of class 1 minus that of class 0 for each record, float64 [n]."""
    import torch

    from labkit.federated.rounds import unflatten

    model = unflatten(make_model().double(), weights).eval()
    with torch.no_grad():
        logits = model(x.double())
    return (logits[:, 1] - logits[:, 0]).numpy()


def _validated(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    centres: np.ndarray,
    pulls: np.ndarray,
    seed: list[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return each candidate's mean held-out loss [m], and its weights fitted on all records [m, d]."""
    import torch

    held_out = _folds(y.numpy(), np.random.default_rng(seed))
    parts, m = len(held_out), len(pulls)
    kept = np.vstack([~held_out, np.ones((1, len(y)), dtype=bool)])  # the last row: all records
    # All candidates on all folds are one stack of small problems, fold after fold.
    fitted, losses = _fit(
        make_model, x, y, np.tile(centres, (parts + 1, 1)), np.tile(pulls, parts + 1), kept.repeat(m, axis=0)
    )
    out = torch.from_numpy(held_out.repeat(m, axis=0))
    total = torch.where(out, losses[: parts * m], 0.0).reshape(parts, m, -1).sum((0, 2))
    return (total / held_out.sum()).numpy(), fitted[parts * m :].numpy()


def _folds(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return which records each part holds out, bool [repeats * folds, n]: in a repeat, each record once."""
    rows = []
    for _ in range(REPEATS):
        fold = np.empty(len(y), dtype=int)
        order = np.concatenate([random.permutation(np.flatnonzero(y == label)) for label in np.unique(y)])
        fold[order] = (np.arange(len(y)) + random.integers(FOLDS)) % FOLDS
        rows += [fold == number for number in range(FOLDS)]
    return np.array(rows)


def _fit(
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    centres: np.ndarray,
    pulls: np.ndarray,
    kept: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """Fit a stack of models, each on the records it keeps; return weights [m, d] and losses of all records [m, n].

    The pull is taken as a proximal step, which is stable however strong it is; an infinite one stays at its centre.
    """
    import torch
    from torch.func import functional_call, vjp, vmap
    from torch.nn import functional as F  # noqa: N812

    from labkit.dp.training.gradients import trainable

    model, x = make_model().double(), x.double()
    shapes = {name: p.shape for name, p in trainable(model).items()}
    labels = F.one_hot(y, 2).double()

    def logits(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes.values()])
        parameters = {
            name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return functional_call(model, parameters, (x,))

    def slope(vector: Tensor, share: Tensor) -> Tensor:
        found, back = vjp(logits, vector)
        # Of cross-entropy with respect to the logits; much quicker in a stack than going back through it.
        return back((found.softmax(1) - labels) * share[:, None])[0]

    shares = torch.from_numpy(kept / kept.sum(1, keepdims=True))
    centre, toward = torch.from_numpy(centres), torch.from_numpy(pulls)[:, None]
    keep = 1 / (1 + 2 * RATE * toward)  # of a gradient step; the rest comes from the centre
    here = look = centre.clone()
    for step in range(STEPS):
        new = keep * (look - RATE * vmap(slope)(look, shares)) + (1 - keep) * centre
        look = new + step / (step + 3) * (new - here)
        here = new
    losses = -(vmap(logits)(here).log_softmax(2) * labels).sum(2)
    return here, losses


def _wins(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return for each pair of a patient with and one without the disease whether they are ranked so, ties one half."""
    positive, negative = found[labels == 1][:, None], found[labels == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def _auc(labels: np.ndarray, found: np.ndarray) -> float:
    return stats.auc(found[labels == 1], found[labels == 0])
