"""Peers' membership attacks on our arrays: the same target, shadow models and records, ours and theirs side by side.

ART runs here, from the extra ``bridges``; Meta's PrivacyGuard gets an environment of its own: ``labkit bridge attacks``.
Privacy Meter's attacks cannot be had from the package index: its one release there (1.0.1, 2023) has neither LiRA nor
RMIA, declares no dependencies, and imports TensorFlow, PyTorch and Opacus on sight.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labkit import data, membership, models, profiles, stats
from labkit.bridges.agreement import Agreement, Line, absolute, largest, versions
from labkit.bridges.environment import Environment
from labkit.membership.attacks.rmia import OFFLINE_A
from labkit.membership.shadows import signals
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.training.recipe import Recipe

STEPS = (
    ("numpy", "pandas<3", "scipy", "scikit-learn"),
    ("--no-deps", "privacyguard-platform==0.0.2"),
)


def scene(seed: int = 0) -> tuple[Target, ShadowBank]:
    """Return a target and the shadow models that attack it: perceptrons that memorise, one query a record."""
    records, shadows, epochs = profiles.current().pick(
        smoke=(400, 10, 30), laptop=(2000, 34, 30), full=(5000, 130, 40)
    )
    if profiles.current().name == "smoke":
        dataset = data.load("breast_cancer").take(records, seed=seed)
    else:
        dataset = data.load("mnist").take(records, 1000, seed=seed)
    inputs = int(np.prod(dataset.shape))
    bank = membership.shadow_bank(
        dataset,
        make_model=partial(models.perceptron, inputs, 64, len(dataset.classes)),
        recipe=Recipe(epochs=epochs, learning_rate=0.1, batch_size=50),
        shadow_models=shadows,
        queries=1,
        seed=seed,
    )
    return bank.target(0), bank.without(0)


def arrays(target: Target, bank: ShadowBank) -> dict[str, np.ndarray]:
    """Return what PrivacyGuard's attacks take: members, masks, and signals of the target and of each shadow model.

    Returns
    -------
    dict
        ``members`` (n,), ``masks`` (K, n); ``logit`` (n,) and ``shadow_logit`` (K, n), the logit-scaled confidences;
        ``confidence`` and ``shadow_confidence`` likewise; ``population`` (m,) and ``shadow_population`` (K, m).
    """
    known, outside = bank.labels, bank.population_labels
    return {
        "members": target.members,
        "masks": bank.masks,
        "logit": signals.signal("logit-confidence", target.logits, known)[:, 0],
        "shadow_logit": bank.signal("logit-confidence")[:, :, 0],
        "confidence": signals.signal("confidence", target.logits, known)[:, 0],
        "shadow_confidence": bank.signal("confidence")[:, :, 0],
        "population": signals.signal("confidence", target.population_logits, outside)[:, 0],
        "shadow_population": bank.signal("confidence", part="population")[:, :, 0],
    }


def privacy_guard(
    held: dict[str, np.ndarray], *, keep: bool = False, python: str | Path | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return PrivacyGuard's LiRA and RMIA scores on `arrays`, by attack, and the versions that made them.

    Raises
    ------
    BridgeError
        If it cannot be installed or run.
    """
    place = Environment(
        "privacyguard", STEPS, pythons=((3, 10), (3, 14)), gigabytes=1, python=python, keep=keep
    )
    with place:
        path = place.folder / "arrays.npz"
        np.savez(path, **held)
        found = place.run("attack_with_privacy_guard.py", {"arrays": str(path), "offline_a": OFFLINE_A})
        made = place.versions(["privacyguard-platform", "pandas", "scikit-learn"])
    return {name: np.array(values) for name, values in found.items()}, made


def our_scores(target: Target, bank: ShadowBank) -> dict[str, np.ndarray]:
    """Return our scores for the attacks that `privacy_guard` runs."""
    attack = partial(membership.attack, target=target, bank=bank)
    return {
        "lira-online": attack("lira-online", variance="per-example").scores,
        "rmia": attack("rmia-online").scores,
        "rmia-offline": attack("rmia-offline").scores,
    }


def tpr_at(scores: np.ndarray, members: np.ndarray, rate: float) -> float:
    """Return the largest true-positive rate of a threshold whose false-positive rate is at most ``rate``."""
    fpr, tpr = stats.roc(scores[members], scores[~members])
    return float(tpr[fpr <= rate].max())


def pair(
    what: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    members: np.ndarray,
    rate: float,
    allowed: tuple[float, float] = (np.nan, np.nan),
) -> list[Line]:
    """Return two lines on one attack by both: AUC and TPR at a low FPR.

    Parameters
    ----------
    allowed : (float, float)
        Of the AUC and of the TPR; NaN shows and does not judge.
    """
    why = "same records, ties as each tool leaves them"
    areas = [stats.auc(scores[members], scores[~members]) for scores in (ours, theirs)]
    rates = [tpr_at(scores, members, rate) for scores in (ours, theirs)]
    return [
        absolute(f"{what}: AUC", *areas, allowed[0], why),
        absolute(f"{what}: TPR at {100 * rate:g}% FPR", *rates, allowed[1], why),
    ]


