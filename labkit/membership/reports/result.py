"""What reviewers ask of a membership-inference result, in one frozen object.

The list follows Carlini et al. (arXiv 2112.03570, section IV): true positives at few false positives, on log axes; AUC
and balanced accuracy beside them; what precision that means when members are rare; and a control.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.membership.reports import curves, intervals
from labkit.membership.reports.intervals import Control, Operating, Refused
from labkit.results import Result, as_json
from labkit.stats import Interval, p_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Report(Result):
    """Figures of one attack on one target, each with its interval or the reason why there is none: see `report`.

    Attributes
    ----------
    auc, balanced_accuracy : Interval
    points : dict
        False-positive rate to Operating point, or Refused.
    precision : dict
        Prior share of members to Interval, or Refused, at the false-positive rate ``level``.
    control : Control
        Label permutation.
    groups : dict
        Class to (records, AUC).
    """

    result: AttackResult
    auc: Interval
    balanced_accuracy: Interval
    points: dict[float, Operating | Refused]
    level: float
    precision: dict[float, Interval | Refused]
    control: Control
    groups: dict[str, tuple[int, Interval | Refused]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The attack's name."""
        return self.result.name

    @property
    def title(self) -> str:
        """Who attacked what, for titles."""
        shadows = f", {self.result.shadows} shadow models" if self.result.shadows else ""
        return f"{self.name} on {self.result.target}{shadows}"

    def summary(self) -> str:
        """Return who attacked what."""
        return f"{self.title} ({self.result.source}; profile {self.result.profile})"

    def __str__(self) -> str:
        return "\n".join([self.summary(), *(f"{figure:<34}{value}" for figure, value in self._rows())])

    def __repr__(self) -> str:
        return str(self)

    def _rows(self) -> list[tuple[str, str]]:
        """Return (figure, value) pairs as text."""
        rows = [
            ("AUC", str(self.auc)),
            ("balanced accuracy", self.balanced_accuracy.percent()),
            *((f"TPR at {100 * rate:g}% FPR", str(point)) for rate, point in self.points.items()),
            ("AUC, labels shuffled", f"{self.control.auc} ({p_words(self.control.p_value)})"),
        ]
        rows += [
            (f"precision at {100 * self.level:g}% FPR, prior {100 * prior:g}%", _plain(value))
            for prior, value in self.precision.items()
        ]
        if self.result.privacy is not None:
            rows.append(("AUC allowed by the ceiling", f"{curves.ceiling_auc(self.result.privacy):.4g}"))
        return rows

    def table(self) -> pd.DataFrame:
        """Return one row a figure, with its value and interval as text."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["figure", "value [95% interval]"]).set_index("figure")

    def by_group(self) -> pd.DataFrame:
        """Return the AUC within each class: who is exposed most."""
        import pandas as pd

        rows = [(name, n, str(value)) for name, (n, value) in self.groups.items()]
        return pd.DataFrame(rows, columns=["class", "records", "AUC [95% interval]"]).set_index("class")

    def curve(self) -> curves.Curve:
        """Return the ROC with its band."""
        return curves.of_one(self.name, self.result.scores, self.result.members)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the log-log ROC with its band and, where there is one, the ceiling of differential privacy."""
        privacy = self.result.privacy
        ceilings = {curves.ceiling_name(privacy): privacy} if privacy is not None else None
        drawn = [self.curve()]
        return curves.figure(drawn, title=self.title, source=self.result.source, ceilings=ceilings, ax=ax)

    def exposed(self, count: int = 20) -> pd.DataFrame:
        """Return the ``count`` records that the attack is surest of, most exposed first, with the truth."""
        import pandas as pd

        order = np.argsort(-self.result.scores, kind="stable")[:count]
        return pd.DataFrame(
            {
                "record": self.result.records[order],
                "class": [self.result.classes[label] for label in self.result.labels[order]],
                "score": self.result.scores[order],
                "member": self.result.members[order],
            }
        )

    def plot_exposed(self, count: int = 20) -> Figure:
        """Draw the most exposed members.

        Raises
        ------
        ValueError
            If the records are not images.
        """
        inside = np.flatnonzero(self.result.members)
        order = inside[np.argsort(-self.result.scores[inside], kind="stable")[:count]]
        return draw_records(self.result, self.result.records[order], f"most exposed members by {self.name}")

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text, for JSON."""
        return {
            "attack": self.name,
            "citation": self.result.citation,
            "target": self.result.target,
            "source": self.result.source,
            "profile": self.result.profile,
            "shadow_models": self.result.shadows,
            "options": {key: str(value) for key, value in self.result.options.items()},
            "members": int(self.result.members.sum()),
            "non_members": int((~self.result.members).sum()),
            "auc": as_json(self.auc),
            "balanced_accuracy": as_json(self.balanced_accuracy),
            "tpr_at_fpr": {f"{rate:g}": as_json(point) for rate, point in self.points.items()},
            "control": {"auc": as_json(self.control.auc), "p_value": self.control.p_value},
            "precision_at_fpr": self.level,
            "precision": {f"{prior:g}": as_json(value) for prior, value in self.precision.items()},
            "groups": {name: {"n": n, "auc": as_json(value)} for name, (n, value) in self.groups.items()},
            "privacy": None if self.result.privacy is None else str(self.result.privacy),
        }


def report(result: AttackResult, *, permutations: int = 200, seed: int = 0) -> Report:
    """Measure an attack's scores against the truth.

    Parameters
    ----------
    permutations : int
        Shuffles of the member labels for the control.
    seed : int
        Of the shuffles, and of the halves on which balanced accuracy's threshold is chosen and measured.

    Raises
    ------
    ValueError
        If there are fewer than two members or non-members.
    """
    scores, members = result.scores, result.members
    points = {rate: intervals.operating_point(scores, members, rate) for rate in intervals.LEVELS}
    # Precision is read at the lowest rate that the data supports: the attacker who must be sure.
    level = next(
        (rate for rate in sorted(points) if isinstance(points[rate], Operating)), intervals.LEVELS[0]
    )
    return Report(
        result=result,
        auc=intervals.auc(scores, members),
        balanced_accuracy=intervals.balanced_accuracy(scores, members, seed=seed),
        points=points,
        level=level,
        precision={prior: intervals.precision(points[level], prior) for prior in intervals.PRIORS},
        control=intervals.permutation_control(scores, members, permutations=permutations, seed=seed),
        groups=_groups(result),
    )


def _groups(result: AttackResult) -> dict[str, tuple[int, Interval | Refused]]:
    found: dict[str, tuple[int, Interval | Refused]] = {}
    for label, name in enumerate(result.classes):
        chosen = result.labels == label
        few = min(int(result.members[chosen].sum()), int((~result.members[chosen]).sum()))
        value: Interval | Refused = Refused(f"{few} records on one side; needs 10")
        if few >= 10:
            value = intervals.auc(result.scores[chosen], result.members[chosen])
        found[name] = (int(chosen.sum()), value)
    return found


def draw_records(result: AttackResult, records: np.ndarray, title: str) -> Figure:
    """Draw records of the pool, each under its class.

    Raises
    ------
    ValueError
        If they are not images.
    """
    if result.pictures is None or result.pictures.ndim != 4:
        raise ValueError(f"records of {result.source} are not images: use exposed() for a table")
    labels = dict(zip(result.records.tolist(), result.labels.tolist(), strict=True))
    names = [result.classes[labels[int(record)]] for record in records]
    pictures = result.pictures[np.asarray(records)].numpy()
    return plots.images(
        pictures, names, alt=f"{len(records)} images, {title}, {result.source}: {', '.join(names)}"
    )


def _plain(value: Interval | Refused) -> str:
    return value.percent(1)


@dataclass(frozen=True, eq=False, repr=False)
class AttackResult(Result):
    """One attack's scores on one target, with the truth.

    Attributes
    ----------
    scores : float array of shape (m,)
        Larger for likelier members.
    members : bool array of shape (m,)
    labels : int array of shape (m,)
    records : int array of shape (m,)
        Positions in the pool.
    pictures : Tensor or None
        The pool, for showing the most exposed records.
    """

    name: str
    scores: np.ndarray
    members: np.ndarray
    labels: np.ndarray
    records: np.ndarray
    citation: str
    target: str
    source: str
    profile: str
    shadows: int
    classes: tuple[str, ...]
    privacy: Any = None
    accuracy: Any = None
    pictures: Tensor | None = None
    seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.asarray(self.members).dtype != bool:
            raise ValueError(
                f"members is {np.asarray(self.members).dtype}; expected bool: as an index, 0 and 1 pick records 0 and 1"
            )
        if not np.isfinite(self.scores).all():
            bad = int(np.flatnonzero(~np.isfinite(self.scores))[0])
            raise ValueError(
                f"attack {self.name} scores record {self.records[bad]} as {self.scores[bad]}: expected finite numbers"
            )
        if not len(self.scores) == len(self.members) == len(self.labels) == len(self.records):
            raise ValueError(
                f"got {len(self.scores)} scores, {len(self.members)} members, {len(self.labels)} labels and "
                f"{len(self.records)} records; expected as many of each"
            )
        if self.members.all() or not self.members.any():
            raise ValueError(
                "an attack needs members and non-members to be scored against; got one kind only"
            )

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        members: Any,
        *,
        labels: Any = None,
        classes: tuple[str, ...] | None = None,
        name: str = "own attack",
        target: str = "target",
        source: str = "arrays",
        citation: str = "",
        privacy: Any = None,
    ) -> AttackResult:
        """Return a result of scores that came from anywhere: a peer's attack, another machine. Then ask for its `report`.

        Parameters
        ----------
        scores : float array of shape (m,)
            Larger for likelier members.
        members : bool array of shape (m,)
        labels : int array of shape (m,), optional
            Groups to report by.
        classes : tuple of str, optional
            Their names.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> inside = np.arange(2000) < 1000
        >>> own = AttackResult.from_scores(rng.normal(size=2000) + inside, inside)
        >>> round(own.report().auc.estimate, 1)
        0.8
        """
        from labkit import profiles

        found, inside = np.asarray(scores, dtype=np.float64), np.asarray(members)
        if found.ndim != 1 or inside.shape != found.shape:
            raise ValueError(f"got scores {found.shape} and members {inside.shape}; expected (m,) for both")
        groups = np.zeros(len(found), np.int64) if labels is None else np.asarray(labels)
        if groups.dtype.kind not in "iu" or (len(groups) and groups.min() < 0):
            raise ValueError(f"labels is {groups.dtype}; expected class indices (m,)")
        names = classes or (("all",) if labels is None else tuple(map(str, range(int(groups.max()) + 1))))
        return cls(
            name=name,
            scores=found,
            members=inside,
            labels=groups,
            records=np.arange(len(found)),
            citation=citation,
            target=target,
            source=source,
            profile=profiles.current().name,
            shadows=0,
            classes=names,
            privacy=privacy,
        )

    def numbers(self) -> dict[str, Any]:
        """Return what was attacked by what; the figures are those of `report`."""
        return {
            "attack": self.name,
            "citation": self.citation,
            "target": self.target,
            "source": self.source,
            "profile": self.profile,
            "shadow_models": self.shadows,
            "members": int(self.members.sum()),
            "non_members": int((~self.members).sum()),
        }

    def summary(self) -> str:
        """Return who attacked what."""
        return repr(self)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return (
            f"AttackResult({self.name} on {self.target}: {int(self.members.sum()):,} members and "
            f"{int((~self.members).sum()):,} non-members of {self.source})"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the log-log ROC of the scores with its band."""
        drawn = [curves.of_one(self.name, self.scores, self.members)]
        return curves.figure(drawn, title=f"{self.name} on {self.target}", source=self.source, ax=ax)

    def report(self, **options: Any) -> Report:
        """Return the figures that reviewers ask for: see `labkit.membership.reports.result.report`."""
        from labkit.membership.reports.result import report

        return report(self, **options)
