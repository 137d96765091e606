"""``labkit bench membership``: shadow training against a plain loop, attacks against ART's, as ratios in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import profiles
from labkit.bench.report import Bench, Line, machine, plain_loop

if TYPE_CHECKING:
    pass


def run() -> Bench:
    """Measure shadow training and attacks at the profile's size."""
    facts = machine()
    lines, notes = _training_lines(), []
    try:
        import art  # noqa: F401
    except ImportError:
        notes.append("attacks not compared: install the extra `bridges` for ART")
    else:
        lines += _attack_lines()
    return Bench(tuple(lines), facts, tuple(notes))


def _seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the best of a few runs: the least disturbed by whatever else the machine does."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _training_lines() -> list[Line]:
    """Compare `train_many` in its automatic choice with the plain loop, per model, for both kinds of network."""
    import torch

    from labkit.membership.shadows.training import balanced_masks
    from labkit.models import perceptron, strided_cnn
    from labkit.training import many

    profile, generator = profiles.current(), torch.Generator().manual_seed(0)
    models = profile.pick(smoke=2, laptop=4, full=16)
    cases = {
        "perceptron on 400 x 30": (
            partial(perceptron, 30),
            (400, 30),
            2,
            profile.pick(smoke=2, laptop=30, full=30),
        ),
        "strided CNN on 3x32x32": (
            partial(strided_cnn, profile.pick(smoke=8, laptop=32, full=32)),
            (profile.pick(smoke=256, laptop=8000, full=20_000), 3, 32, 32),
            10,
            profile.pick(smoke=1, laptop=3, full=3),
        ),
    }
    lines = []
    for what, (make, shape, classes, epochs) in cases.items():
        x = torch.rand(shape, generator=generator)
        y = torch.randint(classes, (shape[0],), generator=generator)
        masks, recipe = balanced_masks(models, shape[0]), many.Recipe(epochs=epochs)

        def ours(make=make, x=x, y=y, masks=masks, recipe=recipe) -> None:
            list(many.train_many(make, x, y, masks, recipe, seeds=range(models)))

        def peer(make=make, x=x, y=y, masks=masks, epochs=epochs) -> None:
            plain_loop(make, x, y, masks, epochs)

        # The first of two runs pays for starting workers, as the first models of a bank do; the second does not.
        mine, theirs = _seconds(ours, 2) / models, _seconds(peer, 1) / models
        lines.append(
            Line(f"one shadow model, {what}", mine, theirs, "DataLoader loop, one model after another")
        )
    return lines


def _attack_lines() -> list[Line]:
    """Compare attacks with ART's on the same outputs: ART is given the probabilities, not the model."""
    from labkit.bridges.peers import rule_guesses
    from labkit.membership.attacks import learned
    from labkit.membership.shadows import signals

    n = profiles.current().pick(smoke=200, laptop=5000, full=20_000)
    rng = np.random.default_rng(0)
    labels, members = rng.integers(0, 10, 2 * n), np.arange(2 * n) < n
    logits = rng.normal(size=(2 * n, 10)).astype("float32")
    logits[np.arange(2 * n), labels] += 2 + members
    half = np.arange(2 * n) % 2 == 0  # one half to learn the attack on, the other to score

    def threshold() -> np.ndarray:
        return signals.signal("hinge", logits, labels) > 0

    def forest() -> np.ndarray:
        from sklearn.ensemble import RandomForestClassifier

        features = learned.shadow_features(logits[:, None], labels)
        classifier = RandomForestClassifier(random_state=0).fit(features[half], members[half])
        return classifier.predict_proba(features[~half])[:, 1]

    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return [
        Line(
            "rule-based attack, same outputs",
            _seconds(threshold),
            _seconds(partial(rule_guesses, probabilities, labels)),
            "ART rule-based",
        ),
        Line(
            "shadow classifier (random forest), same outputs",
            _seconds(forest, 1),
            _seconds(partial(art_forest, probabilities, labels, members, half), 1),
            "ART black-box, random forest",
        ),
    ]


def art_forest(
    probabilities: np.ndarray, labels: np.ndarray, members: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Return ART's black-box random-forest scores for the records outside ``known``, learned on those inside it."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    from labkit.bridges.peers import looked_up

    rows = np.arange(len(labels), dtype=np.float32)[:, None]
    tool = MembershipInferenceBlackBox(looked_up(probabilities), attack_model_type="rf")
    inside, outside = known & members, known & ~members
    tool.fit(x=rows[inside], y=labels[inside], test_x=rows[outside], test_y=labels[outside])
    return np.ravel(tool.infer(rows[~known], labels[~known], probabilities=True))


def command(subject: str, description: str | None, run: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Run a benchmark, print it, and write JSON where ``--json PATH`` says: ``labkit bench SUBJECT``."""
    import argparse

    parser = argparse.ArgumentParser(prog=f"labkit bench {subject}", description=description)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args(list(arguments))
    if options.json and options.json.suffix != ".json":
        parser.error(f"{options.json} does not end in .json")
    result = run()
    print(result)
    if options.json:
        result.save(options.json)
    return 0


def main(arguments: Sequence[str] = ()) -> int:
    """Run ``labkit bench membership``."""
    return command("membership", __doc__, run, arguments)
