"""Data sets, where each byte came from, and stand-ins for when the real thing is not at hand.

``load("mnist")`` looks in ``LABKIT_DATA``, then ``data/``, then tries the data set's own download, and last makes a
stand-in, with a warning. ``locate`` says what would be loaded. See ``data/README.md`` for the files to drop in.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.data.compat import torchvision as torchvision
    from labkit.data.dataset import Dataset as Dataset
    from labkit.data.errors import CacheWarning as CacheWarning
    from labkit.data.errors import DataError as DataError
    from labkit.data.errors import StandInWarning as StandInWarning
    from labkit.data.formats.breast_cancer import breast_cancer_table as breast_cancer_table
    from labkit.data.formats.breast_cancer import public_ranges as public_ranges
    from labkit.data.formats.heart import heart_table as heart_table
    from labkit.data.loading import load as load
    from labkit.data.sources import DATASETS as DATASETS
    from labkit.data.sources import Located as Located
    from labkit.data.sources import locate as locate
    from labkit.data.standins.digits import strokes as strokes
    from labkit.data.standins.objects import objects as objects
    from labkit.data.standins.tissues import tissues as tissues

__getattr__, __dir__, __all__ = facade.lazy(__name__)
