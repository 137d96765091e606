"""``labkit bundle``: wheels, data that may be packed, prepared results and notebooks, for machines without network.

Results are found by what made them, records included, so they are made (or taken from this machine's cache) with the
bundle's own wheel on the bundle's own data: the hospitals, and stand-ins, whose records code draws. MNIST, CIFAR-10 and
what was computed from them go along only where somebody asks for their own files to be packed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import cache, profiles
from labkit.course.labs import LABS, Lab, lab
from labkit.course.notebooks import build, source
from labkit.course.release import handing_out, offline, wheels

WHEELS, NOTEBOOKS, RESULTS, DATA = "wheels", "notebooks", "results", "data"
README = """# labkit without network

```
python3 offline.py install      # once; checks every file against SHA256SUMS
python3 offline.py start
```

- For Python {python} on {platform}; the extras installed are {extras}.
- Prepared at profile {profile}: {labs}. These labs start at once; others do their one-off work when they are opened.
- Data: {data}.
- `python3 offline.py labkit run 02` executes a lab without a browser.
{answers}
"""


class BundleError(RuntimeError):
    """The bundle cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Contents:
    """What a bundle holds, beside its notebooks.

    Attributes
    ----------
    wheel : str
        File name of labkit's own wheel in ``wheels/``.
    extras : tuple of str
        Of labkit, to be installed with it.
    labs : tuple of str
        Numbers of those whose one-off work is in ``results/``.
    precision : str
        Arithmetic that their models were trained in.
    own : tuple of str
        Data sets that were packed from the user's own files.
    """

    wheel: str
    extras: tuple[str, ...]
    labs: tuple[str, ...]
    precision: str
    own: tuple[str, ...] = ()


def pack(
    folder: Path,
    *,
    labs: Sequence[str] = (),
    extras: Sequence[str] = ("course",),
    own_data: bool = False,
    answer_free: bool = False,
) -> Path:
    """Make a bundle and return its folder; the profile is that of ``LABKIT_PROFILE``.

    Parameters
    ----------
    folder : Path
        New or empty.
    labs : sequence of str
        Labs whose prepared results go along; what this machine's cache lacks is made first.
    own_data : bool
        Also pack the MNIST, CIFAR-10 and MedMNIST files that this machine has, and results computed from them.
    answer_free : bool
        Notebooks and wheel of ``labkit classroom release`` in place of those for self-paced learners.

    Raises
    ------
    labkit.course.notebooks.build.BuildError
        For an installed wheel: the sources of the labs are not in it.
    labkit.course.labs.UnknownLabError
        If there is no such lab.
    BundleError
        If ``folder`` holds something, pip cannot fetch the wheels, or a lab cannot be prepared; nothing is left then.
    """
    root, chosen = build.checkout(), [lab(number) for number in labs]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} is there and not empty: name a new folder for the bundle")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".labkit-bundle-") as temporary:
        part = Path(temporary) / "bundle"
        for name in (WHEELS, NOTEBOOKS, RESULTS, DATA):
            (part / name).mkdir(parents=True)
        own = _own_files(part / DATA) if own_data else ()
        wheel = _labkit(root, part, answer_free=answer_free)
        print("collecting wheels", file=sys.stderr)
        collect(part / WHEELS, wheel, extras, root / ".ci" / handing_out.LOCK)
        precision = _results(part, wheel, chosen, own)
        finish(
            part,
            Contents(wheel, tuple(extras), tuple(item.number for item in chosen), precision, own),
            answer_free,
        )
        part.replace(folder)
    return folder


def _labkit(root: Path, part: Path, *, answer_free: bool) -> str:
    """Write the notebooks and labkit's own wheel; return the wheel's name."""
    if answer_free:
        ready = handing_out.prepare(root)
        notebooks, package = ready.notebooks, ready.package
    else:
        solved = {
            item: source.solution(item, build.places(item, root).source.read_text(encoding="utf-8"))
            for item in LABS
        }
        notebooks = {
            item.name: build.text(source.learner(source.standing_alone(book)))
            for item, book in solved.items()
        }
        package = wheels.sources(root, notebooks)
    for name, text in notebooks.items():
        (part / NOTEBOOKS / f"{name}.ipynb").write_text(text, encoding="utf-8")
    wheel, content = wheels.build(package)
    (part / WHEELS / wheel).write_bytes(content)
    return wheel


def collect(folder: Path, wheel: str, extras: Sequence[str], lock: Path) -> None:
    """Put the wheels that labkit's needs, at the tested versions, beside it, built where a project offers sources alone.

    Raises
    ------
    BundleError
        If pip fails.
    """
    wanted = f"{folder.absolute() / wheel}{_bracketed(extras)}"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run([*command, "--constraint", str(lock), wanted], capture_output=True, text=True)
    if done.returncode != 0:
        raise BundleError(f"pip could not collect the wheels: {(done.stdout + done.stderr).strip()[-800:]}")


