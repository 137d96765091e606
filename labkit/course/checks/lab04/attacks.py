"""Checks of lab 04: memorisation, the loss threshold, shadow models, and how to measure an attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise, expect_close

Causes = Sequence[tuple[Any, str]]


def _expect(got: object, expected: Any, given: str, causes: Causes, otherwise: str) -> None:
    """Compare a number or an array; when it is wrong, name the cause whose value it equals."""
    try:
        have = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        have = np.array(np.nan)
    if not _same(have, expected):
        for wrong, because in causes:
            if _same(have, wrong):
                raise Wrong(given=given, got=got, expected=expected, because=because)
    expect_close(got, expected, given=given, because=otherwise, rtol=1e-6, atol=1e-9)


def _same(have: np.ndarray, value: Any) -> bool:
    value = np.asarray(value, dtype=np.float64)
    return have.shape == value.shape and np.allclose(have, value, rtol=1e-6, atol=1e-9)


def reference_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each record's cross-entropy in nats, (n,), from logits (n, classes) and labels (n,)."""
    from labkit.membership.shadows.signals import signal

    return -signal("loss", logits, labels)


@exercise(
    "04.record_losses",
    title="the loss of each record",
    reference=reference_losses,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_record_losses(attempt: Callable) -> None:
    """Against PyTorch's cross-entropy in float64, and by hand where a probability rounds to 0 or 1."""
    import torch

    rng = np.random.default_rng(0)
    cases = (
        (3 * rng.normal(size=(6, 4)), rng.integers(0, 4, 6), "6 records, 4 classes"),
        (np.array([[1000.0, 0.0], [1000.0, 0.0], [0.0, 40.0]]), np.array([0, 1, 0]), "logits as far as 1,000 apart"),
    )  # fmt: skip
    for logits, labels, given in cases:
        each = torch.nn.functional.cross_entropy(
            torch.from_numpy(logits), torch.from_numpy(labels), reduction="none"
        ).numpy()
        if np.shape(got := attempt(logits.copy(), labels.copy())) == () and got is not None:
            because = "that is one number: an attack needs the loss of each record, not their mean"
            raise Wrong(given=given, got=got, expected=each, because=because)
        if np.shape(got) == each.shape and not np.isfinite(np.asarray(got, dtype=float)).all():
            because = "exp overflows, or the log of 0 is taken: probabilities of large logits cannot be written down, their logarithms can\nsubtract the largest logit of each record first, and stay with logarithms, log p = z - log(sum(exp(z)))"
            raise Wrong(given=given, got=got, expected=each, because=because)
        causes = [
            (-each, "the sign is turned: a loss is minus the log probability, and never negative"),
            (np.exp(-each), "that is the probability of the label: take minus its logarithm"),
            (each / math.log(2), "that is in bits: use the natural logarithm"),
            (1 - np.exp(-each), "that is one minus the probability of the label, not minus its logarithm"),
        ]
        otherwise = (
            "minus the log of the probability that softmax gives to the label of each record"
            if np.abs(logits).max() < 100
            else "the loss of a record that the model gets very wrong was cut off: exactly such records tell most, so "
            "compute with logarithms, not with a probability that is clipped or gets a small number added"
        )
        _expect(got, each, given, causes, otherwise)


def _balanced(losses: np.ndarray, members: np.ndarray, threshold: float) -> float:
    called = losses <= threshold
    return float((called[members].mean() + (~called[~members]).mean()) / 2)


def reference_threshold(losses: np.ndarray, members: np.ndarray) -> float:
    """Return the threshold for which "loss <= threshold" separates members from others best (balanced accuracy)."""
    from labkit.membership.reports.intervals import best_threshold

    return -best_threshold(-np.asarray(losses, dtype=float), np.asarray(members))


@exercise(
    "04.best_threshold",
    title="set a threshold where you know the answer",
    reference=reference_threshold,
    points=2,
    difficulty=3,
    importance=5,
    minutes=12,
)
def checkbest_threshold(attempt: Callable) -> None:
    """Against the best balanced accuracy over every threshold there is, by brute force."""
    rng = np.random.default_rng(1)
    for inside, outside, given in (
        (40, 40, "40 members, 40 others"),
        (20, 180, "20 members, 180 others"),
        (30, 30, "30 members, 30 others, losses rounded so that many tie"),
    ):
        losses = np.concatenate([rng.exponential(0.3, inside), rng.exponential(1.0, outside)])
        if "tie" in given:
            losses = losses.round(1)
        members = np.arange(len(losses)) < inside
        order = rng.permutation(len(losses))
        losses, members = losses[order], members[order]
        got = attempt(losses.copy(), members.copy())
        if got is None or np.shape(got) != () or not np.isfinite(float(got)):
            raise Wrong(
                given=given, got=got, expected="one finite number", because="return the threshold itself"
            )
        reached, best = (
            _balanced(losses, members, float(got)),
            max(_balanced(losses, members, t) for t in losses),
        )
        if reached < best - 1e-9:
            because = _why_threshold(float(got), losses, members)
            raise Wrong(
                given=given,
                got=f"{float(got):.4f}, balanced accuracy {reached:.3f}",
                expected=f"a threshold with balanced accuracy {best:.3f}",
                because=because,
            )


def _why_threshold(got: float, losses: np.ndarray, members: np.ndarray) -> str:
    """Return what a threshold was chosen for, if not for the balanced accuracy of "loss <= threshold"."""

    def near(value: float) -> bool:
        return math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12)

    if near(losses[members].mean()):
        return (
            "that is the mean loss of the members (Yeom's first threshold): try every loss, and keep the best"
        )
    if any(
        near(f(part)) for f in (np.mean, np.median) for part in (losses, losses[members], losses[~members])
    ):
        return "that is a mean or a median: try every loss as a threshold, and keep the best"
    turned = [_balanced(-losses, members, -t) for t in losses]
    if math.isclose(_balanced(-losses, members, -got), max(turned), abs_tol=1e-9):
        return "that is the best threshold for the opposite rule: members have SMALL losses\nloss <= threshold calls a member"

    def accuracy(t: float) -> float:
        return float(((losses <= t) == members).mean())

    if math.isclose(accuracy(got), max(accuracy(t) for t in [*losses, -1.0]), abs_tol=1e-9):
        return (
            "that is the best plain accuracy, where calling nobody a member already scores well: average the shares "
            "of members caught and of others passed, each by itself"
        )
    return "another threshold separates the two groups better: every loss is a candidate, and a loss that equals the threshold is below it\ntry every loss as a threshold with the rule loss <= threshold (ties included), and keep the best"


