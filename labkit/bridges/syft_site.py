"""A PySyft data site: a guest asks for the mean of private records, the owner approves, a Laplace mean comes back.

PySyft 0.9 pins most of what it imports, so it gets an environment of its own: ``labkit bridge pysyft``. Version 0.10 is
another product, jobs over a cloud drive, and is not what courses mean by a data site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from labkit import profiles
from labkit.bridges.agreement import FALSE_FAILURE, Agreement, Line
from labkit.bridges.environment import BridgeError, Environment
from labkit.bridges.laws import two_samples
from labkit.dp import Laplace, LaplaceEvent, mean_sensitivity, privacy_statement

STEPS = (("setuptools<81", "syft>=0.9.5,<0.10", "sniffio"),)
LOW, HIGH, EPSILON = 5.0, 30.0, 1.0  # bounds of the mean radius, fixed without a look at the records


def pysyft(*, keep: bool = False, python: str | Path | None = None, seed: int = 0) -> Agreement:
    """Have a PySyft site answer with a private mean, and hold its answers against labkit's Laplace mechanism.

    Parameters
    ----------
    keep : bool
        Leave the environment there.
    python : path, optional
        A Python 3.10 to 3.12 to use.
    seed : int
        Of the mock records and of labkit's noise; the site's noise is drawn from the operating system.

    Raises
    ------
    BridgeError
        If no Python fits, it cannot be installed or run, or the site gave the records away.
    """
    from sklearn.datasets import load_breast_cancer

    place = Environment("pysyft", STEPS, pythons=((3, 10), (3, 13)), gigabytes=2, python=python, keep=keep)
    rng = np.random.default_rng(seed)
    records = load_breast_cancer().data[:, 0]
    mock = rng.uniform(LOW, HIGH, len(records))  # drawn from the public bounds alone
    repeats = profiles.current().pick(smoke=2000, laptop=5000, full=20_000)
    with place:
        found = place.run(
            "answer_with_syft.py",
            {
                "records": records.tolist(),
                "mock": mock.tolist(),
                "low": LOW,
                "high": HIGH,
                "epsilon": EPSILON,
                "repeats": repeats,
            },
        )
        versions = place.versions(["syft", "numpy"])
    for what in ("private records", "before approval"):
        if found[what] is None:
            raise BridgeError(f"the site gave its answer away ({what}): {found}")
    mechanism = Laplace(EPSILON, mean_sensitivity(LOW, HIGH, len(records)))
    mean, answer = float(records.clip(LOW, HIGH).mean()), found["answer"]
    ours = mechanism.release(np.full(repeats, mock.clip(LOW, HIGH).mean()), rng)
    return Agreement(
        tool="PySyft",
        lines=(
            _answer_line(mean, answer, mechanism),
            two_samples("the site's releases of a public mean, ε = 1", ours, np.array(found["many"])),
        ),
        versions=versions,
        command="labkit bridge pysyft",
        source="Wisconsin Diagnostic Breast Cancer, mean radius of 569 patients, bounds 5 to 30, n public",
        profile=profiles.current().name,
        seeds=(seed,),
        environment="its own, removed" if not keep else "its own, kept",
        notes=(
            "The site runs in one process and on no network; approval is a click of the owner's, not a proof of the code.",
            "Neighbours: one record replaced, n public. The seed is of the mock records and of labkit's side.",
            _spending(found["again"]),
        ),
        details={
            "guest reads the private records": found["private records"],
            "call before approval": found["before approval"],
            "calls after the first answer": found["again"],
        },
    )


def _answer_line(mean: float, answer: float, mechanism: Laplace) -> Line:
    """Return the one answer about the private records against the true mean, in scales of the noise."""
    scales = abs(answer - mean) / mechanism.scale
    allowed = float(-np.log(FALSE_FAILURE))
    measure = f"scales of Laplace noise; fails by chance {FALSE_FAILURE:g}"
    return Line("approved mean, true mean beside it (mm)", mean, answer, scales, allowed, measure)


def _spending(again: list[Any]) -> str:
    """Say what one approval cost, by how many further calls were answered with new noise."""
    fresh = len({value for value in again if isinstance(value, float)})
    if not fresh:
        return "Further calls after the one that was approved got no new answer."
    # Replacing a record moves the mean by twice what the event calls its add/remove sensitivity.
    spent = privacy_statement(LaplaceEvent(2 / EPSILON, 1 + fresh), delta=1e-5, neighbouring="replace-one")
    return (
        f"One approval for a single execution let {fresh} further calls draw new noise: {1 + fresh} answers, together "
        f"{spent}. The budget is the site's to count: this site did not."
    )
