"""The options of ``labkit classroom`` and ``labkit bundle``, light enough to load with every command."""

from __future__ import annotations

import argparse
from pathlib import Path

EXTRAS = ("bridges", "classroom", "cluster", "course", "federated", "simulation", "site", "test")
CLASSROOM_EXAMPLES = """  labkit classroom release my-class
  labkit classroom variant exams
  labkit build --classroom my-course
  labkit classroom grade my-course

what remains possible when an exercise is graded:
  A copied answer passes, and so does a table of the numbers that a check expects: nothing tells who wrote a function.
  On Linux the kernel keeps a submission from files and programs (Landlock); elsewhere its fence is made of Python alone,
  and code that reaches into C by itself can read files or use the network as the account that grades: for strangers'
  submissions use an account or a container of its own."""
BUNDLE_EXAMPLES = """  labkit bundle labkit-offline --labs 02 04 05
  labkit bundle labkit-exam --answer-free --labs all
  labkit bundle tiny --profile smoke --labs 02"""


def classroom_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the arguments of ``labkit classroom``."""
    sub.add_argument(
        "action",
        choices=["release", "variant", "grade"],
        help="release: notebooks and wheel without answers; variant: an exam and its key; grade: each function by itself, "
        "in a fresh process with a limit of time and memory, into a table of points and a page for each learner",
    )
    sub.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="to grade: holds submitted/STUDENT/LAB/LAB.ipynb, as for nbgrader",
    )
    sub.add_argument("--seconds", type=float, default=60, help="grade: time for one exercise (default: 60)")
    sub.add_argument(
        "--megabytes", type=int, default=2048, help="grade: memory for one exercise (default: 2048)"
    )
    sub.add_argument(
        "--seed",
        type=int,
        help="variant: the same numbers again, by the seed that its key names (default: drawn anew)",
    )
    sub.add_argument(
        "--force",
        action="store_true",
        help="keep edited files as NAME.yours beside the new ones",
    )


def bundle_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the arguments of ``labkit bundle``."""
    sub.add_argument("folder", type=Path, metavar="DIR", help="new or empty")
    sub.add_argument(
        "--labs", nargs="+", default=[], metavar="NN", help="whose prepared results go along, or the word all"
    )
    sub.add_argument(
        "--extras",
        nargs="*",
        default=["course"],
        choices=EXTRAS,
        help="of labkit to install (default: course)",
    )
    sub.add_argument(
        "--own-data",
        action="store_true",
        help="also pack the MNIST, CIFAR-10 and MedMNIST files that you have: see whether you may pass them on",
    )
    sub.add_argument("--answer-free", action="store_true", help="notebooks and wheel of classroom release")
