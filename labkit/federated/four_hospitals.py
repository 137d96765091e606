"""Four real hospitals: what federating gives each of them, with and without privacy, against training alone.

UCI Heart Disease, softmax regression on features by public constants, which cost no privacy. Hospitals are judged by
the AUC on their own test patients: with 93% of the patients in Zurich and Basel diseased, accuracy says nothing there.

The settings below were chosen once, on a third of each hospital's train records, over splits 100 to 109: mean AUC over
hospitals, from about 100 settings for ε = 3 and 30 without noise. The rule by which a hospital chooses its personal
model was compared with five others on splits 100 to 119, too. Settings are the same with and without noise, so that a
pair differs in clipping and noise alone. As in `labkit.federated.recipes`, all splits are of the same patients, and what
the tuning would cost is in no ε here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, progress, stats
from labkit.federated import noise as noises
from labkit.federated import personal
from labkit.federated.hospitals import Hospitals, load_hospitals
from labkit.federated.loop import federate
from labkit.federated.noise import Noise
from labkit.federated.personal import Personal
from labkit.federated.preprocessing import fixed
from labkit.federated.rounds import Federation, Training
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NORM = 3.0  # records are scaled down to this length: a gradient is at most about as long
CLIP = 0.5 * 2**0.5  # softmax regression on two classes doubles each gradient, up to its sign
THRESHOLD = 3  # of 4 hospitals: one may vanish in any round
TRAINING = Training(
    40, learning_rate=0.4, momentum=0.9, schedule="linear", average_from=0.5, weight_decay=0.6
)
ALONE, POOLED, FEDERATED, PERSONAL = "alone", "pooled", "federated", "personalised"
OVER_SPLITS = (
    "the mean over random splits of the same 920 patients into train and test, and over noise; splits share patients, so "
    "it says nothing of other patients"
)
OVER_PATIENTS = (
    "the AUC difference over new patients of this hospital, for the models of one split as trained"
)


def arm(kind: str, epsilon: float | None = None) -> str:
    """Return the name of an arm, such as "federated" or "personalised, ε = 3"."""
    return kind if epsilon is None else f"{kind}, ε = {epsilon:g}"


@dataclass(frozen=True, eq=False)
class HeartStudy(Result):
    """AUC of each arm at each hospital, over splits: see `heart_study`.

    Attributes
    ----------
    aucs : dict of str to ndarray of shape [seeds, hospitals]
        By arm, as `arm` names them; besides them "alone" and "pooled".
    hospitals : tuple of str
    patients, majority : tuple
        Test patients of each hospital, and the share of the larger class among them.
    epsilons : tuple of float or None
    statements : dict of str to str
        What may be said of each federated arm, and of the personal models made from it.
    deployed : dict of str to Personal
        The first seed's personal models, by the name of the federated arm.
    seeds : tuple of int
    source, profile : str
    """

    aucs: dict[str, np.ndarray] = field(repr=False)
    hospitals: tuple[str, ...]
    patients: tuple[int, ...]
    majority: tuple[float, ...]
    epsilons: tuple[float | None, ...]
    statements: dict[str, str]
    deployed: dict[str, Personal] = field(repr=False)
    seeds: tuple[int, ...]
    source: str
    profile: str

    def auc(self, name: str, hospital: str) -> stats.Interval:
        """Return the mean AUC of an arm at a hospital with its Student t interval over splits."""
        return stats.mean_share(self._column(name, hospital))

    def difference(self, name: str, hospital: str, other: str = ALONE) -> stats.Interval:
        """Return the mean paired difference of two arms at a hospital, same splits, with its Student t interval."""
        return stats.mean_interval(self._column(name, hospital) - self._column(other, hospital))

    def worse_off(self, epsilon: float | None = None) -> tuple[str, ...]:
        """Return the hospitals whose personalised model is shown to be worse than training alone, on average.

        None shown is not none: the lower end of `difference` says how much a hospital could still lose.
        """
        name = arm(PERSONAL, epsilon)
        return tuple(h for h in self.hospitals if self.difference(name, h).high < 0)

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "privacy": dict(self.statements),
            "interval of AUC and of differences": OVER_SPLITS,
            "interval of the deployed difference": OVER_PATIENTS,
            "hospitals": {h: self._of(h) for h in self.hospitals},
        }

    def summary(self) -> str:
        said = ", ".join(
            f"{name} {found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"
            for name in self.aucs
            if (found := self.auc(name, self.hospitals[-1]))
        )
        worse = "; ".join(
            f"worse off than alone after {arm(FEDERATED, e)}: {', '.join(self.worse_off(e)) or 'no hospital shown to be'}"
            for e in self.epsilons
        )
        return f"AUC at {self.hospitals[-1]}: {said}; {worse}; {self.source}; {self.profile}, {len(self.seeds)} seeds"

    def table(self) -> pd.DataFrame:
        """One row per hospital: AUC of each arm, then what personalising gains over training alone, paired.

        Intervals are of the mean over splits, except in the columns "over patients".
        """
        import pandas as pd

        rows = []
        for h, patients, share in zip(self.hospitals, self.patients, self.majority, strict=True):
            row: dict[str, str] = {
                "hospital": h,
                "test patients": str(patients),
                "larger class": f"{100 * share:.0f}%",
            }
            row |= {f"AUC {name}": _short(self.auc(name, h)) for name in self.aucs}
            for epsilon in self.epsilons:
                name = arm(PERSONAL, epsilon)
                row[f"{name} - alone [over splits]"] = personal.signed(self.difference(name, h))
                one = self.deployed[arm(FEDERATED, epsilon)][h]
                row[f"{name} - alone, seed {self.seeds[0]} [over patients]"] = one.said
            rows.append(row)
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the AUC of each arm by hospital; without an axis, the paired differences to training alone beside it."""
        if ax is None:
            fig, (ax, beside) = plots.figure(10.5, 4.8, ncols=2, width_ratios=(1.7, 1))
            self._draw_differences(beside)
        else:
            fig = ax.figure
        arms = (ALONE, *(n for n in self.aucs if n not in (ALONE, POOLED)), POOLED)
        for index, name in enumerate(arms):
            found = [self.auc(name, h) for h in self.hospitals]
            _errorbars(ax, found, index, len(arms), name)
        ax.set_xticks(range(len(self.hospitals)), self._labels())
        ax.set_ylabel(f"test AUC (mean over {len(self.seeds)} splits, 95% interval)")
        ax.set_title(f"{self.source}; {self.profile}", fontsize=9)
        unit = (
            "ε by PLD, δ = 1e-5, unit: patient, of the federated model; personalised models are not released"
        )
        handles = ax.get_legend_handles_labels()
        fig.legend(*handles, loc="outside lower center", ncols=3, fontsize=8, title=unit, title_fontsize=8)
        said = "; ".join(
            f"{h}: " + ", ".join(f"{name} {self.auc(name, h).estimate:.3f}" for name in arms)
            for h in self.hospitals
        )
        return plots.describe(
            fig, f"Test AUC by hospital, mean over {len(self.seeds)} splits with 95% intervals. {said}."
        )

    def _draw_differences(self, ax: Axes) -> None:
        """Draw personalised minus alone, paired, by hospital."""
        order = list(self.aucs)
        for index, epsilon in enumerate(self.epsilons):
            name = arm(PERSONAL, epsilon)
            found = [self.difference(name, h) for h in self.hospitals]
            _errorbars(ax, found, index, len(self.epsilons), None, look=order.index(name))
        ax.axhline(0, color="black", linewidth=1, linestyle=":")
        ax.set_xticks(range(len(self.hospitals)), [h.replace(" and ", "\nand ") for h in self.hospitals])
        ax.tick_params(axis="x", labelsize=8)
        ax.set_ylabel("AUC personalised - alone, same splits\n(mean and 95% interval over splits)")

    def _labels(self) -> list[str]:
        return [
            f"{h.replace(' and ', chr(10) + 'and ')}\n{n} patients\n{100 * share:.0f}% one class"
            for h, n, share in zip(self.hospitals, self.patients, self.majority, strict=True)
        ]

    def _column(self, name: str, hospital: str) -> np.ndarray:
        if name not in self.aucs or hospital not in self.hospitals:
            raise LookupError(
                f"no arm {name!r} at {hospital!r}; there are {', '.join(self.aucs)} at {', '.join(self.hospitals)}"
            )
        return self.aucs[name][:, self.hospitals.index(hospital)]

    def _of(self, hospital: str) -> dict[str, Any]:
        at = self.hospitals.index(hospital)
        pairs = [(arm(PERSONAL, e), arm(FEDERATED, e)) for e in self.epsilons]
        return {
            "test patients": self.patients[at],
            "share of the larger class": self.majority[at],
            "AUC": {name: self.auc(name, hospital) for name in self.aucs},
            "AUC personalised - alone, over splits": {
                own: self.difference(own, hospital) for own, _ in pairs
            },
            f"AUC personalised - alone, seed {self.seeds[0]}, over patients": {
                own: self.deployed[shared][hospital].gain for own, shared in pairs
            },
        }


