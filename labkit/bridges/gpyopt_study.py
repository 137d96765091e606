"""GPyOpt and Optuna tune (ε, clipping norm, learning rate) of one small private model to the same utility constraint.

GPyOpt was archived in 2023 and needs a setuptools from before 81, so it gets an environment of its own:
``labkit bridge gpyopt``. It proposes there; every trial is trained and scored here, by labkit, for both tools alike: a
question on the script's output, an answer on its input. Nothing is a surrogate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labkit import data, models, profiles
from labkit.bridges.agreement import Agreement, Line, versions
from labkit.bridges.environment import Environment
from labkit.bridges.learning import quietly

STEPS = (("setuptools<81", "wheel"), ("GPyOpt==1.2.6", "GPy", "matplotlib"))
SPACE = {"target_epsilon": (0.05, 8.0), "max_grad_norm": (0.05, 2.0), "learning_rate": (0.2, 20.0)}
LEAST_ACCURACY = 0.90  # on validation records, mean over the runs of a trial
PENALTY = 100.0  # per unit of accuracy that is missing: one point costs as much as e times the ε


@dataclass
class Objective:
    """What both tools minimise: log ε, plus a penalty for accuracy that is missing on validation records.

    Attributes
    ----------
    dataset : Dataset
        Its test records are the validation split.
    runs : int
        Private runs a trial, seeds 0 to runs - 1.
    trials : list of dict
        What was asked since the last `begin`.
    """

    dataset: data.Dataset
    runs: int
    trials: list[dict[str, float]] = field(default_factory=list)

    def begin(self) -> None:
        """Forget the trials of the study before."""
        self.trials = []

    def cost(self, point: list[float]) -> float:
        """Train at one point of the unit cube, which is `SPACE` in logarithms, and return its cost."""
        from labkit.dp import calibrate_noise, train_private

        settings = {
            name: low * (high / low) ** min(max(value, 0.0), 1.0)
            for (name, (low, high)), value in zip(SPACE.items(), point, strict=True)
        }
        n, delta, rate, steps = len(self.dataset.train_y), 1e-3, 0.25, 40
        epsilon = settings.pop("target_epsilon")
        noise = calibrate_noise(epsilon, delta=delta, sample_rate=rate, steps=steps, n=n)
        accuracies = [
            train_private(
                models.logistic_regression(*self.dataset.shape, 2),
                self.dataset,
                noise_multiplier=noise,
                delta=delta,
                expected_batch_size=rate * n,
                steps=steps,
                engine="linear",
                seed=seed,
                **settings,
            ).accuracy.estimate
            for seed in range(self.runs)
        ]
        accuracy = float(np.mean(accuracies))
        self.trials.append({"epsilon": epsilon, **settings, "accuracy": accuracy})
        return math.log(epsilon) + PENALTY * max(0.0, LEAST_ACCURACY - accuracy)

    def best(self) -> float:
        """Return the smallest ε among the trials that meet the constraint; infinity if none does."""
        return min((t["epsilon"] for t in self.trials if t["accuracy"] >= LEAST_ACCURACY), default=math.inf)


def optuna_study(objective: Objective, trials: int, first: int, seed: int) -> None:
    """Minimise with Optuna's tree-structured Parzen estimator, as `labkit.dp.search` does."""
    import optuna

    _minimise(objective, optuna.samplers.TPESampler(seed=seed, n_startup_trials=first), trials)


def random_study(objective: Objective, trials: int, first: int, seed: int) -> None:
    """Draw points at random: what a tool has to beat."""
    import optuna

    _minimise(
        objective, optuna.samplers.RandomSampler(seed=1000 + seed), trials
    )  # not the first draws of Optuna's


def _minimise(objective: Objective, sampler: Any, trials: int) -> None:
    import optuna

    names = [f"x{i}" for i in range(len(SPACE))]
    with quietly():
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda trial: objective.cost([trial.suggest_float(name, 0, 1) for name in names]), n_trials=trials
        )


