"""Plain (non-private) training and evaluation, on tensors in memory."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit import adapt, metrics, plots, profiles, progress, stats
from labkit.results import Result, as_json
from labkit.training.recipe import Recipe, descend, layout_of, lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset

BATCH = 500  # records asked at once: what they leave behind stays in a processor's cache (a third quicker than 2,000)


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """How a model does on one set of records.

    Attributes
    ----------
    accuracy : Interval
        Share of correct answers, with its Clopper-Pearson interval over the records.
    loss : float
        Mean cross-entropy, in nats.
    n : int
        Number of records.
    base_rate : float
        Accuracy of always answering the commonest class of these records.
    measured : Measured or None
        Further metrics, where they were asked for.
    """

    accuracy: stats.Interval
    loss: float
    n: int
    base_rate: float = math.nan
    measured: metrics.Measured | None = None

    def numbers(self) -> dict[str, Any]:
        """Return accuracy, loss, base rate and all that was measured."""
        more = {} if self.measured is None else {"metrics": self.measured.numbers()}
        return {
            "accuracy": as_json(self.accuracy),
            "base_rate": self.base_rate,
            "loss": self.loss,
            "n": self.n,
            **more,
        }

    def summary(self) -> str:
        """Return accuracy and loss, with the base rate beside them."""
        return (
            f"accuracy {self.accuracy.percent()} on {self.n:,} records (always the commonest class: "
            f"{100 * self.base_rate:.2f}%), loss {self.loss:.4f}"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the metrics that were asked for."""
        return super().plot(ax) if self.measured is None else self.measured.plot(ax)

    def __str__(self) -> str:
        return self.summary()


