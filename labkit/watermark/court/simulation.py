"""How often does the whole court convict an innocent? Trials of innocents alone, each with new parties, by the thousand.

In every trial an owner marks a network, the court trains null models, and competitors train on records of their own,
all of them perceptrons on faint patterns, so that a trial takes a fraction of a second. Nobody stole anything: each
conviction is an error. A claimant may cheat: see `CLAIMANTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import profiles, progress
from labkit.data import Dataset
from labkit.results import Result
from labkit.signing import Signer
from labkit.stats import Interval, clopper_pearson
from labkit.watermark.court import two_owners
from labkit.watermark.court.cases import Accused
from labkit.watermark.court.claims import Claim, claim_on
from labkit.watermark.court.deposits import Notary
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import Plan
from labkit.watermark.court.trial import try_suspects
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.verification.verify import NULLS

if TYPE_CHECKING:
    import pandas as pd

    from labkit.watermark.court.verdicts import Verdicts

SOURCE = "faint patterns, made by code"
SIDE, CLASSES, RECORDS, TESTS, MARKS, TRIGGERS = 6, 4, 200, 600, 40, 20
PATCH = {"size": 3, "blend": 0.5}
QUERIES = {"mark": TRIGGERS, "mistakes": 120, "agreement": 100, "inference": 300}
BEFORE = datetime(2025, 1, 1, tzinfo=UTC)
RELEASED = BEFORE + timedelta(days=100)
NOTARY = Signer.from_seed(bytes(32))
LEVELS = (0.01, 0.05)


@dataclass(frozen=True, eq=False)
class SimulatedTrials(Result):
    """What came of trials of innocents: see `simulate_trials`.

    Attributes
    ----------
    trials, suspects : int
        Trials, and innocents in each.
    alpha : float
        Of each trial.
    convicting : int
        Trials that convicted somebody.
    outcomes : dict
        How often each outcome was given to a suspect.
    small : dict
        (line, level) to the share of exact p-values at most that level, over all suspects: Clopper-Pearson. For lines
        without a direction, of model-based p-values.
    """

    trials: int
    suspects: int
    alpha: float
    claimant: str
    convicting: int
    outcomes: dict[str, int]
    small: dict[tuple[str, float], Interval]
    seed: int
    profile: str = field(default_factory=lambda: profiles.current().name)

    @property
    def rate(self) -> Interval:
        """Share of trials that convicted an innocent, Clopper-Pearson."""
        return clopper_pearson(self.convicting, self.trials)

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "trials": self.trials,
            "innocents in each": self.suspects,
            "claimant": self.claimant,
            "alpha": self.alpha,
            "trials that convict an innocent": str(self.rate.percent(2)),
            "outcomes": self.outcomes,
            **{f"{line}: p <= {level:g}": found.percent(1) for (line, level), found in self.small.items()},
            "source": SOURCE,
            "profile": self.profile,
            "seed": self.seed,
        }

    def summary(self) -> str:
        """Return how many trials convict an innocent, with its interval."""
        return (
            f"{self.convicting} of {self.trials:,} trials of {self.suspects} innocents each, accused by {self.claimant}, "
            f"convict somebody: {self.rate.percent(2)} (95%, Clopper-Pearson), alpha {self.alpha:.0%} ({SOURCE}; profile "
            f"{self.profile}; seed {self.seed})"
        )

    def table(self) -> pd.DataFrame:
        """Return one row a line of evidence: the share of innocents' p-values at most each level."""
        import pandas as pd

        lines = dict.fromkeys(line for line, _ in self.small)
        rows = [
            {"line": line} | {f"p <= {level:g}": self.small[line, level].percent(1) for level in LEVELS}
            for line in lines
        ]
        return pd.DataFrame(rows).set_index("line")


def network() -> nn.Module:
    """Return a perceptron with 32 hidden units."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 32), nn.ReLU(), nn.Linear(32, CLASSES))


def patterns(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noise with a faint pattern of the class in it: some two in three are told right."""
    y = torch.randint(0, CLASSES, (count,), generator=generator)
    shapes = torch.randn(CLASSES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).sign()
    x = 0.5 + 0.03 * shapes[y] + 0.15 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return x.clamp(0, 1), y


def train_together(x: Tensor, y: Tensor, generator: torch.Generator, *, steps: int = 40) -> list[nn.Module]:
    """Return one network per data set, all trained at once by gradient descent with momentum.

    Parameters
    ----------
    x : Tensor of shape (models, n, C, H, W)
    y : Tensor of shape (models, n)
    """
    flat, models = x.flatten(2) - 0.5, len(x)
    sizes = [(flat.shape[2], 32), (32, CLASSES)]
    weights = [torch.randn(models, *size, generator=generator) / size[0] ** 0.5 for size in sizes]
    biases = [torch.zeros(models, 1, size[1]) for size in sizes]
    parameters = [tensor.requires_grad_(True) for tensor in (*weights, *biases)]
    speed = [torch.zeros_like(tensor) for tensor in parameters]
    for _ in range(steps):
        hidden = torch.relu(flat @ parameters[0] + parameters[2])
        logits = hidden @ parameters[1] + parameters[3]
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
        slopes = torch.autograd.grad(losses, parameters)
        with torch.no_grad():
            for tensor, moved, slope in zip(parameters, speed, slopes, strict=True):
                tensor -= 0.5 * moved.mul_(0.9).add_(slope)
    return [_network(*(tensor[row].detach() for tensor in parameters)) for row in range(models)]


