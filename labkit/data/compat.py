"""torchvision beside a CPU build of torch."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_MISSING = "operator torchvision::nms does not exist"
_kept: list[Any] = []  # the declared schemas live only as long as their library object


def torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators cannot load.

    A wheel built against CUDA cannot load its native library beside a CPU build of torch, and its import stops when
    it describes an operator (``nms``) that was never registered. On exactly that error the two schemas are declared
    without an implementation and the import is repeated: ``datasets``, ``transforms``, ``models`` and ``utils`` then
    work, while ``ops.nms``, the detection models and ``io.decode_image`` still raise when called. Matching builds
    import as they are.

    Returns
    -------
    module
        ``torchvision``.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]  # half-loaded: a second import would find the wreck
    if not _kept:
        from torch.library import Library

        library = Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
    return importlib.import_module("torchvision")
