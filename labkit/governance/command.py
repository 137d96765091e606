"""``labkit review``: read a project file, review it, write the report, say what was decided."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.governance.project import Project
    from labkit.signing import Signer

CODES = {"approve": 0, "approve with conditions": 3, "reject": 4}  # exit codes: only an approval is a success
EXAMPLES = """  labkit review my_project.yaml
  labkit review my_project.yaml --trust-code --reviewer "Ana Perez" --key reviewer.key
  labkit review --example cifar10 --out reviews
  labkit review --verify reviews/cifar10.html --public 64_HEX_DIGITS

a project file (YAML) names title, owner, model and data, and what there is of privacy, promises, defences, training, shadows,
mark, evidence, custody, answers, run, budget_minutes, days and seed. Interrupt at will: the same call goes on.
exit code: 0 approve, 3 approve with conditions, 4 reject, 2 the project cannot be read"""


def arguments(sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    sub.add_argument("project", nargs="?", type=Path, metavar="PROJECT.yaml", help="what is reviewed")
    sub.add_argument(
        "--example", metavar="NAME", help="review a model of the course instead: cifar10 or hospitals"
    )
    sub.add_argument(
        "--trust-code",
        action="store_true",
        help="run the code (import paths, pickles) that the project file names: it can do anything",
    )
    sub.add_argument(
        "--out", type=Path, default=Path("labkit-reviews"), metavar="DIR", help="default: labkit-reviews"
    )
    sub.add_argument("--reviewer", default="the reviewer", metavar="NAME", help="who signs")
    sub.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="their Ed25519 key: a file of 64 hexadecimal digits, nobody else's to read",
    )
    sub.add_argument(
        "--verify", type=Path, metavar="REPORT", help="check a report (.html or .md) instead; needs --public"
    )
    sub.add_argument(
        "--public", metavar="KEY", help="the reviewer's public key, from elsewhere than the report"
    )


def main(options: argparse.Namespace, examples: Callable[[], Mapping[str, Callable[[], Project]]]) -> int:
    """Do what the command line asks for and return the exit code.

    Parameters
    ----------
    examples : callable
        Returns the projects of the course by name: this package knows no lab.

    Raises
    ------
    ReviewError
        If the arguments do not fit together, or the project cannot be read.
    TamperError
        If a report that is checked was changed.
    """
    from labkit.governance.findings import ReviewError

    if options.verify is not None:
        return _verify(options.verify, options.public)
    if (options.project is None) == (options.example is None):
        raise ReviewError("expected either a project file or --example NAME")
    signer = None if options.key is None else signer_from(options.key)
    name, project = _project(options, examples)
    from labkit.governance.reviewing import review

    _writable(options.out)
    done = review(project)
    pages = done.report(options.out / name, reviewer=options.reviewer, signer=signer)
    print(done.table().to_string(max_colwidth=70))
    print(f"\n{done}")
    for page in pages:
        print(page)
    return CODES[done.decision.verdict]


def _writable(folder: Path) -> None:
    """Refuse a folder that no report can be written to before the review costs minutes."""
    from labkit.governance.findings import ReviewError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReviewError(
            f"cannot write in {folder} ({error.strerror}): name another folder with --out"
        ) from error


def _project(
    options: argparse.Namespace, examples: Callable[[], Mapping[str, Callable[[], Project]]]
) -> tuple[str, Project]:
    if options.project is not None:
        from labkit.governance.loading import read_project

        return options.project.stem, read_project(options.project, trust_code=options.trust_code)
    from labkit.governance.findings import ReviewError

    known = examples()
    if options.example not in known:
        raise ReviewError(f"no example {options.example!r}; expected one of {', '.join(known)}")
    return options.example, known[options.example]()


def _verify(path: Path, public: str | None) -> int:
    from labkit.governance.findings import ReviewError
    from labkit.governance.sealing import verify_report

    if public is None:
        raise ReviewError("--verify needs --public KEY: a page cannot vouch for itself")
    record = verify_report(path, public)
    decision = next(entry.content for entry in record.entries if entry.action == "decision")
    print(f"{path}: as signed by the holder of {public}; {decision['verdict']}, case {record.case}")
    return 0


def signer_from(path: Path) -> Signer:
    """Read a key: 32 secret bytes as 64 hexadecimal digits.

    Raises
    ------
    ReviewError
        If the file is not there, others than its owner can read it, or it holds something else.
    """
    from labkit import keyfiles
    from labkit.governance.findings import ReviewError
    from labkit.signing import Signer

    try:
        secret = bytes.fromhex(keyfiles.guarded(path).decode().strip())
    except keyfiles.KeyFileError as error:
        raise ReviewError(str(error)) from error
    except ValueError as error:
        raise ReviewError(f"{path} holds no key: expected 64 hexadecimal digits") from error
    if len(secret) != 32:
        raise ReviewError(f"{path} holds {len(secret)} bytes; expected 32, as 64 hexadecimal digits")
    return Signer.from_seed(secret)
