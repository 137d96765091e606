"""``labkit site``: executed labs, API reference, reports and benchmarks as one folder of pages that needs no network.

The folder opens from a disk (``file://``): every link is relative, nothing is fetched, and search reads a file of its own.
"""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.site.making import make_site as make_site
    from labkit.site.pages import SiteError as SiteError

__getattr__, __dir__, __all__ = facade.lazy(__name__)