@exercise(
    "04.balanced_masks",
    title="who trains which shadow model",
    reference="labkit.membership.shadows.training:balanced_masks",
    points=2,
    difficulty=2,
    importance=4,
    minutes=12,
)
def check_balanced_masks(attempt: Callable) -> None:
    """Against what the design promises: its counts are exact, and its luck depends on the seed."""
    models, records = 8, 200
    given = f"models={models}, records={records}, seed=0"
    masks = np.asarray(attempt(models, records, seed=0))
    if masks.shape != (models, records) or masks.dtype != bool:
        raise Wrong(
            given=given,
            got=f"{masks.dtype} of shape {masks.shape}",
            expected=f"bool of shape ({models}, {records})",
            because="one row a model, one column a record; True where the model is trained on the record",
        )
    each = masks.sum(0)
    if (each != models // 2).any():
        because = "each record must be in for half of the models: with coin flips some are in for nearly all or none"
        if (masks.sum(1) == records // 2).all():
            because = (
                "each model has half of the records, but a record is not in for half of the models: some have few "
                "models on one side. Give the next model exactly the records that this one left"
            )
        elif each.min() == each.max():
            because = "every record is in for the same number of models, and that is not half of them"
        got = f"records in for {each.min()} to {each.max()} models"
        raise Wrong(
            given=given, got=got, expected=f"every record in for {models // 2} of {models}", because=because
        )
    patterns = len(np.unique(masks, axis=1).T)
    # Pairs of random halves give 16 patterns of 8 models; that 200 random records miss 9 of them has p < 1e-40.
    if patterns < 8:
        because = "records always go together, so the models are few different ones: draw a new random half each time"
        raise Wrong(
            given=given,
            got=f"{patterns} different columns",
            expected="a column by chance for each record",
            because=because,
        )
    _check_luck(attempt, masks, given)


def _check_luck(attempt: Callable, masks: np.ndarray, given: str) -> None:
    """Refuse models of very unequal size and masks that do not follow from their seed."""
    models, records = masks.shape
    sizes = masks.sum(1)
    # Halves drawn record by record have sizes with standard deviation 7; outside 60 to 140 has p < 1e-7 in 8 models.
    if sizes.min() < 0.3 * records or sizes.max() > 0.7 * records:
        because = "some models get far more records than others: each should train on about half"
        raise Wrong(
            given=given,
            got=f"{sizes.min()} to {sizes.max()} records a model",
            expected="about 100 each",
            because=because,
        )
    if not np.array_equal(masks, attempt(models, records, seed=0)):
        because = "the same seed must give the same masks\nuse np.random.default_rng(seed)"
        raise Wrong(given=given + ", twice", got="two different arrays", expected="the same", because=because)
    if np.array_equal(masks, attempt(models, records, seed=1)):
        because = "another seed must give other masks: is the seed used?"
        raise Wrong(given="seed=0 and seed=1", got="the same array", expected="two", because=because)


def reference_calibrated(signal: np.ndarray, shadow_signals: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the signal (n,) minus its mean over the shadow models (K, n) that were not trained on the record."""
    from labkit.membership.attacks.thresholds import out_mean

    return signal - out_mean(shadow_signals, masks)


@exercise(
    "04.calibrated",
    title="subtract how hard the record is",
    reference=reference_calibrated,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_calibrated(attempt: Callable) -> None:
    """Against a double loop over records and shadow models."""
    rng = np.random.default_rng(2)
    for models, n in ((4, 5), (7, 6)):
        signal, shadows = rng.normal(size=n), rng.normal(size=(models, n))
        masks = rng.random((models, n)) < 0.5
        masks[0], masks[1] = True, False  # some of each
        given = f"{n} records, {models} shadow models, each record in for {masks.sum(0).tolist()} of them"
        outside = [
            sum(float(shadows[k, i]) for k in range(models) if not masks[k, i])
            / sum(1 for k in range(models) if not masks[k, i])
            for i in range(n)
        ]
        expected = signal - outside
        inside = (shadows * masks).sum(0) / masks.sum(0)
        causes = [
            (signal - shadows.mean(0), "the mean is over all shadow models: those trained on the record have memorised it "
             "too, so leave them out (~masks)"),
            (signal - inside, "the mean is over the models that WERE trained on the record: use those that were not (~masks)"),
            (-expected, "the sign is turned: high scores are for likely members, signal minus mean"),
            (signal - (shadows * ~masks).mean(0), "the sum is divided by all models: divide by the number of models that "
             "did not see the record, which differs from record to record"),
            (signal - (shadows * ~masks).sum(0), "that subtracts a sum: divide it by the number of models in it"),
            (signal / np.array(outside), "that is a ratio: on a log scale one subtracts"),
        ]  # fmt: skip
        got = attempt(signal.copy(), shadows.copy(), masks.copy())
        _expect(
            got,
            expected,
            given,
            causes,
            "signal minus the mean over the shadow models with masks False, by record",
        )


def reference_tpr(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    """Return the largest share of members caught by a threshold that passes at most ``fpr`` of the others."""
    from labkit.membership.reports.curves import tpr_at

    return float(tpr_at(np.asarray(scores), np.asarray(members), np.array([fpr]))[0])


@exercise(
    "04.tpr_at_fpr",
    title="members caught at few false alarms",
    reference=reference_tpr,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_tpr_at_fpr(attempt: Callable) -> None:
    """Against every threshold there is, by brute force, with ties and with fewer than one false alarm allowed."""
    rng = np.random.default_rng(3)
    smooth, members = rng.normal(size=120), np.arange(120) % 3 == 0
    smooth[members] += 1.0
    cases = (
        (smooth, members, 0.1, "40 members, 80 others, fpr=0.1"),
        (smooth, members, 0.03, "40 members, 80 others, fpr=0.03 (2.4 false alarms)"),
        (smooth, members, 0.005, "40 members, 80 others, fpr=0.005 (no false alarm)"),
        (np.round(smooth), members, 0.1, "scores rounded to whole numbers, fpr=0.1"),
        (np.zeros(30), np.arange(30) < 10, 0.2, "all scores equal, fpr=0.2"),
    )
    for scores, truth, fpr, given in cases:
        expected = _brute_tpr(scores, truth, fpr)
        level = np.quantile(scores[~truth], 1 - fpr)
        x, y = _roc(scores, truth)
        causes = [
            (_brute_tpr(scores, ~truth, fpr), "members and others are swapped: the false-positive rate is that of the others"),
            (_brute_tpr(-scores, truth, fpr), "the lowest scores were called members: high scores are for members"),
            (float((scores[truth] >= level).mean()), "the threshold lets too many of the others pass: with ties, or where "
             "fpr x others is no whole number, count how many really pass"),
            (float(np.interp(fpr, x, y)), "that interpolates between two thresholds, which no threshold reaches: take the "
             "last point with a rate of at most fpr"),
        ]  # fmt: skip
        got = attempt(scores.copy(), truth.copy(), fpr)
        otherwise = "of all thresholds that at most this share of the others passes, the one that catches most members"
        _expect(got, expected, given, causes, otherwise)


def _rates(scores: np.ndarray, members: np.ndarray) -> list[tuple[float, float]]:
    """Return (FPR, TPR) of "score >= t" at every threshold, one by one."""
    thresholds = [math.inf, *sorted(set(scores.tolist()), reverse=True)]
    return [(float((scores[~members] >= t).mean()), float((scores[members] >= t).mean())) for t in thresholds]


def _roc(scores: np.ndarray, members: np.ndarray) -> tuple[list[float], list[float]]:
    points = _rates(scores, members)
    return [p[0] for p in points], [p[1] for p in points]


def _brute_tpr(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    return max(tpr for rate, tpr in _rates(scores, members) if rate <= fpr)


def reference_precision(tpr: float, fpr: float, prior: float) -> float:
    """Return the share of members among those accused, when a share ``prior`` of all records are members."""
    return prior * tpr / (prior * tpr + (1 - prior) * fpr)


@exercise(
    "04.precision",
    title="how many of the accused are members?",
    reference=reference_precision,
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
)
def check_precision(attempt: Callable) -> None:
    """Against a count in a population of a million."""
    for tpr, fpr, prior in ((0.8, 0.1, 0.01), (0.05, 0.001, 0.1), (0.6, 0.4, 0.5)):
        inside = round(1_000_000 * prior)
        caught, alarms = tpr * inside, fpr * (1_000_000 - inside)
        given = f"tpr={tpr}, fpr={fpr}, prior={prior}"
        causes = [
            (tpr / (tpr + fpr), "that is the precision where half of all records are members: here they are rarer, or more frequent\nweigh the two rates by prior and 1 - prior"),
            (tpr, "that is the share of members who are accused; asked for is the share of the accused who are members"),
            (prior * tpr, "that is the share of all records that are accused members: divide by the share that is accused"),
            (1 - caught / (caught + alarms), "that is the share of the accused who are NOT members"),
            ((prior * tpr) / (prior * tpr + fpr), "the false alarms come from the others alone, so their rate has to be weighed by how many others there are\nweigh fpr by 1 - prior"),
        ]  # fmt: skip
        otherwise = "take a million candidates: how many members are accused, and how many others?"
        _expect(attempt(tpr, fpr, prior), caught / (caught + alarms), given, causes, otherwise)


def reference_rows(
    probabilities: np.ndarray, labels: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (K n, 1 + classes) rows of label and probabilities, and whether each was a member, (K n,)."""
    models, n, classes = probabilities.shape
    column = np.tile(labels, models)[:, None]
    return np.concatenate([column, probabilities.reshape(models * n, classes)], axis=1), masks.ravel()


@exercise(
    "04.shadow_rows",
    title="a training set for the attack itself",
    reference=reference_rows,
    points=3,
    difficulty=3,
    importance=4,
    minutes=15,
)
def check_shadow_rows(attempt: Callable) -> None:
    """Against a double loop over models and records; rows may come in any order."""
    rng = np.random.default_rng(4)
    models, n, classes = 3, 4, 2
    probabilities = rng.dirichlet(np.ones(classes), size=(models, n))
    labels, masks = np.array([0, 1, 1, 0]), rng.random((models, n)) < 0.5
    masks[0, :2] = True, False
    given = f"{models} shadow models, {n} records, {classes} classes"
    expected = sorted(
        (float(labels[i]), *probabilities[k, i].tolist(), bool(masks[k, i]))
        for k in range(models)
        for i in range(n)
    )
    got = attempt(probabilities.copy(), labels.copy(), masks.copy())
    if not isinstance(got, tuple) or len(got) != 2:
        raise Wrong(given=given, got=got, expected="two arrays", because="return the rows and the truth")
    rows, truth = (np.asarray(part, dtype=float) for part in got)
    size = (models * n, 1 + classes)
    if rows.shape != size or truth.shape != size[:1]:
        because = "one row for each model and record, its first entry the label, then all probabilities"
        if rows.shape == (int(masks.sum()), 1 + classes):
            because = "only members are in: the classifier must see members and others to tell them apart"
        elif rows.shape == (models * n, classes):
            because = "the label is missing: how sure a model is means little if one does not know whether it is right"
        raise Wrong(
            given=given, got=f"{rows.shape} and {truth.shape}", expected=f"{size} and {size[:1]}", because=because
        )  # fmt: skip
    found = sorted((*row.tolist(), bool(t)) for row, t in zip(rows, truth, strict=True))
    if not np.allclose(np.array(found, dtype=float), np.array(expected, dtype=float)):
        because = _why_not_rows(rows, truth, np.array(expected, dtype=float))
        raise Wrong(given=given, got=found[:3], expected=expected[:3], because=because)


def _why_not_rows(rows: np.ndarray, truth: np.ndarray, expected: np.ndarray) -> str:
    """Return the likely cause of rows (m, 1 + classes) and truth (m,) that are not ``expected`` in some order."""

    def same(found: np.ndarray, wanted: np.ndarray) -> bool:
        return np.allclose(sorted(found.tolist()), sorted(wanted.tolist()))

    if same(np.column_stack([rows, 1 - truth]), expected):
        return "the truth is turned: it is True where the model was trained on the record"
    if same(rows, expected[:, :-1]):
        return "rows and truth are in different orders: flatten probabilities and masks the same way, model by model"
    if same(np.roll(rows, 1, axis=1), expected[:, :-1]):
        return "the label stands last: it is the first entry of a row"
    if same(rows[:, 1:], expected[:, 1:-1]):
        return "labels and probabilities are in different orders: repeat the labels once for each model (np.tile)"
    return "the entries after the label are not the probabilities of one model on one record, as they came"
