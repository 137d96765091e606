"""What membership attacks found: rows, curves, and the findings that follow.

See `labkit.federated.threats.membership` for the arms and the attacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown, wrapped
from labkit.results import Result
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BUILT, CLIPPED, BARE = "as built", "clipping alone", "no clipping, no noise"
FINAL = ("LiRA, final model", "RMIA, final model")
ROUNDS, INSIDER = "all rounds, outsider", "all rounds, another hospital"
INFORMED = "all rounds, knows all others"
ALL, EXPOSED = "all hospitals", "the tenth with the largest gradients"
DRAWN = {BUILT: (FINAL[1], ROUNDS, INFORMED), BARE: (FINAL[1], ROUNDS)}
RATE = 0.01
FOUND = Scale(
    "share of members found while 1% of non-members are accused",
    low=0.02,
    medium=0.05,
    high=0.1,
    critical=0.5,
)
AREA = Scale("area under the ROC", low=0.55, medium=0.6, high=0.7, critical=0.9)
OVER = Scale("share of members found beyond the promise", low=0.02, medium=0.05, high=0.1, critical=0.2)
TERMS = "terms, code, noise level and marks"
OVER_WHAT = "target federations (each with its own half of the records and its own noise) and records; threshold included"


@dataclass(frozen=True)
class Row:
    """One attack on one arm.

    Attributes
    ----------
    arm, attack : str
    victims : str
        "all hospitals", or whose records were scored.
    tpr : Interval or None
        Share of members found at 1% false positives; None for parts with too few non-members to tell.
    auc : Interval
    ceiling, area : float or None
        What the promise against this observer allows for the two; None without a promise.
    promise : str
        The statement of the promise, or that there is none.
    """

    arm: str
    attack: str
    victims: str
    tpr: Interval | None
    auc: Interval
    ceiling: float | None
    area: float | None
    promise: str


@dataclass(frozen=True, eq=False)
class MembershipStudy(Result):
    """What membership attacks find: see `study_membership`.

    Attributes
    ----------
    rows : tuple of Row
    curves : dict of str to ndarray of shape [points]
        True-positive rates at ``rates``, by "attack, arm", and the ceilings.
    rates : ndarray of shape [points]
    targets, reduced, records, rounds : int
        Target federations as built, and of the other arms; candidate records; rounds of each.
    kind : str
        What hospitals send.
    source, profile : str
    seed : int
    """

    rows: tuple[Row, ...]
    curves: dict[str, np.ndarray]
    rates: np.ndarray
    targets: int
    reduced: int
    records: int
    rounds: int
    kind: str
    source: str
    profile: str
    seed: int

    def row(self, arm: str, attack: str, victims: str = ALL) -> Row | None:
        """Return one row, or None if that was not tried."""
        wanted = (arm, attack, victims)
        return next((r for r in self.rows if (r.arm, r.attack, r.victims) == wanted), None)

    @property
    def private(self) -> bool:
        """Whether the system as built has noise, so that there is something to compare with."""
        return any(r.arm == BARE for r in self.rows)

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "target federations": self.targets,
            "target federations of the other arms": self.reduced,
            "rounds": self.rounds,
            "candidate records": self.records,
            "intervals over": OVER_WHAT,
            "rows": [vars(row) for row in self.rows],
        }

    def summary(self) -> str:
        built = self.row(BUILT, ROUNDS) or self.row(BUILT, FINAL[0])
        return (
            f"{built.attack}, as built: {built.tpr.percent(1)} of members at 1% false positives; {self.targets} targets; "
            f"{self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "attack": row.attack,
                "arm": row.arm,
                "victims": row.victims,
                "TPR at 1% FPR": "" if row.tpr is None else row.tpr.percent(1),
                "allowed": "" if row.ceiling is None or row.tpr is None else f"{100 * row.ceiling:.1f}%",
                "AUC": str(row.auc),
                "AUC allowed": "no promise" if row.area is None else f"{row.area:.3f}",
            }
            for row in self.rows
        ]
        return pd.DataFrame(rows).set_index(["attack", "arm"])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the ROC curves on log axes, with the ceiling of the promise."""
        fig, ax = plots.figure(6.8, 5.4) if ax is None else (ax.figure, ax)
        lowest = self.rates[0]
        styles = {FINAL[1]: "--", ROUNDS: "-", INFORMED: "-."}
        colours = {BUILT: plots.COLOURS[0], BARE: plots.COLOURS[1]}
        for name, tpr in self.curves.items():
            attack, _, arm = name.partition("; ")
            if attack == "ceiling":
                ax.plot(self.rates, tpr, color="#000000", linestyle=":", label=arm)
            else:
                look = {"color": colours[arm], "linestyle": styles[attack]}
                ax.plot(self.rates, np.maximum(tpr, lowest), label=f"{attack}: {arm}", **look)
        ax.plot(self.rates, self.rates, color="#777777", linestyle="-", linewidth=1, label="guessing")
        ax.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1.3))
        ax.set_xlabel("false-positive rate (non-members called members)")
        ax.set_ylabel("true-positive rate")
        ax.set_title(wrapped(f"{self.targets} target federations; {self.source}", 88), fontsize=9)
        fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
        return plots.describe(fig, f"ROC curves of membership attacks, log axes. {self._alt()}")

    def _alt(self) -> str:
        parts = [f"{row.attack}, {row.arm}: {row.tpr.percent(1)}" for row in self.rows if row.tpr is not None]
        return "True positives at 1% false positives: " + "; ".join(parts) + "."

    def findings(self) -> list[Finding]:
        """Return what a review board should know of it."""
        found = [self._final()]
        if self.kind == "gradient":
            found += [self._rounds(), self._insider(), self._hardest(), self._informed(), self._exposed()]
        else:
            why = "the attack that adds up all rounds is written for sums of gradients; this system sends updates."
            found.append(
                not_shown(
                    "Membership from every round's sum", **_who(ROUNDS), control=_control(self), why=why
                )
            )
        found.append(self._promise())
        return found

    def _final(self) -> Finding:
        rows = {arm: _worse(self, arm) for arm in (BUILT, BARE)}
        return self._finding("Membership from the final model", rows[BUILT], rows[BARE], FINAL[0])

    def _rounds(self) -> Finding:
        rows = [self.row(arm, ROUNDS) for arm in (BUILT, BARE)]
        return self._finding("Membership from every round's sum", *rows, ROUNDS, figure=True)

    def _insider(self) -> Finding:
        rows = [self.row(arm, INSIDER) for arm in (BUILT, BARE)]
        return self._finding("Membership at one hospital, found by another", *rows, INSIDER)

    def _informed(self) -> Finding:
        rows = [self.row(arm, INFORMED) for arm in (BUILT, BARE)]
        return self._finding("Membership against one who knows all other records", *rows, INFORMED)

    def _exposed(self) -> Finding:
        rows = [self.row(arm, INFORMED, EXPOSED) for arm in (BUILT, BARE)]
        more = " They were chosen by their gradients alone, without a look at any attack."
        return self._finding("Membership of the records that move the model most", *rows, INFORMED, more=more)

    def _hardest(self) -> Finding:
        """The hospital whose patients are found most often, by the estimates themselves: a choice, and said so."""
        parts = [r for r in self.rows if r.arm == BUILT and r.attack == ROUNDS and r.victims != ALL]
        worst = max(parts, key=lambda r: r.auc.estimate)
        more = f" {worst.victims} was picked because its estimate is the largest of {len(parts)}."
        bare = self.row(BARE, ROUNDS, worst.victims)
        return self._finding("Membership at the hospital that is hit hardest", worst, bare, ROUNDS, more=more)

    def _promise(self) -> Finding:
        """Whether any attack found more than the promise against its observer allows."""
        held = [
            row for row in self.rows if row.ceiling is not None and row.arm == BUILT and row.tpr is not None
        ]
        title = "More leaks than the promise allows"
        if not held:
            why = "the system makes no promise of privacy, so there is none to break."
            return not_shown(title, **_who(ROUNDS), control="differential privacy, accounted for", why=why)
        worst = max(held, key=lambda row: row.tpr.high - row.ceiling)
        over = Interval(*(getattr(worst.tpr, end) - worst.ceiling for end in ("estimate", "low", "high")))
        # A promise that is shown to be broken is no matter of degree.
        severity, status = ("critical", "open") if over.low > 0 else judge(OVER, over)
        return Finding(
            title=title,
            severity=severity,
            **_who(worst.attack),
            evidence=(
                f"Of {len(held)} attacks, the one that comes closest to its ceiling ({worst.attack}) finds "
                f"{worst.tpr.percent(1)} of members at 1% false positives, where the promise allows {100 * worst.ceiling:.1f}% "
                f"({worst.promise}). An attack that stays below proves nothing about stronger ones; one that passes with its whole "
                "interval would break the promise."
            ),
            number="share of members found at 1% false positives, minus the ceiling",
            interval=over,
            interval_of=OVER_WHAT,
            differs=(
                "one system, against what it says about itself; the promise also counts the statistics that preprocessing took, "
                "which all targets share"
            ),
            control="the accountant, and an audit of the code (lab 06)",
            status=status,
        )

    def _finding(
        self, title: str, built: Row, bare: Row | None, attack: str, *, figure: bool = False, more: str = ""
    ) -> Finding:
        """Return the finding of one attack: by members found where there are enough non-members, else by area."""
        measure = _Found() if built.tpr is not None else _Area()
        number = measure.of(built)
        severity, status = judge(measure.scale, number if bare is None else measure.of(bare), number)
        evidence = f"{built.attack}, {built.victims}: {measure.say(built)}{measure.allowed(built)}."
        differs = "nothing was compared: the system has no noise to take away"
        if bare is not None:
            evidence += f" Without clipping and noise {measure.short(bare)}"
            clipped = self.row(CLIPPED, built.attack, built.victims)
            evidence += f", with clipping alone {measure.short(clipped)}." if clipped else "."
            differs = (
                f"clipping and noise, and {self.targets} against {self.reduced} targets; architecture, kind, {self.rounds} "
                "rounds, learning rate, marks, records and halves are the same"
            )
        return Finding(
            title=title,
            severity=severity,
            **_who(attack),
            evidence=evidence + more,
            number=f"{measure.scale.what}, as built",
            interval=number,
            interval_of=OVER_WHAT,
            differs=differs,
            control=_control(self),
            status=status,
            figure=self.plot() if figure else None,
        )


