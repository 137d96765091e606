"""Setuptools commands that put notebooks, tested versions and the hospitals' records into the wheel and the sdist.

``pyproject.toml`` names them; nothing imports this at run time. A wheel can then ``labkit run`` a lab, load the four
real hospitals, and ``labkit doctor`` can compare versions, with the repository's own files as the one source of all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

NEEDED = ("notebooks/*.ipynb", ".ci/requirements.lock")
HOSPITALS = ("data/hospitals/*.data", "data/hospitals/*.md")  # the records, and to whom they are owed
SHIPPED = (
    *NEEDED,
    *HOSPITALS,
    ".ci/constraints.txt",
    ".ci/run",
    "solutions/*",
    "tests/**/*.py",
    "data/README.md",
)
ALSO = ("Makefile", "environment.yml", "CONTRIBUTING.md", "CHANGELOG.md")
BUNDLE = "labkit/course/bundle"
RECORDS = "labkit/data/bundle/hospitals"


def files(patterns: tuple[str, ...]) -> list[Path]:
    """Return the files of the source tree that match, in a fixed order."""
    return sorted({path for pattern in patterns for path in Path().glob(pattern) if path.is_file()})


class BuildWithLabs(build_py):
    """Copy the labs into the package that is being built; an editable install uses those of the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        found = files(NEEDED)
        if not any(path.suffix == ".ipynb" for path in found):
            raise RuntimeError("notebooks/ is empty: run labkit build before the wheel is built")
        records = files(HOSPITALS)
        if len(records) != 5:
            raise RuntimeError(
                f"data/hospitals/ holds {len(records)} of 5 files: git checkout -- data/hospitals"
            )
        for paths, folder in ((found, BUNDLE), (records, RECORDS)):
            target = Path(self.build_lib) / folder
            target.mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, target / path.name)


class SourceWithLabs(sdist):
    """Add to the sdist what the wheel is built from, and the tests."""

    def make_distribution(self) -> None:
        self.filelist.extend(path.as_posix() for path in files((*SHIPPED, *ALSO)))
        super().make_distribution()