def heart_study(
    seeds: Sequence[int] = tuple(range(20)), epsilons: Sequence[float | None] = (None, 3.0)
) -> HeartStudy:
    """Train the four hospitals alone, together, together and then personalised, and on pooled records; compare AUC.

    Alone and pooled are softmax regression with its regularisation chosen by cross-validation on own train records
    (`labkit.federated.personal`): the choice that personal models have too. Federations add up their gradients in the
    clear, on the grid: with secure aggregation the models are the same, bit for bit.

    Parameters
    ----------
    seeds : sequence of int
        At least two. Each draws the split of every hospital's patients into train and test, the noise, and the folds.
    epsilons : sequence of float or None
        Targets for the federated model (PLD, δ = 1e-5, unit patient, distributed noise, against the server and
        whoever gets the model); None trains without noise.

    Raises
    ------
    ValueError
        Before any training, for fewer than two seeds, repeated ones, or no epsilons.
    """
    seeds, epsilons = tuple(seeds), tuple(epsilons)
    for name, values, least in (("seeds", seeds, 2), ("epsilons", epsilons, 1)):
        if len(values) < least or len(set(values)) < len(values):
            raise ValueError(f"{name} are {values}; expected at least {least}, each once")
    terms = {epsilon: _noise(epsilon) for epsilon in epsilons}
    rows: dict[str, list[list[float]]] = {}
    deployed: dict[str, Personal] = {}
    with progress.bar(len(seeds) * len(epsilons), "four hospitals") as shown:
        for seed in seeds:
            clinics = fixed("heart", norm=NORM).apply(load_hospitals("heart", seed=seed))
            for epsilon, noise in terms.items():
                own = _personal(clinics, noise, seed)
                if seed == seeds[0]:
                    deployed[arm(FEDERATED, epsilon)] = own
                if epsilon == epsilons[0]:
                    rows.setdefault(ALONE, []).append([c.auc(ALONE) for c in own.choices])
                for kind in (FEDERATED, PERSONAL):
                    rows.setdefault(arm(kind, epsilon), []).append([c.auc(kind) for c in own.choices])
                shown.update()
            rows.setdefault(POOLED, []).append(_pooled(clinics, seed))
    labels = [hospital.dataset.test_y.double().mean().item() for hospital in clinics]
    return HeartStudy(
        aucs={name: np.array(found) for name, found in rows.items()},
        hospitals=clinics.names,
        patients=tuple(len(hospital.dataset.test_y) for hospital in clinics),
        majority=tuple(max(share, 1 - share) for share in labels),
        epsilons=epsilons,
        statements={arm(FEDERATED, epsilon): _said(noise) for epsilon, noise in terms.items()},
        deployed=deployed,
        seeds=seeds,
        source=clinics.source,
        profile=profiles.current().name,
    )