def guard_lines(
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
    members: np.ndarray,
    population: int,
    rate: float,
) -> list[Line]:
    """Return the lines on PrivacyGuard.

    LiRA is one formula, so scores agree. RMIA online counts the same records z, up to how ties are told apart: a score
    moves by at most two of them, and the surest records, which tie there, do not here: at a low rate that is what differs.
    RMIA offline is another computation: PrivacyGuard takes p(z) from the larger half of the models' answers.
    """
    step = 2 / (population + 1)
    return [
        largest("LiRA online, own variances: scores", ours["lira-online"], theirs["lira-online"], 1e-4),
        *pair("LiRA online", ours["lira-online"], theirs["lira-online"], members, rate, (1e-9, 1e-9)),
        largest("RMIA online: scores (shares of z)", ours["rmia"], theirs["rmia"], step),
        *pair("RMIA online", ours["rmia"], theirs["rmia"], members, rate, (0.01, np.nan)),
        *pair("RMIA offline", ours["rmia-offline"], theirs["rmia-offline"], members, rate),
    ]


def looked_up(probabilities: np.ndarray) -> Any:
    """Return an ART classifier that looks its answers (n, classes) up: record i is the number i."""
    from art.estimators.classification import BlackBoxClassifier

    def predict(rows: np.ndarray) -> np.ndarray:
        return probabilities[np.asarray(rows)[:, 0].astype(int)]

    return BlackBoxClassifier(predict, (1,), probabilities.shape[1])


def rule_guesses(shown: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ART's rule-based guesses (1: member), (n,), from a model's probabilities (n, classes)."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBoxRuleBased

    rows = np.arange(len(labels), dtype=np.float32)[:, None]
    return np.ravel(MembershipInferenceBlackBoxRuleBased(looked_up(shown)).infer(rows, labels))


def black_box_scores(target: Target, bank: ShadowBank) -> np.ndarray:
    """Return the scores of ART's black-box attack (boosted trees), (n,), learned on the bank's outputs."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox

    known, shown = [probabilities(bank.logits(k)) for k in range(len(bank))], probabilities(target.logits)

    def of(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = np.concatenate([p[m] for p, m in zip(known, side, strict=True)])
        return answers, np.concatenate([bank.labels[m] for m in side])

    (inside, labels_in), (outside, labels_out) = of(bank.masks), of(~bank.masks)
    tool = MembershipInferenceBlackBox(looked_up(shown), attack_model_type="gb")
    tool.fit(x=None, y=labels_in, test_x=None, test_y=labels_out, pred=inside, test_pred=outside)
    return np.ravel(tool.infer(None, bank.labels, pred=shown, probabilities=True))


def art_lines(target: Target, bank: ShadowBank, rate: float) -> list[Line]:
    """Return the lines on ART: its rule, and its black-box attack learned on the same shadow outputs with the same trees."""
    from sklearn.ensemble import GradientBoostingClassifier

    trees = GradientBoostingClassifier(random_state=0)
    ours = membership.attack("shokri", target, bank, classifier=trees).scores
    gap = membership.attack("gap", target, bank).scores
    theirs = black_box_scores(target, bank)
    guessed = rule_guesses(probabilities(target.logits), bank.labels)
    return [
        largest("ART's rule: guesses against our gap attack", gap, guessed, 0.0),
        *pair("ART's black-box attack, boosted trees", ours, theirs, target.members, rate),
    ]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of a model's answers to the plain query, (n, classes), from (n, queries, classes)."""
    import torch

    return torch.softmax(torch.from_numpy(np.array(logits[:, 0])), dim=1).numpy()


def attacks(*, keep: bool = False, python: str | Path | None = None, seed: int = 0) -> Agreement:
    """Run our attacks and the peers' on one target, and compare areas and true-positive rates at few false positives.

    Raises
    ------
    BridgeError
        If PrivacyGuard cannot be installed or run.
    """
    target, bank = scene(seed)
    rate = profiles.current().pick(smoke=0.05, laptop=0.01, full=0.01)
    held = arrays(target, bank)
    theirs, made = privacy_guard(held, keep=keep, python=python)
    lines = guard_lines(our_scores(target, bank), theirs, target.members, len(held["population"]), rate)
    notes = [
        "RMIA: PrivacyGuard leaves ties among the surest records, so its TPR at a low FPR is that of the next larger step "
        "down; ours tells them apart by the ratio.",
        "Offline RMIA differs by design: PrivacyGuard takes p(z) from the larger half of the shadow models' answers.",
        "ART's attack classifier sees other features than ours; shown, not judged.",
        "Privacy Meter: see labkit.bridges.peers; not run.",
    ]
    if importlib.util.find_spec("art"):
        lines += art_lines(target, bank, rate)
        made |= versions(["adversarial-robustness-toolbox"])
    else:
        notes.append("ART is not installed: pip install 'labkit[bridges]' adds its lines.")
    return Agreement(
        tool="peers",
        lines=tuple(lines),
        versions=made,
        command="labkit bridge attacks",
        source=f"{bank.source}; {target.name}, {int(target.members.sum())} members of {len(target.members)} records, "
        f"{len(bank)} shadow models",
        profile=profiles.current().name,
        seeds=(seed,),
        environment="PrivacyGuard in its own",
        notes=tuple(notes),
    )