def gpyopt(*, keep: bool = False, python: str | Path | None = None) -> Agreement:
    """Let GPyOpt, Optuna and random search tune the same private model, and compare the ε that meets the constraint.

    Parameters
    ----------
    keep : bool
        Leave GPyOpt's environment there.
    python : path, optional
        A Python 3.10 to 3.13 to use.

    Raises
    ------
    BridgeError
        If no Python fits, or GPyOpt cannot be installed or run.
    """
    place = Environment("gpyopt", STEPS, pythons=((3, 10), (3, 14)), gigabytes=1, python=python, keep=keep)
    sizes = profiles.current().pick(
        smoke={"trials": 4, "first": 3, "seeds": [0], "runs": 1},
        laptop={"trials": 24, "first": 8, "seeds": [0, 1, 2], "runs": 2},
        full={"trials": 60, "first": 10, "seeds": [0, 1, 2, 3, 4], "runs": 5},
    )
    dataset = data.load("breast_cancer").holdout(150, seed=0)
    objective = Objective(dataset, sizes["runs"])
    studies: dict[str, list[dict[str, Any]]] = {"GPyOpt": [], "Optuna": [], "random": []}

    def answer(asked: Any) -> dict[str, Any]:
        if isinstance(asked, dict):  # a new study begins
            _close(objective, studies["GPyOpt"])
            return {}
        return {"cost": objective.cost(asked)}

    with place:
        place.run("tune_with_gpyopt.py", {"dimensions": len(SPACE)} | sizes, answer)
        _close(objective, studies["GPyOpt"])
        found = place.versions(["GPyOpt", "GPy", "numpy"])
    tools: dict[str, Callable[..., None]] = {"Optuna": optuna_study, "random": random_study}
    for name, study in tools.items():
        for seed in sizes["seeds"]:
            study(objective, sizes["trials"], sizes["first"], seed)
            _close(objective, studies[name])
    return Agreement(
        tool="GPyOpt",
        lines=_lines(studies, sizes["seeds"]),
        versions=found | {"optuna": versions(["optuna"])["optuna"]},
        command="labkit bridge gpyopt",
        source=dataset.source,
        profile=profiles.current().name,
        seeds=tuple(sizes["seeds"]),
        environment="its own, removed" if not keep else "its own, kept",
        notes=(
            f"Constraint: validation accuracy of at least {LEAST_ACCURACY:.0%}, mean of {sizes['runs']} private runs a trial, on "
            "150 records; a trial that meets it by luck counts. Every trial is trained and scored by labkit.",
            f"ε is of one run at δ = 1e-3 (n = {len(dataset.train_y)}), Poisson q = 0.25, 40 steps, PLD, add/remove; the other "
            "trials looked at the records, too, and are not in it (lab 03, dp.search(...).cost()).",
            "inf: no trial of the study met the constraint. Optuna: TPE. Which tool finds the smaller ε is shown and not judged: a few seeds do not rank tools.",
        ),
        details={"space": {k: list(v) for k, v in SPACE.items()}, **sizes, "studies": studies},
    )


def _close(objective: Objective, studies: list[dict[str, Any]]) -> None:
    """Keep the trials of the study that ends, if there was one."""
    if objective.trials:
        studies.append({"best": objective.best(), "trials": objective.trials})
    objective.begin()


def _lines(studies: dict[str, list[dict[str, Any]]], seeds: list[int]) -> tuple[Line, ...]:
    """Return one line a seed for Optuna and for random search beside GPyOpt, and one judged: trials that were asked."""
    lines = [
        Line(
            "trials of a study, all answered by labkit",
            len(studies["Optuna"][0]["trials"]),
            len(studies["GPyOpt"][0]["trials"]),
            max(abs(len(s["trials"]) - len(studies["Optuna"][0]["trials"])) for s in studies["GPyOpt"]),
            0.0,
            "difference: both tools had the same number of trials",
        )
    ]
    for name in ("Optuna", "random"):
        for seed, ours, theirs in zip(seeds, studies[name], studies["GPyOpt"], strict=True):
            met = math.isfinite(ours["best"]) and math.isfinite(theirs["best"])
            gap = abs(math.log(ours["best"] / theirs["best"])) if met else math.nan
            what = f"smallest ε that met the constraint, {name} beside GPyOpt, seed {seed}"
            lines.append(
                Line(what, ours["best"], theirs["best"], gap, measure="shown, not judged: log of the ratio")
            )
    return tuple(lines)
