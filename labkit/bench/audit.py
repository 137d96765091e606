"""``labkit bench audit``: which planted bugs each audit flags, and how often the conformance audit accuses the innocent.

False alarms are counted over correct training by all four engines of `labkit.dp` and by a hand-written loop, each
audit with seeds of its own. Nothing is compared with a peer: no other kit has either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import profiles, progress, stats
from labkit.bench.membership import command
from labkit.bench.report import machine
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from labkit.audit import Settings, Task
    from labkit.audit.task import TrainingFunction

RUNS = 5
ENGINES = ("opacus", "vmap", "layers", "linear")
HAND_WRITTEN = "hand-written"


@dataclass(frozen=True)
class AuditBench(Result):
    """What `run` counted.

    Attributes
    ----------
    flagged : dict
        For each planted bug: whether the conformance audit flags it, and whether the audit by guesses refutes its claim.
    alarms : dict
        For each way of correct training: audits that accused it, and audits made.
    seconds : dict
        Wall time of each part.
    machine : dict
    """

    flagged: dict[str, tuple[bool, bool]]
    alarms: dict[str, tuple[int, int]]
    seconds: dict[str, float]
    machine: dict[str, Any]

    @property
    def false_alarms(self) -> stats.Interval:
        """Share of audits of correct training that accused it, 95% interval."""
        hits, audits = (sum(column) for column in zip(*self.alarms.values(), strict=True))
        return stats.clopper_pearson(hits, audits)

    def caught(self, which: int) -> stats.Interval:
        """Share of the planted bugs that the conformance (0) or the statistical audit (1) flags.

        The interval takes them for a sample of all bugs that there might be; they are not a random one.
        """
        return stats.clopper_pearson(sum(row[which] for row in self.flagged.values()), len(self.flagged))

    def numbers(self) -> dict[str, Any]:
        return {
            "planted bugs": len(self.flagged),
            "flagged by conformance": sum(row[0] for row in self.flagged.values()),
            "refuted by guesses": sum(row[1] for row in self.flagged.values()),
            "flagged": {name: list(row) for name, row in self.flagged.items()},
            "false alarms": {name: list(row) for name, row in self.alarms.items()},
            "false alarm rate": self.false_alarms,
            "seconds": self.seconds,
            "machine": self.machine,
        }

    def table(self) -> pd.DataFrame:
        """Return one row a planted bug."""
        import pandas as pd

        mark = {True: "flagged", False: "-"}
        rows = [
            {"planted bug": name, "conformance": mark[row[0]], "guesses": mark[row[1]]}
            for name, row in self.flagged.items()
        ]
        return pd.DataFrame(rows).set_index("planted bug")

    def summary(self) -> str:
        size = len(self.flagged)
        hits, audits = (sum(column) for column in zip(*self.alarms.values(), strict=True))
        ways = ", ".join(f"{name} {bad} of {made}" for name, (bad, made) in self.alarms.items())
        return (
            f"{size} planted bugs: conformance ({RUNS} runs each) flags {sum(r[0] for r in self.flagged.values())} "
            f"({self.caught(0).percent()}) in {self.seconds['conformance']:.0f} s, guesses (10 runs each) refute "
            f"{sum(r[1] for r in self.flagged.values())} ({self.caught(1).percent()}) in {self.seconds['guesses']:.0f} s. False "
            f"alarms of conformance: {hits} of {audits}, {self.false_alarms.percent()}, 95% interval ({ways}; "
            f"{self.seconds['correct']:.0f} s)"
        )

    def __str__(self) -> str:
        return "\n".join([json.dumps(self.machine), self.table().to_string(), self.summary()])


def correct_ways() -> dict[str, TrainingFunction]:
    """Return correct DP-SGD by each engine, and by hand."""
    from labkit.audit import planted_bugs

    return {**{name: _by_engine(name) for name in ENGINES}, HAND_WRITTEN: planted_bugs.correct}


def _by_engine(engine: str) -> TrainingFunction:
    """Return training by an engine of `labkit.dp`, without the statement at its end, which costs more than the run."""

    def train(task: Task, settings: Settings, seed: int) -> nn.Module:
        import torch

        from labkit.dp.training import run

        chosen = run.Settings(
            engine=engine,
            noise_multiplier=settings.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=settings.sample_rate * task.n,
            sample_rate=settings.sample_rate,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            momentum=0.0,
            schedule="constant",
            physical_batch_size=512,
            delta=1e-5,
        )
        trained = run.Run(task.model(), task.dataset(), chosen, seed, torch.device("cpu"))
        trained.train(None)
        return trained.engine.release()

    return train


def run() -> AuditBench:
    """Audit every planted bug in both ways, and correct training over and over."""
    from labkit import audit
    from labkit.audit import planted_bugs

    facts = machine()
    wrong = {name: bug.train for name, bug in planted_bugs.ALL.items() if not bug.is_correct}
    settings = audit.Settings()
    claim = audit.claim_of(settings)
    seconds: dict[str, float] = {}
    conforming = _timed(
        seconds, "conformance", wrong, lambda train: audit.conformance(train, runs=RUNS, seed=1).deviates
    )
    guessed = _timed(
        seconds,
        "guesses",
        wrong,
        lambda train: audit.audit_gradients(train, settings, claimed=claim, seed=1).refuted,
    )
    flagged = {name: (conforming[name], guessed[name]) for name in wrong}
    each = profiles.current().pick(smoke=1, laptop=40, full=200)
    alarms, start = {}, time.perf_counter()
    for number, (name, train) in enumerate(correct_ways().items()):
        seeds = progress.track(range(each), f"correct training, {name}")
        # Engines draw their batches alike from one seed: other seeds for each, or their luck would be counted five times.
        bad = sum(audit.conformance(train, runs=RUNS, seed=10_000 * (number + 1) + s).deviates for s in seeds)
        alarms[name] = (bad, each)
    seconds["correct"] = time.perf_counter() - start
    return AuditBench(flagged, alarms, seconds, facts)


def _timed(
    seconds: dict[str, float],
    what: str,
    wrong: dict[str, TrainingFunction],
    flags: Callable[[TrainingFunction], bool],
) -> dict[str, bool]:
    start = time.perf_counter()
    found = {name: flags(wrong[name]) for name in progress.track(list(wrong), f"planted bugs, {what}")}
    seconds[what] = time.perf_counter() - start
    return found


def main(arguments: Sequence[str] = ()) -> int:
    """Run ``labkit bench audit``."""
    return command("audit", __doc__, run, arguments)
