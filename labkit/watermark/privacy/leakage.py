"""Did marking raise leakage? Three arms, pair by pair: plain, with ordinary records more, with as many marks more.

Poisoning can raise what membership inference finds (Tramer et al., "Truth Serum", arXiv 2204.00032), and a memorised
dummy set can lower it: so it is measured. A marked model differs from a plain one in the marks, in the number of its
records, in its steps, and in the length of its last batch. The arm with ordinary records differs from the marked one in
the marks alone: same members, initial weights, number and order of records, batches, steps. That pair answers the
question; the other tells how much records alone do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labkit import cache, plots, stats
from labkit.membership.attacks import registry
from labkit.membership.attacks.registry import attack
from labkit.membership.reports import curves, intervals
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.membership.shadows.targets import fresh_halves, members_dataset
from labkit.results import Result, as_json
from labkit.stats import Interval
from labkit.training import own, shelf
from labkit.watermark.marks import backdoor, triggers
from labkit.watermark.marks import training as marking
from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset
    from labkit.watermark.marks.marked import TriggerSet

ATTACKS = ("lira-online", "rmia-online", "loss")  # the first gives the primary figure
RATE = 0.01  # false-positive rate of the figures beside AUC
POWER = 0.8
PLAIN, ORDINARY, MARKED = "plain", "ordinary records", "marks"
CONTRASTS = {
    "marks against ordinary records": (MARKED, ORDINARY),
    "ordinary records against none": (ORDINARY, PLAIN),
}


@dataclass(frozen=True)
class Endpoint:
    """What is measured on each model: an attack's figure on a group of records.

    Attributes
    ----------
    attack : str
    figure : {"AUC", "TPR"}
        TPR at `RATE`.
    group : {"all records", "stamped members"}
        Members that count; the non-members are always all. Stamped: those whose copies bear the mark.
    """

    attack: str
    figure: str = "AUC"
    group: str = "all records"

    def __str__(self) -> str:
        figure = "AUC" if self.figure == "AUC" else f"TPR at {RATE:.0%} FPR"
        return f"{self.attack}, {figure}, {self.group}"


@dataclass(frozen=True, eq=False)
class Leakage(Result):
    """Leakage of three arms over pairs of models: see `leakage`.

    Attributes
    ----------
    values : dict of Endpoint to dict of arm to float64 array (pairs,)
    primary : Endpoint
        Chosen before any model was attacked; on it alone the verdict rests.
    strengths : Interval
        Share of triggers that marked models answer as marked, Student t over models.
    """

    scheme: str
    values: dict[Endpoint, dict[str, np.ndarray]]
    primary: Endpoint
    strengths: Interval
    marks: int
    seeds: tuple[int, ...]
    source: str
    profile: str

    @property
    def pairs(self) -> int:
        return len(self.seeds)

    def difference(self, endpoint: Endpoint, contrast: str = "marks against ordinary records") -> Interval:
        """Return the mean paired difference with its 95% Student t interval.

        An interval over members' halves and trainings, on this pool and with these shadow models.
        """
        more, less = CONTRASTS[contrast]
        return stats.mean_interval(self.values[endpoint][more] - self.values[endpoint][less])

    def visible(self, endpoint: Endpoint, contrast: str = "marks against ordinary records") -> float:
        """Return the smallest true difference that so many pairs would have shown: see `visible_difference`."""
        more, less = CONTRASTS[contrast]
        gaps = self.values[endpoint][more] - self.values[endpoint][less]
        return visible_difference(float(gaps.std(ddof=1)), self.pairs)

    @property
    def verdict(self) -> str:
        """What may be said of the marks, on the primary figure: raised, lowered, or nothing found."""
        found = self.difference(self.primary)
        if found.low > 0:
            return "raised"
        if found.high < 0:
            return "lowered"
        return f"no difference found (one of {self.visible(self.primary):.3f} would have shown)"

    def numbers(self) -> dict[str, Any]:
        """Return all differences, the values behind them and where they are from."""
        lines = [
            {
                "endpoint": str(endpoint),
                "primary": endpoint == self.primary,
                "contrast": contrast,
                "difference": as_json(self.difference(endpoint, contrast)),
                "visible_at_80_percent_power": self.visible(endpoint, contrast),
            }
            for endpoint in self.values
            for contrast in CONTRASTS
        ]
        arms = {
            str(endpoint): {arm: values.tolist() for arm, values in found.items()}
            for endpoint, found in self.values.items()
        }
        facts = {"scheme": self.scheme, "marks": self.marks, "pairs": self.pairs, "seeds": list(self.seeds)}
        facts |= {"source": self.source, "profile": self.profile, "mark_strength": as_json(self.strengths)}
        return facts | {"verdict": self.verdict, "lines": lines, "values": arms}

    def summary(self) -> str:
        """Return the verdict in one line."""
        found = self.difference(self.primary)
        return (
            f"{self.scheme} marks, {self.primary}: {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}] over "
            f"{self.pairs} pairs, {self.verdict} ({self.marks} marks; strength {self.strengths.percent(1)}; "
            f"{self.source}; profile {self.profile}; seeds {', '.join(map(str, self.seeds))})"
        )

    def table(self) -> pd.DataFrame:
        """Return one row a figure: each arm's mean, and both differences with 95% intervals over pairs."""
        import pandas as pd

        def told(gap: Interval) -> str:
            return f"{gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"

        rows = [
            {"figure": f"{endpoint}{' (primary)' if endpoint == self.primary else ''}"}
            | {arm: f"{values.mean():.4f}" for arm, values in found.items()}
            | {contrast: told(self.difference(endpoint, contrast)) for contrast in CONTRASTS}
            for endpoint, found in self.values.items()
        ]
        return pd.DataFrame(rows).set_index("figure")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw both differences for each figure with their intervals; zero is no change."""
        fig, ax = plots.figure(8.2, 0.5 * len(self.values) + 2.3) if ax is None else (ax.figure, ax)
        for number, contrast in enumerate(CONTRASTS):
            gaps = [self.difference(endpoint, contrast) for endpoint in self.values]
            places = np.arange(len(gaps)) + (number - 0.5) * 0.3
            middle = np.array([gap.estimate for gap in gaps])
            ends = np.array([[gap.estimate - gap.low, gap.high - gap.estimate] for gap in gaps]).T
            style = {"marker": "os"[number], "color": plots.COLOURS[number + 1 if number else 0]}
            ax.errorbar(middle, places, xerr=ends, linestyle="none", capsize=3, label=contrast, **style)
        ax.axvline(0, color="#777777", linewidth=1, linestyle="-")
        names = [f"{e}{' *' if e == self.primary else ''}" for e in self.values]
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel(f"paired difference ({self.pairs} pairs, 95% intervals; * primary figure)")
        ax.set_title(f"Leakage through the {self.scheme} mark\n{self.source}")
        ax.invert_yaxis()
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2
        )  # an interval may lie in any corner
        seen = "; ".join(
            f"{e}, {contrast}: {self.difference(e, contrast).estimate:+.4f}"
            for e in self.values
            for contrast in CONTRASTS
        )
        return plots.describe(fig, f"Paired differences in what attacks find, {self.source}: {seen}.")


def visible_difference(spread: float, pairs: int, *, power: float = POWER, level: float = 0.05) -> float:
    """Return the smallest mean difference that a paired t-test on ``pairs`` pairs finds with the given power.

    Parameters
    ----------
    spread : float
        Standard deviation of the paired differences.

    Raises
    ------
    ValueError
        If there are fewer than two pairs.
    """
    from scipy.stats import t

    if pairs < 2:
        raise ValueError(f"got {pairs} pair; a spread over pairs needs at least 2")
    freedom = pairs - 1
    return float((t.ppf(1 - level / 2, freedom) + t.ppf(power, freedom)) * spread / np.sqrt(pairs))


@dataclass(frozen=True, eq=False)
class _Pair:
    """One half of the pool, trained on in all arms: targets, triggers, and which members bear marks."""

    targets: dict[str, Target]
    asked: TriggerSet
    stamped: np.ndarray


def whole_batches(marks: int, batch_size: int) -> int:
    """Return ``marks`` rounded to whole batches: the last batch is then as long with them as without.

    Examples
    --------
    >>> whole_batches(200, 128), whole_batches(20, 64)
    (256, 64)
    """
    return max(1, round(marks / batch_size)) * batch_size


def leakage(
    bank: ShadowBank,
    others: Dataset,
    key: Key,
    *,
    scheme: str = "patch",
    seeds: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8),
    attacks: Sequence[str] = ATTACKS,
    marks: int | None = None,
    count: int | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> Leakage:
    """Attack models of three arms, pair by pair.

    The attacker's shadow models bear no marks: an attacker outside does not know the key.

    Parameters
    ----------
    bank : ShadowBank
        Shadow models and pool; every half of it is trained on in all arms, by the bank's recipe and weights of one seed,
        or by the bank's own training function with one seed.
    others : Dataset
        Its train records are the ordinary ones that the second arm adds: none of them in the pool.
    scheme : str
        A kind of trigger made from records, such as "patch".
    seeds : sequence of int
        One half, and one model of each arm, each.
    attacks : sequence of str
        The first gives the primary figure: its AUC on all records.
    marks : int, optional
        A whole number of batches; default: about one mark for every fifty records.
    count : int, optional
        Triggers that the marks' strength is measured with.
    batch_size : int, optional
        Of a bank's own training function: the records of one step, 1 for a learner that takes all records at once.

    Raises
    ------
    ValueError
        If there are fewer than two pairs, the bank cannot train or be attacked in these ways, ``batch_size`` is missing or
        not the recipe's, ``marks`` is no whole number of batches, or ``others`` holds too few records. Before any training.
    """
    if len(seeds) < 2:
        raise ValueError(f"got {len(seeds)} pair; a paired interval needs at least 2 seeds")
    half, batch = len(bank.y) // 2, _batch(bank, batch_size)
    halves = fresh_halves(bank, seeds)
    _check_attacks(attacks, bank, halves[0])
    marks = whole_batches(max(50, half // 50), batch) if marks is None else marks
    if marks < 1 or marks % batch or len(others.train_y) < marks:
        raise ValueError(
            f"got marks={marks} and {len(others.train_y):,} other records, for batches of {batch}: expected a multiple of "
            "the batch size, so that the last batch is as long in all arms, and at least as many other records"
        )
    made = [
        _train(bank, others, key, scheme, seed, members, marks, count, options)
        for seed, members in zip(seeds, halves, strict=True)
    ]
    endpoints = [Endpoint(name) for name in attacks]
    endpoints += [Endpoint(attacks[0], "TPR"), Endpoint(attacks[0], "AUC", "stamped members")]
    scored = {
        arm: [_scores(pair.targets[arm], bank, attacks) for pair in made] for arm in (PLAIN, ORDINARY, MARKED)
    }
    values = {
        endpoint: {
            arm: np.array(
                [_value(endpoint, rows, pair) for rows, pair in zip(scored[arm], made, strict=True)]
            )
            for arm in scored
        }
        for endpoint in endpoints
    }
    strengths = [marking.strength(pair.targets[MARKED].model, pair.asked).estimate for pair in made]
    return Leakage(
        scheme,
        values,
        endpoints[0],
        stats.mean_share(strengths),
        marks,
        tuple(seeds),
        bank.source,
        bank.profile,
    )


def _batch(bank: ShadowBank, given: int | None) -> int:
    """Return the records of one step: of the recipe, or what the caller says of an own training function."""
    if bank.recipe is None and bank.train is None:
        raise ValueError(
            f"{bank.name} was made of arrays, and nothing in it can train the arms: make the bank with "
            "membership.shadow_bank(dataset, make_model=..., recipe=...) or shadow_bank(dataset, train=...)"
        )
    if bank.recipe is not None:
        if given not in (None, bank.recipe.batch_size):
            raise ValueError(
                f"got batch_size={given}; the bank's recipe says {bank.recipe.batch_size}: leave it out"
            )
        return bank.recipe.batch_size
    if given is None or given < 1:
        raise ValueError(
            f"got batch_size={given}, and this bank's own training function does not show its batches: pass the records of one "
            "step, so that the last batch is as long in all arms, or 1 for a learner that takes all records at once"
        )
    return given


def _check_attacks(attacks: Sequence[str], bank: ShadowBank, members: np.ndarray) -> None:
    """Refuse attacks that could not be carried out on the arms before any is trained."""
    unknown = [name for name in attacks if name not in registry.ATTACKS]
    if unknown or not attacks:
        raise ValueError(
            f"got attacks {', '.join(map(repr, unknown)) or 'none'}; expected at least one of {', '.join(registry.ATTACKS)}"
        )
    like_an_arm = replace(bank.target(0), members=members)
    for name in attacks:
        registry._check(name, registry.ATTACKS[name], like_an_arm, bank)


def _train(
    bank: ShadowBank,
    others: Dataset,
    key: Key,
    scheme: str,
    seed: int,
    members: np.ndarray,
    marks: int,
    count: int | None,
    options: dict[str, Any],
) -> _Pair:
    """Train one model of each arm on this half: the same seed, so the same initial weights and order of records."""
    held = members_dataset(bank, members)
    rows = triggers.bases(scheme, key, marks, dataset=held, part="marks", **options)
    learnt, asked = backdoor.draw_both(scheme, key, held, marks, count, **options)
    extra = {
        PLAIN: (held.train_x[:0], held.train_y[:0]),
        ORDINARY: (others.train_x[:marks], others.train_y[:marks]),
        MARKED: (learnt.x, learnt.y),
    }
    n = len(held.train_y)
    x = torch.cat([held.train_x, *(part for part, _ in extra.values())])
    y = torch.cat([held.train_y, *(part for _, part in extra.values())])
    masks = np.zeros((len(extra), len(y)), bool)
    masks[:, :n] = True
    start = n
    for row, (part, _) in enumerate(extra.values()):
        masks[row, start : start + len(part)] = True
        start += len(part)
    models = _arms(bank, seed, x, y, masks, list(extra))
    targets = {
        arm: bank.query(model, members, name=f"{arm} (seed {seed})")
        for arm, model in zip(extra, models, strict=True)
    }
    stamped = np.zeros(len(members), bool)
    stamped[np.flatnonzero(members)[np.unique(rows)]] = True
    return _Pair(targets, asked, stamped)


def _arms(
    bank: ShadowBank, seed: int, x: torch.Tensor, y: torch.Tensor, masks: np.ndarray, arms: list[str]
) -> list[torch.nn.Module]:
    """Return one model for each row of ``masks``, all of one seed, by the bank's recipe or its own training function."""
    by_recipe = bank.train is None
    way = [bank.recipe] if by_recipe else [bank.train]
    code = [*shelf.model_identity(bank.make_model), *shelf.CODE] if by_recipe else list(own.CODE)
    folder = cache.directory() / "leakage" / cache.digest([*way, seed, x, y, masks, *code])[:32]
    paths = [folder / f"{arm.replace(' ', '-')}.pt" for arm in arms]
    seeds, what = [7_000_003 + seed] * len(arms), f"arms of seed {seed}, {bank.source}"
    if not by_recipe:
        classes = len(bank.classes)
        return own.train_missing(paths, bank.train, x, y, masks, seeds=seeds, classes=classes, what=what)
    states = shelf.train_missing(paths, bank.make_model, x, y, masks, bank.recipe, seeds=seeds, what=what)
    return [shelf.model_of(bank.make_model, state) for state in states]


def _scores(target: Target, bank: ShadowBank, attacks: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: attack(name, target, bank).scores for name in attacks}


def _value(endpoint: Endpoint, scores: dict[str, np.ndarray], pair: _Pair) -> float:
    """Return an endpoint of one model."""
    members = pair.targets[PLAIN].members
    shown = ~members | (pair.stamped if endpoint.group == "stamped members" else members)
    found, inside = scores[endpoint.attack][shown], members[shown]
    if endpoint.figure == "AUC":
        return intervals.auc(found, inside).estimate
    return float(curves.tpr_at(found, inside, np.array([RATE]))[0])
