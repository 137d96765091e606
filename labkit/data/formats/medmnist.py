"""MedMNIST v2 (Yang et al. 2023, arXiv 2110.14795): three of its sets, from the ``.npz`` that its site offers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.data.errors import DataError
from labkit.data.formats.files import Files, Format, corrupt, file_hash

if TYPE_CHECKING:
    import numpy as np

FOLDERS = (".", "medmnist")


class MedMnist(Format):
    """One ``.npz`` of 28x28 images; its validation part joins the train part (``holdout`` makes a new one)."""

    def __init__(self, file: str, title: str, md5: str, classes: tuple[str, ...]) -> None:
        self.file, self.title, self.md5, self.classes = file, title, md5, classes

    def find(self, root: Path) -> Files | None:
        for folder in FOLDERS:
            if (root / folder / self.file).is_file():
                return Files("npz", (root / folder / self.file,), self.title)
        return None

    def verify(self, files: Files) -> tuple[bool, str]:
        found = file_hash(files.path, "md5")
        if found != self.md5:
            size = f"{found}, {files.path.stat().st_size:,} bytes"
            raise corrupt(files.path, f"is not {self.title} at 28x28 (MedMNIST v2)", f"MD5 {self.md5}", size)
        return True, "MD5 as published"

    def decode(self, files: Files) -> dict[str, np.ndarray]:
        import numpy as np

        self.verify(files)
        try:
            with np.load(files.path, allow_pickle=False) as archive:
                parts = {name: archive[name] for name in archive.files}
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise corrupt(files.path, "is damaged", "an .npz of arrays", str(error)) from error
        images = {k: _channels_first(files.path, parts[f"{k}_images"]) for k in ("train", "val", "test")}
        labels = {k: parts[f"{k}_labels"].reshape(-1).astype(np.uint8) for k in ("train", "val", "test")}
        return {
            "train_x": np.concatenate([images["train"], images["val"]]),
            "train_y": np.concatenate([labels["train"], labels["val"]]),
            "test_x": images["test"],
            "test_y": labels["test"],
        }


def _channels_first(path: Path, images: np.ndarray) -> np.ndarray:
    """Return ``[n, C, 28, 28]`` from ``[n, 28, 28]`` or ``[n, 28, 28, 3]``."""
    if images.dtype != "uint8" or images.shape[1:] not in ((28, 28), (28, 28, 3)):
        raise DataError(
            f"{path}: images are {images.dtype} {images.shape}; expected uint8 [n, 28, 28] or [n, 28, 28, 3]"
        )
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


PATH_CLASSES = (
    "adipose",
    "background",
    "debris",
    "lymphocytes",
    "mucus",
    "smooth muscle",
    "normal colon mucosa",
    "cancer-associated stroma",
    "colorectal adenocarcinoma epithelium",
)
PATH = MedMnist("pathmnist.npz", "PathMNIST", "a8b06965200029087d5bd730944a56c1", PATH_CLASSES)
BREAST = MedMnist(
    "breastmnist.npz", "BreastMNIST", "750601b1f35ba3300ea97c75c52ff8f6", ("malignant", "normal or benign")
)
PNEUMONIA = MedMnist(
    "pneumoniamnist.npz", "PneumoniaMNIST", "28209eda62fecd6e6a2d98b1501bb15f", ("normal", "pneumonia")
)
