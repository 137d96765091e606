"""Models that a caller's own function trains: ``train(x, y, seed)`` in the place of an architecture and a recipe.

The function may return a torch module or an estimator with ``predict_proba``; what it returns is kept whole, by cloudpickle,
and known to the cache by the code that the function can reach.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import adapt, progress
from labkit.models import seeded
from labkit.training import shelf, spreading

if TYPE_CHECKING:
    from labkit.data import Dataset

Train = Callable[[Tensor, Tensor, int], Any]


def one_way(make_model: Any, recipe: Any, train: Any) -> None:
    """Refuse anything but an architecture with a recipe, or a training function.

    Raises
    ------
    ValueError
        With what was given.
    """
    by_recipe = make_model is not None and recipe is not None
    alone = make_model is None and recipe is None
    if not (by_recipe and train is None) and not (alone and callable(train)):
        given = [
            name
            for name, value in {"make_model": make_model, "recipe": recipe, "train": train}.items()
            if value is not None
        ]
        raise ValueError(
            f"got {', '.join(given) or 'neither'}; expected make_model= and recipe=, or train= alone, a function "
            "train(x, y, seed) that returns a fitted model"
        )


def trained(train: Train, x: Tensor, y: Tensor, seed: int, classes: int) -> nn.Module:
    """Return what ``train`` makes of records, as a module that answers with logits.

    torch's global random state follows from ``seed`` meanwhile; what else draws has to be seeded by the function itself.

    Raises
    ------
    TypeError, ValueError
        If it returns no model, or one that does not answer these records with ``classes`` logits each.
    """
    with seeded(seed):
        model = train(x, y, seed)
    if model is None:
        raise TypeError("train(x, y, seed) returned None: return the fitted model")
    module = adapt.as_module(adapt.model_of(model), classes=classes).eval()
    with torch.no_grad():
        try:
            answer = adapt.logits_of(module(x[:2]))
        except adapt.REFUSALS as error:
            raise ValueError(f"the model that train() returned: {adapt.why_not(module, x, error)}") from error
    if answer.shape != (len(x[:2]), classes):
        raise ValueError(
            f"the model that train() returned answers two records with {tuple(answer.shape)}; expected (2, {classes}), a logit "
            "for each class"
        )
    return module.cpu()


def on_dataset(train: Train, *, seed: int = 0) -> Callable[[Dataset], nn.Module]:
    """Return ``train(x, y, seed)`` as a function of a data set, as `labkit.audit.audit_one_run` wants it.

    Examples
    --------
    >>> from labkit.data import Dataset
    >>> own = Dataset.from_numpy(np.eye(4), [0, 1, 0, 1], test_share=0.25)
    >>> on_dataset(lambda x, y, seed: nn.Linear(4, 2))(own).out_features
    2
    """
    return lambda dataset: trained(train, dataset.train_x, dataset.train_y, seed, len(dataset.classes))


def train_each(
    train: Train,
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    *,
    seeds: Sequence[int],
    classes: int,
    workers: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Train one model per row of ``masks`` and yield ``(row, packed model)`` as each is done: see `packed`.

    Parameters
    ----------
    workers : int, optional
        Default: one after the other, here: an own function may use all cores, or a GPU. More go through joblib.
    """
    if (workers or 1) <= 1:
        for row, mask in enumerate(masks):
            yield row, packed(trained(train, x[mask], y[mask], seeds[row], classes))
        return
    import joblib

    arrays = spreading.sent(x.numpy(), y.numpy())
    tasks = {
        row: joblib.delayed(_work)(train, *arrays, mask, seeds[row], classes, row)
        for row, mask in enumerate(masks)
    }
    for row, content in spreading.spread(tasks, workers):
        yield row, torch.from_numpy(content)


def _work(
    train: Train, x: Any, y: Any, mask: np.ndarray, seed: int, classes: int, row: int
) -> tuple[int, np.ndarray]:
    """Do one model's training inside a worker process."""
    x, y = spreading.received(x), spreading.received(y)
    model = trained(train, torch.from_numpy(x[mask]), torch.from_numpy(y[mask]), seed, classes)
    return row, packed(model).numpy()


def packed(model: Any) -> Tensor:
    """Return a model (or a result with one) as bytes in a uint8 tensor, kept on a shelf like any other.

    Classes of a notebook travel along.

    Raises
    ------
    TypeError
        If it cannot be pickled.
    """
    from joblib.externals.loky.backend.reduction import dumps  # cloudpickle's, as joblib's workers use it

    try:
        return torch.from_numpy(np.frombuffer(bytes(dumps(model)), dtype=np.uint8).copy())
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise TypeError(
            f"the model that train() returned cannot be kept ({error}): return one without open files, locks or generators"
        ) from error


def unpacked_whole(content: Tensor) -> Any:
    """Return what `packed` packed, whatever it is. It is a pickle: of a user's own files only."""
    return pickle.loads(content.numpy().tobytes())


def unpacked(content: Tensor) -> nn.Module:
    """Return the model that `packed` packed. It is a pickle: of this user's own cache folder only."""
    return unpacked_whole(content).eval()


def train_missing(
    paths: Sequence[Path],
    train: Train,
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    *,
    seeds: Sequence[int],
    classes: int,
    what: str,
    workers: int | None = None,
) -> list[nn.Module]:
    """Return one model per path: read where they are kept, else trained and kept: see `labkit.training.shelf.train_missing`."""
    found = {row: content for row, path in enumerate(paths) if (content := shelf.read(path)) is not None}
    missing = [row for row in range(len(paths)) if row not in found]
    if missing:
        made = train_each(
            train,
            x,
            y,
            np.asarray(masks)[missing],
            seeds=[seeds[row] for row in missing],
            classes=classes,
            workers=workers,
        )
        for index, content in progress.track(made, what, total=len(missing)):
            row = missing[index]
            found[row] = content
            shelf.keep({paths[row].name: content}, paths[row].parent, what)
    return [unpacked(found[row]) for row in range(len(paths))]


# What a model made by an own function depends on besides function, records and seed.
CODE = (trained, train_each)
