"""The labs: number, name, part, minutes and prerequisites; and the banner at the top of each."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from labkit import profiles
from labkit.course import showing


@dataclass(frozen=True)
class Lab:
    """One lab of the course.

    Attributes
    ----------
    number : str
        Two digits.
    slug : str
        The file's name after the number: ``solutions/NN_slug.py``.
    part : str
        Where it belongs in the course.
    study_minutes : int
        What a learner should set aside, exercises included.
    run_minutes : tuple of float
        What running all cells takes on 2 cores once one-off work is cached: smoke, laptop, full.
    prerequisites : tuple of str
        Numbers of the labs it builds on.
    prepare : str
        ``"module:function"`` that does its one-off work, or nothing.
    first_minutes : float
        What that takes at profile laptop on 2 cores that do nothing else, once those it builds on are prepared, from
        seconds of processor time; ``labkit bench prepare`` measures it on your machine. 0 for nothing worth saying.
    """

    number: str
    slug: str
    title: str
    part: str
    study_minutes: int
    run_minutes: tuple[float, float, float]
    prerequisites: tuple[str, ...] = ()
    prepare: str = ""
    first_minutes: float = 0

    @property
    def name(self) -> str:
        """The file name without its ending, such as ``00_start_here``."""
        return f"{self.number}_{self.slug}"


LABS = (
    Lab("00", "start_here", "Start here", "start", 25, (0.2, 0.2, 0.2)),
    Lab(
        "01",
        "differential_privacy",
        "Differential privacy from the ground up",
        "foundations",
        105,
        (1, 2, 5),
        ("00",),
    ),
    Lab(
        "02",
        "dp_sgd",
        "DP-SGD on MNIST",
        "the first project",
        90,
        (1, 5, 15),
        ("01",),
        "labkit.scenarios.first_project:prepare_dp_sgd",
        10,
    ),
    Lab(
        "03",
        "utility",
        "Utility for a business target",
        "the first project",
        90,
        (1, 7, 15),
        ("02",),
        "labkit.scenarios.first_project:prepare_utility",
        3,
    ),
    Lab(
        "04",
        "membership_inference",
        "Membership inference",
        "membership and audit",
        105,
        (0.5, 1, 5),
        ("00",),
        "labkit.scenarios.handed_over:prepare",
        1,
    ),
    Lab(
        "05",
        "red_team",
        "Red team: the strongest attacks, and what stops them",
        "membership and audit",
        115,
        (0.5, 1, 10),
        ("04",),
        "labkit.scenarios.red_team:prepare",
        14,
    ),
    Lab(
        "06",
        "privacy_audit",
        "The privacy audit",
        "membership and audit",
        110,
        (1, 4, 8),
        ("02",),
    ),
    Lab(
        "07",
        "watermark",
        "Watermark a model, steal it, prove it",
        "the second project",
        110,
        (0.7, 2, 10),
        ("05",),
        "labkit.scenarios.owner_and_thief:prepare",
        20,
    ),
    Lab(
        "08",
        "marks_that_last",
        "Marks that last",
        "the second project",
        100,
        (0.7, 4, 10),
        ("07",),
        "labkit.scenarios.marks_that_last:prepare",
        18,
    ),
    Lab(
        "09",
        "ownership_court",
        "The ownership court",
        "the second project",
        110,
        (0.7, 3, 10),
        ("07",),
        "labkit.scenarios.ownership_court:prepare",
        3,
    ),
    Lab(
        "10",
        "secure_aggregation",
        "Secure aggregation from scratch",
        "the capstone",
        90,
        (0.2, 0.5, 1),
        ("00",),
    ),
    Lab(
        "11",
        "federated_hospitals",
        "Federated hospitals",
        "the capstone",
        120,
        (0.5, 1, 5),
        ("02", "07", "10"),
        "labkit.scenarios.hospitals:prepare",
        10,
    ),
    Lab(
        "12",
        "threat_analysis",
        "Threat analysis of the capstone",
        "the capstone",
        110,
        (0.8, 1, 5),
        ("05", "11"),
        "labkit.scenarios.hospitals:prepare",
        10,
    ),
    Lab(
        "13",
        "privacy_review",
        "The privacy review board",
        "the review board",
        95,
        (0.5, 1, 5),
        ("02", "05"),
        "labkit.scenarios.review_board:prepare",
        1,
    ),
    Lab(
        "14",
        "interview",
        "Interview preparation",
        "the interview",
        90,
        (0.5, 0.5, 0.5),
        ("03", "05", "09"),
    ),
)


class UnknownLabError(LookupError):
    """There is no lab of that number; the message lists those there are."""


def lab(number: str) -> Lab:
    """Return the lab of this number (``2`` and ``02`` both mean 02).

    Raises
    ------
    UnknownLabError
        If there is no such lab; the message lists those there are.
    """
    for item in LABS:
        if item.number == str(number).zfill(2):
            return item
    raise UnknownLabError(f"no lab {number!r}; the labs are: {', '.join(item.number for item in LABS)}")


def banner(number: str, *datasets: Any) -> None:
    """Show where this lab runs: profile, device, where each dataset came from, and the minutes to expect."""
    from labkit.training import precision

    item, profile = lab(number), profiles.current()
    smoke, laptop, full = item.run_minutes
    minutes = profile.pick(smoke=smoke, laptop=laptop, full=full)
    expected = "under a minute" if minutes < 1 else f"about {minutes:g} minute{'s' if minutes != 1 else ''}"
    rows = [
        ("Lab", f"{item.number} · {item.title}"),
        ("Profile", f"{profile.name} (set LABKIT_PROFILE to smoke, laptop or full before Jupyter starts)"),
        ("Device", _device()),
        *([("Arithmetic", precision.described())] if item.first_minutes and profile.name != "smoke" else []),
        ("Running all cells", f"{expected} on 2 cores, once prepared"),
        *([("The first time", _first(item))] if item.first_minutes and profile.name == "laptop" else []),
        *((f"Data: {data.name}", data.source) for data in datasets),
    ]
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left;padding-right:1em">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    showing.show(
        f"<table><caption>Where this lab runs</caption><tbody>{cells}</tbody></table>",
        "\n".join(f"{name}: {text}" for name, text in rows),
    )


def _first(item: Lab) -> str:
    return (
        f"about {item.first_minutes:g} minutes more on 2 cores, once: labkit prepare {item.number} does it beforehand, "
        "labkit prepare all for the whole course; interrupt at will"
    )


def _device() -> str:
    import os

    import torch

    device = profiles.device()
    if device.type == "cuda":
        return f"GPU, {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'} of {os.cpu_count()} cores"
