"""TensorFlow Privacy on the MNIST setting: the same ε, the same steps without noise, and the accuracy it trains to.

TensorFlow 2.15 does not live beside this environment's NumPy, so it gets its own: ``labkit bridge tfprivacy``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from labkit import data, models, profiles, stats
from labkit.bridges.agreement import Agreement, Line, largest, relative
from labkit.bridges.environment import Environment
from labkit.dp import SampledGaussian, privacy_statement

STEPS = (
    (
        "numpy==1.26.4",
        "tensorflow-cpu==2.15.1",
        "tensorflow-probability==0.22.1",
        "dp-accounting==0.4.3",
        "scikit-learn<1.6",
    ),
    ("--no-deps", "tensorflow-privacy==0.9.0"),  # it asks for `tensorflow`, and takes tensorflow-cpu for none
)
SETTINGS = (  # records, batch, epochs and noise of one run each; the batch divides the records
    {"n": 60_000, "batch_size": 240, "epochs": 15, "noise_multiplier": 1.1, "delta": 1e-5},
    {"n": 60_000, "batch_size": 1000, "epochs": 12, "noise_multiplier": 1.5, "delta": 1e-5},
    {"n": 60_000, "batch_size": 600, "epochs": 40, "noise_multiplier": 0.8, "delta": 1e-5},
)
CHECK = {"max_grad_norm": 0.1, "learning_rate": 4.0, "expected_batch_size": 32, "steps": 5}


def _training() -> dict[str, Any]:
    """Return the private runs of the profile: both tools, same settings, seeds of their own."""
    return profiles.current().pick(
        smoke={"records": 2000, "steps": 20, "expected_batch_size": 64, "seeds": [0, 1]},
        laptop={"records": 20_000, "steps": 120, "expected_batch_size": 120, "seeds": [0, 1, 2]},
        full={"records": 60_000, "steps": 1500, "expected_batch_size": 240, "seeds": [0, 1, 2, 3, 4]},
    ) | {"noise_multiplier": 1.0, "max_grad_norm": 0.1, "learning_rate": 4.0}


def tfprivacy(*, keep: bool = False, python: str | Path | None = None) -> Agreement:
    """Hold TensorFlow Privacy against labkit on MNIST, in an environment of its own.

    Parameters
    ----------
    keep : bool
        Leave the environment there.
    python : path, optional
        A Python 3.9 to 3.11 to use.

    Returns
    -------
    Agreement
        ε by both accountants; weights after five noiseless steps on the same batches; test accuracy of private runs,
        shown with its interval over seeds and not judged.

    Raises
    ------
    BridgeError
        If no Python fits, or it cannot be installed or run.
    """
    place = Environment("tfprivacy", STEPS, pythons=((3, 9), (3, 12)), gigabytes=3, python=python, keep=keep)
    training = _training()
    mnist = data.load("mnist")
    n = training["records"]
    dataset = mnist if n == len(mnist.train_y) else mnist.take(n, 2000, seed=0)
    network = models.small_cnn("tanh", seed=0)
    batches = np.random.default_rng(0).permutation(len(dataset.train_y))
    batches = batches[: CHECK["steps"] * CHECK["expected_batch_size"]].reshape(CHECK["steps"], -1)
    lines = []
    with place:
        arrays, checked = place.folder / "arrays.npz", place.folder / "checked.npz"
        weights = {f"w{i}": p.detach().numpy() for i, p in enumerate(network.parameters())}
        parts = {name: getattr(dataset, name).numpy() for name in ("train_x", "train_y", "test_x", "test_y")}
        np.savez(arrays, **weights, **parts)
        found = place.run(
            "train_with_tf_privacy.py",
            {
                "arrays": str(arrays),
                "checked": str(checked),
                "settings": SETTINGS,
                "check": CHECK | {"batches": batches.tolist()},
                "training": training,
            },
        )
        with np.load(checked) as archive:
            theirs = np.concatenate([archive[name].ravel() for name in archive.files])
        versions = place.versions(["tensorflow-privacy", "tensorflow-cpu", "dp-accounting", "numpy"])
    for setting, epsilons in zip(SETTINGS, found["epsilons"], strict=True):
        lines += _epsilon_lines(setting, epsilons)
    lines.append(
        largest("weights after 5 steps without noise", noiseless(network, dataset, batches), theirs, 1e-4)
    )
    line, runs = _accuracy_line(dataset, training, found["accuracies"])
    lines.append(line)
    return Agreement(
        tool="TensorFlow Privacy",
        lines=tuple(lines),
        versions=versions,
        command="labkit bridge tfprivacy",
        source=dataset.source,
        profile=profiles.current().name,
        seeds=tuple(training["seeds"]),
        environment="its own, removed" if not keep else "its own, kept",
        notes=(
            "Its statement rounds ε to three decimals.",
            "Its Keras optimisers divide by the size of the batch that came, which Poisson sampling makes private; here its "
            "queries divide by the expected size.",
            "Accuracies: interval of the mean difference over seeds, on shared test records; equality is not claimed.",
        ),
        details={"training": training, **runs},
    )


def _epsilon_lines(setting: dict[str, Any], theirs: dict[str, float]) -> list[Line]:
    rate = setting["batch_size"] / setting["n"]
    steps = round(setting["epochs"] / rate)
    event = SampledGaussian(setting["noise_multiplier"], steps, rate)
    ours = privacy_statement(event, delta=setting["delta"], n=setting["n"]).epsilons
    name = f"σ = {setting['noise_multiplier']}, q = {rate:.4g}, {steps} steps"
    return [relative(f"ε ({kind}), {name}", ours[kind], theirs[kind]) for kind in ("PLD", "RDP")]


def noiseless(network: Any, dataset: data.Dataset, batches: np.ndarray) -> np.ndarray:
    """Return all weights, flat, after steps with clipped gradients and no noise on the given batches.

    Parameters
    ----------
    batches : int array of shape (steps, batch size)
    """
    import copy

    import torch

    from labkit.dp.training.gradients import clipped_sum

    moved = copy.deepcopy(network)
    for batch in torch.from_numpy(batches):
        sums, _ = clipped_sum(moved, dataset.train_x[batch], dataset.train_y[batch], CHECK["max_grad_norm"])
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter -= CHECK["learning_rate"] * sums[name] / CHECK["expected_batch_size"]
    return np.concatenate([p.detach().numpy().ravel() for p in moved.parameters()])


def _accuracy_line(
    dataset: data.Dataset, training: dict[str, Any], theirs: list[float]
) -> tuple[Line, dict[str, Any]]:
    """Train with labkit, same settings, and compare mean test accuracies."""
    from labkit.dp import train_private

    names = ("noise_multiplier", "max_grad_norm", "expected_batch_size", "steps", "learning_rate")
    settings = {name: training[name] for name in names}
    runs = [
        train_private(models.small_cnn("tanh", seed=0), dataset, engine="layers", seed=seed, **settings)
        for seed in training["seeds"]
    ]
    ours = [run.accuracy.estimate for run in runs]
    gap = stats.mean_interval(np.array(ours) - np.array(theirs))
    measure = f"shown, not judged: mean difference {gap} over {len(ours)} seeds"
    what = f"test accuracy, {runs[0].privacy}"
    line = Line(what, float(np.mean(ours)), float(np.mean(theirs)), abs(gap.estimate), measure=measure)
    return line, {"accuracy_labkit": ours, "accuracy_tensorflow_privacy": theirs}
