"""What happens to a copy between the leak and the day it turns up: one hospital's, or several mixed.

Each attack takes what the leakers have and returns the weights that turn up. The leakers know how copies are made, not
the key: in their copies they see where these differ, and no more.

A hospital that took part has more than its copy. Every round handed it the weights as they stood, without any
fingerprint, and the model is a mean of those: `rebuilt` takes no copy at all, so there is no word in it to trace. The
weights of the rounds cannot carry a word for each hospital, since all must start a round from one model, whose digest
secure aggregation makes them agree on. So copies are traced among recipients who **did not follow the training**.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from labkit.federated.rounds import Federation, Training, flatten, train_locally, unflatten

EPOCHS = 10  # of fine-tuning on a leaker's own records
LEVELS = 16  # of the quantised weights


@dataclass(frozen=True)
class Leak:
    """One way to leak.

    Attributes
    ----------
    leakers : int
        How many hospitals take part.
    change : callable
        From their copies [k, d], the federation, the leakers' names and a generator to weights [d].
    follows : bool
        Whether it takes, instead of copies, the weights that opened the rounds [rounds, d]: whoever took part has them.
    """

    leakers: int
    change: Callable[[np.ndarray, Federation, tuple[str, ...], np.random.Generator], np.ndarray]
    follows: bool = False


def as_handed_out(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Return the copy untouched."""
    return copies[0]


def fine_tuned(
    copies: np.ndarray,
    federation: Federation,
    names: tuple[str, ...],
    random: np.random.Generator,
    *,
    epochs: int = EPOCHS,
) -> np.ndarray:
    """Train the first copy on its hospital's records, at the federation's rate."""
    model = unflatten(federation.make_model(), copies[0])
    terms = Training(1, "update", federation.training.learning_rate, local_epochs=epochs)
    train_locally(model, federation.dataset(names[0]), terms, 0, random)
    return flatten(model)


def pruned(
    copies: np.ndarray,
    federation: Federation,
    names: tuple[str, ...],
    random: np.random.Generator,
    *,
    share: float = 0.3,
) -> np.ndarray:
    """Set a share of the weights to 0, the smallest first."""
    size = np.abs(copies[0])
    return np.where(size >= np.quantile(size, share), copies[0], 0.0)


def noised(
    copies: np.ndarray,
    federation: Federation,
    names: tuple[str, ...],
    random: np.random.Generator,
    *,
    ratio: float = 0.2,
) -> np.ndarray:
    """Add Gaussian noise, ``ratio`` times the root mean square of the weights (a copy's step is 0.1 times)."""
    return copies[0] + ratio * np.sqrt(np.mean(copies[0] ** 2)) * random.standard_normal(copies.shape[1])


def quantised(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Round weights to 16 levels between the smallest and the largest."""
    low, high = copies[0].min(), copies[0].max()
    step = (high - low) / (LEVELS - 1)
    return low + step * np.round((copies[0] - low) / step)


def permuted(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Reorder and rescale hidden units: no answer changes, every weight moves."""
    from labkit.federated.marks import alignment

    model = unflatten(federation.make_model(), copies[0])
    for first, second, relu in alignment.hidden(model):
        units = first.out_features
        scale = np.exp(random.normal(size=units)) if relu else np.ones(units)
        alignment.rearrange(first, second, random.permutation(units), scale)
    return flatten(model)


def averaged(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Take the mean of the copies."""
    return copies.mean(0)


def min_or_max(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Take each weight's least or greatest value, by the toss of a coin."""
    return np.where(random.random(copies.shape[1]) < 0.5, copies.min(0), copies.max(0))


def interleaved(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Take each weight from one copy, drawn evenly."""
    return copies[random.integers(len(copies), size=copies.shape[1]), np.arange(copies.shape[1])]


def averaged_and_tuned(
    copies: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Average, add noise as large as a copy's step where the copies differ, then fine-tune: several means at once."""
    mixed = copies.mean(0)
    differ = np.ptp(copies, axis=0) > 0
    blur = 0.1 * np.sqrt(np.mean(mixed**2)) * random.standard_normal(len(mixed))
    return fine_tuned((mixed + differ * blur)[None], federation, names, random)


def rebuilt(
    opened: np.ndarray, federation: Federation, names: tuple[str, ...], random: np.random.Generator
) -> np.ndarray:
    """Estimate the unmarked model from the weights that opened each round, ``opened`` [rounds, d]; no copy is used.

    The model is the mean of the weights after the rounds that count. All but the last of these opened a later round;
    the last, which nobody was handed, is taken to be like the one before it.
    """
    first = int(federation.training.average_from * federation.training.rounds) + 1  # round that counts first
    return np.vstack([opened[first:], opened[-1:]]).mean(0)


FOLLOWED = "own estimate from the rounds"
LEAKS = {
    "as handed out": Leak(1, as_handed_out),
    "fine-tuned, 2 epochs": Leak(1, partial(fine_tuned, epochs=2)),
    "fine-tuned, 10 epochs": Leak(1, fine_tuned),
    "30% pruned": Leak(1, pruned),
    "60% pruned": Leak(1, partial(pruned, share=0.6)),
    "noise 0.2": Leak(1, noised),
    "noise 0.5": Leak(1, partial(noised, ratio=0.5)),
    "noise 1": Leak(1, partial(noised, ratio=1.0)),
    "quantised to 16 levels": Leak(1, quantised),
    "units permuted, rescaled": Leak(1, permuted),
    "two averaged": Leak(2, averaged),
    "two, min or max": Leak(2, min_or_max),
    "two interleaved": Leak(2, interleaved),
    "two averaged, noised, tuned": Leak(2, averaged_and_tuned),
    "three averaged": Leak(3, averaged),
    "three, min or max": Leak(3, min_or_max),
    FOLLOWED: Leak(1, rebuilt, follows=True),
}
