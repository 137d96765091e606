"""``labkit doctor``: what this machine has, what is missing, and one fix per problem."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from labkit import cache
from labkit.course import showing

GOOD, NOTE, PROBLEM = "ok", "note", "problem"
OLDEST_PYTHON = (3, 11)
SMALLEST_MEMORY, SMALLEST_DISK = 4.0, 2.0  # GiB


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    level : str
        ``"ok"``, ``"note"`` (worth knowing, nothing fails) or ``"problem"``.
    fix : str
        What to type or do; empty when all is well.
    """

    topic: str
    level: str
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at Python, packages, hardware, data, JupyterLab and the folders that the kit writes to."""
    findings = [*_python(), *_packages(), *_hardware(), *_data(), *_jupyter(), *_folders()]
    return [replace(item, found=_short(item.found), fix=_short(item.fix)) for item in findings]


def _short(found: str) -> str:
    """Write well-known folders by their short names: a report is often pasted, and need not name its machine."""
    folders = {cache.checkout(): ".", showing.home(): "~"}
    data = Path(os.environ.get("LABKIT_DATA") or os.devnull).expanduser().resolve()
    if data.is_dir():  # else its value is what a finding is about
        folders = {data: "$LABKIT_DATA"} | folders
    for folder, name in folders.items():
        if folder and folder != Path(folder.root):
            found = found.replace(f"{folder}{os.sep}", f"{name}{os.sep}").replace(str(folder), name)
    return found


def _python() -> Iterator[Finding]:
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding(
            "Python", PROBLEM, found, "install Python 3.11 or newer, then: make lab PYTHON=python3.11"
        )
    else:
        yield Finding("Python", GOOD, found)


def tested_versions() -> dict[str, str]:
    """Return {package: version} that the kit was tested with: the lock file of a checkout, or the wheel's copy."""
    root = cache.checkout()
    lock = (
        root / ".ci" / "requirements.lock"
        if root
        else Path(__file__).parent / "course" / "bundle" / "requirements.lock"
    )
    if not lock.is_file():
        return {}
    from packaging.requirements import Requirement

    pins = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.lstrip().startswith("#"):
            need = Requirement(line.split(" #")[0])
            if need.marker is None or need.marker.evaluate():
                pins[_canonical(need.name)] = str(need.specifier).removeprefix("==")
    return pins


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what labkit asks for (a problem) and with what it was tested with (a note)."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        needs = [Requirement(text) for text in metadata.requires("labkit") or []]
    except metadata.PackageNotFoundError:
        yield Finding("labkit", PROBLEM, "not installed in this Python", "python -m pip install --editable .")
        return
    tested, fine, other = tested_versions(), 0, []
    wanted = ("", "course") if _jupyterlab() else ("",)
    for need in needs:
        if need.marker is not None and not any(need.marker.evaluate({"extra": name}) for name in wanted):
            continue
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield Finding(
                need.name, PROBLEM, "not installed", f'python -m pip install "{need.name}{need.specifier}"'
            )
            continue
        if not need.specifier.contains(version, prereleases=True):
            fix = f'python -m pip install "{need.name}{need.specifier}"'
            yield Finding(need.name, PROBLEM, f"{version}; labkit needs {need.specifier}", fix)
            continue
        fine += 1
        pin = tested.get(_canonical(need.name))
        if pin and Version(version).base_version != Version(pin).base_version:
            other.append(f"{need.name} {version} (tested {pin})")
    yield Finding("Packages", GOOD, f"{fine} installed in the range that labkit asks for")
    if other:
        fix = "fine unless something fails; then: make lab, which installs the tested versions"
        yield Finding("Tested versions", NOTE, "other than tested: " + ", ".join(other), fix)


def _hardware() -> Iterator[Finding]:
    import psutil

    memory, cores = psutil.virtual_memory().total / 2**30, os.cpu_count()
    found = f"{cores} cores, {memory:.1f} GiB of memory"
    if memory < SMALLEST_MEMORY:
        yield Finding(
            "Machine", NOTE, found, "run the labs with LABKIT_PROFILE=smoke: they were sized for 4 GiB"
        )
    else:
        yield Finding("Machine", GOOD, found)
    try:
        import torch

        from labkit.data import torchvision

        vision = torchvision().__version__
    except Exception as error:
        fix = "python -m pip install --force-reinstall torch torchvision"
        yield Finding("torch", PROBLEM, f"does not load: {type(error).__name__}: {error}", fix)
        return
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU (none is needed)"
    yield Finding("torch", GOOD, f"torch {torch.__version__}, torchvision {vision}; {gpu}")


