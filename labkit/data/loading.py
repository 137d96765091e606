"""``load``: one call from a name to tensors, whatever form the data came in."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit import cache
from labkit.data import sources
from labkit.data.dataset import Dataset
from labkit.data.errors import CacheWarning, DataError, StandInWarning

if TYPE_CHECKING:
    import numpy as np

    from labkit.data.formats.files import Files

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
STAND_IN_SEED = 0
STAND_IN_MODULES = {"mnist": "digits", "cifar10": "objects", "pathmnist": "tissues"}
BUNDLED = {"breast_cancer": "scikit-learn", "heart": "labkit"}  # always real, and where it is


def load(name: str, *, source: str | None = None) -> Dataset:
    """Load a data set: real where it can be found or downloaded, else a stand-in, with a warning.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"cifar10"``, ``"breast_cancer"``, ``"heart"``, or a MedMNIST set (``"pathmnist"``, ...).
    source : {None, "real", "stand-in"}
        ``"real"`` refuses a stand-in; ``"stand-in"`` asks for it; None takes what there is.

    Returns
    -------
    Dataset
        Its ``source`` says where the records came from.

    Raises
    ------
    DataError
        If the name is unknown, a file is corrupt, or real data was asked for and is not there.

    Warns
    -----
    StandInWarning
        If the real data was not found and a stand-in is returned.

    Examples
    --------
    >>> from labkit import data
    >>> data.load("breast_cancer").shape
    (30,)
    """
    sources.known(name)
    check_source(name, source)
    if name in BUNDLED:
        from labkit.data.formats import breast_cancer, heart

        return {"breast_cancer": breast_cancer.breast_cancer, "heart": heart.heart}[name]()
    if source != "stand-in":
        files = sources.find(name) or _download(name)
        if files:
            return _from_files(name, files)
        _refuse_or_warn(name, source)
    return _stand_in(name)


def check_source(name: str, source: str | None) -> None:
    """Refuse a ``source`` that there is not, or a stand-in for data that is always there.

    Raises
    ------
    DataError
        With what was expected.
    """
    if source not in (None, "real", "stand-in"):
        raise DataError(f"source is {source!r}; expected None, 'real' or 'stand-in'")
    if source == "stand-in" and name in BUNDLED:
        raise DataError(f"{name} needs no stand-in: the real data is inside {BUNDLED[name]}")


def _refuse_or_warn(name: str, source: str | None) -> None:
    """Never fall back in silence."""
    title = sources.FORMATS[name].title
    looked = ", ".join(str(root) for root in sources.roots())
    fix = "put its files there (data/README.md lists the forms), or set LABKIT_DATA to their folder"
    if source == "real" or name not in sources.STAND_INS:
        raise DataError(f"{title} was not found in {looked}, and was not downloaded: {fix}")
    warnings.warn(
        f"{title} was not found in {looked}: using a stand-in made by code. For the real data, {fix}",
        StandInWarning,
        stacklevel=3,
    )


def _download(name: str) -> Files | None:
    """Return the files of a download that worked."""
    if name not in sources.DOWNLOADS:
        return None
    from labkit.data import download

    return sources.find(name) if download.fetch(name) else None


def _from_files(name: str, files: Files) -> Dataset:
    """Decode, or take what an earlier call decoded."""
    format_ = sources.FORMATS[name]
    key = cache.digest(name, files.fingerprint(), format_.decode)
    arrays = _decoded(name, key, lambda: format_.decode(files))
    title = files.title
    if "image copy" in title:  # a copy may hold fewer records than the original: its title says how many
        title = title.replace("image copy", f"JPEG copy, {len(arrays['train_y']):,} train")
    return _dataset(name, title, True, format_.classes, arrays)


def _stand_in(name: str) -> Dataset:
    """Make the stand-in, or take what an earlier call made."""
    if name not in sources.STAND_INS:
        raise DataError(f"{name} has no stand-in; those that have: {', '.join(sources.STAND_INS)}")
    module = importlib.import_module(f"labkit.data.standins.{STAND_IN_MODULES[name]}")
    title = f"stand-in for {sources.FORMATS[name].title} ({module.DESCRIPTION}, made by code, seed {STAND_IN_SEED})"
    key = cache.digest(name, "stand-in", STAND_IN_SEED, module.stand_in)
    arrays = _decoded(f"{name}-stand-in", key, lambda: module.stand_in(STAND_IN_SEED))
    return _dataset(name, title, False, module.CLASSES, arrays)


def _decoded(kind: str, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return uint8 arrays and their hash, from the cache if they are there; else compute and keep them."""
    import numpy as np

    path = cache.directory() / "decoded" / f"{kind}-{key[:32]}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in (*ARRAYS, "digest")}
        except Exception:  # a file that cannot be read is as good as none
            path.unlink(missing_ok=True)
    arrays: dict[str, Any] = compute()
    arrays["digest"] = np.array(cache.digest(*(arrays[name] for name in ARRAYS)))
    try:
        with cache.atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        warnings.warn(f"decoded {kind} is not kept: {error}", CacheWarning, stacklevel=4)
    return arrays


def _dataset(name: str, source: str, real: bool, classes: tuple[str, ...], arrays: dict[str, Any]) -> Dataset:
    """Return tensors: images in [0, 1], labels int64."""
    import torch

    return Dataset(
        name=name,
        source=source,
        real=real,
        classes=classes,
        digest=str(arrays["digest"]),
        **{
            f"{part}_x": torch.from_numpy(arrays[f"{part}_x"]).float().div_(255) for part in ("train", "test")
        },
        **{f"{part}_y": torch.from_numpy(arrays[f"{part}_y"]).long() for part in ("train", "test")},
    )
