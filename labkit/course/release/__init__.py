"""What an instructor hands out: a set without answers, variants of an exam, and everything for machines without network.

``labkit classroom release`` makes the set, ``labkit classroom variant`` an exam with numbers of its own, and
``labkit bundle`` packs wheels, data that may be packed, prepared results and notebooks. What an instructor has edited
since is never overwritten.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.course.notebooks.written import EditedError as EditedError
    from labkit.course.release.handing_out import hand_out as hand_out
    from labkit.course.release.packing import pack as pack
    from labkit.course.release.variants import make_variant as make_variant

__getattr__, __dir__, __all__ = facade.lazy(__name__)
