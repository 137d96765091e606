"""Where data sets are looked for, in order, and what is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labkit import cache
from labkit.data.errors import DataError
from labkit.data.formats import heart
from labkit.data.formats.cifar import Cifar10
from labkit.data.formats.files import Files, Format
from labkit.data.formats.medmnist import BREAST, PATH, PNEUMONIA
from labkit.data.formats.mnist import Mnist

FORMATS: dict[str, Format] = {
    "mnist": Mnist(),
    "cifar10": Cifar10(),
    "pathmnist": PATH,
    "breastmnist": BREAST,
    "pneumoniamnist": PNEUMONIA,
}
DATASETS = ("mnist", "cifar10", "breast_cancer", "heart", "pathmnist", "breastmnist", "pneumoniamnist")
STAND_INS = ("mnist", "cifar10", "pathmnist")
DOWNLOADS = ("mnist", "cifar10")


@dataclass(frozen=True)
class Located:
    """What :func:`labkit.data.load` would use.

    Parameters
    ----------
    name : str
    kind : {"files", "bundled", "download", "stand-in", "missing", "corrupt"}
    path : Path or None
        The file, or the folder of the files.
    verified : bool
        Whether the content was compared with a published checksum.
    message : str
        One sentence for a person; for a corrupt file it holds the fix.
    """

    name: str
    kind: str
    path: Path | None
    verified: bool
    message: str


def roots() -> list[Path]:
    """Return the folders to look in: ``LABKIT_DATA``, then ``data/``, then what was downloaded.

    Raises
    ------
    DataError
        If ``LABKIT_DATA`` names no folder.
    """
    found = []
    named = os.environ.get("LABKIT_DATA")
    if named:
        found.append(_named(named))
    found += [(cache.checkout() or Path.cwd()) / "data", download_root()]
    return list(dict.fromkeys(found))


def _named(value: str) -> Path:
    """Return the folder ``LABKIT_DATA`` names; a relative one may be relative to the checkout."""
    path = Path(value).expanduser()
    for candidate in (path, (cache.checkout() or Path.cwd()) / path):
        if candidate.is_dir():
            return candidate.resolve()
    raise DataError(
        f"LABKIT_DATA is {value!r}, which is no folder: create it, or correct or unset LABKIT_DATA"
    )


def download_root() -> Path:
    """Return the folder for downloads: ``data/`` of a checkout that can be written, else in the cache."""
    root = cache.checkout()
    if root and os.access(root / "data", os.W_OK):
        return root / "data"
    return cache.directory() / "downloads"


def known(name: str) -> str:
    """Return ``name`` if there is such a data set.

    Raises
    ------
    DataError
        If not, with the names there are.
    """
    if name not in DATASETS:
        raise DataError(f"no data set is called {name!r}; expected one of {', '.join(DATASETS)}")
    return name


def find(name: str) -> Files | None:
    """Return the files of ``name`` in the first folder that has them, or None."""
    for root in roots():
        files = FORMATS[name].find(root)
        if files:
            return files
    return None


def locate(name: str) -> Located:
    """Say what :func:`labkit.data.load` would use, and whether it is what was published, without loading it.

    Parameters
    ----------
    name : str
        One of :data:`DATASETS`.

    Returns
    -------
    Located
        Corrupt files give ``kind="corrupt"`` rather than an error.
    """
    if known(name) == "breast_cancer":
        return Located(name, "bundled", None, True, "Wisconsin Diagnostic Breast Cancer, inside scikit-learn")
    try:
        if name == "heart":
            heart.verify()
            return Located(name, "bundled", heart.folder(), True, f"{heart.SOURCE}: SHA-256 as published")
        files = find(name)
        if files:
            verified, message = FORMATS[name].verify(files)
            return Located(name, "files", files.path, verified, f"{files.title} in {files.path}: {message}")
    except DataError as error:
        return Located(name, "corrupt", None, False, str(error))
    title = FORMATS[name].title
    offline = os.environ.get("LABKIT_OFFLINE") == "1"
    if name in DOWNLOADS and not offline:
        message = f"{title} is not here: load downloads it to {download_root()}, or makes a stand-in"
        return Located(name, "download", download_root(), False, message)
    if name in STAND_INS:
        return Located(name, "stand-in", None, False, f"{title} is not here: load makes a stand-in")
    return Located(name, "missing", None, False, f"{title} is not here: see data/README.md for its file")
