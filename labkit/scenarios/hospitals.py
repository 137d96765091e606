"""The capstone's scene, shared by labs 11 and 12: five hospitals, one model, secure aggregation, privacy, a mark each.

The system that is deployed is a perceptron of 2,114 weights: a softmax regression has 62, too few for five marks and a
code that traces copies. The accuracy that privacy costs is shown for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from labkit import cache, federated, profiles
from labkit.federated import recipes
from labkit.federated.hospitals import Hospitals
from labkit.federated.rounds import Federation, Training

if TYPE_CHECKING:
    from torch import nn

    from labkit.federated.four_hospitals import HeartStudy
    from labkit.federated.marks import Enrolment
    from labkit.federated.marks.leak_report import LeakReport
    from labkit.federated.marks.tracking import ContributionReport
    from labkit.federated.marks.under_noise import PrivacyCurve
    from labkit.federated.study import PlacementCurve
    from labkit.federated.threats.system import System

T = TypeVar("T")
EPSILON, DELTA = 3.0, 1e-5
HIDDEN = 64
KEYS = 11  # seed of the lab's keys: a study's, since whoever knows it knows them all


def perceptron() -> nn.Module:
    """Return the system's model with its public initial weights."""
    from labkit import models

    with models.seeded(0):
        return models.perceptron(30, HIDDEN)


@dataclass(frozen=True, eq=False)
class Scene:
    """What both labs play with.

    Attributes
    ----------
    clinics : Hospitals
        Raw records, split by label.
    hospitals : Hospitals
        The same with features: private statistics, through secure aggregation.
    enrolment : Enrolment
        Keys, marks and code words.
    training, noise
        The terms of the system.
    seed : int
    """

    clinics: Hospitals
    hospitals: Hospitals
    enrolment: Enrolment
    training: Training
    noise: federated.Noise
    seed: int

    @property
    def federation(self) -> Federation:
        """The system as it is deployed: private, marked."""
        return Federation(self.hospitals, perceptron, self.training, self.noise, self.enrolment.marks)

    @property
    def system(self) -> System:
        """The same as a target of the threat analysis."""
        from labkit.federated.threats.system import System

        return System(self.federation, self.enrolment)


def scene(seed: int = 0) -> Scene:
    """Return the scene; the same seed gives the same hospitals, features and keys."""
    from labkit.federated import marks

    clinics = federated.load_hospitals("breast_cancer", seed=seed)
    hospitals, noise, training = terms(clinics, seed)
    plain = Federation(hospitals, perceptron, training, noise)
    enrolment = marks.enrol(hospitals.names, KEYS, plain.dimension)
    return Scene(clinics, hospitals, enrolment, training, noise, seed)


def terms(clinics: Hospitals, seed: int) -> tuple[Hospitals, federated.Noise, Training]:
    """Return features, noise and training of the system for these hospitals: ε = 3 for a patient, all releases counted.

    Tuned like `labkit.federated.recipes`: on validation records of splits 100 to 107.
    """
    hospitals, noise, training = recipes.plan(clinics, "distributed", EPSILON, seed=seed, delta=DELTA)
    found = federated.calibrate(
        "distributed",
        EPSILON,
        rounds=training.rounds,
        delta=DELTA,
        threshold=noise.threshold,
        max_grad_norm=1.0,
        statistics_multiplier=noise.statistics_multiplier,
        statistics_full_at=noise.statistics_full_at,
    )
    return hospitals, found, replace(training, learning_rate=0.25)


def another(seed: int) -> Federation:
    """Return the same system on another split of the patients, without marks: what a null federation is made from."""
    clinics = federated.load_hospitals("breast_cancer", seed=seed)
    hospitals, noise, training = terms(clinics, seed)
    return Federation(hospitals, perceptron, training, noise)


def nulls(setting: Scene) -> tuple[np.ndarray, ...]:
    """Return weights of null federations: other splits, other seeds, strangers' marks."""
    from labkit.federated.marks.nulls import null_federations

    count = profiles.current().pick(smoke=3, laptop=20, full=100)
    return kept(
        "capstone-nulls",
        {"count": count, "terms": (setting.training, setting.noise), "keys": KEYS},
        lambda: null_federations(another, setting.enrolment, count),
    )


def placements() -> PlacementCurve:
    """Return accuracy against ε for each placement, patients as the unit."""
    from labkit.federated.study import placement_curve

    profile = profiles.current()
    settings: dict[str, Any] = {
        "placements": profile.pick(smoke=("distributed", "local"), laptop=FOUR, full=FOUR),
        "epsilons": profile.pick(smoke=(3.0,), laptop=(1.0, 3.0, 8.0), full=(0.5, 1.0, 3.0, 8.0)),
        "seeds": tuple(range(profile.pick(smoke=2, laptop=20, full=20))),
    }
    return kept("placements", settings, lambda: placement_curve(**settings))


