"""Install and open this bundle on a machine without network. It needs Python alone:

python3 offline.py install         once: checks every file, then makes .venv here from wheels/
python3 offline.py start           opens the course
python3 offline.py labkit doctor   any command of labkit, with the data and the results of this bundle
"""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUMS, SETTINGS = "SHA256SUMS", "bundle.json"


def settings() -> dict:
    """Return what the bundle was made for."""
    return json.loads((HERE / SETTINGS).read_text(encoding="utf-8"))


def damaged() -> list[str]:
    """Return the files that are missing or differ from their checksum; notebooks count until the first installation."""
    if not (HERE / SUMS).is_file():
        return [SUMS]
    lines = (HERE / SUMS).read_text(encoding="utf-8").splitlines()
    listed = [(line[66:], line[:64]) for line in lines]
    again = (HERE / ".venv").exists()
    return [
        name
        for name, sha256 in listed
        if not (again and name.startswith("notebooks/")) and _sha256(HERE / name) != sha256
    ]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def program(name: str) -> Path:
    """Return a program of the environment that `install` makes."""
    folder = HERE / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    return folder / (f"{name}.exe" if os.name == "nt" else name)


def install() -> int:
    """Check the bundle, and install it without asking any index."""
    made_for = settings()
    here = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "platform": sysconfig.get_platform()}
    for key, found in here.items():
        if found != made_for[key]:
            print(
                f"this bundle is for {key} {made_for[key]}, and here is {found}: make one there, or run it with that"
            )
            return 2
    if wrong := damaged():
        print(f"damaged or missing, copy the bundle anew: {', '.join(wrong[:10])} ({len(wrong)} in all)")
        return 2
    venv.create(HERE / ".venv", with_pip=True, clear=True)
    # Isolated: no setting of this machine adds an index or another folder of wheels.
    pip = [
        program("python"),
        "-m",
        "pip",
        "--isolated",
        "install",
        "--quiet",
        "--no-index",
        "--no-cache-dir",
        "--no-compile",
    ]
    wanted = f"{HERE / 'wheels' / made_for['wheel']}{made_for['extras']}"
    return subprocess.call([*map(str, pip), "--find-links", str(HERE / "wheels"), wanted])


def environment() -> dict[str, str]:
    """Return the variables under which labkit finds this bundle's data and results."""
    made_for = settings()
    places = {"LABKIT_DATA": str(HERE / "data"), "LABKIT_CACHE": str(HERE / "results"), "LABKIT_OFFLINE": "1"}
    # Results are found again by the profile and the arithmetic that they were made with.
    return os.environ | places | {name: made_for[name] for name in ("LABKIT_PROFILE", "LABKIT_PRECISION")}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if arguments == ["install"]:
        return install()
    if arguments[:1] in (["start"], ["labkit"]) and not program("python").exists():
        print("nothing is installed here yet; first: python3 offline.py install", file=sys.stderr)
        return 2
    if arguments == ["start"]:
        root = ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
        first = sorted((HERE / "notebooks").glob("*.ipynb"))[0]
        return subprocess.call(
            [str(program("jupyter")), "lab", *root, str(first)], env=environment(), cwd=HERE
        )
    if arguments[:1] == ["labkit"]:
        return subprocess.call([str(program("labkit")), *arguments[1:]], env=environment(), cwd=HERE)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
