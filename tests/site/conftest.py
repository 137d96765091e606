"""A site of two labs and three parts of the package, made once: small, and otherwise the real one."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.course.labs import LABS
from labkit.site import documents, labs, making, reference

FEW_LABS = tuple(item for item in LABS if item.number in ("00", "02"))
FEW_PARTS = ("labkit.dp", "labkit.results", "labkit.stats")
REPORT = (
    '<!doctype html><html lang="en"><head><title>Review of a model</title></head>'
    "<body><h1>Review</h1><p>Approved with conditions.</p></body></html>"
)


def few(path: list[str], prefix: str) -> Iterator[pkgutil.ModuleInfo]:
    """Walk only some of the package."""
    everything = pkgutil.walk_packages(path, prefix, onerror=None)
    return (part for part in everything if part.name.startswith(FEW_PARTS))


class FewParts:
    walk_packages = staticmethod(few)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    base = tmp_path_factory.mktemp("site")
    report = base / "model.html"
    report.write_text(REPORT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        for module in (documents, labs):
            patched.setattr(module, "LABS", FEW_LABS)
        patched.setattr(reference, "pkgutil", FewParts)
        patched.setattr(making.reports, "files", lambda root: [report])
        patched.setattr(documents, "atlas", lambda root, found, real=documents.atlas: real(root))
        return making.make_site(base / "out").parent