def _bracketed(extras: Sequence[str]) -> str:
    return f"[{','.join(extras)}]" if extras else ""


def _own_files(folder: Path) -> tuple[str, ...]:
    """Copy the data files that this machine has, laid out as they are; return the names of the data sets."""
    from labkit.data import sources

    packed = []
    for name in sources.FORMATS:
        for root in sources.roots():
            if (files := sources.FORMATS[name].find(root)) is None:
                continue
            for path in files.paths:
                target = folder / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
            packed.append(name)
            break
    return tuple(packed)


def _results(part: Path, wheel: str, labs: Sequence[Lab], own: Sequence[str]) -> str:
    """Copy what the labs' one-off work has left in the cache, made first where it is missing; return the precision."""
    numbers = [item.number for item in labs if item.prepare]
    with tempfile.TemporaryDirectory(prefix="labkit-site-") as site:
        zipfile.ZipFile(part / WHEELS / wheel).extractall(site)
        ask = "from labkit.training import precision; print(precision.quickest())"
        precision = _python(["-c", ask], part, site).strip()
        if numbers:
            print(f"preparing labs {', '.join(numbers)}", file=sys.stderr)
            arithmetic = {"LABKIT_PRECISION": precision}
            _python(["-m", "labkit.cli", "prepare", *numbers], part, site, **arithmetic)
            names = _python(
                ["-m", "labkit.course.release.needed", *numbers], part, site, **arithmetic
            ).split()
            take(cache.directory(), part / RESULTS, names, own=bool(own))
    return precision


def _python(arguments: list[str], part: Path, site: str, **more: str) -> str:
    """Run Python with the bundle's own labkit on the bundle's own data, and return what it prints."""
    variables = {
        "PYTHONPATH": site,
        "LABKIT_DATA": str((part / DATA).absolute()),
        "LABKIT_CACHE": str(cache.directory().absolute()),
        "LABKIT_OFFLINE": "1",
        "LABKIT_PROFILE": profiles.current().name,
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=part,
        env=os.environ | variables | more,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise BundleError(f"{' '.join(arguments)} failed, as it says above: nothing was packed")
    return done.stdout


def take(cached: Path, folder: Path, names: Sequence[str], *, own: bool) -> None:
    """Copy files of the cache, decoded records of real data sets aside.

    Parameters
    ----------
    names : sequence of str
        Relative to the cache.
    own : bool
        Whether the user's own data files are packed; they are decoded anew where they arrive.

    Raises
    ------
    BundleError
        If records that may not be packed were used, and with them what was computed; nothing is copied then.
    """
    records = {
        name for name in names if name.startswith(("decoded/", "downloads/")) and "-stand-in-" not in name
    }
    if records and not own:
        raise BundleError(
            f"{', '.join(sorted(records))} in {cached}: records that a bundle may not hold were used. Point LABKIT_CACHE "
            "at another folder, or pack your own files with --own-data"
        )
    for name in sorted(set(names) - records):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cached / name, folder / name)


def finish(part: Path, contents: Contents, answer_free: bool = False) -> None:
    """Write the program that installs the bundle, what it was made for, its README, and the checksums of all of it."""
    made_for = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "platform": sysconfig.get_platform(),
        "wheel": contents.wheel,
        "extras": _bracketed(contents.extras),
        "labs": list(contents.labs),
        "own_data": list(contents.own),
        "LABKIT_PROFILE": profiles.current().name,
        "LABKIT_PRECISION": contents.precision,
    }
    (part / offline.SETTINGS).write_text(json.dumps(made_for, indent=1) + "\n", encoding="utf-8")
    shutil.copy(offline.__file__, part / "offline.py")
    given = "the hospitals' records, and stand-ins that code draws"
    whose = f"{given}; and your own files of {', '.join(contents.own)}: see whether you may pass them on"
    readme = README.format(
        python=made_for["python"],
        platform=made_for["platform"],
        extras=", ".join(contents.extras) or "none",
        profile=made_for["LABKIT_PROFILE"],
        labs=", ".join(contents.labs) or "none",
        data=whose if contents.own else given,
        answers="- This is the set without answers."
        if answer_free
        else "- Answers stand folded below each exercise.",
    )
    (part / "README.md").write_text(readme, encoding="utf-8")
    files = sorted(path for path in part.rglob("*") if path.is_file() and path.name != offline.SUMS)
    lines = [f"{_sha256(path)}  {path.relative_to(part).as_posix()}\n" for path in files]
    (part / offline.SUMS).write_text("".join(lines), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
