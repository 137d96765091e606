"""scikit-learn and Optuna, which labkit builds on: the same figure from them and from us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from labkit import data, models, profiles, stats
from labkit.bridges.agreement import Agreement, Line, absolute, versions

if TYPE_CHECKING:
    from labkit.dp import PrivateResult


def scikit_learn(seed: int = 0) -> Agreement:
    """Compare areas under ROC curves, and softmax regression at the optimum that scikit-learn finds.

    At that optimum the gradient of the penalised loss is zero: labkit's sum of per-record gradients, with a bound that
    clips nothing, must be minus the penalty's own.
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    from labkit.dp.training.linear import clipped_sum

    rng = np.random.default_rng(seed)
    members = rng.random(2000) < 0.5
    scores = rng.normal(members, 1.0)
    tied = np.round(scores)
    lines: list[Line] = []
    for what, values in (("real scores", scores), ("scores with many ties", tied)):
        ours, theirs = stats.auc(values[members], values[~members]), roc_auc_score(members, values)
        lines.append(absolute(f"AUC of {what}", ours, theirs, 1e-12, "rounding"))
    dataset = data.load("breast_cancer")
    x, y, penalty = dataset.train_x, dataset.train_y, 1.0
    fitted = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(x.double().numpy(), y.numpy())
    model = models.logistic_regression(x.shape[1], 2)
    with torch.no_grad():  # softmax of (-s/2, s/2) is the sigmoid of s
        half = torch.as_tensor(fitted.coef_[0] / 2, dtype=torch.float32)
        model.linear.weight.copy_(torch.stack([-half, half]))
        model.linear.bias.copy_(torch.tensor([-0.5, 0.5]) * float(fitted.intercept_[0]))
    sums, _ = clipped_sum(model, x, y, max_grad_norm=1e6)
    slope = (sums["linear.weight"][1] - sums["linear.weight"][0]).numpy() / 2
    residual = float(np.abs(slope + penalty * fitted.coef_[0]).max()) / len(y)
    lines.append(
        Line(
            "gradient at the optimum, largest entry per record",
            residual,
            0.0,
            residual,
            1e-5,
            "difference from zero",
        )
    )
    return Agreement(
        tool="scikit-learn",
        lines=tuple(lines),
        versions=versions(["scikit-learn"]),
        command="labkit bridge scikit-learn",
        source=f"drawn scores; {dataset.source}",
        profile=profiles.current().name,
        seeds=(seed,),
        notes=("Attack classifiers, folds and regressions of labkit.membership are scikit-learn's own.",),
    )


def small_private_model(
    dataset: data.Dataset, *, target_epsilon: float, delta: float = 1e-3, seed: int = 0, **settings: float
) -> PrivateResult:
    """Train softmax regression on a small table with differential privacy: a pipeline for `labkit.dp.search`."""
    from labkit.dp import train_private

    model = models.logistic_regression(dataset.shape[0], len(dataset.classes))
    return train_private(
        model,
        dataset,
        target_epsilon=target_epsilon,
        delta=delta,
        expected_batch_size=len(dataset.train_y) / 4,
        steps=40,
        engine="linear",
        seed=seed,
        **settings,
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep Optuna from reporting every trial."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def optuna(seed: int = 0) -> Agreement:
    """Search ε and settings with `labkit.dp.search`, and compare its front with that of an Optuna study of the runs."""
    import optuna

    from labkit.dp import search
    from labkit.dp.utility.search import Range

    trials = profiles.current().pick(smoke=4, laptop=12, full=40)
    dataset = data.load("breast_cancer")
    space = {"max_grad_norm": Range(0.1, 2), "learning_rate": Range(0.5, 20)}
    found = search(
        dataset,
        trials=trials,
        pipeline=small_private_model,
        space=space,
        validation=150,
        delta=1e-3,
        seed=seed,
    )
    with quietly():
        study = optuna.create_study(directions=["minimize", "maximize"])
        for run in found.runs:
            study.add_trial(optuna.trial.create_trial(values=[run.spent_epsilon, run.accuracy]))
    theirs = sorted({tuple(trial.values) for trial in study.best_trials})
    ours = sorted({(run.spent_epsilon, run.accuracy) for run in found.front})
    return Agreement(
        tool="Optuna",
        lines=(
            absolute("runs on the front of ε and accuracy", len(ours), len(theirs), 0, "same runs"),
            absolute("runs on one front and not the other", len(set(ours) ^ set(theirs)), 0, 0, "same runs"),
        ),
        versions=versions(["optuna"]),
        command="labkit bridge optuna",
        source=found.source,
        profile=profiles.current().name,
        seeds=(seed,),
        notes=(
            f"labkit.dp.search asks Optuna's sampler for every trial; {trials} trials on validation records.",
        ),
        details={"runs": [[run.spent_epsilon, run.accuracy, run.settings] for run in found.runs]},
    )