@dataclass(frozen=True, repr=False)
class FitResult(Result):
    """A trained model with what it took: see `fit`.

    Attributes
    ----------
    base_rate : float
        Accuracy of always answering the commonest class of the test records.
    measured : Measured or None
        Further metrics on the test records, where they were asked for.
    """

    model: nn.Module
    accuracy: stats.Interval
    history: list[dict[str, float]] = field(repr=False)
    seconds: float
    source: str
    profile: str
    seed: int
    base_rate: float = math.nan
    measured: metrics.Measured | None = None

    def numbers(self) -> dict[str, Any]:
        """Return accuracy, base rate, the last loss, and what the run was made of."""
        more = {} if self.measured is None else {"metrics": self.measured.numbers()}
        return {
            "accuracy": as_json(self.accuracy),
            "base_rate": self.base_rate,
            "train_loss": self.history[-1]["train_loss"] if self.history else math.nan,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "seconds": self.seconds,
            **more,
        }

    def summary(self) -> str:
        """Return test accuracy, base rate and provenance."""
        return (
            f"test accuracy {self.accuracy.percent()} (always the commonest class: {100 * self.base_rate:.2f}%; no privacy; "
            f"{self.source}; profile {self.profile}; seed {self.seed}; {self.seconds:.0f} s)"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the training loss against the epochs."""
        fig, ax = plots.figure(6, 3.6) if ax is None else (ax.figure, ax)
        epochs, losses = [row["epoch"] for row in self.history], [row["train_loss"] for row in self.history]
        ax.plot(epochs, losses)
        ax.set(xlabel="epoch", ylabel="training loss (nats)", title=f"{self.source}, seed {self.seed}")
        return plots.describe(
            fig,
            f"Training loss over {len(epochs)} epochs on {self.source}, from {losses[0]:.3f} to {losses[-1]:.3f}.",
        )

    def __str__(self) -> str:
        return self.summary()


def check_records(x: Tensor, y: Tensor) -> None:
    """Raise ``ValueError`` unless ``x`` (n, ...) is finite float or int64 tokens, ``y`` (n,) as many int64 labels."""
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"got {len(x)} inputs and {len(y)} labels; expected the same number of each, at least one"
        )
    if not (x.is_floating_point() or x.dtype == torch.int64):
        raise ValueError(
            f"the inputs are {x.dtype}; expected a float type, or torch.int64 for tokens: convert them with .float()"
        )
    if y.dtype != torch.int64:
        raise ValueError(
            f"the labels are {y.dtype}; expected torch.int64, class indices: convert them with .long()"
        )
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x.flatten(1))).any(1).nonzero()[0])
        raise ValueError(f"record {bad} holds NaN or infinity: drop or repair it before training")


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's weights or buffers are: the CPU for a model that has none."""
    return next((part.device for part in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


@torch.no_grad()
def logits(model: nn.Module, x: Tensor, *, batch_size: int = BATCH) -> Tensor:
    """Return the model's outputs for ``x`` of shape (n, ...) as a CPU tensor of shape (n, classes).

    Raises
    ------
    ValueError
        If the model does not take such records, or answers with something else than a tensor: see `labkit.adapt`.
    """
    device = device_of(model)
    was_training = model.training
    model.eval()
    try:
        outputs = [adapt.logits_of(model(part.to(device))).cpu() for part in x.split(batch_size)]
    except adapt.REFUSALS as error:
        raise ValueError(adapt.why_not(model, x, error)) from error
    finally:
        model.train(was_training)
    return torch.cat(outputs)


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    metrics: Sequence[str] = (),
    positive: int | None = None,
    costs: Any = None,
) -> Evaluation:
    """Return accuracy (with a 95% Clopper-Pearson interval), base rate and mean loss on ``x`` (n, ...), ``y`` (n,).

    Parameters
    ----------
    model : nn.Module, or an estimator with ``predict_proba``
    metrics, positive, costs
        What else to measure: see `labkit.metrics.measure`.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or the inputs hold NaN.
    """
    check_records(x, y)
    outputs, labels = logits(adapt.as_module(model), x), y.cpu()
    hits, loss = int((outputs.argmax(1) == labels).sum()), float(F.cross_entropy(outputs, labels))
    measured = measured_by(metrics, labels, outputs, positive=positive, costs=costs)
    return Evaluation(stats.clopper_pearson(hits, len(y)), loss, len(y), base_rate(labels), measured)


def base_rate(y: Tensor) -> float:
    """Return the share of the commonest class among labels (n,)."""
    return float(torch.bincount(y).max()) / len(y)


def measured_by(names: Sequence[str], y: Tensor, outputs: Tensor, **options: Any) -> metrics.Measured | None:
    """Return the named metrics of logits (n, classes), or None where none is named."""
    return (
        metrics.measure(y.numpy(), logits=outputs.double().numpy(), metrics=names, **options)
        if names
        else None
    )


def fit(
    model: nn.Module,
    dataset: Dataset,
    *,
    epochs: int = 10,
    learning_rate: float = 0.1,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    shift: int = 0,
    precision: str = "float32",
    output: adapt.Output | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    device: torch.device | None = None,
) -> FitResult:
    """Train a copy of ``model`` by SGD with Nesterov momentum, a one-cycle learning rate and shuffled batches.

    Parameters
    ----------
    model : nn.Module
        Returned unchanged: a copy is trained.
    dataset : Dataset
        Trained on ``train_x`` (n, ...), ``train_y`` (n,); measured once, at the end, on its test records.
    shift : int
        Largest random translation of a batch of images, in pixels; 0 for none.
    precision : {"float32", "bfloat16", "auto"}
        See `labkit.training.Recipe`.
    output : int, str or callable, optional
        Where the logits are in what the model returns, if that is a tuple or a dict: see `labkit.adapt.as_module`.
    metrics : sequence of str
        What to measure on the test records besides accuracy: see `labkit.metrics`.
    seed : int
        Fixes the order of the records, the shifts, and what the model itself draws (dropout).

    Raises
    ------
    ValueError
        If the records are malformed or a setting is out of range.
    FloatingPointError
        If the loss becomes NaN or infinite.
    """
    check_records(dataset.train_x, dataset.train_y)
    recipe = Recipe(
        epochs, learning_rate, batch_size, momentum, weight_decay, shift=shift, precision=precision
    )
    device = device or profiles.device()
    layout = layout_of(dataset.train_x)
    model = copy.deepcopy(adapt.as_module(model, output=output)).to(device, memory_format=layout)
    x, y = dataset.train_x.to(device).contiguous(memory_format=layout), dataset.train_y.to(device)
    history, start, sizes = [], time.perf_counter(), lengths(len(x), batch_size)
    with progress.bar(epochs * len(sizes), "training without privacy") as shown:
        taken = descend(model, x, y, recipe, seed=seed)
        for epoch in range(epochs):
            total = torch.zeros((), device=device)
            for size, (_, loss) in zip(sizes, taken, strict=False):  # as many steps as the epoch has batches
                total += loss * size
                shown.update()
            history.append({"epoch": epoch + 1, "train_loss": float(total) / len(x)})
            shown.set_postfix(loss=f"{history[-1]['train_loss']:.3f}")
            if not math.isfinite(history[-1]["train_loss"]):
                raise FloatingPointError(
                    f"the loss became {history[-1]['train_loss']} in epoch {epoch + 1}: lower learning_rate={learning_rate}"
                )
    found = evaluate(model, dataset.test_x, dataset.test_y, metrics=metrics)
    seconds, profile = time.perf_counter() - start, profiles.current().name
    return FitResult(
        model.eval(),
        found.accuracy,
        history,
        seconds,
        dataset.source,
        profile,
        seed,
        found.base_rate,
        found.measured,
    )
