"""Everything tried against one system, as one table of findings.

A part that is skipped, or that stops with an error, is a finding, too: "not shown". Nothing falls out of the report.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labkit import profiles
from labkit.federated.threats.findings import Finding, Findings, not_shown
from labkit.federated.threats.system import System

Seeds = tuple[int, ...]


class ThreatWarning(UserWarning):
    """A part of the analysis stopped; its findings are "not shown"."""


@dataclass(frozen=True)
class Part:
    """One part of the analysis: what is said about it if it is not run, and how to run it."""

    title: str
    adversary: str
    knowledge: str
    control: str
    findings: Callable[[System, Seeds], list[Finding]]


def run(
    system: System,
    *,
    seeds: Sequence[int] | None = None,
    skip: Collection[str] = (),
    done: Mapping[str, Sequence[Finding]] | None = None,
) -> Findings:
    """Attack a system in every way that this package knows, and return the findings.

    Parameters
    ----------
    system : System
    seeds : sequence of int, optional
        Of the runs that chance has a part in (default: 2, 5 or 20 by profile). Shadow federations take the first.
    skip : collection of str
        Parts to leave out, of `PARTS`; each is then a finding "not shown".
    done : mapping of str to sequence of Finding, optional
        Findings of parts that were studied already, such as ``{"server": study_server(system).findings()}``.

    Raises
    ------
    ValueError
        If a part is unknown, skipped and done, or seeds repeat, before anything is run.
    """
    profile = profiles.current()
    seeds = tuple(range(profile.pick(smoke=2, laptop=5, full=20)) if seeds is None else seeds)
    done = done or {}
    if unknown := {*skip, *done} - set(PARTS):
        raise ValueError(f"skip and done name {sorted(unknown)}; expected some of {', '.join(PARTS)}")
    if twice := set(skip) & set(done):
        raise ValueError(f"{sorted(twice)} are both skipped and done; expected one of the two")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}; expected at least one, each once")
    start = time.perf_counter()
    found: list[Finding] = []
    for name, part in PARTS.items():
        found += done[name] if name in done else _found(name, part, system, seeds, skip)
    return Findings(
        findings=tuple(found),
        system=system.describe(),
        source=system.federation.hospitals.source,
        profile=profile.name,
        seeds=seeds,
        seconds=time.perf_counter() - start,
    )


def _found(name: str, part: Part, system: System, seeds: Seeds, skip: Collection[str]) -> Iterator[Finding]:
    """Yield a part's findings, or the one that says why there are none."""
    about = {"adversary": part.adversary, "knowledge": part.knowledge, "control": part.control}
    if name in skip:
        yield not_shown(part.title, **about, why="this part was left out.")
        return
    try:
        yield from part.findings(system, seeds)
    except Exception as error:  # hours of other parts must not be lost with it
        warnings.warn(f"{name} stopped: {type(error).__name__}: {error}", ThreatWarning, stacklevel=3)
        yield not_shown(part.title, **about, why=f"it stopped with {type(error).__name__}: {error}")


def _membership(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats.membership import study_membership

    return study_membership(system, seed=seeds[0]).findings()


def _inversion(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated import inversion
    from labkit.federated.threats import reconstruction

    return reconstruction.findings(inversion.study(len(system.federation.hospitals)))


def _server(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats.server import study_server

    return study_server(system, seed=seeds[0]).findings()


def _collusion(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats.colluding import study_collusion

    return study_collusion(system, seed=seeds[0]).findings()


def _malicious(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats import malicious

    return malicious.findings(system, seeds=seeds, profile=profiles.current())


def _robust(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats import robust

    return robust.findings(system, seeds=seeds, profile=profiles.current())


def _drift(system: System, seeds: Seeds) -> list[Finding]:
    from labkit.federated.threats import drift

    return drift.findings(system, seeds=seeds, profile=profiles.current())


PARTS: dict[str, Part] = {
    "membership": Part(
        "Membership inference",
        "whoever gets the model, the server, another hospital",
        "the model, or every round's model",
        "differential privacy",
        _membership,
    ),
    "inversion": Part(
        "What the server learns from updates and sums",
        "the server",
        "the model it sent, one update or a sum",
        "secure aggregation and noise for a patient",
        _inversion,
    ),
    "server": Part(
        "A malicious server",
        "a malicious server",
        "every message of secure aggregation",
        "the protocol's checks",
        _server,
    ),
    "collusion": Part(
        "Colluding hospitals",
        "several hospitals, with the server",
        "their own records, noise shares and copies",
        "noise and codes made for colluders",
        _collusion,
    ),
    "malicious": Part(
        "Malicious hospitals",
        "a hospital that takes part",
        "the model, its own records and mark",
        "bounds on contributions",
        _malicious,
    ),
    "robust": Part(
        "Robust aggregation",
        "a hospital that takes part",
        "the rule by which contributions are combined",
        "norm bounds under secure aggregation; medians need contributions in clear",
        _robust,
    ),
    "drift": Part(
        "Drift over many rounds",
        "time, and sites that change",
        "nothing",
        "re-marking and monitoring",
        _drift,
    ),
}
