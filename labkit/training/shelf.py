"""Trained models on disk: what their keys must cover, and how what is missing is trained, kept and loaded.

A model that cannot be written (read-only folder, full disk) is kept in memory, with a warning: the work is done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import cache, contents, progress, reach
from labkit.training import many
from labkit.training.recipe import Recipe, State, fresh

# What a trained model depends on besides recipe, records and architecture: `labkit.reach` finds the rest from here.
CODE = (many.train_many,)


def model_identity(make_model: Callable[[], nn.Module]) -> tuple[str, State, list[Any]]:
    """Return what tells one architecture from another: structure, seeded weights, and the code of its own classes.

    Structure and weights see through partials and closures, the classes' code sees a changed ``forward``, and what their
    instances hold sees a setting that ``repr`` does not print. Classes of installed libraries count by name.
    """
    model = fresh(make_model, 0)
    kinds = list(dict.fromkeys(map(type, model.modules())))
    held: list[Any] = [kinds, [settings_of(part) for part in model.modules()]]
    return contents.shown(model), dict(model.state_dict()), held + _trained_otherwise(model)


def _trained_otherwise(model: nn.Module) -> list[Any]:
    """Return what changes how equal weights are trained: which are frozen, which are one and the same; empty if none."""
    own = dict(model.named_parameters())
    frozen = [name for name, weight in own.items() if not weight.requires_grad]
    tied = [name for name, _ in model.named_parameters(remove_duplicate=False) if name not in own]
    return [{"frozen": frozen, "tied": tied}] if frozen or tied else []


def settings_of(part: nn.Module) -> dict[str, str]:
    """Return digests of what one module holds besides its weights and its parts: settings, hooks, buffers not saved."""
    plain = vars(nn.Module())
    held = {name: value for name, value in contents.settings_in(part).items() if name not in plain}
    held |= {name: list(value.values()) for name, value in vars(part).items() if "_hooks" in name and value}
    held |= {name: part._buffers[name] for name in sorted(part._non_persistent_buffers_set)}
    return {name: _digest(value) for name, value in held.items()}


def _digest(value: Any) -> str:
    try:
        return cache.digest(value)
    except (TypeError, RecursionError):  # an object of settings, a set, an enumeration, what holds itself
        return cache.digest(reach.held(value))


def train_missing(
    paths: Sequence[Path],
    make_model: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    masks: np.ndarray,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    what: str,
    strategy: str = "auto",
    workers: int | None = None,
) -> list[State]:
    """Return the weights of one model per path: read where they are kept, else trained and kept, one by one.

    Parameters
    ----------
    paths : sequence of Path, one per model
        Whose names hold a digest of all that the model depends on: see `CODE` and `model_identity`.
    masks, seeds, strategy, workers
        Of `labkit.training.train_many`, one row and one seed per path.
    what : str
        Beside the progress bar and in warnings, such as "null models, CIFAR-10".

    Warns
    -----
    CacheWarning
        If a model cannot be written; it is returned all the same.

    Notes
    -----
    Interrupt at will: each model is written when it is done. A file that cannot be read is made again.
    """
    states = {row: state for row, path in enumerate(paths) if (state := read(path)) is not None}
    missing = [row for row in range(len(paths)) if row not in states]
    if missing:
        trained = many.train_many(
            make_model,
            x,
            y,
            np.asarray(masks)[missing],
            recipe,
            seeds=[seeds[row] for row in missing],
            strategy=strategy,
            workers=workers,
        )
        for index, state in progress.track(trained, what, total=len(missing)):
            row = missing[index]
            states[row] = state
            keep({paths[row].name: state}, paths[row].parent, what)
    return [states[row] for row in range(len(paths))]


def model_of(make_model: Callable[[], nn.Module], state: State) -> nn.Module:
    """Return a model with these weights, in evaluation mode."""
    model = make_model()
    model.load_state_dict(state)
    return model.eval()


def read(path: Path) -> State | None:
    """Return kept weights, or ``None`` where there are none that can be read."""
    try:
        return torch.load(path, weights_only=True)
    except Exception:  # missing, damaged, or of an older library: as good as none
        return None


def keep(made: Mapping[str, Any], folder: Path, what: str) -> bool:
    """Write each of ``made`` to a file of its name, in order and atomically; return whether all could be written.

    Arrays have names that end in ``.npy``, all else is written as weights are.

    Warns
    -----
    CacheWarning
        If the folder cannot be written or the disk is full.
    """
    try:
        for name, value in made.items():
            _write(value, folder / name)
    except OSError as error:  # minutes of work may be in it
        warnings.warn(f"{what}: kept in memory only ({error})", cache.CacheWarning, stacklevel=3)
        return False
    return True


def _write(value: Any, path: Path) -> None:
    if path.suffix == ".npy":
        save_array(path, value)
        return
    with cache.atomic_path(path) as temporary:
        cache.save(value, temporary)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array, atomically and to exactly this path, which `numpy.save` would lengthen."""
    with cache.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)
