"""Did marking raise leakage? The same attacks on marked and unmarked models, pair by pair; and marks under DP-SGD.

Poisoning can raise what membership inference finds (Tramer et al., "Truth Serum", arXiv 2204.00032), and a memorised
dummy set can lower it: so it is measured, with an interval and with the size that could have been seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit import cache, progress, stats
from labkit.membership.attacks.registry import attack
from labkit.membership.reports import intervals
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.membership.shadows.targets import fresh_halves, members_dataset, train_targets
from labkit.results import as_json, write_json
from labkit.stats import Interval
from labkit.training.shelf import CODE
from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ATTACKS = ("loss", "lira-online", "rmia-online")
NEIGHBOURS = 0.05  # share of the pool that counts as near the marks
POWER = 0.8


@dataclass(frozen=True)
class Line:
    """One attack on one group of records: AUC without and with the mark, and the paired difference.

    ``visible`` is the smallest true difference that this many pairs would have shown with 80% power at the 5% level.
    """

    attack: str
    records: str
    unmarked: Interval
    marked: Interval
    difference: Interval
    visible: float

    @property
    def verdict(self) -> str:
        """What may be said: raised, lowered, or nothing found."""
        if self.difference.low > 0:
            return "raised"
        if self.difference.high < 0:
            return "lowered"
        return f"no difference found (one of {self.visible:.3f} would have shown)"


@dataclass(frozen=True, eq=False, repr=False)
class Leakage:
    """Leakage with and without a mark over pairs of models: see `leakage`."""

    scheme: str
    lines: tuple[Line, ...]
    strengths: Interval
    pairs: int
    source: str
    profile: str

    def table(self) -> pd.DataFrame:
        """Return one row per attack and group of records, each figure with its 95% interval over pairs."""
        import pandas as pd

        rows = [
            {
                "attack": line.attack,
                "records": line.records,
                "AUC unmarked": str(line.unmarked),
                "AUC marked": str(line.marked),
                "marked - unmarked": str(line.difference),
                "verdict": line.verdict,
            }
            for line in self.lines
        ]
        return pd.DataFrame(rows).set_index(["attack", "records"])

    def plot(self) -> Figure:
        """Draw the paired differences with their intervals; zero is no change."""
        from labkit import plots

        fig, ax = plots.figure(7.2, 0.45 * len(self.lines) + 1.6)
        for row, line in enumerate(self.lines):
            gap = line.difference
            colour, shape = (
                (plots.COLOURS[0], "o") if line.records == "all records" else (plots.COLOURS[1], "s")
            )
            ax.errorbar(
                gap.estimate,
                row,
                xerr=[[gap.estimate - gap.low], [gap.high - gap.estimate]],
                marker=shape,
                color=colour,
                linestyle="none",
                capsize=3,
            )
        ax.axvline(0, color="#777777", linewidth=1, linestyle="-")
        ax.set_yticks(range(len(self.lines)), [f"{line.attack}, {line.records}" for line in self.lines])
        ax.set(
            xlabel=f"change in attack AUC through the mark ({self.pairs} pairs, 95% interval)",
            title=f"Did the {self.scheme} mark raise leakage?\n{self.source}",
        )
        ax.invert_yaxis()
        seen = "; ".join(f"{ln.attack}, {ln.records}: {ln.difference.estimate:+.3f}" for ln in self.lines)
        return plots.describe(
            fig, f"Paired differences in attack AUC, marked minus unmarked, {self.source}: {seen}."
        )

    def save(self, path: str | Path) -> Path:
        """Write the figures as JSON, atomically, and return the path."""
        lines = [
            {
                "attack": line.attack,
                "records": line.records,
                "unmarked": as_json(line.unmarked),
                "marked": as_json(line.marked),
                "difference": as_json(line.difference),
                "visible_at_80_percent_power": line.visible,
                "verdict": line.verdict,
            }
            for line in self.lines
        ]
        facts = {"source": self.source, "profile": self.profile, "scheme": self.scheme, "pairs": self.pairs}
        return write_json(path, facts | {"mark_strength": as_json(self.strengths), "lines": lines})

    def __repr__(self) -> str:
        return f"{self.source}, {self.scheme} mark, {self.pairs} pairs\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        head = (
            f"<p><b>Leakage through the {self.scheme} mark</b> ({self.source}; {self.pairs} pairs of models; mark "
            f"strength {self.strengths.percent(1)}; profile {self.profile})</p>"
        )
        return head + self.table().to_html(border=0)


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


def marked_targets(
    bank: ShadowBank, scheme: str, key: Key, seeds: Sequence[int], **options: Any
) -> list[tuple[Target, Interval, Tensor]]:
    """Train what `train_targets` trains, on the same halves, with a mark on top: (target, mark strength, triggers).

    Parameters
    ----------
    seeds : sequence of int
        Those of the unmarked models: each pair shares its members, initial weights and recipe.
    **options
        Of the scheme.
    """
    from labkit.watermark.marks.embed import embed

    made = []
    halves = fresh_halves(bank, seeds)
    for seed, half in progress.track(list(zip(seeds, halves, strict=True)), f"{scheme} marks, {bank.source}"):

        def train(seed: int = seed, half: np.ndarray = half) -> dict[str, Any]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(7_000_003 + seed)
                model = bank.make_model()
            done = embed(
                scheme,
                model,
                members_dataset(bank, half),
                key,
                recipe=bank.recipe,
                seed=7_000_003 + seed,
                **options,
            )
            return {
                "state": done.model.state_dict(),
                "strength": done.strength,
                "triggers": done.triggers.x,
            }

        settings = {
            "bank": bank.key,
            "scheme": scheme,
            "key": key.fingerprint,
            "seed": seed,
            "options": options,
        }
        done = cache.cached("marked-targets", settings, train, code=[embed, *CODE])
        model = bank.make_model()
        model.load_state_dict(done["state"])
        target = bank.query(model.eval(), half, name=f"marked (seed {seed})")
        made.append((target, done["strength"], done["triggers"]))
    return made


def neighbours(pool: Tensor, triggers: Tensor, share: float = NEIGHBOURS) -> np.ndarray:
    """Return the positions of the ``share`` of ``pool`` (n, C, H, W) that lie nearest to any trigger, pixel by pixel.

    Distances are taken on images averaged to 8x8, where a patch weighs little and the scene weighs much.
    """

    def coarse(x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 8).flatten(1)

    near = torch.cdist(coarse(pool), coarse(triggers)).min(1).values
    return torch.argsort(near)[: max(20, round(share * len(pool)))].sort().values.numpy()


def leakage(
    bank: ShadowBank,
    scheme: str,
    key: Key,
    *,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    attacks: Sequence[str] = ATTACKS,
    **options: Any,
) -> Leakage:
    """Attack pairs of models, marked and unmarked, and return the paired differences in AUC.

    The attacker's shadow models are unmarked: an attacker outside does not know the key.

    Parameters
    ----------
    bank : ShadowBank
        Shadow models and pool; targets are trained on fresh halves of it by its recipe.
    seeds : sequence of int
        One pair each.
    **options
        Of the scheme, see `labkit.watermark.marks.embed`.

    Raises
    ------
    ValueError
        If there are fewer than two pairs, or the scheme has no triggers.
    """
    if len(seeds) < 2:
        raise ValueError(f"got {len(seeds)} pair; a paired interval needs at least 2 seeds")
    plain = train_targets(bank, seeds=seeds)
    marked = marked_targets(bank, scheme, key, seeds, **options)
    groups = {
        "all records": [None] * len(seeds),
        "near the marks": [neighbours(bank.x, triggers) for _, _, triggers in marked],
    }
    lines = []
    for name in attacks:
        for group, chosen in groups.items():
            before = np.array([_auc(name, t, bank, r) for t, r in zip(plain, chosen, strict=True)])
            after = np.array([_auc(name, t, bank, r) for (t, _, _), r in zip(marked, chosen, strict=True)])
            lines.append(_line(name, group, before, after))
    strengths = stats.mean_share([strength.estimate for _, strength, _ in marked])
    return Leakage(scheme, tuple(lines), strengths, len(seeds), bank.source, bank.profile)


def _auc(name: str, target: Target, bank: ShadowBank, records: np.ndarray | None) -> float:
    result = attack(name, target, bank, records=records)
    return intervals.auc(result.scores, result.members).estimate


def _line(name: str, group: str, before: np.ndarray, after: np.ndarray) -> Line:
    gaps = after - before
    return Line(
        attack=name,
        records=group,
        unmarked=stats.mean_interval(before),
        marked=stats.mean_interval(after),
        difference=stats.mean_interval(gaps),
        visible=visible_difference(float(gaps.std(ddof=1)), len(gaps)),
    )
