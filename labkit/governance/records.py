"""Records and arrays as a submission brings them: NumPy files without pickles, tables, images and tokens."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.data.dataset import Dataset
from labkit.data.errors import DataError
from labkit.governance.findings import ReviewError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from labkit.governance.claims import Shadows

PARTS = ("train_x", "train_y", "test_x", "test_y")


def from_npz(
    path: Path, *, classes: list[Any] | None = None, source: str | None = None
) -> tuple[Dataset, np.ndarray | None]:
    """Return the data set in an ``.npz`` file and, where it says so, which train records the model was trained on.

    Parameters
    ----------
    path : Path
        Arrays ``train_x``, ``train_y``, ``test_x``, ``test_y`` and, optionally, ``members`` (bool). Records are float
        (images [n, C, H, W] in [0, 1], tables [n, d]) or whole numbers (tokens [n, length]).

    Raises
    ------
    ReviewError
        If an array is missing, or of a kind that no model takes.
    """
    held = _arrays(path, PARTS)
    parts = {name: _tensor(held[name], name, path) for name in PARTS}
    count = 1 + max(int(parts[name].max()) for name in ("train_y", "test_y"))
    names = tuple(map(str, classes)) if classes else tuple(map(str, range(max(2, count))))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = dataset_of(parts, path.stem, source or f"{path.name}, SHA-256 {digest[:12]}", names)
    members = held.get("members")
    if members is not None and (members.dtype != bool or members.shape != (len(made.train_y),)):
        raise ReviewError(
            f"{path.name}: members is {members.dtype} {members.shape}; expected a bool for each train record"
        )
    return made, members


def dataset_of(parts: dict[str, Tensor], name: str, source: str, classes: tuple[str, ...]) -> Dataset:
    """Return tensors as a data set; whole numbers are tokens.

    Raises
    ------
    ReviewError
        If they are no records that a model can be asked about.
    """
    try:
        return Dataset(name=name, source=source, real=True, classes=classes, **parts)
    except DataError as error:
        raise ReviewError(str(error)) from error


def as_pair(given: Any) -> tuple[Dataset, np.ndarray | None]:
    """Return what a submission's own function gives as (data set, members or None)."""
    made, members = given if isinstance(given, tuple) else (given, None)
    if not isinstance(made, Dataset):
        raise ReviewError(
            f"data.import gives a {type(made).__name__}; expected a labkit.data.Dataset, or (Dataset, members)"
        )
    return made, members


def triggers_from_npz(path: Path) -> tuple[Tensor, Tensor]:
    """Return triggers and marked answers from ``x`` and ``y`` of an ``.npz`` file."""
    held = _arrays(path, ("x", "y"))
    return _tensor(held["x"], "x", path), _tensor(held["y"], "y_answers", path)


def shadows_from_npz(path: Path, dataset: Dataset, *, knows_defence: bool) -> Shadows:
    """Return shadow models' answers from an ``.npz`` file, as an attacker's bank.

    Parameters
    ----------
    path : Path
        Arrays ``logits`` (models, n, classes), ``masks`` (models, n; bool: who was trained on what), ``positions`` (n,)
        among the train records followed by the test records, and ``target_members`` (n,), bool. For RMIA also
        ``population`` (m,), positions of records that no model has seen, and ``population_logits`` (models, m, classes).

    Raises
    ------
    ReviewError
        If an array is missing or does not fit the others.
    """
    import torch

    from labkit.governance.claims import Shadows
    from labkit.membership.shadows import given

    held = _arrays(path, ("logits", "masks", "positions", "target_members"))
    if ("population" in held) != ("population_logits" in held):
        raise ReviewError(f"{path.name}: one of population and population_logits; expected both, or neither")
    x, y = torch.cat([dataset.train_x, dataset.test_x]), torch.cat([dataset.train_y, dataset.test_y])
    pool = _positions(held["positions"], "positions", len(y), path)
    others = _positions(held.get("population", pool[:0]), "population", len(y), path)
    members = held["target_members"]
    if members.dtype != bool or members.shape != pool.shape:
        raise ReviewError(
            f"{path.name}: target_members is {members.dtype} {members.shape}; expected bool {pool.shape}"
        )
    asked = (
        {"population": held["population_logits"], "population_y": y[others].numpy()} if len(others) else {}
    )
    try:
        bank = given.from_logits(
            held["logits"],
            held["masks"],
            y[pool].numpy(),
            x=x[pool],
            population_x=x[others],
            classes=dataset.classes,
            name=f"{dataset.name}, given answers",
            source=dataset.source,
            **asked,
        )
    except ValueError as error:
        raise ReviewError(f"{path.name}: {error}") from error
    return Shadows(bank=bank, target_members=members, knows_defence=knows_defence)


def _positions(array: np.ndarray, name: str, below: int, path: Path) -> np.ndarray:
    whole = array.ndim == 1 and np.issubdtype(array.dtype, np.integer)
    if (
        not whole
        or len(set(array.tolist())) < len(array)
        or (len(array) and not 0 <= min(array) <= max(array) < below)
    ):
        raise ReviewError(
            f"{path.name}: {name} is {array.dtype} {array.shape}; expected distinct positions (n,) from 0 to {below - 1}"
        )
    return array.astype(np.int64)


def _arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as held:
            found = {name: held[name] for name in held.files}
    except ValueError as error:
        raise ReviewError(
            f"{path.name} cannot be read as plain arrays ({error}): save with np.savez, no objects"
        ) from error
    except Exception as error:
        raise ReviewError(f"{path.name} is no .npz file ({type(error).__name__}: {error})") from error
    if missing := [name for name in needed if name not in found]:
        raise ReviewError(f"{path.name} lacks {', '.join(missing)}; it holds {', '.join(found) or 'nothing'}")
    return found


def _tensor(array: np.ndarray, name: str, path: Path) -> torch.Tensor:
    import torch

    if "_y" in name or name == "y":
        if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1:
            raise ReviewError(
                f"{path.name}: {name} is {array.dtype} {array.shape}; expected whole numbers (n,)"
            )
        return torch.from_numpy(array.astype(np.int64))
    if np.issubdtype(array.dtype, np.floating):
        return torch.from_numpy(array.astype(np.float32))
    if np.issubdtype(array.dtype, np.integer) and array.ndim == 2:
        return torch.from_numpy(array.astype(np.int64))
    raise ReviewError(
        f"{path.name}: {name} is {array.dtype} {array.shape}; expected float records (images as numbers in [0, 1]: divide "
        "bytes by 255), or whole numbers (n, length) for tokens"
    )