FOUR = ("central", "distributed", "local", "record")


def whole_hospitals() -> PlacementCurve:
    """Return accuracy against ε with a hospital as the unit."""
    from labkit.federated.study import placement_curve

    profile = profiles.current()
    settings: dict[str, Any] = {
        "placements": ("distributed",),
        "epsilons": profile.pick(smoke=(3.0,), laptop=(3.0, 8.0), full=(1.0, 3.0, 8.0)),
        "seeds": tuple(range(profile.pick(smoke=2, laptop=20, full=20))),
        "unit": "hospital",
    }
    return kept("placements", settings, lambda: placement_curve(**settings))


def heart() -> HeartStudy:
    """Return the study of four real hospitals."""
    from labkit.federated.four_hospitals import heart_study

    seeds = tuple(range(profiles.current().pick(smoke=2, laptop=20, full=20)))
    return kept("heart", {"seeds": seeds}, lambda: heart_study(seeds))


def undefended(seed: int) -> Federation:
    """Return the same hospitals and model without noise: FedAvg, the arm in which marks and copies are judged first."""
    return Federation(_features(seed), perceptron, UNDEFENDED, federated.Noise(threshold=recipes.THRESHOLD))


UNDEFENDED = Training(20, kind="update", learning_rate=0.1, batch_size=64, average_from=0.5)


def leaks(setting: Scene) -> LeakReport:
    """Return which leaks are traced, and how often an innocent is accused, in federations without noise."""
    from labkit.federated.marks.leak_study import study_leaks

    splits = range(profiles.current().pick(smoke=1, laptop=5, full=10))

    def study() -> LeakReport:
        models = [undefended(seed) for seed in splits]
        marked = [replace(model, marks=setting.enrolment.marks) for model in models]
        found = [
            federated.federate(model, seed=s, secure=False, quiet=True, keep_states=True)
            for s, model in enumerate(marked)
        ]
        pairs = [(model, one.weights) for model, one in zip(marked, found, strict=True)]
        handed = [np.stack([state.weights for state in one.states[:-1]]) for one in found]
        return study_leaks(pairs, setting.enrolment, handed=handed)

    return kept("leaks", {"splits": list(splits), "keys": KEYS, "training": UNDEFENDED}, study)


def contributions() -> ContributionReport:
    """Return what each hospital contributed, by four measures."""
    from labkit.federated.marks.tracking import contributions as measure

    return kept(
        "contributions", {"hidden": HIDDEN}, lambda: measure(_features, _regression, marked_model=perceptron)
    )


def marks_under_noise(unit: str) -> PrivacyCurve:
    """Return how well marks are found against ε, for a patient or a hospital as the unit."""
    from labkit.federated.marks.under_noise import privacy_curve

    return kept("mark-curve", {"unit": unit}, lambda: privacy_curve(_features, perceptron, unit=unit))


def _features(seed: int) -> Hospitals:
    """Return features by public constants: what is trained on them owes no release."""
    public = replace(federated.fixed("breast_cancer"), norm=recipes.ROW_NORM)
    return public.apply(federated.load_hospitals("breast_cancer", seed=seed))


def _regression() -> nn.Module:
    from labkit import models

    return models.logistic_regression(30, 2)


def kept(kind: str, settings: dict[str, Any], compute: Callable[[], T]) -> T:
    """Return ``compute()`` from the cache where settings, profile and all code that it reaches are the same."""
    return cache.cached(kind, {**settings, "profile": profiles.current().name}, compute, code=[compute])


def prepare() -> None:
    """Do the one-off work of labs 11 and 12, study by study: an interrupt loses one at most."""
    setting = scene()
    if profiles.current().name == "laptop":
        print("labs 11 and 12: about 10 minutes on 2 cores; interrupt at will, what is done is kept")
    for work in (
        lambda: nulls(setting),
        placements,
        whole_hospitals,
        heart,
        lambda: leaks(setting),
        contributions,
    ):
        work()
    for unit in ("patient", "hospital"):
        marks_under_noise(unit)
    findings(setting)


def findings(setting: Scene) -> Any:
    """Return the whole threat analysis of the system: see `labkit.federated.threats.run`."""
    from labkit import data
    from labkit.federated import threats

    pictures = data.load("mnist").digest  # reconstruction is tried on digits, too
    return kept(
        "threats",
        {"seed": setting.seed, "pictures": pictures},
        lambda: threats.run(setting.system),
    )