def _network(first: Tensor, second: Tensor, below: Tensor, above: Tensor) -> nn.Module:
    """Return a network with these weights, for inputs in [0, 1]."""
    made = network()
    made[1].load_state_dict({"weight": first.T.contiguous(), "bias": (below - 0.5 * first.sum(0)).flatten()})
    made[3].load_state_dict({"weight": second.T.contiguous(), "bias": above.flatten()})
    return made.eval()


def honest(_: nn.Module, __: Dataset, number: int) -> Key:
    """Return a key drawn at random."""
    return Key.from_phrase(f"simulated owner {number}")


def grinder(surrogate: nn.Module, records: Dataset, number: int) -> Key:
    """Return the best of 30 keys, tried on a model of the claimant's own before the commitment."""
    tried = {"tries": 30, "count": TRIGGERS, "phrase": f"ground {number}", **PATCH}
    return two_owners.lucky_key(surrogate, "patch", records, **tried)[0]


CLAIMANTS: dict[str, Callable[[nn.Module, Dataset, int], Key]] = {
    "an honest owner": honest,
    "a grinder of keys": grinder,
}


def simulate_trials(
    trials: int = 1000,
    *,
    suspects: int = 2,
    alpha: float = 0.05,
    claimant: str = "an honest owner",
    seed: int = 0,
) -> SimulatedTrials:
    """Try innocents, again and again, by the whole rule, and count the trials that convict somebody.

    Null hypothesis, true in every trial: nobody's model came from the claimant's. The court promises that at most alpha
    of the trials convict.

    Parameters
    ----------
    trials, suspects : int
    claimant : str
        A key of `CLAIMANTS`.

    Raises
    ------
    ValueError
        If there is no trial or suspect, or the claimant is unknown.
    """
    if trials < 1 or suspects < 1 or claimant not in CLAIMANTS:
        raise ValueError(
            f"got trials={trials}, suspects={suspects}, claimant={claimant!r}; expected at least 1 of each, and one of "
            f"{', '.join(CLAIMANTS)}"
        )
    plan = Plan(queries=QUERIES, alpha=alpha)
    found = [
        _trial(plan, suspects, CLAIMANTS[claimant], seed * 1_000_000 + number)
        for number in progress.track(range(trials), "trials of innocents", total=trials)
    ]
    cases = [case for verdicts in found for case in verdicts.cases]
    outcomes = [case.outcome for case in cases]
    p = {
        line: np.array([case.lines[line].p_value for case in cases if line in case.lines]) for line in QUERIES
    }
    return SimulatedTrials(
        trials=trials,
        suspects=suspects,
        alpha=alpha,
        claimant=claimant,
        convicting=sum(any(verdicts.answers().values()) for verdicts in found),
        outcomes={word: outcomes.count(word) for word in sorted(set(outcomes))},
        small={
            (line, level): clopper_pearson(int((values <= level).sum()), len(values))
            for line, values in p.items()
            for level in LEVELS
            if len(values)
        },
        seed=seed,
    )


def _trial(plan: Plan, suspects: int, choose: Callable[..., Key], number: int) -> Verdicts:
    """Try so many innocents once; every party's records and weights are new."""
    generator = torch.Generator().manual_seed(number)
    parties = NULLS + suspects + 2  # null models, suspects, the claimant's surrogate, the claimant
    x, y = patterns(parties * RECORDS, generator)
    x, y = x.view(parties, RECORDS, 3, SIDE, SIDE), y.view(parties, RECORDS)
    public = Dataset(
        "faint", SOURCE, False, x[-1], y[-1], *patterns(TESTS, generator), tuple("abcd"), digest="new"
    )
    *models, surrogate = train_together(x[:-1], y[:-1], generator)
    claim = _claim(public, choose(surrogate, public, number), generator)
    accused = [Accused(f"innocent {k}", model, claim, RELEASED) for k, model in enumerate(models[NULLS:], 1)]
    settings = {"notary": NOTARY.public, "judge": Key.from_phrase(f"simulated court {number}")}
    return try_suspects(
        replace(plan, seed=number), accused, models[:NULLS], public, docket=Docket(), **settings
    )


def _claim(records: Dataset, key: Key, generator: torch.Generator) -> Claim:
    """Return the claim of an owner whose model learnt the key's marks, deposited in time."""
    settings = {"dataset": records, **PATCH}
    marks = triggers.draw("patch", key, MARKS, part="marks", **settings)
    x, y = torch.cat([records.train_x, marks.x]), torch.cat([records.train_y, marks.y])
    (model,) = train_together(x[None], y[None], generator, steps=60)
    brought = triggers.draw("patch", key, TRIGGERS, **settings)
    return claim_on(
        "the claimant", model, key, brought, records, notary=Notary(NOTARY), moment=BEFORE, **PATCH
    )