def _noise(epsilon: float | None) -> Noise:
    if epsilon is None:
        return Noise(hospitals=4, threshold=THRESHOLD)
    return noises.calibrate(
        "distributed",
        epsilon,
        rounds=TRAINING.rounds,
        hospitals=4,
        threshold=THRESHOLD,
        max_grad_norm=CLIP,
    )


def _said(noise: Noise) -> str:
    """Return the promise of the federated model, and what it does not cover."""
    if noise.placement == "none":
        return f"no promise; {personal.STAYS}"
    promise = noise.statement(TRAINING.rounds, observer="the server")
    covers = "the global model and all that the server and others see of its training"
    return f"{promise}; unit {noise.unit}; covers {covers}; {personal.STAYS}"


def _model(clinics: Hospitals) -> Any:
    from labkit import models

    return partial(models.logistic_regression, *clinics.hospitals[0].dataset.shape, 2)


def _personal(clinics: Hospitals, noise: Noise, seed: int) -> Personal:
    make = _model(clinics)
    found = federate(Federation(clinics, make, TRAINING, noise), seed=seed, secure=False, quiet=True)
    return personal.personalise(clinics, found.weights, make, seed=seed)


def _pooled(clinics: Hospitals, seed: int) -> list[float]:
    """Return the AUC at each hospital of one model on everybody's records: a yardstick that nobody may build."""
    make, pooled = _model(clinics), clinics.pooled()
    weights = personal.fit_regularised(make, pooled.train_x, pooled.train_y, seed=seed)
    found = []
    for hospital in clinics:
        score, y = (
            personal.scores(make, weights, hospital.dataset.test_x),
            hospital.dataset.test_y.numpy(),
        )
        found.append(stats.auc(score[y == 1], score[y == 0]))
    return found


def _short(found: stats.Interval) -> str:
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _errorbars(
    ax: Axes,
    found: Sequence[stats.Interval],
    index: int,
    count: int,
    label: str | None,
    *,
    look: int | None = None,
) -> None:
    """Draw one arm at all hospitals, beside the other arms."""
    look = index if look is None else look
    at = np.arange(len(found)) + 0.7 * ((index + 0.5) / count - 0.5)
    middle = np.array([one.estimate for one in found])
    reach = [middle - [one.low for one in found], [one.high for one in found] - middle]
    ax.errorbar(
        at,
        middle,
        yerr=reach,
        fmt="oDs^vPX*"[look % 8],
        color=plots.COLOURS[look % len(plots.COLOURS)],
        markersize=5,
        capsize=3,
        linestyle="none",
        label=label,
    )