class _Found:
    """A row read as the share of members found."""

    scale = FOUND

    def of(self, row: Row) -> Interval:
        return row.tpr

    def short(self, row: Row) -> str:
        return row.tpr.percent(1)

    def say(self, row: Row) -> str:
        return f"{self.short(row)} of members found while 1% of non-members are accused"

    def allowed(self, row: Row) -> str:
        return "" if row.ceiling is None else f", where the promise allows {100 * row.ceiling:.1f}%"


class _Area:
    """A row read as the area under its ROC."""

    scale = AREA

    def of(self, row: Row) -> Interval:
        return row.auc

    def short(self, row: Row) -> str:
        return str(row.auc)

    def say(self, row: Row) -> str:
        return f"AUC {self.short(row)}"

    def allowed(self, row: Row) -> str:
        return "" if row.area is None else f", where the promise allows {row.area:.3f}"


def _worse(study: MembershipStudy, arm: str) -> Row | None:
    """Return the attack on the final model that finds more on this arm."""
    rows = [row for name in FINAL if (row := study.row(arm, name))]
    return max(rows, key=lambda row: row.tpr.estimate, default=None)


def _control(study: MembershipStudy) -> str:
    built = study.row(BUILT, FINAL[0])
    return "differential privacy" if built.ceiling is None else f"differential privacy: {built.promise}"


def _who(attack: str) -> dict[str, str]:
    """Return adversary and knowledge of an attack."""
    rehearsal = f"{TERMS} (shadow federations rehearse with them), and all candidate records, each in or out by a coin"
    seen = {
        ROUNDS: ("the server, or whoever follows the training", f"the model after every round; {rehearsal}"),
        INSIDER: (
            "another hospital",
            f"the model after every round, its own records and its own noise, which it subtracts; {rehearsal}",
        ),
    }
    if attack == INFORMED:
        known = f"the model after every round, all other records and who of them is in; {TERMS}"
        return {"adversary": "one who knows everybody but the patient", "knowledge": known}
    adversary, knowledge = seen.get(attack, ("whoever gets the final model", f"the final model; {rehearsal}"))
    return {"adversary": adversary, "knowledge": knowledge}