def _data() -> Iterator[Finding]:
    from labkit import data
    from labkit.data import sources

    try:
        sources.roots()
    except data.DataError as error:
        found, _, fix = str(error).rpartition(": ")
        yield Finding("Data", PROBLEM, found, fix)
        return
    absent = []
    for name in data.DATASETS:
        place = data.locate(name)
        if place.kind == "corrupt":
            yield Finding(f"Data: {name}", PROBLEM, place.message, "replace or delete that file")
        elif place.kind in ("files", "bundled"):
            yield Finding(f"Data: {name}", GOOD, place.message)
        elif place.kind == "missing" or name not in sources.DOWNLOADS:
            absent.append(name)
        else:
            yield Finding(f"Data: {name}", NOTE, place.message, f"labkit data --fetch {name}")
    if absent:
        fix = "none needed; data/README.md says where to get them"
        yield Finding("Data: optional", NOTE, f"not here: {', '.join(absent)}", fix)


def _jupyterlab() -> str | None:
    """Return JupyterLab's version, or None where only the package was installed, without the course."""
    try:
        return metadata.version("jupyterlab")
    except metadata.PackageNotFoundError:
        return None


def _jupyter() -> Iterator[Finding]:
    version = _jupyterlab()
    if version is None:
        found = "not installed: the package works without it, the labs do not"
        yield Finding("JupyterLab", NOTE, found, "python -m pip install 'labkit[course]'")
        return
    yield Finding("JupyterLab", GOOD, version)
    if showing.home() is None:
        found = "this user has no home folder (HOME is not set), and Jupyter looks for its kernels there"
        yield Finding("Kernel", PROBLEM, found, "set HOME to a folder that can be written")
        return
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield Finding("Kernel", PROBLEM, "no kernel named python3", fix)
        return
    # A bare "python" means the Python that runs Jupyter; a full path may be any other one.
    other = os.path.isabs(command) and not _same_python(command)
    if other:
        yield Finding(
            "Kernel", PROBLEM, f"python3 runs {command}, which is another Python than this one", fix
        )
    else:
        yield Finding("Kernel", GOOD, "python3 runs this Python")


def _same_python(command: str) -> bool:
    # The folder decides, not the resolved link: python in two environments may be one and the same binary.
    return Path(command).parent.absolute() == Path(sys.executable).parent.absolute()


def _folders() -> Iterator[Finding]:
    from labkit.course.exercises import progress

    for topic, folder, variable in (
        ("Cache folder", cache.directory(), "LABKIT_CACHE"),
        ("Progress", progress.path().parent, "LABKIT_PROGRESS_FILE"),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            fix = f"set {variable} to a place that can be written"
            yield Finding(topic, PROBLEM, f"{folder} cannot be written", fix)
        elif free < SMALLEST_DISK:
            yield Finding(
                topic, NOTE, f"{folder}: only {free:.1f} GiB free", f"free some space, or set {variable}"
            )
        else:
            yield Finding(topic, GOOD, f"{folder}, {free:.0f} GiB free")


def text(findings: list[Finding]) -> str:
    """Return the findings as plain text, one line each and a line for each fix."""
    marks = {GOOD: "ok      ", NOTE: "note    ", PROBLEM: "PROBLEM "}
    lines = []
    for item in findings:
        lines.append(f"{marks[item.level]}{item.topic:<22} {item.found}")
        if item.fix:
            lines.append(f"{'':8}{'':<22} fix: {item.fix}")
    return "\n".join([*lines, "", verdict(findings)])


def verdict(findings: list[Finding]) -> str:
    """Return one closing sentence."""
    problems = sum(item.level == PROBLEM for item in findings)
    if problems:
        return f"{problems} problem{'s' if problems > 1 else ''}: the fixes above come first."
    if any(item.topic == "JupyterLab" and item.level == NOTE for item in findings):
        return "Ready: the package can be used here; the labs need the extra 'course'."
    return "Ready: all labs can run here."


def report() -> None:
    """Examine this machine and say the verdict: problems with their fixes in sight, all else folded; text elsewhere."""
    findings = examine()
    problems = [item for item in findings if item.level == PROBLEM]
    tone = "wrong" if problems else "passed"
    rich = showing.box(tone, verdict(findings), _lines(problems)) + _folded(findings)
    showing.show(rich, text(findings))


def _lines(findings: list[Finding]) -> list[tuple[str, str]]:
    return [
        (f"{item.topic} ({item.level})", item.found + (f"\nFix: {item.fix}" if item.fix else ""))
        for item in findings
    ]


def _folded(findings: list[Finding]) -> str:
    """Return all that was looked at as HTML that opens on a click, with the number of notes beside the click."""
    notes = sum(item.level == NOTE for item in findings)
    more = f", {notes} note{'s' if notes > 1 else ''}" if notes else ""
    items = "".join(
        f'<li style="white-space:pre-wrap"><strong>{html.escape(name)}</strong>: {html.escape(found)}</li>'
        for name, found in _lines(findings)
    )
    return f"<details><summary>{len(findings)} things looked at{more}</summary><ul>{items}</ul></details>"
